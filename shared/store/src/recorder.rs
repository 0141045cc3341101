//! What the activity harness asks before and says after each attempt.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::ActivityError;
use contracts::step::StepKind;
use serde_json::Value;

use crate::StoreError;

/// Which step of which execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRef {
    /// The owner.
    pub tenant_id: String,
    /// The execution.
    pub execution_id: String,
    /// The Task state's name.
    pub step: String,
    /// Doing or undoing.
    pub kind: StepKind,
}

/// What the harness may do.
#[derive(Debug, Clone)]
pub enum Begin {
    /// Go ahead.
    Proceed {
        /// From 1.
        attempt: u32,
        /// The request of the execution.
        request: Arc<Value>,
        /// What keys and chosen ids are derived from.
        effect_scope: Arc<str>,
    },
    /// Somebody cancelled.
    Cancelled,
    /// Somebody paused.
    Paused,
    /// The deadline has passed.
    TimedOut,
}

/// How an attempt ended.
pub type StepOutcome = Result<Value, ActivityError>;

/// The record of attempts.
#[async_trait]
pub trait StepRecorder: Send + Sync {
    /// Asks to begin an attempt, and records that it began.
    async fn begin_step(&self, step: &StepRef) -> Result<Begin, StoreError>;

    /// Records how the attempt ended.
    async fn finish_step(&self, step: &StepRef, attempt: u32, outcome: &StepOutcome) -> Result<(), StoreError>;
}

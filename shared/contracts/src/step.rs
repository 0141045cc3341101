//! What a Task state hands to its activity, the same on every engine.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::WorkflowKind;

/// Doing or undoing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A step of the workflow.
    Forward,
    /// The undoing of one.
    Compensation,
}

/// The execution that a step belongs to: the `workflow` object of every execution's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRef {
    /// The execution.
    pub id: String,
    /// Which workflow.
    #[serde(rename = "type")]
    pub kind: WorkflowKind,
    /// The owner.
    pub tenant_id: String,
    /// Who asked for it, where known.
    pub user_id: Option<String>,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// W3C trace context of the request that started it.
    pub traceparent: Option<String>,
}

/// The `step` object of a Task's payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The Task state's name.
    pub name: String,
    /// Doing or undoing.
    pub kind: StepKind,
    /// The step that a compensation undoes.
    #[serde(default)]
    pub undoes: Option<String>,
}

/// A Task's payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepCall {
    /// The execution.
    pub workflow: WorkflowRef,
    /// The step.
    pub step: Step,
    /// False: the step is optional and was not asked for.
    #[serde(default = "yes")]
    pub when: bool,
    /// What earlier steps found out: ids and counts.
    #[serde(default)]
    pub input: Value,
}

fn yes() -> bool {
    true
}

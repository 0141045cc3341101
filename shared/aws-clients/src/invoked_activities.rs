//! Activities that run in their own functions.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::{ActivityError, Cause};
use engine::{ActivityCall, ActivityRunner};
use store::{StepOutcome, StepRecorder};

use crate::Functions;
use crate::functions::CallFailed;

/// Runs activities by calling their functions, which keep the record of attempts themselves.
pub struct InvokedActivities {
    functions: Functions,
    /// What the functions' names begin with; the activity's follows.
    prefix: String,
}

impl InvokedActivities {
    /// By the functions of this deployment.
    pub fn new(functions: Functions, prefix: impl Into<String>) -> Self {
        Self { functions, prefix: prefix.into() }
    }
}

#[async_trait]
impl ActivityRunner for InvokedActivities {
    async fn run(&self, call: ActivityCall, _recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        let function = format!("{}{}", self.prefix, call.activity.replace('_', "-"));
        let CallFailed { error, message } = match self.functions.call(&function, &call.payload).await {
            Ok(result) => return Ok(result),
            Err(failed) => failed,
        };
        let cause = serde_json::from_str(&message).unwrap_or(Cause { message, ..Cause::default() });
        Err(ActivityError { error, cause: Box::new(cause) })
    }
}

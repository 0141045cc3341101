//! The workflow that somebody would write by hand for the steps of the state machine.

use std::time::Duration;

use bench::{ACTIVITY, STEPS};
use serde_json::{Value, json};
use temporalio_common::ActivityDefinition;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{ActivityOptions, WorkflowContext, WorkflowResult};

/// The activity that all steps call.
struct Step;

impl ActivityDefinition for Step {
    type Input = Value;
    type Output = Value;

    fn name(&self) -> &str {
        ACTIVITY
    }
}

/// One step after the other.
#[workflow]
#[derive(Default)]
pub(crate) struct Native;

#[workflow_methods]
impl Native {
    #[run]
    pub(crate) async fn run(ctx: &mut WorkflowContext<Self>, workflow: Value) -> WorkflowResult<Value> {
        let mut last = Value::Null;
        for number in 0..STEPS {
            let step = json!({ "name": format!("Step{number}"), "kind": "forward" });
            let input = json!({ "payload": { "workflow": workflow, "step": step, "input": {} }, "limit_ms": 45_000 });
            let options = ActivityOptions::with_start_to_close_timeout(Duration::from_secs(55))
                .heartbeat_timeout(Duration::from_secs(10))
                .build();
            last = ctx.execute_activity(Step, input, options).await?;
        }
        Ok(last)
    }
}

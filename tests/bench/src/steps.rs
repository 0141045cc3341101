//! An execution of steps.

use clock::{Clock as _, SystemClock};
use contracts::step::WorkflowRef;
use contracts::{EngineKind, EventType, Status, WorkflowKind};
use serde_json::{Value, json};
use store::{Inherited, NewEvent, NewExecution, Progress, StoredRequest};

/// The activity that all steps call.
pub const ACTIVITY: &str = "work";

/// Steps of an execution, as many as onboarding has.
pub const STEPS: usize = 7;

/// The name of the last one.
pub const LAST_STEP: &str = "Step6";

/// A Task that hands on who it works for.
pub fn task(name: &str) -> Value {
    json!({
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 45,
        "Arguments": { "FunctionName": ACTIVITY, "Payload": {
            "workflow": "{% $states.context.Execution.Input.workflow %}",
            "step": { "name": name, "kind": "forward" }, "input": {},
        } },
        "Output": "{% $states.result.Payload %}",
    })
}

/// One step after the other.
pub fn chain() -> Value {
    let state = |index: usize| {
        let name = format!("Step{index}");
        let mut state = task(&name);
        match index + 1 {
            STEPS => state["End"] = json!(true),
            next => state["Next"] = json!(format!("Step{next}")),
        }
        (name, state)
    };
    let states: serde_json::Map<String, Value> = (0..STEPS).map(state).collect();
    json!({ "QueryLanguage": "JSONata", "StartAt": "Step0", "States": states })
}

/// What a start writes.
pub fn execution(tenant: &str, engine: EngineKind) -> NewExecution {
    let (kind, at) = (WorkflowKind::UserOnboarding, SystemClock.now());
    let id = kind.new_execution_id(at);
    let workflow = WorkflowRef {
        id: id.clone(),
        kind,
        tenant_id: tenant.to_owned(),
        user_id: None,
        started_at: at,
        traceparent: None,
    };
    let progress =
        Progress { current_step: String::new(), total_steps: STEPS as u32, completed_steps: 0, status_message: None };
    NewExecution {
        tenant_id: tenant.to_owned(),
        effect_scope: id.clone(),
        id,
        kind,
        engine,
        user_id: None,
        started_at: at,
        deadline_at: None,
        status: Status::Pending,
        input: json!({ "workflow": workflow, "options": {} }),
        request: StoredRequest::Inline(
            json!({ "user_email": "user@example.com", "user_name": "John Doe", "role": "user" }),
        ),
        idempotency: None,
        progress,
        history: vec![NewEvent { event_type: EventType::WorkflowExecutionStarted, at, details: json!({}) }],
        journal: None,
        begins_pivot: false,
        upload_id: None,
        retry_of: None,
        inherited: Inherited::default(),
        cancel_requested_at: None,
        audit: None,
    }
}

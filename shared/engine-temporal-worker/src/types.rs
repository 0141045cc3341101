//! Workflows and activities by name. The SDK asks a type for its name when it is registered, so the name of the moment is
//! kept beside it.

use std::cell::RefCell;

use serde_json::Value;
use temporalio_common::data_converters::RawValue;
use temporalio_common::{ActivityDefinition, HasWorkflowDefinition, SignalDefinition, WorkflowDefinition};

use crate::range::Failures;

thread_local! {
    static NAME: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does something with the name that types are registered under.
pub(crate) fn named<T>(name: &str, register: impl FnOnce() -> T) -> T {
    NAME.set(name.to_owned());
    register()
}

pub(crate) fn name() -> String {
    NAME.with_borrow(String::clone)
}

/// Raw payloads, decoded by hand: what the SDK cannot decode it would try again for ever.
pub(crate) fn json_of(payloads: &RawValue) -> Result<Value, String> {
    match payloads.payloads.as_slice() {
        [payload] => serde_json::from_slice(&payload.data).map_err(|error| error.to_string()),
        payloads => Err(format!("one JSON value is expected, there are {}", payloads.len())),
    }
}

/// A workflow: an execution of a state machine, or the children of a range of a Map run's items.
#[derive(Default)]
pub(crate) struct Flow {
    /// Failures of children that ranges have told.
    pub(crate) told: Vec<Failures>,
}

/// A workflow by name, started by a workflow.
pub(crate) struct FlowNamed(pub(crate) String);

impl WorkflowDefinition for FlowNamed {
    type Input = Value;
    type Output = Value;

    fn name(&self) -> &str {
        &self.0
    }
}

/// How the workflow runs.
pub(crate) struct StateMachineRun;

impl WorkflowDefinition for StateMachineRun {
    type Input = RawValue;
    type Output = Value;

    fn name(&self) -> &str {
        "a state machine"
    }
}

impl WorkflowDefinition for Flow {
    type Input = RawValue;
    type Output = Value;

    fn name(&self) -> &str {
        "a state machine"
    }
}

impl HasWorkflowDefinition for Flow {
    type Run = StateMachineRun;
}

/// The signal by which a range tells of children that failed, before it is through.
pub(crate) struct ChildrenFailed;

impl ChildrenFailed {
    pub(crate) const NAME: &str = "children_failed";
}

impl SignalDefinition for ChildrenFailed {
    type Workflow = Flow;
    type Input = Value;

    fn name(&self) -> &str {
        Self::NAME
    }
}

/// An activity by name.
pub(crate) struct ActivityNamed(pub(crate) String);

impl ActivityDefinition for ActivityNamed {
    type Input = Value;
    type Output = Value;

    fn name(&self) -> &str {
        &self.0
    }
}

//! The one workflow implementation, registered under the name of every state machine, and the one activity handler,
//! registered under the name of every activity. The SDK asks a type for its name when it is registered, so the name of
//! the moment is kept beside it.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use contracts::ErrorName;
use futures::FutureExt as _;
use futures::future::{BoxFuture, LocalBoxFuture};
use serde_json::Value;
use temporalio_common::data_converters::{PayloadConverter, RawValue};
use temporalio_common::protos::temporal::api::common::v1::Payloads;
use temporalio_common::{
    ActivityDefinition, ActivityError, HasWorkflowDefinition, SignalDefinition, WorkflowDefinition,
};
use temporalio_sdk::activities::{ActivityContext, ActivityDefinitions, ActivityImplementer, ExecutableActivity};
use temporalio_sdk::workflow_interceptors::WorkflowOutputValue;
use temporalio_sdk::workflows::{WorkflowDefinitionDescriptor, WorkflowError, WorkflowImplementation};
use temporalio_sdk::{WorkflowContext, WorkflowContextView, WorkflowTermination};

use crate::activity::{Handler, failure};
use crate::drive;
use crate::range::Failures;

thread_local! {
    static NAME: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does something with the name that types are registered under.
pub(crate) fn named<T>(name: &str, register: impl FnOnce() -> T) -> T {
    NAME.set(name.to_owned());
    register()
}

fn name() -> String {
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
pub(crate) struct Run;

impl WorkflowDefinition for Run {
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
    type Run = Run;
}

/// The signal by which a range tells of children that failed, before it is through.
pub(crate) struct ChildrenFailed;

impl ChildrenFailed {
    const NAME: &str = "children_failed";
}

impl SignalDefinition for ChildrenFailed {
    type Workflow = Flow;
    type Input = Value;

    fn name(&self) -> &str {
        Self::NAME
    }
}

impl WorkflowImplementation for Flow {
    type Run = Run;

    const HAS_INIT: bool = false;
    const INIT_TAKES_INPUT: bool = false;

    fn name() -> &'static str {
        "a state machine"
    }

    fn definition() -> WorkflowDefinitionDescriptor {
        WorkflowDefinitionDescriptor {
            workflow_type: name(),
            has_init: false,
            init_takes_input: false,
            signals: vec![ChildrenFailed::NAME.to_owned()],
            queries: Vec::new(),
            updates: Vec::new(),
        }
    }

    fn init(_ctx: WorkflowContextView, _input: Option<RawValue>) -> Self {
        Self::default()
    }

    fn run(
        ctx: WorkflowContext<Self>,
        input: Option<RawValue>,
    ) -> LocalBoxFuture<'static, Result<Box<dyn WorkflowOutputValue>, WorkflowTermination>> {
        async move {
            let output = drive::run(&ctx, input.unwrap_or_else(RawValue::empty)).await?;
            Ok(Box::new(output) as Box<dyn WorkflowOutputValue>)
        }
        .boxed_local()
    }

    fn decode_signal_input(
        name: &str,
        payloads: Payloads,
        _converter: &PayloadConverter,
    ) -> Result<Option<Box<dyn Any>>, WorkflowError> {
        if name != ChildrenFailed::NAME {
            return Ok(None);
        }
        // Somebody else's signal of this name tells of nothing.
        let told = json_of(&RawValue::new(payloads.payloads)).and_then(|told| Failures::read(&told));
        Ok(Some(Box::new(told.unwrap_or_default())))
    }

    fn dispatch_signal(
        ctx: WorkflowContext<Self>,
        _name: &str,
        input: Box<dyn Any>,
    ) -> LocalBoxFuture<'static, Result<(), WorkflowError>> {
        if let Ok(failures) = input.downcast::<Failures>() {
            ctx.state_mut(|flow| flow.told.push(*failures));
        }
        std::future::ready(Ok(())).boxed_local()
    }

    fn dispatch_query(
        &self,
        _ctx: WorkflowContextView,
        name: &str,
        _input: Box<dyn Any>,
    ) -> Result<Box<dyn WorkflowOutputValue>, WorkflowError> {
        Err(WorkflowError::Execution(format!("there is no query '{name}'").into()))
    }

    fn dispatch_update(
        _ctx: WorkflowContext<Self>,
        name: &str,
        _input: Box<dyn Any>,
    ) -> LocalBoxFuture<'static, Result<Box<dyn WorkflowOutputValue>, WorkflowError>> {
        let error = WorkflowError::Execution(format!("there is no update '{name}'").into());
        std::future::ready(Err(error)).boxed_local()
    }

    fn validate_update(
        &self,
        _ctx: WorkflowContextView,
        name: &str,
        _input: Box<dyn Any>,
    ) -> Result<(), WorkflowError> {
        Err(WorkflowError::Execution(format!("there is no update '{name}'").into()))
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

impl ExecutableActivity for ActivityNamed {
    type Implementer = Handler;

    const REQUIRES_INSTANCE: bool = true;

    fn definition() -> Self {
        Self(name())
    }

    fn execute(
        receiver: Option<Arc<Handler>>,
        ctx: ActivityContext,
        input: Value,
    ) -> BoxFuture<'static, Result<Value, ActivityError>> {
        async move {
            match receiver {
                Some(handler) => handler.handle(ctx, input).await,
                None => Err(failure(ErrorName::Internal.as_str(), "there is nobody to handle it")),
            }
        }
        .boxed()
    }
}

impl ActivityImplementer for Handler {
    fn register_all(self: Arc<Self>, definitions: &mut ActivityDefinitions) {
        definitions.register_activity::<ActivityNamed>(self);
    }
}

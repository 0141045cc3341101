//! The one workflow implementation, registered under the name of every state machine, and the one activity handler,
//! registered under the name of every activity.

use std::any::Any;
use std::sync::Arc;

use contracts::ErrorName;
use futures::FutureExt as _;
use futures::future::{BoxFuture, LocalBoxFuture};
use serde_json::Value;
use temporalio_common::ActivityError;
use temporalio_common::data_converters::{PayloadConverter, RawValue};
use temporalio_common::protos::temporal::api::common::v1::Payloads;
use temporalio_sdk::activities::{ActivityContext, ActivityDefinitions, ActivityImplementer, ExecutableActivity};
use temporalio_sdk::workflow_interceptors::WorkflowOutputValue;
use temporalio_sdk::workflows::{WorkflowDefinitionDescriptor, WorkflowError, WorkflowImplementation};
use temporalio_sdk::{WorkflowContext, WorkflowContextView, WorkflowTermination};

use crate::activity::Handler;
use crate::drive;
use crate::failure::failure;
use crate::range::Failures;
use crate::types::{ActivityNamed, ChildrenFailed, Flow, StateMachineRun, json_of, name};

impl WorkflowImplementation for Flow {
    type Run = StateMachineRun;

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

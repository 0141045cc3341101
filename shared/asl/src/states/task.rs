//! Task: has a function called.

use std::time::Duration;

use serde_json::{Value, json};

use crate::MAX_PAYLOAD_BYTES;
use crate::definition::{State, function_name, integer};
use crate::error::StateError;
use crate::execution::{Attempt, Visit};
use crate::expression::{Field, Template};
use crate::retry::{Catcher, Retrier};
use crate::states::{Leave, leave};

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) resource: String,
    pub(crate) integration: Integration,
    pub(crate) arguments: Option<Template>,
    pub(crate) timeout: Option<Field<u64>>,
    pub(crate) heartbeat: Option<Field<u64>>,
    pub(crate) retriers: Vec<Retrier>,
    pub(crate) catchers: Vec<Catcher>,
}

/// How the function is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integration {
    /// `arn:aws:states:::lambda:invoke`: by `FunctionName` in the arguments, called with `Payload`.
    Invoke,
    /// By its ARN as the resource, called with the arguments.
    Function,
}

impl Task {
    /// The attempt to make; everything is evaluated anew for each.
    pub(crate) fn attempt(&self, visit: &mut Visit<'_>) -> Result<Attempt, StateError> {
        let mut scope = visit.scope(None);
        let arguments = match &self.arguments {
            Some(template) => template.evaluate(&mut scope, "Arguments")?,
            None => visit.input.clone(),
        };
        let mut scope = visit.scope(None);
        let mut limit = |field: &Option<Field<u64>>, name| match field {
            Some(field) => field.evaluate(&mut scope, name, "integer", integer).map(|s| Some(Duration::from_secs(s))),
            None => Ok(None),
        };
        let (timeout, heartbeat) =
            (limit(&self.timeout, "TimeoutSeconds")?, limit(&self.heartbeat, "HeartbeatSeconds")?);
        let (function, payload) = match self.integration {
            Integration::Function => (self.resource.clone(), arguments),
            Integration::Invoke => {
                let function = function_name(&arguments).ok_or_else(|| {
                    StateError::new("States.Runtime", "The field 'FunctionName' is required but was missing")
                })?;
                (function.to_owned(), request_body(&arguments)?)
            }
        };
        Ok(Attempt { resource: self.resource.clone(), function, payload, timeout, heartbeat })
    }

    /// The function answered.
    pub(crate) fn succeed(&self, state: &State, visit: &mut Visit<'_>, answer: Value) -> Result<Leave, StateError> {
        let (result, resource) = match self.integration {
            Integration::Function => (answer, self.resource.as_str()),
            Integration::Invoke => (envelope(answer), "lambda"),
        };
        if result.to_string().len() > MAX_PAYLOAD_BYTES {
            return Err(too_large(resource));
        }
        let default = result.clone();
        leave(visit, Some(("result", result)), &state.assign, state.output.as_ref(), default, state.next.clone())
    }
}

/// A payload that is a string is the request's body itself; null is an empty one, which a function sees as `{}`.
fn request_body(arguments: &Value) -> Result<Value, StateError> {
    match arguments.get("Payload") {
        None | Some(Value::Null) => Ok(json!({})),
        Some(Value::String(body)) => serde_json::from_str(body).map_err(|_| {
            let cause = "Could not parse request body into json";
            StateError::new("Lambda.InvalidRequestContentException", cause)
        }),
        Some(payload) => Ok(payload.clone()),
    }
}

/// What AWS's integration makes of a function's answer.
fn envelope(answer: Value) -> Value {
    json!({
        "ExecutedVersion": "$LATEST",
        "Payload": answer,
        "SdkHttpMetadata": { "HttpStatusCode": 200 },
        "SdkResponseMetadata": {},
        "StatusCode": 200,
    })
}

pub(crate) fn too_large(resource: &str) -> StateError {
    let cause = format!(
        "The state/task '{resource}' returned a result with a size exceeding the maximum number of bytes service limit."
    );
    StateError::new("States.DataLimitExceeded", cause)
}

//! Task: has a function called.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::leave::{Exit, Leave};
use crate::error::StateError;
use crate::numbers::integer_between;
use crate::scope::{Scope, Visit};
use crate::size;
use crate::template::{Field, Template};

/// The longest time limit of a task: AWS's own.
pub(crate) const MAX_TIMEOUT_SECONDS: u64 = 99_999_999;

/// Arguments of an invocation that would be lost: a function is called by its name, with its payload.
pub(crate) const NOT_PASSED_ON: [&str; 3] = ["Qualifier", "ClientContext", "LogType"];

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) resource: String,
    pub(crate) integration: Integration,
    pub(crate) arguments: Option<Template>,
    pub(crate) timeout: Option<Field<u64>>,
    pub(crate) heartbeat: Option<Field<u64>>,
}

/// How the function is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integration {
    /// `arn:aws:states:::lambda:invoke`: by `FunctionName` in the arguments, called with `Payload`.
    Invoke,
    /// By its ARN as the resource, called with the arguments.
    Function,
}

/// What is to be called.
pub(crate) struct FunctionCall {
    pub(crate) resource: String,
    pub(crate) function: String,
    pub(crate) payload: Value,
    pub(crate) timeout: Option<Duration>,
    pub(crate) heartbeat: Option<Duration>,
}

impl Task {
    /// The attempt to make; everything is evaluated anew for each.
    pub(crate) fn attempt(&self, visit: &mut Visit<'_>) -> Result<FunctionCall, StateError> {
        let input = Arc::clone(visit.input);
        let mut scope = visit.scope(None);
        let arguments = match &self.arguments {
            Some(template) => template.evaluate(&mut scope, "Arguments")?,
            None => Value::clone(&input),
        };
        let timeout = limit(self.timeout.as_ref(), &mut scope, "TimeoutSeconds")?;
        let heartbeat = limit(self.heartbeat.as_ref(), &mut scope, "HeartbeatSeconds")?;
        let (function, payload) = match self.integration {
            Integration::Function => (self.resource.clone(), arguments),
            Integration::Invoke => request(arguments)?,
        };
        if size::is_too_large(&payload) {
            let cause = "The task's payload has a size exceeding the maximum number of bytes service limit.";
            return Err(StateError::new("States.DataLimitExceeded", cause));
        }
        Ok(FunctionCall { resource: self.resource.clone(), function, payload, timeout, heartbeat })
    }

    /// The function answered.
    pub(crate) fn succeed(&self, exit: &Exit, visit: &mut Visit<'_>, answer: Value) -> Result<Leave, StateError> {
        let (result, resource) = match self.integration {
            Integration::Function => (answer, self.resource.as_str()),
            Integration::Invoke => (envelope(answer), "lambda"),
        };
        if size::is_too_large(&result) {
            return Err(StateError::too_large(resource));
        }
        let result = Arc::new(result);
        exit.leave(visit, Some(("result", &*result)), &result)
    }
}

fn limit(seconds: Option<&Field<u64>>, scope: &mut Scope<'_>, name: &str) -> Result<Option<Duration>, StateError> {
    let Some(seconds) = seconds else { return Ok(None) };
    let integer = integer_between(1, MAX_TIMEOUT_SECONDS);
    let seconds = seconds.evaluate(scope, name, "integer", integer)?;
    Ok(Some(Duration::from_secs(seconds)))
}

/// The function, and what it is called with.
fn request(mut arguments: Value) -> Result<(String, Value), StateError> {
    // An expression's value was not looked at when the machine was loaded.
    let is_synchronous = arguments.get("InvocationType").is_none_or(|kind| kind == "RequestResponse");
    let is_passed_on = NOT_PASSED_ON.into_iter().all(|name| arguments.get(name).is_none());
    if !(is_synchronous && is_passed_on) {
        return Err(StateError::runtime("A function is called by its name, with its payload, for its answer"));
    }
    let Some(function) = arguments.get("FunctionName").and_then(Value::as_str) else {
        return Err(StateError::runtime("The field 'FunctionName' is required but was missing"));
    };
    let function = function.to_owned();
    let payload = arguments.get_mut("Payload").map(Value::take);
    Ok((function, request_body(payload.unwrap_or_default())?))
}

/// A payload that is a string is the request's body itself; none, null and "" are an empty one, which a function sees
/// as `{}`.
fn request_body(payload: Value) -> Result<Value, StateError> {
    match payload {
        Value::Null => Ok(json!({})),
        Value::String(body) if body.is_empty() => Ok(json!({})),
        Value::String(body) => serde_json::from_str(&body).map_err(|_| {
            let cause = "Could not parse request body into json";
            StateError::new("Lambda.InvalidRequestContentException", cause)
        }),
        payload => Ok(payload),
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

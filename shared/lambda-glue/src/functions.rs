//! Calling functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::{ActivityError, Cause, ErrorName};
use engine::{ActivityCall, ActivityRunner};
use serde::Deserialize;
use serde_json::Value;
use store::{StepOutcome, StepRecorder};

use crate::signed::{Answer, Signed, Unanswered};

/// Calls functions.
#[derive(Clone)]
pub struct Functions(Signed);

/// Why a call came to nothing, by the names that Step Functions has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailed {
    /// `Lambda.ServiceException` and the like, or the function's own `errorType`.
    pub error: String,
    /// What was said about it.
    pub message: String,
}

/// What Lambda makes of an error of a function.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FunctionError {
    error_type: String,
    error_message: String,
}

impl Default for FunctionError {
    fn default() -> Self {
        Self { error_type: "Lambda.Unknown".to_owned(), error_message: String::new() }
    }
}

impl Functions {
    pub(crate) fn new(service: Signed) -> Self {
        Self(service)
    }

    /// Calls one by its name, once, and waits for its answer.
    pub async fn call(&self, function: &str, payload: &Value) -> Result<Value, CallFailed> {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let headers = [("content-type", "application/json")];
        let failed = |error: &str, message: String| CallFailed { error: error.to_owned(), message };
        let answer = self.0.post(&path, &headers, payload.to_string().into_bytes()).await;
        let Answer { status, headers, body } =
            answer.map_err(|Unanswered(why)| failed("Lambda.SdkClientException", why))?;
        let text = || String::from_utf8_lossy(&body).into_owned();
        match status.as_u16() {
            200 if headers.contains_key("x-amz-function-error") => {
                let FunctionError { error_type, error_message } = serde_json::from_slice(&body).unwrap_or_default();
                Err(failed(&error_type, error_message))
            }
            200 => serde_json::from_slice(&body).map_err(|error| failed("Lambda.Unknown", error.to_string())),
            429 => Err(failed("Lambda.TooManyRequestsException", text())),
            500.. => Err(failed("Lambda.ServiceException", text())),
            _ => Err(failed("Lambda.AWSLambdaException", text())),
        }
    }
}

/// Runs activities by calling their functions, which keep the record of attempts themselves.
pub struct InvokedActivities {
    functions: Functions,
    /// The functions' names by those of their activities.
    names: BTreeMap<String, String>,
}

impl InvokedActivities {
    /// By these names.
    pub fn new(functions: Functions, names: BTreeMap<String, String>) -> Self {
        Self { functions, names }
    }
}

#[async_trait]
impl ActivityRunner for InvokedActivities {
    async fn run(&self, call: ActivityCall, _recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        let Some(function) = self.names.get(&call.activity) else {
            let message = format!("there is no function for the activity '{}'", call.activity);
            return Err(ActivityError::new(ErrorName::Internal, message));
        };
        let CallFailed { error, message } = match self.functions.call(function, &call.payload).await {
            Ok(result) => return Ok(result),
            Err(failed) => failed,
        };
        let cause = serde_json::from_str(&message).unwrap_or(Cause { message, ..Cause::default() });
        Err(ActivityError { error, cause: Box::new(cause) })
    }
}

//! Calling functions.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use aws_types::SdkConfig;
use serde::Deserialize;
use serde_json::Value;

use crate::causes::causes;
use crate::clients::single_attempt;

/// An activity takes 40 s at most.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Calls functions.
#[derive(Debug, Clone)]
pub struct Functions(Client);

/// Why a call came to nothing, by the names that Step Functions has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailed {
    /// `Lambda.ServiceException` and the like, or the function's own `errorType`.
    pub error: String,
    /// What was said about it.
    pub message: String,
}

impl CallFailed {
    fn new(error: impl Into<String>, message: impl Into<String>) -> Self {
        Self { error: error.into(), message: message.into() }
    }
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
    /// Who calls repeats the call: the client does not, as a call that was lost may have had its effect.
    pub(crate) fn new(sdk: &SdkConfig) -> Self {
        let config = Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .timeout_config(single_attempt(TIMEOUT))
            // A function that works says nothing meanwhile.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Self(Client::from_conf(config.build()))
    }

    /// Calls one by its name, once, and waits for its answer.
    pub async fn call(&self, function: &str, payload: &Value) -> Result<Value, CallFailed> {
        answered(self.send(function, payload).await)
    }

    /// The same of what may be done twice: if the connection broke before there was an answer, it is called once more on
    /// another one. One that was idle may have been closed by the time it is used.
    pub async fn call_repeatable(&self, function: &str, payload: &Value) -> Result<Value, CallFailed> {
        match self.send(function, payload).await {
            Err(SdkError::DispatchFailure(_)) => self.call(function, payload).await,
            sent => answered(sent),
        }
    }

    async fn send(&self, function: &str, payload: &Value) -> Result<InvokeOutput, SdkError<InvokeError>> {
        let call = self.0.invoke().function_name(function).payload(Blob::new(payload.to_string()));
        // Boxed, as the types of those who wait for it are deep.
        Box::pin(call.send()).await
    }
}

/// What a function answered.
fn answered(sent: Result<InvokeOutput, SdkError<InvokeError>>) -> Result<Value, CallFailed> {
    let answer = sent.map_err(|error| not_called(&error))?;
    let body = answer.payload.map(Blob::into_inner).unwrap_or_default();
    if answer.function_error.is_some() {
        let FunctionError { error_type, error_message } = serde_json::from_slice(&body).unwrap_or_default();
        return Err(CallFailed::new(error_type, error_message));
    }
    serde_json::from_slice(&body).map_err(|error| CallFailed::new("Lambda.Unknown", error.to_string()))
}

/// Lambda's answers by their status, as Step Functions names them; what is no answer is the client's own fault.
fn not_called(error: &SdkError<InvokeError>) -> CallFailed {
    let refusal = error.raw_response().filter(|answer| !answer.status().is_success());
    let Some(refusal) = refusal else {
        return CallFailed::new("Lambda.SdkClientException", causes(error));
    };
    let name = match refusal.status().as_u16() {
        429 => "Lambda.TooManyRequestsException",
        500.. => "Lambda.ServiceException",
        _ => "Lambda.AWSLambdaException",
    };
    CallFailed::new(name, String::from_utf8_lossy(refusal.body().bytes().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};

    use aws_sdk_lambda::config::{Credentials, SharedCredentialsProvider};
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use serde_json::json;

    use super::*;
    use crate::scripted::{self, Answer, clients};

    /// The outcome of a call that is answered so, which is made once.
    async fn called(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Result<Value, CallFailed> {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let credentials = SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "tests"));
        let functions = clients(credentials, move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            assert!(request.uri().ends_with("/2015-03-31/functions/stack-health/invocations"), "{}", request.uri());
            assert_eq!(request.body().bytes(), Some(&br#"{"a":1}"#[..]));
            answer()
        })
        .functions();
        let outcome = functions.call("stack-health", &json!({ "a": 1 })).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1, "who calls repeats the call");
        outcome
    }

    #[tokio::test]
    async fn an_answer_is_the_functions() {
        assert_eq!(called(|| scripted::answered(200, &[], "[true]")).await, Ok(json!([true])));
        let error = called(|| scripted::answered(200, &[], "no JSON")).await.expect_err("it is no answer");
        assert_eq!(error.error, "Lambda.Unknown");
    }

    /// The outcome of a call that may be repeated, and how many there were; these are its answers.
    async fn called_repeatedly(answers: Vec<Answer>) -> (Result<Value, CallFailed>, usize) {
        let all = answers.len();
        let left = Arc::new(Mutex::new(VecDeque::from(answers)));
        let next = Arc::clone(&left);
        let credentials = SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "tests"));
        let answer = move |_| next.lock().expect("nobody panicked").pop_front().expect("another call was not expected");
        let outcome = clients(credentials, answer).functions().call_repeatable("stack-gateway", &json!({})).await;
        let left = left.lock().expect("nobody panicked").len();
        (outcome, all - left)
    }

    #[tokio::test]
    async fn what_may_be_done_twice_is_called_once_more_when_its_connection_breaks() {
        let broken = || Err(ConnectorError::io("the peer has closed the connection".into()));
        let good = || scripted::answered(200, &[], "[true]");
        assert_eq!(called_repeatedly(vec![broken(), good(), good()]).await, (Ok(json!([true])), 2));
        let (outcome, calls) = called_repeatedly(vec![broken(), broken(), good()]).await;
        assert_eq!((outcome.expect_err("both are lost").error.as_str(), calls), ("Lambda.SdkClientException", 2));
        for answer in [scripted::answered(503, &[], ""), scripted::answered(429, &[], ""), good()] {
            let (_, calls) = called_repeatedly(vec![answer, good()]).await;
            assert_eq!(calls, 1, "it was answered");
        }
    }

    #[tokio::test]
    async fn errors_have_the_names_that_step_functions_gives_them() {
        const FAILED: [(&str, &str); 1] = [("x-amz-function-error", "Unhandled")];
        let own = r#"{"errorType": "Conflict", "errorMessage": "taken"}"#;
        for (status, headers, body, error, message) in [
            (200, &FAILED[..], own, "Conflict", "taken"),
            (200, &FAILED, "killed", "Lambda.Unknown", ""),
            (429, &[], r#"{"Message": "slower"}"#, "Lambda.TooManyRequestsException", r#"{"Message": "slower"}"#),
            (500, &[], "broken", "Lambda.ServiceException", "broken"),
            (503, &[], "", "Lambda.ServiceException", ""),
            (404, &[], "no such function", "Lambda.AWSLambdaException", "no such function"),
            (403, &[], "not allowed", "Lambda.AWSLambdaException", "not allowed"),
        ] {
            let outcome = called(move || scripted::answered(status, headers, body)).await;
            assert_eq!(outcome, Err(CallFailed::new(error, message)), "{status} {body}");
        }
        let lost = called(|| Err(ConnectorError::io("the line is dead".into()))).await.expect_err("it was lost");
        assert_eq!(lost.error, "Lambda.SdkClientException");
        assert!(lost.message.contains("the line is dead"), "{}", lost.message);
    }
}

//! How the end of a state machine reads as the end of an execution; one function for every engine.

use contracts::responses::{Failure, Residue};
use contracts::step::StepPath;
use contracts::{Cause, ErrorName, Status};
use serde::Deserialize;

/// The end of an execution that did not complete.
#[derive(Debug, Clone, PartialEq)]
pub struct UnsuccessfulEnd {
    /// `Cancelled`, `TimedOut` or `Failed`; nothing but the error's name decides.
    pub status: Status,
    /// Why.
    pub failure: Failure,
}

impl UnsuccessfulEnd {
    /// Adds steps whose effects an earlier execution left, and this one did not reach either.
    pub fn leave(&mut self, steps: &[&StepPath]) {
        if steps.is_empty() {
            return;
        }
        let first = std::mem::replace(&mut self.failure.error, ErrorName::CompensationFailed.to_string());
        if first != self.failure.error {
            self.failure.message = match self.failure.message.as_str() {
                "" => first,
                message => format!("{first}: {message}"),
            };
        }
        self.status = Status::Failed;
        let error = "left by the execution that this one retries".to_owned();
        self.failure.residue.extend(steps.iter().map(|step| Residue { step: step.to_string(), error: error.clone() }));
    }
}

/// What the Fail state of every workflow puts into its `Cause`, as JSON text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FailCause {
    step: Option<String>,
    error: Option<String>,
    /// The failing attempt's own cause: JSON text of a [`Cause`], or whatever the engine said.
    cause: String,
    residue: Vec<Residue>,
}

/// Reads the `Error` and `Cause` that a state machine failed with. `undone` are the steps whose effects were undone;
/// `attempts_of` knows how often a step was tried.
pub fn unsuccessful_end(
    error: Option<&str>,
    cause: Option<&str>,
    undone: Vec<String>,
    attempts_of: impl Fn(&str) -> u32,
) -> UnsuccessfulEnd {
    let error = error.unwrap_or(ErrorName::Internal.as_str());
    let status = match error {
        "WorkflowCancelled" => Status::Cancelled,
        "WorkflowTimedOut" => Status::TimedOut,
        _ => Status::Failed,
    };
    let fail: FailCause = cause.and_then(|cause| serde_json::from_str(cause).ok()).unwrap_or_default();
    let attempt = attempt_cause(&fail.cause);
    let first_error = fail.error.as_deref().filter(|first| *first != error);
    let message = match (attempt.message.is_empty(), first_error) {
        (false, Some(first)) => format!("{first}: {}", attempt.message),
        (false, None) => attempt.message,
        (true, Some(first)) => first.to_owned(),
        // Not one of our Fail states: the engine's own words are all there is.
        (true, None) if fail.step.is_none() => cause.unwrap_or_default().to_owned(),
        (true, None) => String::new(),
    };
    let attempts = fail.step.as_deref().map_or(0, attempts_of);
    let failure = Failure {
        error: error.to_owned(),
        step: fail.step,
        service: attempt.service,
        message,
        http_status: attempt.http_status,
        attempts,
        undone,
        residue: fail.residue,
    };
    UnsuccessfulEnd { status, failure }
}

/// The cause of a failing attempt. Behind a Lambda function it is the `errorMessage` of what AWS makes of an error:
/// `{"errorType", "errorMessage"}`.
fn attempt_cause(text: &str) -> Cause {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct FunctionError {
        error_message: String,
    }
    let own = |text: &str| serde_json::from_str::<Cause>(text).unwrap_or_default();
    match serde_json::from_str::<FunctionError>(text) {
        Ok(error) => own(&error.error_message),
        Err(_) => own(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_names_service_step_and_kind() {
        let attempt = Cause {
            service: Some("auth".to_owned()),
            message: "answered 503".to_owned(),
            http_status: Some(503),
            ..Cause::default()
        };
        let cause = serde_json::json!({
            "step": "CreateUserAccount", "error": "ServiceUnavailable",
            "cause": serde_json::to_string(&attempt).expect("plain"), "residue": [],
        });
        let behind_lambda = serde_json::json!({
            "errorType": "ServiceUnavailable", "errorMessage": cause["cause"], "trace": [],
        });
        let mut wrapped = cause.clone();
        wrapped["cause"] = behind_lambda.to_string().into();
        let read = |cause: &serde_json::Value| {
            unsuccessful_end(Some("ServiceUnavailable"), Some(&cause.to_string()), vec!["A".to_owned()], |_| 3)
        };
        let ended = read(&cause);
        assert_eq!(read(&wrapped), ended, "the same on every engine");
        assert_eq!(ended.status, Status::Failed);
        assert_eq!(
            ended.failure.summary(),
            "CreateUserAccount: ServiceUnavailable from auth: answered 503 (3 attempts); undone: A"
        );
    }

    #[test]
    fn what_an_earlier_execution_left_is_residue_too() {
        let mut end = unsuccessful_end(Some("WorkflowCancelled"), None, vec![], |_| 1);
        let before = end.clone();
        end.leave(&[]);
        assert_eq!(end, before);
        end.leave(&[&StepPath::of_state("CreateUserAccount")]);
        assert_eq!((end.status, end.failure.error.as_str()), (Status::Failed, "CompensationFailed"));
        assert_eq!(
            end.failure.summary(),
            "CompensationFailed: WorkflowCancelled; could not be undone: CreateUserAccount"
        );
    }

    #[test]
    fn the_error_alone_decides_the_status() {
        for (error, status) in [
            ("WorkflowCancelled", Status::Cancelled),
            ("WorkflowTimedOut", Status::TimedOut),
            ("CompensationFailed", Status::Failed),
            ("States.Runtime", Status::Failed),
        ] {
            assert_eq!(unsuccessful_end(Some(error), Some("free text"), vec![], |_| 1).status, status);
        }
    }
}

//! The retry policy that an operator may set for all workflows.

use serde_json::Value;

/// How often and how patiently a failing call is repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Wait before the second attempt, in seconds.
    pub initial_interval_seconds: u64,
    /// Each further wait is this many times the last.
    pub backoff_coefficient: f64,
    /// No wait is longer, in seconds.
    pub maximum_interval_seconds: u64,
    /// Attempts in all, the first included.
    pub maximum_attempts: u32,
}

impl Default for RetryPolicy {
    /// What the state machines hold.
    fn default() -> Self {
        Self {
            initial_interval_seconds: 1,
            backoff_coefficient: 2.0,
            maximum_interval_seconds: 60,
            maximum_attempts: 3,
        }
    }
}

impl RetryPolicy {
    /// Rewrites the standard retrier (the one for `ServiceUnavailable`) of every forward step.
    pub(crate) fn apply(&self, definition: &str) -> String {
        if *self == Self::default() {
            return definition.to_owned();
        }
        let Ok(mut machine) = serde_json::from_str::<Value>(definition) else {
            return definition.to_owned();
        };
        self.apply_within(&mut machine);
        machine.to_string()
    }

    /// Those of branches and iterations too.
    fn apply_within(&self, value: &mut Value) {
        match value {
            Value::Object(object) => {
                for retrier in object.get_mut("Retry").and_then(Value::as_array_mut).into_iter().flatten() {
                    self.apply_to(retrier);
                }
                object.values_mut().for_each(|value| self.apply_within(value));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply_within(item)),
            _ => {}
        }
    }

    fn apply_to(&self, retrier: &mut Value) {
        let errors = retrier["ErrorEquals"].as_array();
        if errors.is_some_and(|errors| errors.iter().any(|error| error == "ServiceUnavailable")) {
            retrier["IntervalSeconds"] = self.initial_interval_seconds.into();
            retrier["BackoffRate"] = self.backoff_coefficient.into();
            retrier["MaxDelaySeconds"] = self.maximum_interval_seconds.into();
            retrier["MaxAttempts"] = self.maximum_attempts.saturating_sub(1).into();
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::WorkflowKind;

    use super::*;

    #[test]
    fn only_the_standard_retrier_follows_the_policy() {
        let workflow = crate::workflow(WorkflowKind::UserOnboarding).expect("it is in the catalogue");
        let plain: Value = serde_json::from_str(&workflow.definition(&RetryPolicy::default())).expect("JSON");
        let policy = RetryPolicy { maximum_attempts: 5, ..RetryPolicy::default() };
        let changed: Value = serde_json::from_str(&workflow.definition(&policy)).expect("JSON");
        let attempts = |machine: &Value, retrier: usize| {
            machine["States"]["CreateUserAccount"]["Retry"][retrier]["MaxAttempts"].clone()
        };
        assert_eq!((attempts(&plain, 2), attempts(&changed, 2)), (2.into(), 4.into()));
        assert_eq!((attempts(&plain, 1), attempts(&changed, 1)), (6.into(), 6.into()));
        assert_eq!(changed["States"]["OnboardingFailed"], plain["States"]["OnboardingFailed"]);
        let inner = r#"{"States": {"Each": {"ItemProcessor": {"States": {"Call": {"Retry": [
            {"ErrorEquals": ["ServiceUnavailable"], "MaxAttempts": 2}, {"ErrorEquals": ["Other"], "MaxAttempts": 2}]}}}}}}"#;
        let inner: Value = serde_json::from_str(&policy.apply(inner)).expect("JSON");
        let attempts = |retrier: usize| &inner["States"]["Each"]["ItemProcessor"]["States"]["Call"]["Retry"][retrier]["MaxAttempts"];
        assert_eq!((attempts(0), attempts(1)), (&4.into(), &2.into()));
        assert_eq!(plain["States"]["UndoCreateUserAccount"], changed["States"]["UndoCreateUserAccount"]);
    }
}

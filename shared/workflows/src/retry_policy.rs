//! The retry policies that an operator may set for all workflows.

use serde_json::Value;

/// How often and how patiently calls are repeated. Undoing is repeated by retriers of its own, which are more patient and
/// which no setting changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicies {
    /// Calls that a service answered, or did not answer in time.
    pub answered: RetryPolicy,
    /// Calls that did not reach a service, or whose connection broke before an answer. It outlasts a restart.
    pub unreachable: RetryPolicy,
}

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

impl Default for RetryPolicies {
    /// What the state machines hold.
    fn default() -> Self {
        Self { answered: RetryPolicy::ANSWERED, unreachable: RetryPolicy::UNREACHABLE }
    }
}

impl RetryPolicies {
    /// Rewrites the retriers of every forward step that these policies are about.
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
                let arguments = object.get("Arguments").unwrap_or(&Value::Null);
                let undoes = arguments["Payload"]["step"]["kind"] == "compensation";
                let retriers = object.get_mut("Retry").filter(|_| !undoes).and_then(Value::as_array_mut);
                retriers.into_iter().flatten().for_each(|retrier| self.apply_to(retrier));
                object.values_mut().for_each(|value| self.apply_within(value));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply_within(item)),
            _ => {}
        }
    }

    fn apply_to(&self, retrier: &mut Value) {
        let errors = retrier["ErrorEquals"].as_array();
        let is_for = |name: &str| errors.is_some_and(|errors| errors.iter().any(|error| error == name));
        let policy = match (is_for("ServiceUnavailable"), is_for("ServiceUnreachable")) {
            (true, _) => self.answered,
            (_, true) => self.unreachable,
            (false, false) => return,
        };
        retrier["IntervalSeconds"] = policy.initial_interval_seconds.into();
        retrier["BackoffRate"] = policy.backoff_coefficient.into();
        retrier["MaxDelaySeconds"] = policy.maximum_interval_seconds.into();
        retrier["MaxAttempts"] = policy.maximum_attempts.saturating_sub(1).into();
    }
}

impl RetryPolicy {
    /// Of calls that a service answered.
    pub const ANSWERED: Self = Self {
        initial_interval_seconds: 1,
        backoff_coefficient: 2.0,
        maximum_interval_seconds: 60,
        maximum_attempts: 3,
    };

    /// Of calls that did not reach a service. The waits are 121 s together at most. Full jitter halves them, so that they
    /// are a minute on average: less than 30 s in one case of 2,000, less than 20 s in one of 400,000.
    pub const UNREACHABLE: Self = Self {
        initial_interval_seconds: 1,
        backoff_coefficient: 1.5,
        maximum_interval_seconds: 10,
        maximum_attempts: 17,
    };
}

#[cfg(test)]
mod tests {
    use contracts::WorkflowKind;

    use super::*;

    fn machine(policies: &RetryPolicies) -> Value {
        let workflow = crate::workflow(WorkflowKind::UserOnboarding).expect("it is in the catalogue");
        serde_json::from_str(&workflow.definition(policies)).expect("JSON")
    }

    #[test]
    fn only_its_own_retrier_follows_a_policy() {
        let more = |policy: RetryPolicy| RetryPolicy { maximum_attempts: 50, ..policy };
        let policies = RetryPolicies::default();
        let answered = RetryPolicies { answered: more(policies.answered), ..policies };
        let unreachable = RetryPolicies { unreachable: more(policies.unreachable), ..policies };
        let plain = machine(&policies);
        let attempts = |policies: &RetryPolicies| {
            let changed = machine(policies);
            for other in ["OnboardingFailed", "UndoCreateUserAccount"] {
                assert_eq!(changed["States"][other], plain["States"][other], "{other}");
            }
            let retriers = changed["States"]["CreateUserAccount"]["Retry"].as_array().expect("retriers").clone();
            retriers.iter().skip(1).map(|retrier| retrier["MaxAttempts"].as_u64()).collect::<Option<Vec<_>>>()
        };
        assert_eq!(attempts(&policies), Some(vec![6, 2, 16]));
        assert_eq!(attempts(&answered), Some(vec![6, 49, 16]));
        assert_eq!(attempts(&unreachable), Some(vec![6, 2, 49]));
    }

    #[test]
    fn the_files_hold_the_defaults() {
        let mut other = RetryPolicies::default();
        other.answered.maximum_attempts += 1;
        let mut machine = machine(&other);
        RetryPolicies::default().apply_within(&mut machine);
        assert_eq!(machine, self::machine(&RetryPolicies::default()));
    }

    #[test]
    fn the_retriers_of_iterations_follow_it_too() {
        let mut policies = RetryPolicies::default();
        policies.answered.maximum_attempts = 5;
        let inner = r#"{"States": {"Each": {"ItemProcessor": {"States": {"Call": {"Retry": [
            {"ErrorEquals": ["ServiceUnavailable"], "MaxAttempts": 2}, {"ErrorEquals": ["Other"], "MaxAttempts": 2}]}}}}}}"#;
        let inner: Value = serde_json::from_str(&policies.apply(inner)).expect("JSON");
        let attempts = |retrier: usize| &inner["States"]["Each"]["ItemProcessor"]["States"]["Call"]["Retry"][retrier]["MaxAttempts"];
        assert_eq!((attempts(0), attempts(1)), (&4.into(), &2.into()));
    }
}

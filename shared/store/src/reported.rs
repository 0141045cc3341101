//! What steps report of an execution's result. It is kept in the record, so that an execution has a result also when its
//! state machine fails, which then has no output, and so that what no engine is to see can be part of it.

use contracts::Status;
use contracts::responses::Items;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Parts of the result that steps have reported.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reported {
    /// By name; the last report of a name counts.
    pub parts: Map<String, Value>,
    /// Whether the last step has reported: then this is the result, however the execution ends.
    pub is_final: bool,
}

/// The part by which the plan of a job says how many items it has.
const PLANNED: &str = "total_entities";

impl Reported {
    /// How far a job is whose plan is over, and of which no batch is: none unless the plan says how many items there are.
    pub fn planned(&self) -> Option<Items> {
        let total = self.parts.get(PLANNED)?.as_u64()?;
        Some(Items { total, completed: 0, failed: 0 })
    }

    /// Adds what a step reports.
    pub fn add(&mut self, report: Map<String, Value>, closes: bool) {
        self.parts.extend(report);
        self.is_final |= closes;
    }

    /// Whether nothing was reported.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && !self.is_final
    }

    /// The result of an execution that ended like this; `output` is what its state machine came to.
    pub fn result(&self, status: Status, output: Option<Value>) -> Option<Value> {
        let is_result = self.is_final || status == Status::Completed;
        match output {
            _ if !is_result => None,
            None => (!self.is_empty()).then(|| Value::Object(self.parts.clone())),
            Some(Value::Object(output)) => {
                let mut result = self.parts.clone();
                result.extend(output);
                Some(Value::Object(result))
            }
            Some(output) if self.parts.is_empty() => Some(output),
            Some(_) => Some(Value::Object(self.parts.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_result_is_what_was_reported_and_the_output() {
        let mut reported = Reported::default();
        let output = Some(json!({ "b": 2 }));
        assert_eq!(reported.result(Status::Completed, output.clone()), output);
        assert_eq!(reported.result(Status::Completed, Some(json!([1]))), Some(json!([1])));
        reported.add(part(json!({ "a": 0 })), false);
        reported.add(part(json!({ "a": 1 })), false);
        assert_eq!(reported.result(Status::Completed, output), Some(json!({ "a": 1, "b": 2 })));
        assert_eq!(reported.result(Status::Completed, Some(json!("text"))), Some(json!({ "a": 1 })));
        assert_eq!(reported.result(Status::Failed, None), None, "what is undone is no result");
    }

    #[test]
    fn what_the_last_step_reports_is_the_result_of_a_failure_too() {
        let mut reported = Reported::default();
        reported.add(part(json!({ "status": "RolledBack" })), true);
        assert_eq!(reported.result(Status::Failed, None), Some(json!({ "status": "RolledBack" })));
    }
}

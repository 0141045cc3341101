//! A history as a timeline: a row for each attempt of doing or undoing a step, and one for everything else that happened.

use std::collections::BTreeMap;

use contracts::{Event, Timestamp};
use serde_json::Value;

use super::table::Table;

/// The lines of a timeline.
pub(crate) fn lines(events: &[Event], started_at: Timestamp) -> Vec<String> {
    let mut rows: Vec<Row> = Vec::new();
    let mut under_way = BTreeMap::new();
    for event in events {
        let Some(attempt) = Attempt::of(event) else {
            rows.push(Row::happening(event));
            continue;
        };
        match event.event_type.as_str() {
            "ActivityTaskScheduled" | "CompensationScheduled" => {
                under_way.insert(attempt.clone(), rows.len());
                rows.push(Row::attempt(&attempt, event));
            }
            "ActivityTaskStarted" => {}
            // An attempt whose begin is not in this part of the history is a row of its own.
            _ => match under_way.remove(&attempt).and_then(|index| rows.get_mut(index)) {
                Some(row) => row.end(event),
                None => rows.push(Row { ended_at: None, ..Row::attempt(&attempt, event).ended(event) }),
            },
        }
    }
    let mut table = Table::new(["AT", "TOOK", "STEP", "ATTEMPT", "OUTCOME"]);
    rows.into_iter().for_each(|row| table.add(row.cells(started_at)));
    table.take_lines()
}

/// What an event of a step says in a few words.
pub(crate) fn outcome(event: &Event) -> String {
    let details = &event.details;
    let is = |name: &str| details["result"][name] == true;
    match event.event_type.as_str() {
        "ActivityTaskCompleted" if is("skipped") => "skipped".to_owned(),
        "ActivityTaskCompleted" => "done".to_owned(),
        "CompensationCompleted" if is("undone") => "undone".to_owned(),
        // One that undoes no step tells what became of all of it: its name says so.
        "CompensationCompleted" if details["activity_id"].as_str().is_some_and(|step| step.starts_with("Conclude")) => {
            "done".to_owned()
        }
        "CompensationCompleted" => "nothing to undo".to_owned(),
        "ActivityTaskTimedOut" => "took too long".to_owned(),
        "ActivityTaskFailed" | "CompensationFailed" => format!("failed: {}", reason(details)),
        _ => reason(details),
    }
}

/// The error of an event, and what its cause says.
fn reason(details: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let failure = &details["failure"];
    let parts = [&details["error"], &failure["step"], &details["cause"]["message"], &failure["message"]];
    parts.map(text).into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A step, perhaps within a Map or a loop, and which attempt of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt {
    step: String,
    item: String,
    number: u64,
}

impl Attempt {
    fn of(event: &Event) -> Option<Self> {
        let step = event.details["activity_id"].as_str()?.to_owned();
        let item = match &event.details["item"] {
            Value::Null => String::new(),
            Value::String(item) => item.clone(),
            item => item.to_string(),
        };
        Some(Self { step, item, number: event.details["attempt"].as_u64().unwrap_or(1) })
    }
}

#[derive(Debug)]
struct Row {
    began_at: Timestamp,
    ended_at: Option<Timestamp>,
    step: String,
    attempt: String,
    outcome: String,
}

impl Row {
    fn happening(event: &Event) -> Self {
        let outcome = format!("{} {}", event.event_type, reason(&event.details)).trim_end().to_owned();
        Self { began_at: event.timestamp, ended_at: None, step: String::new(), attempt: String::new(), outcome }
    }

    fn attempt(attempt: &Attempt, event: &Event) -> Self {
        // Undoing is named after what it undoes.
        let is_undoing = event.event_type.starts_with("Compensation");
        let mut step = match attempt.step.strip_prefix("Undo").filter(|_| is_undoing) {
            Some(undone) => format!("undo {undone}"),
            None => attempt.step.clone(),
        };
        if !attempt.item.is_empty() {
            step.push_str(&format!(" [{}]", attempt.item));
        }
        let (attempt, outcome) = (attempt.number.to_string(), "under way".to_owned());
        Self { began_at: event.timestamp, ended_at: None, step, attempt, outcome }
    }

    fn end(&mut self, event: &Event) {
        self.ended_at = Some(event.timestamp);
        self.outcome = outcome(event);
    }

    fn ended(mut self, event: &Event) -> Self {
        self.end(event);
        self
    }

    fn cells(self, started_at: Timestamp) -> [String; 5] {
        let took = |since: Timestamp, until: Timestamp| format!("{:.3} s", until.duration_since(since).as_secs_f64());
        let duration = self.ended_at.map(|ended_at| took(self.began_at, ended_at)).unwrap_or_default();
        [took(started_at, self.began_at), duration, self.step, self.attempt, self.outcome]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(event_id: u64, event_type: &str, details: Value) -> Event {
        let timestamp = Timestamp::from_millisecond(i64::try_from(event_id).unwrap() * 500).unwrap();
        Event { event_id, event_type: event_type.to_owned(), timestamp, details }
    }

    #[test]
    fn each_attempt_is_one_row() {
        let of = |step: &str, attempt: u64| json!({ "activity_id": step, "attempt": attempt });
        let mut failed = of("Copy", 1);
        failed["error"] = json!("ServiceUnavailable");
        failed["cause"] = json!({ "message": "answered 503" });
        let mut item = of("Copy", 2);
        item["item"] = json!("17.2");
        let mut undone = of("UndoCopy", 1);
        undone["result"] = json!({ "undone": true });
        let events = [
            event(0, "WorkflowExecutionStarted", json!({ "input": { "secret": 1 } })),
            event(1, "ActivityTaskScheduled", of("Copy", 1)),
            event(2, "ActivityTaskStarted", of("Copy", 1)),
            event(3, "ActivityTaskFailed", failed),
            event(4, "ActivityTaskScheduled", item),
            event(5, "CompensationScheduled", of("UndoCopy", 1)),
            event(6, "CompensationCompleted", undone),
            event(7, "WorkflowExecutionFailed", json!({ "error": "E", "failure": { "step": "Copy", "message": "m" } })),
        ];
        let expected = "AT       TOOK     STEP         ATTEMPT  OUTCOME
0.000 s                                 WorkflowExecutionStarted
0.500 s  1.000 s  Copy         1        failed: ServiceUnavailable answered 503
2.000 s           Copy [17.2]  2        under way
2.500 s  0.500 s  undo Copy    1        undone
3.500 s                                 WorkflowExecutionFailed E Copy m";
        assert_eq!(lines(&events, Timestamp::UNIX_EPOCH).join("\n"), expected);
    }
}

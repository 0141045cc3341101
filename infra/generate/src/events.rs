//! The functions that events and schedules start, and what is there for Temporal.

use contracts::WorkflowKind;

use crate::functions::{Function, Package, Source};
use crate::grants::Port;

const HAS_TEMPORAL: Option<&str> = Some("HasTemporal");

pub(crate) fn all() -> [Function; 7] {
    [
        Function {
            timeout: 30,
            ports: vec![Port::Ends, Port::Describe],
            ..function(
                "project-execution-status",
                "EventBridge: Step Functions Execution Status Change",
                "Records the end of an execution on Step Functions",
                Source::StatusChange { max_age_seconds: 3_600, retries: 2 },
            )
        },
        Function {
            timeout: 60,
            ports: vec![Port::Ends, Port::Due, Port::StartAgain, Port::Describe],
            ..function(
                "reconcile-executions",
                "EventBridge Scheduler: every minute",
                "Repeats starts that never arrived and records ends that nobody recorded",
                Source::Schedule { every: "1 minute", window_minutes: None, max_age_seconds: 60 },
            )
        },
        Function {
            timeout: 900,
            // Histories that are long move in parts, several of them at once.
            memory: Some(512),
            ports: vec![Port::Archiving],
            ..function(
                "archive-executions",
                "EventBridge Scheduler: every hour",
                "Moves executions that ended long ago from the table to the bucket",
                Source::Schedule { every: "1 hour", window_minutes: Some(15), max_age_seconds: 3_600 },
            )
        },
        Function {
            timeout: 900,
            ports: vec![
                Port::Endpoint(api::Port::Create),
                Port::Endpoint(api::Port::Keep),
                Port::Endpoint(api::Port::Start(&[WorkflowKind::CrossServiceBackup])),
                Port::KeptBackups,
            ],
            ..function(
                "keep-backups",
                "EventBridge Scheduler: every hour",
                "Begins backups that are due by the schedule, and removes those whose time is up",
                Source::Schedule { every: "1 hour", window_minutes: Some(15), max_age_seconds: 3_600 },
            )
        },
        Function {
            timeout: 300,
            ports: vec![Port::Notices],
            ..function(
                "notify-due-requests",
                "EventBridge Scheduler: every hour",
                "Tells that the time for answers to persons is nearly over, or over",
                Source::Schedule { every: "1 hour", window_minutes: Some(15), max_age_seconds: 3_600 },
            )
        },
        Function {
            timeout: 20,
            condition: HAS_TEMPORAL,
            ports: vec![Port::TemporalApiKey],
            ..function(
                "temporal-gateway",
                "Other functions, which ask Temporal through this one",
                "Asks Temporal for other functions",
                Source::Caller,
            )
        },
        Function {
            // The next one has begun by then.
            timeout: 90,
            memory: Some(512),
            condition: HAS_TEMPORAL,
            ports: vec![Port::Ends, Port::Invoke, Port::MapFiles, Port::TemporalApiKey],
            ..function(
                "temporal-worker",
                "EventBridge Scheduler: every minute",
                "Works for Temporal until shortly before its time limit",
                Source::Schedule { every: "1 minute", window_minutes: None, max_age_seconds: 60 },
            )
        },
    ]
}

fn function(name: &str, called_by: &str, description: &str, source: Source) -> Function {
    Function {
        name: name.to_owned(),
        package: Package::Events,
        called_by: called_by.to_owned(),
        serve: format!("{}::serve()", name.replace('-', "_")),
        description: description.to_owned(),
        timeout: 0,
        memory: None,
        condition: None,
        source,
        ports: Vec::new(),
    }
}

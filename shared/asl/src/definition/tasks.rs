//! Task states, and the Retry and Catch that Parallel and Map will share with them.

use serde_json::Value;

use super::reader::Reader;
use crate::retry::{Catcher, Retrier, error_names};
use crate::states::{Integration, Task};

/// The longest time limit of a task: AWS's own.
const MAX_TIMEOUT_SECONDS: u64 = 99_999_999;
/// The most retries: AWS's own.
const MAX_ATTEMPTS: u64 = 99_999_999;
/// The longest delay between retries: AWS's own.
const MAX_DELAY_SECONDS: u64 = 31_622_400;

pub(super) fn task(reader: &mut Reader<'_, '_>) -> Option<Task> {
    let resource = reader.required_text("Resource").map(str::to_owned);
    let integration = resource.as_deref().and_then(|resource| integration(reader, resource));
    if let Some(credentials) = reader.get("Credentials") {
        let at = reader.pointer("Credentials");
        if credentials.get("RoleArn").is_none() {
            reader.diagnostics.schema(&at, "The field 'RoleArn' is required but was missing");
        } else {
            reader.diagnostics.not_supported(&at, "Other roles than the machine's own are not supported");
        }
    }
    let arguments = reader.template("Arguments");
    let timeout = reader.integer_field("TimeoutSeconds", 1, MAX_TIMEOUT_SECONDS);
    let heartbeat = reader.integer_field("HeartbeatSeconds", 1, MAX_TIMEOUT_SECONDS);
    let (retriers, catchers) = (retriers(reader), catchers(reader));
    Some(Task { resource: resource?, integration: integration?, arguments, timeout, heartbeat, retriers, catchers })
}

fn integration(reader: &mut Reader<'_, '_>, resource: &str) -> Option<Integration> {
    let is_function = resource.starts_with("arn:") && resource.contains(":lambda:") && resource.contains(":function:");
    if resource == "arn:aws:states:::lambda:invoke" {
        return Some(Integration::Invoke);
    }
    if is_function {
        return Some(Integration::Function);
    }
    let at = reader.pointer("Resource");
    let message = if resource.ends_with(".waitForTaskToken") {
        "Task tokens are not supported: a function answers when it is done"
    } else {
        "Only functions are supported: 'arn:aws:states:::lambda:invoke' or a function's ARN"
    };
    reader.diagnostics.not_supported(&at, message);
    None
}

fn retriers(reader: &mut Reader<'_, '_>) -> Vec<Retrier> {
    entries(reader, "Retry", |entry, error_equals| {
        let interval_seconds = entry.integer("IntervalSeconds", 1, MAX_TIMEOUT_SECONDS).unwrap_or(1);
        let max_delay_seconds = entry.integer("MaxDelaySeconds", 1, MAX_DELAY_SECONDS);
        if max_delay_seconds.is_some_and(|maximum| maximum <= interval_seconds) {
            entry.bad("MaxDelaySeconds", "Must be greater than 'IntervalSeconds'");
        }
        let full_jitter = match entry.text("JitterStrategy") {
            None | Some("NONE") => false,
            Some("FULL") => true,
            Some(_) => {
                entry.bad("JitterStrategy", "Expected 'FULL' or 'NONE'");
                false
            }
        };
        Some(Retrier {
            error_equals,
            interval_seconds,
            backoff_rate: entry.number("BackoffRate", 1.0, 1e6).unwrap_or(2.0),
            max_attempts: entry.integer("MaxAttempts", 0, MAX_ATTEMPTS).unwrap_or(3),
            max_delay_seconds,
            full_jitter,
        })
    })
}

fn catchers(reader: &mut Reader<'_, '_>) -> Vec<Catcher> {
    entries(reader, "Catch", |entry, error_equals| {
        let next = entry.required_text("Next").map(str::to_owned);
        let (assign, output) = (entry.assign(), entry.template("Output"));
        Some(Catcher { error_equals, next: next?, assign, output })
    })
}

/// The entries of `Retry` or `Catch`.
fn entries<T>(
    reader: &mut Reader<'_, '_>,
    field: &'static str,
    mut read: impl FnMut(&mut Reader<'_, '_>, Vec<String>) -> Option<T>,
) -> Vec<T> {
    let Some(entries) = reader.array(field) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = format!("{}/{field}/{index}", reader.at);
        let Some(object) = entry.as_object() else {
            reader.diagnostics.schema(&at, "Expected an object");
            continue;
        };
        let mut entry = Reader::new(object, at, reader.diagnostics);
        entry.text("Comment");
        let names = entry.get("ErrorEquals").and_then(error_names);
        if names.is_none() {
            entry.bad("ErrorEquals", "Expected a non-empty array of error names");
        }
        let names = names.unwrap_or_default();
        if names.iter().any(|name| name == "States.ALL") && (names.len() > 1 || index + 1 < entries.len()) {
            entry.bad("ErrorEquals", "'States.ALL' must stand alone, and in the last entry");
        }
        all.extend(read(&mut entry, names));
        entry.finish();
    }
    all
}

/// Whether the value of `Arguments` names a function.
pub(crate) fn function_name(arguments: &Value) -> Option<&str> {
    arguments.get("FunctionName")?.as_str()
}

//! `Retry` and `Catch`, of Task, Parallel and Map.

use super::reader::Reader;
use crate::retry::{Catcher, Retrier, error_names};
use crate::states::{Exit, MAX_TIMEOUT_SECONDS};

/// The most retries: AWS's own.
const MAX_ATTEMPTS: u32 = 99_999_999;
/// The longest delay between retries: AWS's own.
const MAX_DELAY_SECONDS: u64 = 31_622_400;

pub(super) fn retriers(reader: &mut Reader<'_, '_>) -> Vec<Retrier> {
    entries(reader, "Retry", |entry, error_equals| {
        let interval_seconds = entry.integer("IntervalSeconds", 1, MAX_TIMEOUT_SECONDS).unwrap_or(1);
        let max_delay_seconds = entry.integer("MaxDelaySeconds", 1, MAX_DELAY_SECONDS);
        if max_delay_seconds.is_some_and(|maximum| maximum <= interval_seconds) {
            entry.bad("MaxDelaySeconds", "Must be greater than 'IntervalSeconds'");
        }
        let max_attempts = entry.integer("MaxAttempts", 0, MAX_ATTEMPTS.into());
        let max_attempts = max_attempts.and_then(|maximum| u32::try_from(maximum).ok());
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
            backoff_rate: entry.number("BackoffRate", 1.0, f64::MAX).unwrap_or(2.0),
            max_attempts: max_attempts.unwrap_or(3),
            max_delay_seconds,
            full_jitter,
        })
    })
}

pub(super) fn catchers(reader: &mut Reader<'_, '_>) -> Vec<Catcher> {
    entries(reader, "Catch", |entry, error_equals| {
        let next = entry.required_text("Next").map(str::to_owned);
        entry.offered = Some("errorOutput");
        let (assign, output) = (entry.assign(), entry.template("Output"));
        Some(Catcher { error_equals, exit: Exit { assign, output, next: Some(next?) } })
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
        let mut entry = reader.within(object, at);
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

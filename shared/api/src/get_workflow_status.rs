//! `GET /api/v1/workflows/{workflow_id}/status`
//!
//! With `?wait=25s` it is a long poll, which works behind API Gateway too: the answer comes once the execution has ended,
//! or once the tag in `If-None-Match` is no longer the execution's, or when the time is up.

use std::time::Duration;

use axum::extract::{Path, Query as QueryString, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use clock::Instant;
use contracts::responses::{Failure, Items, PacedItems, ProgressResponse, StatusResponse};
use contracts::{Status, Timestamp};
use store::{Estimated, ExecutionRecord, Progress};
use workflows::Workflow;

use crate::access::Caller;
use crate::conditional::IfNoneMatch;
use crate::page::Query;
use crate::pauses::Pauses;
use crate::{Api, Problem, damage, durations};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows/{workflow_id}/status", get(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    QueryString(parameters): QueryString<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let answer_by = api.clock.instant() + api.working_time();
    let mut query = Query::new(parameters);
    let wait = query.get("wait", seconds, "seconds, like 25 or 25s").unwrap_or_default();
    query.finish()?;

    let known = IfNoneMatch::of(&headers);
    let until = (api.clock.instant() + api.granted(wait)).min(answer_by);
    let found = wait_for_news(&api, &caller.tenant_id, &id, &known, until).await?;
    let tag = tag(&api, &found);
    let mut response = match known.matches(&tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Json(answer(&api, found)).into_response(),
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// A wait of so many seconds.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.strip_suffix('s').unwrap_or(text);
    let seconds: u64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some(Duration::from_secs(seconds))
}

/// The execution: once it is not as the client knows it, or has ended where the client says nothing of what it knows, but
/// at a moment at the latest.
async fn wait_for_news(
    api: &Api,
    tenant_id: &str,
    id: &str,
    known: &IfNoneMatch,
    until: Instant,
) -> Result<Estimated, Problem> {
    let mut pauses = Pauses::default();
    loop {
        let found = read(api, tenant_id, id).await?;
        let is_news = *known != IfNoneMatch::Absent && !known.matches(&tag(api, &found));
        // What has ended does not change any more.
        if is_news || !found.record.status.is_open() || api.clock.instant() >= until {
            return Ok(found);
        }
        let next = (api.clock.instant() + pauses.next()).min(until);
        if !api.streaming.sleep_until(&*api.clock, next).await {
            return Ok(found);
        }
    }
}

/// The execution, if this tenant has it.
pub(crate) async fn read(api: &Api, tenant_id: &str, id: &str) -> Result<Estimated, Problem> {
    let found = api.executions.get_estimated(tenant_id, id).await?;
    found.ok_or_else(|| Problem::no_workflow(id))
}

/// The entity tag. It is weak, as the version does not vouch for every byte: the estimate in the answer moves with the time
/// of asking and with how long other executions take.
pub(crate) fn tag(api: &Api, found: &Estimated) -> String {
    let mut version = found.record.version.to_string();
    // Damage is found without a write.
    if damage::of(api, &found.record).is_some() {
        version.push_str("-damaged");
    }
    // Batches do not touch the record.
    match found.items {
        None => format!("W/\"{version}\""),
        Some(Items { total, completed, failed }) => format!("W/\"{version}-{total}-{completed}-{failed}\""),
    }
}

/// The answer about an execution.
pub(crate) fn answer(api: &Api, found: Estimated) -> StatusResponse {
    let Estimated { record, mean_duration_ms, items } = found;
    let damaged = damage::of(api, &record);
    let items = items.map(|items| paced(items, &record, api.clock.now()));
    let by_pace = items.and_then(|items| remaining(&items)).map(|remaining| clock::after(&*api.clock, remaining));
    let by_mean = || mean_duration_ms.map(|mean| durations::estimate(api, &record, mean));
    // When a pause ends is not known.
    let is_under_way = record.status.is_open() && record.status != Status::Paused && damaged.is_none();
    let estimate = is_under_way.then(|| by_pace.or_else(by_mean)).flatten();
    body(record, items, estimate, damaged)
}

/// How fast a job is, on average over its life but for its pauses.
fn paced(items: Items, record: &ExecutionRecord, now: Timestamp) -> PacedItems {
    let Items { total, completed, failed } = items;
    let until = record.paused_at.or(record.ended_at).unwrap_or(now);
    let paused = Duration::from_micros(record.paused_us).as_secs_f64();
    let elapsed = until.duration_since(record.started_at).as_secs_f64() - paused;
    let over = (completed + failed) as f64;
    let per_second = (over > 0.0 && elapsed > 0.0).then(|| (over / elapsed * 10.0).round() / 10.0);
    PacedItems { total, completed, failed, per_second }
}

/// How long the rest of a job takes at the same pace.
fn remaining(items: &PacedItems) -> Option<Duration> {
    let pace = items.per_second.filter(|pace| *pace > 0.0)?;
    let left = items.total.saturating_sub(items.completed + items.failed);
    Duration::try_from_secs_f64(left as f64 / pace).ok()
}

/// The share of the whole that is over, in percent; it never decreases. The items of a job are most of its work.
fn percentage(record: &ExecutionRecord, items: Option<&PacedItems>) -> f32 {
    /// Steps that the items of a job count as.
    const ITEMS_AS_STEPS: f32 = 18.0;
    if record.status == Status::Completed {
        return 100.0;
    }
    let Progress { completed_steps, total_steps, .. } = record.progress;
    let has_batches = workflows::workflow(record.kind).is_some_and(Workflow::has_batches);
    let weight = if has_batches { ITEMS_AS_STEPS } else { 0.0 };
    let share_of_items = items.map_or(0.0, |items| (items.completed + items.failed) as f32 / items.total.max(1) as f32);
    // All steps can be over before the end is: only completion is 100.
    let share = (completed_steps as f32 + weight * share_of_items) / (total_steps.max(1) as f32 + weight);
    (100.0 * share).min(99.0)
}

/// The step under way. The plan of a job is over once it is known how many items there are; their batches come next.
fn current_step<'r>(record: &'r ExecutionRecord, items: Option<&PacedItems>) -> &'r str {
    let planned = &*record.progress.current_step;
    let is_under_way = record.status.is_open() && items.is_some_and(|of| of.completed + of.failed < of.total);
    let map = workflows::workflow(record.kind).and_then(|workflow| workflow.map_after(planned));
    map.filter(|_| is_under_way).unwrap_or(planned)
}

fn body(
    record: ExecutionRecord,
    items: Option<PacedItems>,
    estimated_completion: Option<Timestamp>,
    damaged: Option<String>,
) -> StatusResponse {
    let progress = &record.progress;
    let current_step = current_step(&record, items.as_ref()).to_owned();
    let status_message = match record.cancel_requested_at {
        _ if damaged.is_some() => damaged.clone(),
        Some(_) if record.status.is_open() => Some("Cancelling: no further step begins".to_owned()),
        None if record.status == Status::Paused => Some("Paused: no further step begins".to_owned()),
        // The title of the plan, which is over.
        _ if current_step != progress.current_step => Some("Working through the batches".to_owned()),
        _ => progress.status_message.clone(),
    };
    let percentage = percentage(&record, items.as_ref());
    StatusResponse {
        operation_id: record.id.clone(),
        workflow_type: record.workflow_type().to_owned(),
        workflow_id: record.id,
        status: record.status.reported(),
        progress: Some(ProgressResponse {
            current_step,
            total_steps: progress.total_steps,
            completed_steps: progress.completed_steps,
            percentage,
            estimated_completion,
            last_updated: record.updated_at,
            status_message,
        }),
        items,
        estimated_completion,
        result: record.result,
        error: damaged.clone().or_else(|| record.failure.as_ref().map(Failure::summary)),
        failure: record.failure,
        started_at: record.started_at,
        updated_at: record.updated_at,
        cancelled_at: record.cancel_requested_at,
        retried_from: record.retry_of.map(|retry| retry.id),
        retried_as: record.retried_as,
        damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_of_seconds() {
        for (text, expected) in [("25", 25), ("25s", 25), ("0", 0), ("1s", 1), ("600", 600)] {
            assert_eq!(seconds(text), Some(Duration::from_secs(expected)), "{text}");
        }
        for bad in ["", "s", "-1", "+1", "1.5", "1m", "25 s", "ss", "1ss", "99999999999999999999999"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}

//! The record of ends.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use contracts::data_requests::RequestEnd;
use contracts::step::StepPath;
use contracts::{Status, Timestamp};
use store::events::{Ended, TIMEOUT, ending, ending_of_damaged};
use store::{End, EndRecorder, EngineEnd, ExecutionRecord, NewAuditRow, NewEvent, StoreError};

use crate::audit::put_audit;
use crate::change::{Change, put_new};
use crate::executions::{counter, touched};
use crate::item::{
    Item, all_under_way, event_row, inherited, json, moment, number, of_step, record, reported, sound_record, steps,
    text,
};
use crate::keys::{self, ALONE};
use crate::transaction::Transacted;
use crate::{DynamoStore, fault};

/// How often an end is tried against others that change the execution meanwhile.
const MAX_TRIES: u32 = 10;

#[async_trait]
impl EndRecorder for DynamoStore {
    async fn record_end(
        &self,
        tenant_id: &str,
        id: &str,
        end: &EngineEnd,
        at: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<bool, StoreError> {
        let audit = audit.map(|row| put_audit(&self.table, &row));
        for _ in 0..MAX_TRIES {
            let Some(item) = self.execution(tenant_id, id).await? else { return Ok(false) };
            if item.has("ended_at") {
                return Ok(false);
            }
            let ending = match ending_of(&item, end, at) {
                // Whoever terminates it must not depend on what is damaged.
                Err(StoreError::Inconsistent(_)) if *end == EngineEnd::Terminated => self.closing(&item, at).await?,
                ending => ending?,
            };
            let Ending { record, end, mut change, rows, counted_as } = ending;
            let events = rows.last().map_or(0, |(event_id, _)| *event_id);
            conclude(&mut change, &record, &end, at, events);
            change.only_if_absent("ended_at");
            let mut totals = Change::default();
            if let Some(counted_as) = counted_as {
                totals.add(&counted_as, -1);
            }
            totals.add(&counter(&record, end.status), 1);
            totals.add("events", i64::try_from(events).unwrap_or(i64::MAX));
            let mut writes = vec![
                change.into_write(&self.table, &keys::execution(tenant_id, id), ALONE),
                totals.into_write(&self.table, &keys::totals(tenant_id), &keys::totals_shard(id)),
            ];
            writes.extend(
                rows.iter().map(|(event_id, event)| put_new(&self.table, event_row(tenant_id, id, *event_id, event))),
            );
            writes.extend(audit.clone());
            writes.extend(self.end_request(&record, &RequestEnd::of(end.status, end.result.as_ref(), at)).await?);
            if let Transacted::Refused(_) = self.transact(writes).await? {
                continue;
            }
            if end.status == Status::Completed {
                self.add_duration(&record, at).await;
            }
            return Ok(true);
        }
        Err(StoreError::Unavailable(format!("{id} kept changing")))
    }
}

/// How an execution ends.
struct Ending {
    record: ExecutionRecord,
    end: End,
    /// Of its item, but for what [`conclude`] adds.
    change: Change,
    /// The events that are written with it; the last one is its end.
    rows: Vec<(u64, NewEvent)>,
    /// The total that it counts into so far.
    counted_as: Option<String>,
}

fn ending_of(item: &Item, end: &EngineEnd, at: Timestamp) -> Result<Ending, StoreError> {
    let record = sound_record(item)?;
    let attempts_of = |step: &str| item.optional_number(&format!("attempts#{step}")).unwrap_or_default();
    let inherited = inherited(item)?;
    let was_met = |path: &StepPath| ["attempts", "closed"].iter().any(|name| item.has(&of_step(name, path)));
    let ended = Ended { undone: undone(item)?, left: inherited.left(was_met) };
    let (end, last) = ending(end, &reported(item)?, ended, attempts_of, at);
    let history_len: u64 = item.number("history_len")?;
    let mut rows: Vec<(u64, NewEvent)> = Vec::new();
    let mut change = touched(at);
    let mut next = history_len + 1..;
    for attempt in all_under_way(item)? {
        // Its engine has given it up, so nobody waits for what it might still say.
        rows.extend(attempt.begun());
        rows.extend(next.next().zip(Some(attempt.events.failed(TIMEOUT, "", at))));
        change.remove(&of_step("open", &attempt.events.path));
        change.remove(&of_step("open_after", &attempt.events.path));
    }
    rows.extend(next.next().zip(Some(last)));
    change.only_if_equal("history_len", number(history_len));
    let counted_as = Some(counter(&record, record.status));
    Ok(Ending { record, end, change, rows, counted_as })
}

/// Steps whose effects were undone, in the order of undoing.
fn undone(item: &Item) -> Result<Vec<String>, StoreError> {
    let undone = steps(item, "undone_at")?.into_iter();
    let mut undone: Vec<(u64, StepPath)> =
        undone.filter_map(|step| Some((item.optional_number(&of_step("undone_at", &step))?, step))).collect();
    undone.sort_unstable();
    Ok(undone.into_iter().map(|(_, step)| step.to_string()).collect())
}

/// The change that ends the execution.
fn conclude(change: &mut Change, record: &ExecutionRecord, end: &End, at: Timestamp, events: u64) {
    let progress = record.progress.clone().at_the_end(end);
    change.set("status", text(end.status.as_str()));
    change.set("status_pk", text(keys::of_status(&record.tenant_id, end.status, record.kind)));
    change.set("ended_at", moment(at));
    change.set("cancel_window_open", AttributeValue::Bool(false));
    change.set("due_pk", text(keys::ended_shard(&record.id)));
    change.set("due_sk", text(keys::list(at, &record.id)));
    change.set("history_len", number(events));
    change.set("completed_steps", number(progress.completed_steps));
    if let Some(message) = progress.status_message {
        change.set("status_message", text(message));
    }
    if let Some(result) = &end.result {
        change.set("result", json(result));
    }
    if let Some(failure) = &end.failure {
        change.set("failure", json(failure));
    }
}

impl DynamoStore {
    /// How an execution is terminated of which not everything can be read. Its keys tell what it needs, and are sound if it was
    /// found by them.
    async fn closing(&self, item: &Item, at: Timestamp) -> Result<Ending, StoreError> {
        let record = record(item);
        let last = self.last_event(&record.tenant_id, &record.id).await?;
        let (end, event) = ending_of_damaged(at);
        let mut change = Change::default();
        change.set("updated_at", moment(at));
        change.set("version", number(record.version + 1));
        for name in item.0.keys().filter(|name| name.starts_with("open#") || name.starts_with("open_after#")) {
            change.remove(name);
        }
        let counted_as = item.optional_text("status_pk").and_then(keys::counter_of_status);
        Ok(Ending { record, end, change, rows: vec![(last + 1, event)], counted_as })
    }

    /// The number of the last event that is a row; zero if there is none.
    async fn last_event(&self, tenant_id: &str, id: &str) -> Result<u64, StoreError> {
        let query = self.partition_query(tenant_id, id, &keys::event(0)).scan_index_forward(false).limit(1);
        let found = query.send().await.map_err(fault::read)?.items.unwrap_or_default();
        let last = found.into_iter().next().map(Item);
        Ok(last.and_then(|last| keys::parse_event(last.optional_text("sk")?)).unwrap_or_default())
    }

    /// For estimates only, so losing one to an error is no harm.
    async fn add_duration(&self, record: &ExecutionRecord, ended_at: Timestamp) {
        let took = ended_at.duration_since(record.started_at).as_millis();
        let mut change = Change::default();
        change.add(&format!("completed#{}", record.kind), 1);
        change.add(&format!("total_ms#{}", record.kind), i64::try_from(took).unwrap_or(0).max(0));
        if let Err(error) = self.update(&keys::durations(&record.tenant_id), change).await {
            tracing::warn!(%error, "a duration was not added");
        }
    }
}

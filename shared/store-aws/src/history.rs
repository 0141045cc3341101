//! Histories.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::Select;
use contracts::{Event, EventType, Timestamp};
use futures::future::{try_join, try_join_all};
use serde_json::json;
use store::{History, HistoryPage, HistoryRow, StoreError};

use crate::item::{Item, all_under_way, request, text};
use crate::keys::{self, ALONE};
use crate::{DynamoStore, batch, fault, list};

/// Events of each shard that are looked at with one request where those of some types are wanted, and requests for one page:
/// a page may be shorter than asked for, and the count goes no further than one request.
const LOOKED_AT: i32 = 250;
const MAX_LOOKS: u32 = 5;

#[async_trait]
impl History for DynamoStore {
    async fn events(
        &self,
        tenant_id: &str,
        id: &str,
        types: &[EventType],
        after: Option<&str>,
        limit: u32,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let after: u64 = after.and_then(|after| after.parse().ok()).unwrap_or_default();
        let (execution, rows) = match (after, types) {
            // Only what is read can be counted.
            (_, [_, ..]) => self.whole(tenant_id, id).await?,
            (0, []) => {
                // The execution sorts before its events, so one query brings both.
                let found = self.partition(tenant_id, id, ALONE, limit.saturating_add(1)).await?;
                split(found)
            }
            (after, []) => {
                let from = keys::event(after + 1);
                try_join(self.execution(tenant_id, id), self.partition(tenant_id, id, &from, limit)).await?
            }
        };
        let execution = match execution {
            Some(execution) if !execution.has("archived_at") => execution,
            Some(_) | None => return self.archived_events(tenant_id, id, types, after, limit).await,
        };
        let (mut events, mut damages) = (BTreeMap::new(), HashMap::new());
        // What is under way of a record that is damaged is not shown; its status says why.
        for attempt in all_under_way(&execution).unwrap_or_default() {
            events.extend(attempt.begun().into_iter().map(|(event_id, event)| {
                let event_type = event.event_type.as_str().to_owned();
                (event_id, Event { event_id, event_type, timestamp: event.at, details: event.details })
            }));
        }
        for row in &rows {
            let (mut event, mut damage) = readable_event(row);
            if is_start(&event) {
                match request(&execution) {
                    Ok(request) => event.details["input"] = request.shown(tenant_id, self.blobs.as_deref()).await?,
                    Err(error) => damage = Some(damaged(&mut event, &error)),
                }
            }
            damages.extend(damage.map(|damage| (event.event_id, damage)));
            events.insert(event.event_id, event);
        }
        // Whatever was written between reading the one and the other is left to the next read.
        let row = |event: Event| {
            let damage = damages.get(&event.event_id).cloned();
            HistoryRow { execution_id: id.to_owned(), event, damage }
        };
        if types.is_empty() {
            let shown = (after + 1..).map_while(|event_id| events.remove(&event_id)).take(limit as usize);
            let rows: Vec<_> = shown.map(row).collect();
            let total = execution.number("history_len")?;
            let next = rows.last().map(|row| row.event.event_id).filter(|last| *last < total);
            return Ok(Some(HistoryPage {
                rows,
                total,
                total_is_exact: true,
                next: next.map(|last| last.to_string()),
            }));
        }
        let all = (1..).map_while(|event_id| events.remove(&event_id));
        let of_types: Vec<Event> = all.filter(|event| is_of(types, &event.event_type)).collect();
        let total = of_types.len() as u64;
        let mut rows: Vec<_> = of_types.into_iter().filter(|event| event.event_id > after).map(row).collect();
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.event.event_id.to_string());
        Ok(Some(HistoryPage { rows, total, total_is_exact: true, next }))
    }

    async fn tenant_events(
        &self,
        tenant_id: &str,
        types: &[EventType],
        before: Option<&str>,
        limit: u32,
    ) -> Result<HistoryPage, StoreError> {
        let total = async {
            match types {
                [] => self.total_events(tenant_id).await,
                types => self.count_newest(tenant_id, types).await,
            }
        };
        let found = self.feed_page(tenant_id, types, before, limit);
        let ((rows, next), (total, total_is_exact)) = try_join(found, total).await?;
        let started = rows.iter().filter(|row| row.optional_text("event_type") == Some("WorkflowExecutionStarted"));
        let partitions = started.map(|row| row.text("pk").map(str::to_owned)).collect::<Result<_, _>>()?;
        let executions: HashMap<String, Item> = self
            .batch(partitions)
            .await?
            .into_iter()
            .filter_map(|item| Some((item.optional_text("pk")?.to_owned(), item)))
            .collect();
        let row = |row: &Item| {
            let pk = row.text("pk")?;
            let (_, id) = keys::parse_execution(pk)
                .ok_or_else(|| StoreError::Inconsistent("an event is of no execution".to_owned()))?;
            let (mut event, mut damage) = readable_event(row);
            if let Some(execution) = executions.get(pk).filter(|_| is_start(&event)) {
                match request(execution) {
                    Ok(request) => event.details["input"] = request.shown_inline(),
                    Err(error) => damage = Some(damaged(&mut event, &error)),
                }
            }
            Ok(HistoryRow { execution_id: id.to_owned(), event, damage })
        };
        Ok(HistoryPage { rows: rows.iter().map(row).collect::<Result<_, _>>()?, total, total_is_exact, next })
    }
}

/// Merges what was read of each shard, the newest first, as far as all of them were read; and where that ends, unless it is
/// the end of all.
fn merge(found: Vec<QueryOutput>) -> (Vec<Item>, Option<String>) {
    let place = |item: &Item| item.optional_text("feed_sk").unwrap_or_default().to_owned();
    let end = found.iter().filter_map(|shard| shard.last_evaluated_key.clone()).map(|last| place(&Item(last))).max();
    let items = found.into_iter().flat_map(|shard| shard.items.unwrap_or_default()).map(Item);
    let mut rows: Vec<Item> = items.filter(|item| end.as_ref().is_none_or(|end| place(item) >= *end)).collect();
    rows.sort_by_cached_key(|item| Reverse(place(item)));
    (rows, end)
}

/// Takes the execution from the beginning of its partition. What is archived goes in any order: events may be left without
/// it.
fn split(mut found: Vec<Item>) -> (Option<Item>, Vec<Item>) {
    let is_there = found.first().is_some_and(|first| first.optional_text("sk") == Some(ALONE));
    (if is_there { Some(found.remove(0)) } else { None }, found)
}

/// Whether an event is of one of these types; all are if there are none of them.
pub(crate) fn is_of(types: &[EventType], event_type: &str) -> bool {
    types.is_empty() || types.iter().any(|wanted| wanted.as_str() == event_type)
}

impl DynamoStore {
    /// What is in an execution's partition from this sort key on.
    pub(crate) async fn partition(
        &self,
        tenant_id: &str,
        id: &str,
        from: &str,
        limit: u32,
    ) -> Result<Vec<Item>, StoreError> {
        let query = self.partition_query(tenant_id, id, from).limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let found = query.send().await.map_err(fault::read)?;
        Ok(found.items.unwrap_or_default().into_iter().map(Item).collect())
    }

    pub(crate) fn partition_query(&self, tenant_id: &str, id: &str, from: &str) -> QueryFluentBuilder {
        let query = self.client().query().table_name(&self.table).consistent_read(true);
        query
            .key_condition_expression("pk = :execution AND sk >= :from")
            .expression_attribute_values(":execution", text(keys::execution(tenant_id, id)))
            .expression_attribute_values(":from", text(from))
    }

    /// The execution and all of its events.
    async fn whole(&self, tenant_id: &str, id: &str) -> Result<(Option<Item>, Vec<Item>), StoreError> {
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let query = self.partition_query(tenant_id, id, ALONE).set_exclusive_start_key(from);
            let page = query.send().await.map_err(fault::read)?;
            found.extend(page.items.unwrap_or_default().into_iter().map(Item));
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(split(found));
            }
        }
    }

    /// A part of the tenant's feed, and where the next part begins.
    async fn feed_page(
        &self,
        tenant_id: &str,
        types: &[EventType],
        before: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Item>, Option<String>), StoreError> {
        let wanted = i32::try_from(limit).unwrap_or(i32::MAX).saturating_add(1);
        let looked_at = if types.is_empty() { wanted } else { LOOKED_AT };
        let looks = if types.is_empty() { 1 } else { MAX_LOOKS };
        let (mut rows, mut before) = (Vec::new(), before.map(str::to_owned));
        for _ in 0..looks {
            let shards = self.feed(tenant_id, types, before.as_deref()).into_iter();
            let found = try_join_all(shards.map(|query| query.limit(looked_at).send())).await.map_err(fault::read)?;
            let (mut newer, end) = merge(found);
            rows.append(&mut newer);
            before = end;
            if before.is_none() || rows.len() > limit as usize {
                break;
            }
        }
        if rows.len() > limit as usize {
            rows.truncate(limit as usize);
            before = rows.last().and_then(|row| row.optional_text("feed_sk")).map(str::to_owned);
        }
        Ok((rows, before))
    }

    /// Asks each shard for the tenant's newest events.
    fn feed(&self, tenant_id: &str, types: &[EventType], before: Option<&str>) -> Vec<QueryFluentBuilder> {
        (0..keys::FEED_SHARDS).map(|shard| self.feed_shard(tenant_id, shard, types, before)).collect()
    }

    fn feed_shard(&self, tenant_id: &str, shard: u64, types: &[EventType], before: Option<&str>) -> QueryFluentBuilder {
        let query = self.client().query().table_name(&self.table).index_name("feed").scan_index_forward(false);
        let query = query.expression_attribute_values(":shard", text(keys::feed_shard(tenant_id, shard)));
        let query = match before {
            Some(before) => query
                .key_condition_expression("feed_pk = :shard AND feed_sk < :before")
                .expression_attribute_values(":before", text(before)),
            None => query.key_condition_expression("feed_pk = :shard"),
        };
        if types.is_empty() {
            return query;
        }
        let places: Vec<String> = (0..types.len()).map(|number| format!(":type{number}")).collect();
        let query = query.filter_expression(format!("event_type IN ({})", places.join(", ")));
        places
            .iter()
            .zip(types)
            .fold(query, |query, (place, kind)| query.expression_attribute_values(place, text(kind.as_str())))
    }

    /// Events of these types among the tenant's newest, and whether that is all of them.
    async fn count_newest(&self, tenant_id: &str, types: &[EventType]) -> Result<(u64, bool), StoreError> {
        let shards = self.feed(tenant_id, types, None).into_iter();
        let counting = shards.map(|query| query.select(Select::Count).limit(LOOKED_AT).send());
        let counted = try_join_all(counting).await.map_err(fault::read)?;
        let total = counted.iter().map(|shard| u64::try_from(shard.count).unwrap_or(0)).sum();
        Ok((total, counted.iter().all(|shard| shard.last_evaluated_key.is_none())))
    }

    /// The tenant's events that are rows, and whether these are all: those of ended executions are counted, those of open
    /// ones are asked for. Where that would be more than one batch, each open one counts as its first event.
    async fn total_events(&self, tenant_id: &str) -> Result<(u64, bool), StoreError> {
        let shards = self.total_shards(tenant_id).await?;
        let counted = |name: &str| shards.iter().filter_map(|shard| shard.optional_number::<i64>(name)).sum::<i64>();
        let count = |name: &str| u64::try_from(counted(name)).unwrap_or(0);
        let ended = count("events");
        let open = list::open_parts(tenant_id, count);
        let executions: u64 = open.iter().map(|(_, executions)| executions).sum();
        if executions > batch::READS as u64 {
            return Ok((ended + executions, false));
        }
        let (mut total, mut is_exact) = (ended, true);
        for execution in self.batch(self.partitions(&open).await?).await? {
            if !execution.has("ended_at") {
                let reserved =
                    all_under_way(&execution).map(|open| open.iter().map(|attempt| attempt.begun().len()).sum());
                let counted = reserved.and_then(|reserved: usize| {
                    Ok(execution.number::<u64>("history_len")?.saturating_sub(reserved as u64))
                });
                // One that is damaged is counted as its first event.
                is_exact &= counted.is_ok();
                total += counted.unwrap_or(1);
            }
        }
        Ok((total, is_exact))
    }
}

/// The event of a row. The request is kept once, with its execution: the first event borrows it when it is shown.
pub(crate) fn event(row: &Item) -> Result<Event, StoreError> {
    Ok(Event {
        event_id: row.number("event_id")?,
        event_type: row.text("event_type")?.to_owned(),
        timestamp: row.moment("at")?,
        details: row.json("details")?,
    })
}

/// An event, whatever of its row can be read, and what cannot. Its number is in its key, too.
fn readable_event(row: &Item) -> (Event, Option<String>) {
    let error = match event(row) {
        Ok(event) if event.details.is_object() => return (event, None),
        Ok(_) => StoreError::Inconsistent("'details' is no object".to_owned()),
        Err(error) => error,
    };
    let of_key = row.optional_text("sk").and_then(keys::parse_event);
    let mut event = Event {
        event_id: row.optional_number("event_id").or(of_key).unwrap_or_default(),
        event_type: row.optional_text("event_type").unwrap_or_default().to_owned(),
        timestamp: row.moment("at").unwrap_or(Timestamp::UNIX_EPOCH),
        details: json!({}),
    };
    let damage = damaged(&mut event, &error);
    (event, Some(damage))
}

/// Lets an event say what of it cannot be read.
fn damaged(event: &mut Event, error: &StoreError) -> String {
    event.details["damaged"] = json!(error.problem());
    error.problem().to_owned()
}

fn is_start(event: &Event) -> bool {
    event.event_type == EventType::WorkflowExecutionStarted.as_str()
}

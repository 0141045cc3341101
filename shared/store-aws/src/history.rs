//! Histories.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use contracts::{Event, EventType};
use futures::future::try_join;
use store::{History, HistoryPage, HistoryRow, StoreError};

use crate::item::{Item, all_under_way, request, text};
use crate::keys::{self, ALONE};
use crate::{DynamoStore, batch, fault, list};

#[async_trait]
impl History for DynamoStore {
    async fn events(
        &self,
        tenant_id: &str,
        id: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let after: u64 = after.and_then(|after| after.parse().ok()).unwrap_or_default();
        let (execution, rows) = match after {
            0 => {
                // The execution sorts before its events, so one query brings both.
                let mut found = self.partition(tenant_id, id, ALONE, limit.saturating_add(1)).await?;
                // What is archived goes in any order: events may be left without it.
                let is_there = found.first().is_some_and(|first| first.optional_text("sk") == Some(ALONE));
                (if is_there { Some(found.remove(0)) } else { None }, found)
            }
            after => {
                let from = keys::event(after + 1);
                try_join(self.execution(tenant_id, id), self.partition(tenant_id, id, &from, limit)).await?
            }
        };
        let execution = match execution {
            Some(execution) if !execution.has("archived_at") => execution,
            Some(_) | None => return self.archived_events(tenant_id, id, after, limit).await,
        };
        let mut events = BTreeMap::new();
        for attempt in all_under_way(&execution)? {
            events.extend(attempt.begun().into_iter().map(|(event_id, event)| {
                let event_type = event.event_type.as_str().to_owned();
                (event_id, Event { event_id, event_type, timestamp: event.at, details: event.details })
            }));
        }
        for row in &rows {
            let mut event = event(row)?;
            if is_start(&event) {
                event.details["input"] = request(&execution)?.shown(tenant_id, self.blobs.as_deref()).await?;
            }
            events.insert(event.event_id, event);
        }
        // Whatever was written between reading the one and the other is left to the next read.
        let shown = (after + 1..).map_while(|event_id| events.remove(&event_id)).take(limit as usize);
        let rows: Vec<_> = shown.map(|event| HistoryRow { execution_id: id.to_owned(), event }).collect();
        let total = execution.number("history_len")?;
        let next = rows.last().map(|row| row.event.event_id).filter(|last| *last < total);
        Ok(Some(HistoryPage { rows, total, next: next.map(|last| last.to_string()) }))
    }

    async fn tenant_events(
        &self,
        tenant_id: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<HistoryPage, StoreError> {
        let query = self.client().query().table_name(&self.table).index_name("feed").scan_index_forward(false);
        let query = match before {
            Some(before) => query
                .key_condition_expression("feed_pk = :tenant AND feed_sk < :before")
                .expression_attribute_values(":before", text(before)),
            None => query.key_condition_expression("feed_pk = :tenant"),
        };
        let query = query.expression_attribute_values(":tenant", text(tenant_id));
        let found = async {
            let limit = i32::try_from(limit).unwrap_or(i32::MAX).saturating_add(1);
            query.limit(limit).send().await.map_err(fault::read)
        };
        let (found, total) = try_join(found, self.total_events(tenant_id)).await?;
        let mut rows: Vec<Item> = found.items.unwrap_or_default().into_iter().map(Item).collect();
        let more = rows.len() > limit as usize || found.last_evaluated_key.is_some();
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).and_then(|row| row.optional_text("feed_sk")).map(str::to_owned);
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
            let mut event = event(row)?;
            if let Some(execution) = executions.get(pk).filter(|_| is_start(&event)) {
                event.details["input"] = request(execution)?.shown_inline();
            }
            Ok(HistoryRow { execution_id: id.to_owned(), event })
        };
        Ok(HistoryPage { rows: rows.iter().map(row).collect::<Result<_, _>>()?, total, next })
    }
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
        let found = self
            .client()
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :execution AND sk >= :from")
            .expression_attribute_values(":execution", text(keys::execution(tenant_id, id)))
            .expression_attribute_values(":from", text(from))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(fault::read)?;
        Ok(found.items.unwrap_or_default().into_iter().map(Item).collect())
    }

    /// The tenant's events that are rows: those of ended executions are counted, those of open ones are asked for. Where
    /// that would be more than one batch, each open one counts as its first event.
    async fn total_events(&self, tenant_id: &str) -> Result<u64, StoreError> {
        let shards = self.total_shards(tenant_id).await?;
        let counted = |name: &str| shards.iter().filter_map(|shard| shard.optional_number::<i64>(name)).sum::<i64>();
        let count = |name: &str| u64::try_from(counted(name)).unwrap_or(0);
        let ended = count("events");
        let open = list::open_parts(tenant_id, count);
        let executions: u64 = open.iter().map(|(_, executions)| executions).sum();
        if executions > batch::READS as u64 {
            return Ok(ended + executions);
        }
        let mut total = ended;
        for execution in self.batch(self.partitions(&open).await?).await? {
            if !execution.has("ended_at") {
                let reserved: usize = all_under_way(&execution)?.iter().map(|attempt| attempt.begun().len()).sum();
                total += execution.number::<u64>("history_len")?.saturating_sub(reserved as u64);
            }
        }
        Ok(total)
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

fn is_start(event: &Event) -> bool {
    event.event_type == EventType::WorkflowExecutionStarted.as_str()
}

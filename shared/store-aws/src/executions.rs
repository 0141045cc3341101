//! Execution records.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use contracts::{Status, Timestamp};
use futures::future::try_join_all;
use store::{
    ACCEPTED, Control, Controlled, Created, DueExecution, Estimated, ExecutionRecord, Executions, ListFilter, ListPage,
    NewExecution, StoreError,
};

use crate::DynamoStore;
use crate::change::{Change, put_new};
use crate::fault::{self, Tries};
use crate::item::{Attributes, Item, event_row, json, moment, number, record, text};
use crate::keys::{self, ALONE};
use crate::patience::Patience;
use crate::transaction::Transacted;

/// How often a change is tried that depends on what it read before.
const MAX_TRIES: u32 = 5;

#[async_trait]
impl Executions for DynamoStore {
    async fn create(&self, new: NewExecution) -> Result<Created, StoreError> {
        let record = new_record(&new);
        let mut writes = vec![put_new(&self.table, execution_item(&new, &record))];
        writes.extend(
            (1..)
                .zip(&new.history)
                .map(|(event_id, event)| put_new(&self.table, event_row(&new.tenant_id, &new.id, event_id, event))),
        );
        let mut totals = Change::default();
        totals.add(&counter(&record, record.status), 1);
        writes.push(totals.into_write(&self.table, &keys::totals(&new.tenant_id), &keys::totals_shard(&new.id)));
        // Last, so that its reason is the last one.
        if let Some(idempotency) = &new.idempotency {
            let item = HashMap::from([
                ("pk".to_owned(), text(keys::idempotency(&new.tenant_id, idempotency))),
                ("sk".to_owned(), text(ALONE)),
                ("body_hash".to_owned(), text(&idempotency.body_hash)),
                ("execution_id".to_owned(), text(&new.id)),
            ]);
            writes.push(put_new(&self.table, item));
        }
        let Transacted::Refused(mut reasons) = self.transact(writes).await? else {
            return Ok(Created::New(record));
        };
        // A try whose answer was lost may have stored it after all: then it is this very start that stands in its way.
        if let Some(Some(stored)) = reasons.first()
            && stored.0 == execution_item(&new, &record)
        {
            return Ok(Created::New(record));
        }
        let earlier = reasons.pop().flatten().filter(|_| new.idempotency.is_some());
        let (Some(earlier), Some(idempotency)) = (earlier, &new.idempotency) else {
            return Err(StoreError::Inconsistent(format!("{} exists already", new.id)));
        };
        if earlier.text("body_hash")? != idempotency.body_hash {
            return Ok(Created::KeyReused);
        }
        let id = earlier.text("execution_id")?;
        let existing = self.get(&new.tenant_id, id).await?;
        existing.map(Created::Existing).ok_or_else(|| StoreError::Inconsistent(format!("{id} is gone")))
    }

    async fn get(&self, tenant_id: &str, id: &str) -> Result<Option<ExecutionRecord>, StoreError> {
        match self.execution(tenant_id, id).await? {
            Some(item) => record(&item).map(Some),
            None => self.archived_record(tenant_id, id).await,
        }
    }

    async fn get_estimated(&self, tenant_id: &str, id: &str) -> Result<Option<Estimated>, StoreError> {
        let execution = keys::execution(tenant_id, id);
        let items = self.batch(vec![execution.clone(), keys::durations(tenant_id)]).await?;
        let find = |pk: &str| items.iter().find(|item| item.optional_text("pk") == Some(pk));
        let state = match find(&execution) {
            Some(item) if item.flag("has_batches") => Some((record(item)?, self.items(tenant_id, id).await?)),
            Some(item) => Some((record(item)?, None)),
            None => self.archived_state(tenant_id, id).await?,
        };
        let Some((record, items)) = state else { return Ok(None) };
        let durations = find(&keys::durations(tenant_id));
        let of_kind =
            |attribute| durations.and_then(|item| item.optional_number(&format!("{attribute}#{}", record.kind)));
        let mean_duration_ms = match (of_kind("total_ms"), of_kind("completed")) {
            (Some(total), Some(completed @ 1..)) => Some(total / completed),
            (None | Some::<u64>(_), _) => None,
        };
        Ok(Some(Estimated { record, mean_duration_ms, items }))
    }

    async fn list(
        &self,
        tenant_id: &str,
        filter: &ListFilter,
        before: Option<&str>,
        skip: u64,
        limit: u32,
    ) -> Result<ListPage, StoreError> {
        self.list_page(tenant_id, filter, before, skip, limit).await
    }

    async fn open_executions(
        &self,
        has_begun: bool,
        started_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueExecution>, StoreError> {
        let part = if has_begun { keys::open } else { keys::pending };
        let due = self.due(part, None, started_before, limit).await?;
        Ok(due.into_iter().map(|Due { tenant_id, id, .. }| DueExecution { tenant_id, id, has_begun }).collect())
    }

    async fn put_off(&self, due: &DueExecution, at: Timestamp) -> Result<(), StoreError> {
        let mut change = Change::default();
        change.only_if_present("pk");
        change.only_if_absent("ended_at");
        match due.has_begun {
            true => change.set("due_pk", text(keys::open_shard(&due.id))),
            // It may have begun meanwhile.
            false => change.only_if_equal("due_pk", text(keys::pending_shard(&due.id))),
        }
        change.set("due_sk", text(keys::list(at, &due.id)));
        self.update(&keys::execution(&due.tenant_id, &due.id), change).await.map(drop)
    }

    async fn control(
        &self,
        tenant_id: &str,
        id: &str,
        control: Control,
        now: Timestamp,
    ) -> Result<Controlled, StoreError> {
        match control {
            Control::Cancel => self.cancel(tenant_id, id, now).await,
            Control::Pause | Control::Resume => self.hold_or_release(tenant_id, id, control, now).await,
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.read("check", ALONE).await.map(drop)
    }
}

/// What became of a conditional change.
pub(crate) enum Updated {
    /// The item as it is now.
    Done(Item),
    /// The item as it stood against it, if there is one.
    Refused(Option<Item>),
}

/// An execution that is due.
pub(crate) struct Due {
    pub(crate) tenant_id: String,
    pub(crate) id: String,
    /// Sorts by when.
    pub(crate) key: String,
}

impl DynamoStore {
    async fn cancel(&self, tenant_id: &str, id: &str, now: Timestamp) -> Result<Controlled, StoreError> {
        let mut change = touched(now);
        change.set("cancel_requested_at", moment(now));
        change.only_if_present("pk");
        change.only_if_absent("ended_at");
        change.only_if_absent("cancel_requested_at");
        change.only_if_equal("cancel_window_open", AttributeValue::Bool(true));
        match self.update(&keys::execution(tenant_id, id), change).await? {
            Updated::Done(item) => Ok(Controlled::Accepted(record(&item)?)),
            Updated::Refused(None) => self.uncontrollable(tenant_id, id).await,
            Updated::Refused(Some(item)) => {
                let record = record(&item)?;
                let holds = Control::Cancel.holds(&record);
                Ok(if holds { Controlled::Accepted(record) } else { Controlled::Refused(record) })
            }
        }
    }

    /// Of an execution that the table has not: it is archived, or there is none.
    async fn uncontrollable(&self, tenant_id: &str, id: &str) -> Result<Controlled, StoreError> {
        let archived = self.archived_record(tenant_id, id).await?;
        Ok(archived.map_or(Controlled::NotFound, Controlled::Refused))
    }

    /// Pauses or resumes. The status is part of keys and totals, so that it takes a transaction.
    async fn hold_or_release(
        &self,
        tenant_id: &str,
        id: &str,
        control: Control,
        now: Timestamp,
    ) -> Result<Controlled, StoreError> {
        for _ in 0..MAX_TRIES {
            let Some(item) = self.execution(tenant_id, id).await? else {
                return self.uncontrollable(tenant_id, id).await;
            };
            let before = record(&item)?;
            if control.holds(&before) {
                return Ok(Controlled::Accepted(before));
            }
            let mut change = touched(now);
            let next = match (control, before.paused_at) {
                _ if !before.status.is_open() => return Ok(Controlled::Refused(before)),
                (Control::Pause, None) if !item.flag("pivot_begun") => {
                    change.set("paused_at", moment(now));
                    Status::Paused
                }
                (Control::Resume, Some(paused_at)) => {
                    change.remove("paused_at");
                    // Until the first step begins, nothing counts.
                    let has_begun = item.number::<u64>("history_len")? > ACCEPTED;
                    if let Some(deadline) = item.optional_moment("deadline_at")?.filter(|_| has_begun) {
                        let deadline = deadline.checked_add(now.duration_since(paused_at)).unwrap_or(Timestamp::MAX);
                        change.set("deadline_at", moment(deadline));
                    }
                    Status::Running
                }
                _ => return Ok(Controlled::Refused(before)),
            };
            change.set("status", text(next.as_str()));
            change.set("status_pk", text(keys::of_status(tenant_id, next, before.kind)));
            // What it is based on: the pause, the pivot and the end are all in the version.
            change.only_if_equal("version", number(before.version));
            let mut totals = Change::default();
            totals.add(&counter(&before, before.status), -1);
            totals.add(&counter(&before, next), 1);
            let writes = vec![
                change.into_write(&self.table, &keys::execution(tenant_id, id), ALONE),
                totals.into_write(&self.table, &keys::totals(tenant_id), &keys::totals_shard(id)),
            ];
            if let Transacted::Done = self.transact(writes).await? {
                let paused_at = (next == Status::Paused).then_some(now);
                let version = before.version + 1;
                let after = ExecutionRecord { status: next, paused_at, updated_at: now, version, ..before };
                return Ok(Controlled::Accepted(after));
            }
        }
        Err(StoreError::Unavailable(format!("{id} kept changing")))
    }

    /// Executions that are due before a moment, the longest due first, after one that is known by its key.
    pub(crate) async fn due(
        &self,
        partition: fn(u64) -> String,
        after: Option<&str>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Due>, StoreError> {
        // Keys are moments and ids, and none ends like this: it is after the one and before the next.
        let after = after.map_or_else(|| "0".to_owned(), |after| format!("{after}#"));
        let shards = (0..keys::DUE_SHARDS).map(|shard| {
            let after = after.clone();
            async move {
                let query = self.client().query().table_name(&self.table).index_name("due");
                let found = query
                    .key_condition_expression("due_pk = :partition AND due_sk BETWEEN :after AND :before")
                    .expression_attribute_values(":partition", text(partition(shard)))
                    .expression_attribute_values(":after", text(after))
                    .expression_attribute_values(":before", text(keys::moment(before)))
                    .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                    .send()
                    .await
                    .map_err(fault::read)?;
                Ok::<_, StoreError>(found.items.unwrap_or_default())
            }
        });
        let mut found: Vec<Item> = try_join_all(shards).await?.into_iter().flatten().map(Item).collect();
        found.sort_by(|left, right| left.optional_text("due_sk").cmp(&right.optional_text("due_sk")));
        found.truncate(limit as usize);
        let parse = |item: &Item| {
            let (tenant_id, id) = keys::parse_execution(item.text("pk")?)
                .ok_or_else(|| StoreError::Inconsistent("what is due is no execution".to_owned()))?;
            let key = item.text("due_sk")?.to_owned();
            Ok(Due { tenant_id: tenant_id.to_owned(), id: id.to_owned(), key })
        };
        found.iter().map(parse).collect()
    }

    pub(crate) async fn execution(&self, tenant_id: &str, id: &str) -> Result<Option<Item>, StoreError> {
        self.read(&keys::execution(tenant_id, id), ALONE).await
    }

    pub(crate) async fn read(&self, pk: &str, sk: &str) -> Result<Option<Item>, StoreError> {
        let request = self.client().get_item().table_name(&self.table).consistent_read(true);
        let found = request.key("pk", text(pk)).key("sk", text(sk)).send().await.map_err(fault::read)?;
        Ok(found.item.map(Item))
    }

    pub(crate) async fn update(&self, pk: &str, change: Change) -> Result<Updated, StoreError> {
        self.update_item(pk, ALONE, change).await
    }

    pub(crate) async fn update_item(&self, pk: &str, sk: &str, change: Change) -> Result<Updated, StoreError> {
        let (mut patience, tries) = (Patience::with_others(), Tries::default());
        loop {
            let request = change.clone().into_update(self.client(), &self.table, pk, sk);
            let error = match request.customize().interceptor(tries.clone()).send().await {
                Ok(done) => return Ok(Updated::Done(Item(done.attributes.unwrap_or_default()))),
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    return Ok(Updated::Refused(refused.item().cloned().map(Item)));
                }
                Some(UpdateItemError::TransactionConflictException(_)) if self.wait(&mut patience).await => {}
                _ => return Err(tries.write(error)),
            }
        }
    }
}

/// A change that counts as one: the version is the ETag.
pub(crate) fn touched(now: Timestamp) -> Change {
    let mut change = Change::default();
    change.set("updated_at", moment(now));
    change.increase("version", 1);
    change
}

/// The total that an execution in this status counts into.
pub(crate) fn counter(record: &ExecutionRecord, status: Status) -> String {
    keys::counter(record.kind, status)
}

fn new_record(new: &NewExecution) -> ExecutionRecord {
    ExecutionRecord {
        tenant_id: new.tenant_id.clone(),
        id: new.id.clone(),
        kind: new.kind,
        engine: new.engine,
        user_id: new.user_id.clone(),
        status: new.status,
        started_at: new.started_at,
        updated_at: new.started_at,
        ended_at: None,
        cancel_requested_at: None,
        paused_at: None,
        result: None,
        failure: None,
        progress: new.progress.clone(),
        input: new.input.clone(),
        version: 1,
    }
}

fn execution_item(new: &NewExecution, record: &ExecutionRecord) -> Attributes {
    let list = text(keys::list(new.started_at, &new.id));
    let mut item: Attributes = [
        ("pk", text(keys::execution(&new.tenant_id, &new.id))),
        ("sk", text(ALONE)),
        ("tenant_id", text(&new.tenant_id)),
        ("id", text(&new.id)),
        ("kind", text(new.kind.as_str())),
        ("engine", text(new.engine.as_str())),
        ("status", text(new.status.as_str())),
        ("started_at", moment(new.started_at)),
        ("updated_at", moment(new.started_at)),
        ("cancel_window_open", AttributeValue::Bool(!new.begins_pivot)),
        ("pivot_begun", AttributeValue::Bool(new.begins_pivot)),
        ("effect_scope", text(&new.effect_scope)),
        ("input", json(&new.input)),
        ("request", json(&new.request)),
        ("current_step", text(&new.progress.current_step)),
        ("total_steps", number(new.progress.total_steps)),
        ("version", number(record.version)),
        ("history_len", number(new.history.len())),
        ("tenant_pk", text(&new.tenant_id)),
        ("kind_pk", text(keys::of_kind(&new.tenant_id, new.kind))),
        ("status_pk", text(keys::of_status(&new.tenant_id, new.status, new.kind))),
        ("list_sk", list.clone()),
        ("due_pk", text(if new.status == Status::Pending { keys::pending_shard } else { keys::open_shard }(&new.id))),
        ("due_sk", list),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let optional = [
        ("user_id", new.user_id.as_ref().map(text)),
        ("user_pk", new.user_id.as_ref().map(|user_id| text(keys::of_user(&new.tenant_id, user_id)))),
        ("deadline_at", new.deadline_at.map(moment)),
        ("status_message", new.progress.status_message.as_ref().map(text)),
        ("idempotency_pk", new.idempotency.as_ref().map(|key| text(keys::idempotency(&new.tenant_id, key)))),
    ];
    item.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    item
}

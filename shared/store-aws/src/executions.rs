//! Execution records.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use contracts::{Status, Timestamp, WorkflowKind};
use futures::future::try_join_all;
use serde_json::json;
use store::{
    Control, Controlled, Created, Decision, DueExecution, Estimated, ExecutionRecord, Executions, Full, IdempotencyKey,
    ListFilter, ListPage, NewAuditRow, NewEvent, NewExecution, Retried, StoreError,
};

use crate::DynamoStore;
use crate::audit::put_audit;
use crate::change::{Change, put_new};
use crate::fault::{self, Tries};
use crate::item::{
    Attributes, Item, event_row, has_begun, inherited, json as json_text, moment, number, record, reported, request,
    text,
};
use crate::keys::{self, ALONE};
use crate::patience::Patience;
use crate::transaction::Transacted;

/// How often a change is tried that depends on what it read before.
const MAX_TRIES: u32 = 5;

#[async_trait]
impl Executions for DynamoStore {
    async fn full(&self, tenant_id: &str, key: Option<&IdempotencyKey>) -> Result<Option<Full>, StoreError> {
        let Some(full) = self.full_of(tenant_id).await? else { return Ok(None) };
        match key {
            Some(key) if self.has_started(tenant_id, key).await? => Ok(None),
            Some(_) | None => Ok(Some(full)),
        }
    }

    async fn has_started(&self, tenant_id: &str, key: &IdempotencyKey) -> Result<bool, StoreError> {
        self.read(&keys::idempotency(tenant_id, key), ALONE).await.map(|item| item.is_some())
    }

    async fn used_by(&self, tenant_id: &str, upload_id: &str) -> Result<Option<String>, StoreError> {
        let item = self.read(&keys::upload(tenant_id, upload_id), ALONE).await?;
        item.map(|item| item.text("execution_id").map(str::to_owned)).transpose()
    }

    async fn create(&self, new: NewExecution) -> Result<Created, StoreError> {
        if let Some(full) = self.refuse(&new).await? {
            return Ok(Created::Full(full));
        }
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
        writes.extend(new.audit.as_ref().map(|row| put_audit(&self.table, row)));
        // Last, so that their reasons are the last ones.
        let remembered = self.remember_request(&new);
        let is_named = remembered.is_some();
        writes.extend(remembered);
        if let Some(retry) = &new.retry_of {
            writes.push(link(&new).into_write(&self.table, &keys::execution(&new.tenant_id, &retry.id), ALONE));
        }
        if let Some(upload_id) = &new.upload_id {
            let item = HashMap::from([
                ("pk".to_owned(), text(keys::upload(&new.tenant_id, upload_id))),
                ("sk".to_owned(), text(ALONE)),
                ("execution_id".to_owned(), text(&new.id)),
            ]);
            writes.push(put_new(&self.table, item));
        }
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
            self.open.add(&new.tenant_id);
            return Ok(Created::New(record));
        };
        // A try whose answer was lost may have stored it after all: then it is this very start that stands in its way.
        if let Some(Some(stored)) = reasons.first()
            && stored.0 == execution_item(&new, &record)
        {
            return Ok(Created::New(record));
        }
        let idempotency = new.idempotency.as_ref().and_then(|key| Some((reasons.pop()??, key)));
        let used = new.upload_id.as_ref().and_then(|_| reasons.pop()?);
        let retried = new.retry_of.as_ref().and_then(|_| reasons.pop()?);
        let named_before = is_named.then(|| reasons.pop()).flatten().flatten();
        let Some((earlier, idempotency)) = idempotency else {
            if let Some(used) = used {
                return Ok(Created::UploadUsed { by: used.text("execution_id")?.to_owned() });
            }
            if let Some(request) = named_before {
                return Ok(Created::NameUsed { by: request.text("workflow_id")?.to_owned() });
            }
            let retry = retried.as_ref().and_then(|item| item.optional_text("retried_as"));
            return match retry {
                Some(id) => self.existing(&new.tenant_id, id).await,
                None => Err(StoreError::Inconsistent(format!("{} exists already, or cannot retry", new.id))),
            };
        };
        if earlier.text("body_hash")? != idempotency.body_hash {
            return Ok(Created::KeyReused);
        }
        self.existing(&new.tenant_id, earlier.text("execution_id")?).await
    }

    async fn get(&self, tenant_id: &str, id: &str) -> Result<Option<ExecutionRecord>, StoreError> {
        match self.execution(tenant_id, id).await? {
            Some(item) => Ok(Some(record(&item))),
            None => self.archived_record(tenant_id, id).await,
        }
    }

    async fn retried(&self, tenant_id: &str, id: &str) -> Result<Option<Retried>, StoreError> {
        // Of what is archived the request is not kept.
        let item = self.execution(tenant_id, id).await?.filter(|item| !item.has("archived_at"));
        let Some(item) = item else { return Ok(None) };
        Ok(Some(Retried {
            record: record(&item),
            request: request(&item)?,
            effect_scope: item.text("effect_scope")?.to_owned(),
            inherited: inherited(&item)?,
        }))
    }

    async fn get_estimated(&self, tenant_id: &str, id: &str) -> Result<Option<Estimated>, StoreError> {
        let execution = keys::execution(tenant_id, id);
        let items = self.batch(vec![execution.clone(), keys::durations(tenant_id)]).await?;
        let find = |pk: &str| items.iter().find(|item| item.optional_text("pk") == Some(pk));
        let state = match find(&execution) {
            Some(item) => {
                let of_batches = if item.flag("has_batches") { self.items(tenant_id, id).await? } else { None };
                let planned = || reported(item).ok().and_then(|reported| reported.planned());
                Some((record(item), of_batches.or_else(planned)))
            }
            None => self.archived_state(tenant_id, id).await?,
        };
        let Some((record, items)) = state else { return Ok(None) };
        let mean_duration_ms = find(&keys::durations(tenant_id)).and_then(|item| mean_duration_ms(item, record.kind));
        Ok(Some(Estimated { record, mean_duration_ms, items }))
    }

    async fn mean_duration_ms(&self, tenant_id: &str, kind: WorkflowKind) -> Result<Option<u64>, StoreError> {
        // It is an estimate: what was true a moment ago will do, at half the price.
        let request = self.client().get_item().table_name(&self.table);
        let request = request.key("pk", text(keys::durations(tenant_id))).key("sk", text(ALONE));
        let found = request.send().await.map_err(fault::read)?;
        Ok(found.item.and_then(|item| mean_duration_ms(&Item(item), kind)))
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
        audit: Option<NewAuditRow>,
    ) -> Result<Controlled, StoreError> {
        let audit = audit.map(|row| put_audit(&self.table, &row));
        for _ in 0..MAX_TRIES {
            let Some(item) = self.execution(tenant_id, id).await? else {
                let archived = self.archived_record(tenant_id, id).await?;
                return Ok(archived.map_or(Controlled::NotFound, Controlled::Refused));
            };
            let before = record(&item);
            match control.decide(&before) {
                Decision::Holds => return Ok(Controlled::Accepted(before)),
                Decision::Refused => return Ok(Controlled::Refused(before)),
                Decision::Changes => {}
            }
            if let Some(after) = self.carry_out(control, &item, before, now, audit.clone()).await? {
                return Ok(Controlled::Accepted(after));
            }
        }
        Err(StoreError::Unavailable(format!("{id} kept changing")))
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
    async fn existing(&self, tenant_id: &str, id: &str) -> Result<Created, StoreError> {
        let existing = self.get(tenant_id, id).await?;
        existing.map(Created::Existing).ok_or_else(|| StoreError::Inconsistent(format!("{id} is gone")))
    }

    /// Changes the execution as the control asks; none if it has changed meanwhile. The status is part of keys and totals,
    /// and an event is a row, so that it takes a transaction.
    async fn carry_out(
        &self,
        control: Control,
        item: &Item,
        before: ExecutionRecord,
        now: Timestamp,
        audit: Option<TransactWriteItem>,
    ) -> Result<Option<ExecutionRecord>, StoreError> {
        let (tenant_id, id) = (before.tenant_id.as_str(), before.id.as_str());
        let mut change = touched(now);
        change.only_if_absent("ended_at");
        let mut after = ExecutionRecord { updated_at: now, version: before.version + 1, ..before.clone() };
        if control == Control::Cancel {
            change.set("cancel_requested_at", moment(now));
            after.cancel_requested_at = Some(now);
        }
        if control != Control::Resume {
            change.only_if_absent("cancel_requested_at");
            change.only_if_equal("cancel_window_open", AttributeValue::Bool(true));
        }
        match before.paused_at {
            None => change.only_if_absent("paused_at"),
            Some(paused_at) => {
                change.only_if_equal("paused_at", moment(paused_at));
                change.remove("paused_at");
                let paused = u64::try_from(now.duration_since(paused_at).as_micros()).unwrap_or_default();
                after.paused_us = before.paused_us + paused;
                change.set("paused_us", number(after.paused_us));
                // Until the first step begins, nothing counts.
                if let Some(deadline) = item.optional_moment("deadline_at")?.filter(|_| has_begun(item)) {
                    let deadline = deadline.checked_add(now.duration_since(paused_at)).unwrap_or(Timestamp::MAX);
                    change.set("deadline_at", moment(deadline));
                }
                (after.status, after.paused_at) = (Status::Running, None);
            }
        }
        if control == Control::Pause {
            change.set("paused_at", moment(now));
            (after.status, after.paused_at) = (Status::Paused, Some(now));
        }
        let mut writes: Vec<TransactWriteItem> = audit.into_iter().collect();
        if let Some(event_type) = control.event(before.paused_at.is_some()) {
            let history_len: u64 = item.number("history_len")?;
            change.only_if_equal("history_len", number(history_len));
            change.set("history_len", number(history_len + 1));
            let event = NewEvent { event_type, at: now, details: json!({}) };
            writes.push(put_new(&self.table, event_row(tenant_id, id, history_len + 1, &event)));
        }
        if after.status != before.status {
            change.set("status", text(after.status.as_str()));
            change.set("status_pk", text(keys::of_status(tenant_id, after.status, before.kind)));
            let mut totals = Change::default();
            totals.add(&counter(&before, before.status), -1);
            totals.add(&counter(&before, after.status), 1);
            writes.push(totals.into_write(&self.table, &keys::totals(tenant_id), &keys::totals_shard(id)));
        }
        writes.push(change.into_write(&self.table, &keys::execution(tenant_id, id), ALONE));
        Ok(match self.transact(writes).await? {
            Transacted::Done => Some(after),
            Transacted::Refused(_) => None,
        })
    }

    /// Executions that are due before a moment, the longest due first, after one that is known by its key.
    pub(crate) async fn due(
        &self,
        partition: fn(u64) -> String,
        after: Option<&str>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Due>, StoreError> {
        let found = self.due_items(partition, after, before, limit).await?;
        let parse = |item: &Item| {
            let (tenant_id, id) = keys::parse_execution(item.text("pk")?)
                .ok_or_else(|| StoreError::Inconsistent("what is due is no execution".to_owned()))?;
            let key = item.text("due_sk")?.to_owned();
            Ok(Due { tenant_id: tenant_id.to_owned(), id: id.to_owned(), key })
        };
        found.iter().map(parse).collect()
    }

    /// The items of these partitions of `due`, each for a shard, after a key and before a moment, the oldest first.
    pub(crate) async fn due_items(
        &self,
        partition: fn(u64) -> String,
        after: Option<&str>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Item>, StoreError> {
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
        Ok(found)
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

/// The mean duration of completed executions of this kind, by the item that has their sums.
fn mean_duration_ms(durations: &Item, kind: WorkflowKind) -> Option<u64> {
    let of_kind = |attribute| durations.optional_number(&format!("{attribute}#{kind}"));
    match (of_kind("total_ms"), of_kind("completed")) {
        (Some(total), Some(completed @ 1..)) => Some(total / completed),
        (None | Some::<u64>(_), _) => None,
    }
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
        cancel_requested_at: new.cancel_requested_at,
        paused_at: None,
        paused_us: 0,
        window_open: !new.begins_pivot,
        result: None,
        failure: None,
        progress: new.progress.clone(),
        input: new.input.clone(),
        retry_of: new.retry_of.clone(),
        retried_as: None,
        version: 1,
        damage: None,
    }
}

/// The change of what is retried: it names its retry, unless it has one.
fn link(new: &NewExecution) -> Change {
    let mut change = Change::default();
    change.set("retried_as", text(&new.id));
    change.increase("version", 1);
    change.only_if_present("ended_at");
    change.only_if_absent("archived_at");
    change.only_if_absent("retried_as");
    change
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
        ("input", json_text(&new.input)),
        ("request", json_text(&new.request)),
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
        ("cancel_requested_at", new.cancel_requested_at.map(moment)),
        ("retried_from", new.retry_of.as_ref().map(|retry| text(&retry.id))),
        ("only_undoes", new.retry_of.as_ref().map(|retry| AttributeValue::Bool(retry.undoes))),
        ("inherited", (!new.inherited.is_empty()).then(|| json_text(&new.inherited))),
        ("status_message", new.progress.status_message.as_ref().map(text)),
        ("idempotency_pk", new.idempotency.as_ref().map(|key| text(keys::idempotency(&new.tenant_id, key)))),
        ("upload_pk", new.upload_id.as_ref().map(|upload_id| text(keys::upload(&new.tenant_id, upload_id)))),
    ];
    item.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    item
}

//! The record of batches. A distributed Map may have ten thousand of them, so each is an item of its own, and what it
//! writes does not touch the execution's. How far they are is counted beside them, in shards, in the transaction that ends an
//! attempt.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use contracts::responses::Items;
use contracts::step::{StepKind, StepPath};
use serde_json::Value;
use store::{
    Admission, AttemptOutcome, BatchChange, Begin, BegunAttempt, Effects, Finish, StepFlags, StepRef, StoreError, admit,
};

use crate::DynamoStore;
use crate::change::Change;
use crate::executions::Updated;
use crate::fault;
use crate::item::{Item, execution_flags, json, number, request, text};
use crate::keys;
use crate::transaction::Transacted;

impl DynamoStore {
    /// Begins an attempt of a batch. One that never said how it ended is superseded.
    pub(crate) async fn begin_batch(&self, step: &StepRef) -> Result<Begin, StoreError> {
        let now = self.clock.now();
        let Some(execution) = self.execution(&step.tenant_id, &step.execution_id).await? else {
            return Ok(Begin::Closed);
        };
        let is_stopped = match step.stops_at {
            Some(_) => {
                let items = self.items(&step.tenant_id, &step.execution_id).await?;
                step.is_stopped(items.map_or(0, |items| items.failed))
            }
            None => false,
        };
        let flags = StepFlags { is_stopped, ..StepFlags::default() };
        match admit(&execution_flags(&execution)?, flags, step.kind, now) {
            Admission::Proceed | Admission::Pass | Admission::AlreadyDone(_) => {}
            Admission::Refused(refusal) => return self.refused_batch(step, Begin::Refused(refusal)).await,
            Admission::Closed => return Ok(Begin::Closed),
        }
        if let Some(undoes) = &step.undoes {
            let mut close = Change::default();
            close.set("closed", number(1));
            close.remove("open");
            self.update_batch(step, undoes, close).await?;
        }
        let mut change = Change::default();
        change.increase("attempts", 1);
        change.set("open", text(step.activity.as_str()));
        if step.kind == StepKind::Forward {
            change.only_if_absent("done");
            change.only_if_absent("closed");
        }
        match self.update_batch(step, &step.path, change).await? {
            Updated::Done(batch) => {
                self.mark_batches(step, &execution).await?;
                let attempt = BegunAttempt {
                    number: batch.number("attempts")?,
                    began_at: now,
                    history_len: execution.number("history_len")?,
                };
                Ok(Begin::Proceed {
                    attempt,
                    request: Arc::new(request(&execution)?),
                    effect_scope: execution.text("effect_scope")?.into(),
                    effects: Effects::Own,
                })
            }
            Updated::Refused(batch) => is_over(&batch.unwrap_or_default()),
        }
    }

    /// Notes with the execution that it has batches, so that only such an execution is asked how far they are. Once for
    /// all of them, or for each of those that begin together at the very beginning.
    async fn mark_batches(&self, step: &StepRef, execution: &Item) -> Result<(), StoreError> {
        if execution.has("has_batches") {
            return Ok(());
        }
        let mut change = Change::default();
        change.set("has_batches", AttributeValue::Bool(true));
        change.only_if_present("pk");
        change.only_if_absent("has_batches");
        // Refused: another one was faster.
        self.update(&keys::execution(&step.tenant_id, &step.execution_id), change).await.map(drop)
    }

    /// What is done stays done, whatever was asked of the execution since.
    async fn refused_batch(&self, step: &StepRef, refused: Begin) -> Result<Begin, StoreError> {
        let pk = keys::batches(&step.tenant_id, &step.execution_id);
        match self.read(&pk, &step.path.to_string()).await? {
            Some(batch) if batch.has("done") || batch.has("closed") => is_over(&batch),
            Some(_) | None => Ok(refused),
        }
    }

    /// Ends an attempt of a batch.
    pub(crate) async fn finish_batch(
        &self,
        step: &StepRef,
        attempt: &BegunAttempt,
        ended: &AttemptOutcome,
    ) -> Result<Finish, StoreError> {
        let pk = keys::batches(&step.tenant_id, &step.execution_id);
        let path = step.path.to_string();
        // Whether it has failed before is known when the first try is refused.
        let mut has_failed = false;
        loop {
            let (change, counted) = finish(step, attempt, ended, has_failed);
            let refused = match counted {
                Some(counted) => {
                    let counted = counted.into_write(&self.table, &pk, &keys::batches_shard_of(&path));
                    match self.transact(vec![change.into_write(&self.table, &pk, &path), counted]).await? {
                        Transacted::Done => return Ok(Finish::Recorded),
                        Transacted::Refused(reasons) => reasons.into_iter().next().flatten(),
                    }
                }
                None => match self.update_batch(step, &step.path, change).await? {
                    Updated::Done(_) => return Ok(Finish::Recorded),
                    Updated::Refused(batch) => batch,
                },
            };
            let batch = refused.unwrap_or_default();
            if batch.has("closed") || !batch.has("attempts") {
                return Ok(Finish::Closed);
            }
            let is_current = batch.has("open") && batch.optional_number("attempts") == Some(attempt.number);
            if !is_current || batch.has("has_failed") == has_failed {
                return Ok(Finish::Superseded);
            }
            has_failed = !has_failed;
        }
    }

    /// How far the batches of an execution are, asked of executions only that have any.
    pub(crate) async fn items(&self, tenant_id: &str, id: &str) -> Result<Option<Items>, StoreError> {
        let pk = keys::batches(tenant_id, id);
        let shards = (0..keys::TOTAL_SHARDS).map(|shard| (pk.clone(), keys::batches_shard(shard)));
        let shards = self.batch_of(shards.collect()).await?;
        if shards.is_empty() {
            return Ok(None);
        }
        let of = |name: &'static str| shards.iter().filter_map(move |shard| shard.optional_number::<i64>(name));
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let (completed, failed) = (count(of("completed").sum()), count(of("failed").sum()));
        let total = count(of("total").max().unwrap_or_default());
        Ok(Some(Items { total: total.max(completed + failed), completed, failed }))
    }

    /// Batches of an execution in the order of their paths, after one that is known by its path.
    pub(crate) async fn batch_rows(
        &self,
        tenant_id: &str,
        id: &str,
        after: Option<&str>,
    ) -> Result<Vec<Item>, StoreError> {
        let query = self.client().query().table_name(&self.table);
        let query = query
            .key_condition_expression("pk = :batches AND sk > :after")
            .expression_attribute_values(":batches", text(keys::batches(tenant_id, id)))
            .expression_attribute_values(":after", text(after.unwrap_or(" ")));
        let found = query.send().await.map_err(fault::read)?;
        Ok(found.items.unwrap_or_default().into_iter().map(Item).collect())
    }

    async fn update_batch(&self, step: &StepRef, path: &StepPath, change: Change) -> Result<Updated, StoreError> {
        let pk = keys::batches(&step.tenant_id, &step.execution_id);
        self.update_item(&pk, &path.to_string(), change).await
    }
}

/// The change that ends an attempt of a batch which has failed before or has not, and what it changes in the count of
/// batches. Only what does something is counted, and a failure once.
fn finish(
    step: &StepRef,
    attempt: &BegunAttempt,
    ended: &AttemptOutcome,
    had_failed: bool,
) -> (Change, Option<Change>) {
    let AttemptOutcome { outcome, report } = ended;
    let (mut change, mut counted) = (Change::default(), Change::default());
    change.only_if_present("open");
    change.only_if_absent("closed");
    change.only_if_equal("attempts", number(attempt.number));
    change.remove("open");
    if step.kind == StepKind::Compensation {
        return (change, None);
    }
    match had_failed {
        true => change.only_if_present("has_failed"),
        false => change.only_if_absent("has_failed"),
    }
    if let Ok(result) = outcome {
        change.set("done", json(result));
    }
    let batch = BatchChange::of(step.reports, outcome.is_ok(), report.as_ref(), had_failed);
    match (had_failed, batch.has_failed) {
        (false, true) => change.set("has_failed", AttributeValue::Bool(true)),
        (true, false) => change.remove("has_failed"),
        (false, false) | (true, true) => {}
    }
    if !batch.is_counted() {
        return (change, None);
    }
    counted.add("completed", batch.completed);
    counted.add("failed", batch.failed);
    if let Some(batches) = step.batches {
        counted.set("total", number(batches));
    }
    (change, Some(counted))
}

fn is_over(batch: &Item) -> Result<Begin, StoreError> {
    if batch.has("closed") {
        return Ok(Begin::Closed);
    }
    Ok(batch.optional_json::<Value>("done")?.map_or(Begin::Closed, Begin::AlreadyDone))
}

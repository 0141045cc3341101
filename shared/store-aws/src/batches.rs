//! The record of batches. A distributed Map may have ten thousand of them, so each is an item of its own, and what it
//! writes does not touch the execution's.

use std::sync::Arc;

use contracts::step::{StepKind, StepPath};
use serde_json::Value;
use store::{Admission, Begin, BegunAttempt, Effects, Finish, StepFlags, StepOutcome, StepRef, StoreError, admit};

use crate::DynamoStore;
use crate::change::Change;
use crate::executions::Updated;
use crate::fault;
use crate::item::{Item, execution_flags, json, number, request, text};
use crate::keys;

impl DynamoStore {
    /// Begins an attempt of a batch. One that never said how it ended is superseded.
    pub(crate) async fn begin_batch(&self, step: &StepRef) -> Result<Begin, StoreError> {
        let now = self.clock.now();
        let Some(execution) = self.execution(&step.tenant_id, &step.execution_id).await? else {
            return Ok(Begin::Closed);
        };
        match admit(&execution_flags(&execution)?, StepFlags::default(), step.kind, now) {
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
        outcome: &StepOutcome,
    ) -> Result<Finish, StoreError> {
        let mut change = Change::default();
        change.only_if_present("open");
        change.only_if_absent("closed");
        change.only_if_equal("attempts", number(attempt.number));
        change.remove("open");
        if let (Ok(result), StepKind::Forward) = (outcome, step.kind) {
            change.set("done", json(result));
        }
        match self.update_batch(step, &step.path, change).await? {
            Updated::Done(_) => Ok(Finish::Recorded),
            Updated::Refused(Some(batch)) if !batch.has("closed") => Ok(Finish::Superseded),
            Updated::Refused(_) => Ok(Finish::Closed),
        }
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

fn is_over(batch: &Item) -> Result<Begin, StoreError> {
    if batch.has("closed") {
        return Ok(Begin::Closed);
    }
    Ok(batch.optional_json::<Value>("done")?.map_or(Begin::Closed, Begin::AlreadyDone))
}

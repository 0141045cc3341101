//! Concludes a migration that was interrupted: services put back what was there before, if that was asked for.

use contracts::ActivityError;
use contracts::data_migration::DataMigrationRequest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::catch_up::{CAUGHT_UP, CaughtUp};
use super::complete;
use super::plan::new_plan;
use super::{CONTENT, Plan, Set, State, THING, Way, step_of};
use crate::Context;
use crate::files::{Files, lost};
use crate::restore;
use crate::things::{self, Done, Left};

#[derive(Deserialize)]
struct Input {
    /// The error for which it ends.
    interrupted: String,
    /// Executions of an earlier version have no request here, nor what comes after it.
    #[serde(default)]
    request: Option<DataMigrationRequest>,
    /// The execution that is taken back, if one is.
    #[serde(default)]
    reverses: Option<String>,
    /// Whether the backup, or the archive, is there if one was wanted.
    #[serde(default)]
    is_backed_up: bool,
}

/// How far it is undone.
#[derive(Debug, Default, Serialize, Deserialize)]
struct UndoState {
    /// Whether what was written again is undone.
    caught_up: bool,
    /// Batches that are undone, from the last one on.
    parts: usize,
    #[serde(flatten)]
    left: Left,
}

/// Undoes whatever was written, or leaves it where that was asked for; reports what became of it.
pub(super) async fn conclude(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { interrupted, request, reverses, is_backed_up } = context.input()?;
    let Some(plan) = context.files().plan_if_written::<Plan>().await? else {
        if let Some(request) = request {
            let mut plan = Plan { reverses, ..new_plan(&request) };
            if !is_backed_up || plan.reverses.is_some() {
                (plan.backup_id, plan.archive_id) = (None, None);
            }
            complete::report_unplanned(context, &plan, &interrupted)?;
        }
        return Ok(json!({ "left": 0 }));
    };
    if plan.reverses.is_some() || !plan.options.rollback_on_error {
        complete::report_interrupted(context, &plan, &interrupted, None).await?;
        return Ok(json!({ "left": 0 }));
    }
    let left = match plan.way() {
        Way::Restore => restore::undo::undo_own(context).await?,
        Way::Write | Way::Remove | Way::Reverse => undo_all(context, &plan).await?,
    };
    let count = left.count();
    complete::report_interrupted(context, &plan, &interrupted, Some(left)).await?;
    Ok(json!({ "left": count }))
}

/// Undoes everything, the last things first. It goes on where an earlier attempt was.
async fn undo_all(context: &Context<'_>, plan: &Plan) -> Result<Left, ActivityError> {
    let files = context.files();
    let state_file = files.key("undo.json")?;
    let mut state: UndoState = files.read(&state_file).await?.unwrap_or_default();
    if !state.caught_up {
        let done = done_again(plan, &files).await?;
        things::undo(context, context.execution_id(), &done, &mut state.left).await?;
        state.caught_up = true;
        files.write_json(&state_file, &state).await?;
    }
    while state.parts < plan.parts.len() {
        let done = done_in_batch(plan, &files, plan.parts.len() - 1 - state.parts).await?;
        things::undo(context, context.execution_id(), &done, &mut state.left).await?;
        state.parts += 1;
        files.write_json(&state_file, &state).await?;
    }
    Ok(state.left)
}

/// What was written again because it had changed meanwhile, the last of it first.
pub(super) async fn done_again(plan: &Plan, files: &Files<'_>) -> Result<Vec<Done>, ActivityError> {
    let again: CaughtUp = files.read(&files.key(CAUGHT_UP)?).await?.unwrap_or_default();
    let mut done = Vec::with_capacity(again.written.len());
    for (set, id, round) in again.written.iter().rev() {
        let set = plan.sets.get(*set).ok_or_else(|| lost("a set of the plan"))?;
        done.extend(done_with(plan, set, id, *round)?);
    }
    Ok(done)
}

/// What a batch has done, the last of it first.
pub(super) async fn done_in_batch(plan: &Plan, files: &Files<'_>, number: usize) -> Result<Vec<Done>, ActivityError> {
    let part = plan.parts.get(number).ok_or_else(|| lost("a batch of the plan"))?;
    let set = plan.sets.get(part.set).ok_or_else(|| lost("a set of the plan"))?;
    let batch: State = files.read_state(number).await?.unwrap_or_default();
    let mut done = Vec::with_capacity(batch.ids.len());
    for id in batch.ids.iter().rev() {
        done.extend(done_with(plan, set, id, 0)?);
    }
    Ok(done)
}

/// What was done to a thing in a round, the last of it first: its bytes, and the thing itself.
pub(super) fn done_with(plan: &Plan, set: &Set, id: &str, round: u32) -> Result<Vec<Done>, ActivityError> {
    let done = [CONTENT, THING].into_iter().filter(|what| *what == THING || set.has_contents()).map(|what| {
        Ok(Done {
            service: set.target()?,
            entity_type: set.to_type.clone(),
            id: id.to_owned(),
            tenant_id: plan.target.clone(),
            step: step_of(what, set, id, round)?,
        })
    });
    done.collect()
}

//! Concludes a migration that was interrupted: services put back what was there before, if that was asked for.

use contracts::ActivityError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::complete::CaughtUp;
use super::{CONTENT, Plan, Set, State, THING, step_of};
use crate::Context;
use crate::things::{self, Left};

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
    let plan: Option<Plan> = context.files().plan_if_written().await?;
    // Nothing was written before it.
    let Some(plan) = plan else { return Ok(json!({ "left": 0 })) };
    if !plan.options.rollback_on_error {
        context.report(Map::from_iter([("status".to_owned(), json!("Failed"))]))?;
        return Ok(json!({ "left": 0 }));
    }
    let state = undo_all(context, &plan).await?;
    context.report(Map::from_iter([
        ("status".to_owned(), json!("RolledBack")),
        ("records_migrated".to_owned(), json!(0)),
        ("left".to_owned(), state.left.told()),
    ]))?;
    Ok(json!({ "left": state.left.count() }))
}

/// Undoes everything, the last things first. It goes on where an earlier attempt was.
async fn undo_all(context: &Context<'_>, plan: &Plan) -> Result<UndoState, ActivityError> {
    let files = context.files();
    let state_file = files.key("undo.json")?;
    let mut state: UndoState = files.read(&state_file).await?.unwrap_or_default();
    if !state.caught_up {
        let again: CaughtUp = files.read(&files.key("caught-up.json")?).await?.unwrap_or_default();
        for (set, id, round) in again.written.iter().rev() {
            let set = &plan.sets[*set];
            if !undo_one(context, plan, set, THING, id, *round).await? {
                state.left.add(&set.to_service, &set.to_type, id);
            }
        }
        state.caught_up = true;
        files.write_json(&state_file, &state).await?;
    }
    while state.parts < plan.parts.len() {
        let number = plan.parts.len() - 1 - state.parts;
        let set = &plan.sets[plan.parts[number].set];
        let batch: State = files.read(&files.state(number as u64)?).await?.unwrap_or_default();
        // Bytes that were never written have nothing to undo.
        for id in batch.ids.iter().rev().filter(|_| set.has_contents()) {
            undo_one(context, plan, set, CONTENT, id, 0).await?;
        }
        // One after the other: things of a type may refer to each other.
        for id in batch.ids.iter().rev() {
            if !undo_one(context, plan, set, THING, id, 0).await? {
                state.left.add(&set.to_service, &set.to_type, id);
            }
        }
        state.parts += 1;
        files.write_json(&state_file, &state).await?;
    }
    Ok(state)
}

/// Undoes what was done to one thing; false if somebody else has changed it since.
pub(super) async fn undo_one(
    context: &Context<'_>,
    plan: &Plan,
    set: &Set,
    what: &str,
    id: &str,
    round: u32,
) -> Result<bool, ActivityError> {
    things::undo(context, set.target()?, &plan.target, &step_of(what, set, id, round)?).await
}

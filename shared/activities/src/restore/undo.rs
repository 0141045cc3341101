//! Undoes a restore: services put back what was there before.

use contracts::ActivityError;
use downstream::Service;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vault::PartEntry;

use super::{FILES, PartState, Plan, files, step_of};
use crate::Context;
use crate::backup::{ContentLine, FILE_CONTENT, Vault};
use crate::files::{Files, lost};
use crate::things::{self, Done, Left};

/// After so many, what is done is noted.
const NOTED_AFTER: usize = 400;

/// How far it is undone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct UndoState {
    /// Parts that are undone, from the last one on.
    parts: usize,
    /// Things of the next part that are undone, from its last one on.
    things: usize,
    pub(super) undone: u64,
    #[serde(flatten)]
    pub(super) left: Left,
}

/// Undoes a restore, and reports what was undone.
pub(crate) async fn undo(context: &Context<'_>) -> Result<Value, ActivityError> {
    let plan: Option<Plan> = files(context).plan_if_written().await?;
    // Nothing was written before it.
    let Some(plan) = plan else { return Ok(json!({ "left": 0 })) };
    let state = undo_all(context, &plan).await?;
    context.report(Map::from_iter([
        ("backup_id".to_owned(), json!(plan.backup_id)),
        ("undone".to_owned(), json!(true)),
        ("left".to_owned(), state.left.told()),
    ]))?;
    Ok(json!({ "left": state.left.count() }))
}

/// Undoes whatever this execution restored, if it has begun; what stays because somebody else has changed it.
pub(crate) async fn undo_own(context: &Context<'_>) -> Result<Left, ActivityError> {
    let files = files(context);
    let Some(plan) = files.plan_if_written::<Plan>().await? else { return Ok(Left::default()) };
    undo_all(context, &plan).await.map(|state| state.left)
}

/// Undoes whatever a restore wrote. It goes on where an earlier attempt was.
pub(super) async fn undo_all(context: &Context<'_>, plan: &Plan) -> Result<UndoState, ActivityError> {
    let files = files(context);
    let state_file = files.key("undo.json")?;
    let mut state: UndoState = files.read(&state_file).await?.unwrap_or_default();
    while !plan.dry_run && state.parts < plan.parts.len() {
        let number = plan.parts.len() - 1 - state.parts;
        let done = done_to(context, plan, &files, number).await?;
        for done in done.get(state.things..).unwrap_or_default().chunks(NOTED_AFTER) {
            things::undo(context, context.execution_id(), done, &mut state.left).await?;
            state.things += done.len();
            state.undone += done.len() as u64;
            files.write_json(&state_file, &state).await?;
        }
        (state.parts, state.things) = (state.parts + 1, 0);
        files.write_json(&state_file, &state).await?;
    }
    Ok(state)
}

/// What an earlier execution did to the things of a part, the last of it first.
pub(crate) async fn done_by(
    context: &Context<'_>,
    execution_id: &str,
    number: usize,
) -> Result<Vec<Done>, ActivityError> {
    let files = context.files_of(execution_id).for_job(FILES);
    done_to(context, &files.read_plan().await?, &files, number).await
}

/// What was done to the things of a part, the last of it first. A part that has no state has not begun.
async fn done_to(
    context: &Context<'_>,
    plan: &Plan,
    files: &Files<'_>,
    number: usize,
) -> Result<Vec<Done>, ActivityError> {
    let part = plan.parts.get(number).ok_or_else(|| lost("a part of the plan"))?;
    let service = Service::named(&part.service).ok_or_else(|| lost("the service of a part"))?;
    if files.read_state::<PartState>(number).await?.is_none() {
        return Ok(Vec::new());
    }
    let ids = ids_of(plan, &plan.vault(context).await?, part).await?;
    let done = ids.into_iter().rev().map(|id| {
        let step = step_of(part, &id)?;
        Ok(Done { service, entity_type: part.entity_type.clone(), id, tenant_id: plan.target.tenant_id.clone(), step })
    });
    done.collect()
}

/// The ids in a part, in the order in which they were written.
pub(super) async fn ids_of(plan: &Plan, vault: &Vault<'_>, part: &PartEntry) -> Result<Vec<String>, ActivityError> {
    let (mut opened, mut ids) = (vault.open(part).await?, Vec::new());
    while let Some(line) = opened.next().await? {
        if part.entity_type != FILE_CONTENT {
            ids.extend(plan.thing(part, &line)?.map(|thing| thing.id));
        } else if let ContentLine::End { file, .. } = ContentLine::read(&line)? {
            ids.push(file);
        }
    }
    Ok(ids)
}

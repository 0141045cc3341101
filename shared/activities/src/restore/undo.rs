//! Undoes a restore: services put back what was there before.

use contracts::ActivityError;
use downstream::Service;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vault::PartEntry;

use super::{PartState, Plan, step_of};
use crate::Context;
use crate::backup::{ContentLine, FILE_CONTENT, Vault};
use crate::files::lost;
use crate::things::{self, Left};

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
    let plan: Option<Plan> = context.files().plan_if_written().await?;
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

/// Undoes whatever a restore wrote. It goes on where an earlier attempt was.
pub(super) async fn undo_all(context: &Context<'_>, plan: &Plan) -> Result<UndoState, ActivityError> {
    let files = context.files();
    let state_file = files.key("undo.json")?;
    let mut state: UndoState = files.read(&state_file).await?.unwrap_or_default();
    let vault = plan.vault(context).await?;
    while !plan.dry_run && state.parts < plan.parts.len() {
        let number = plan.parts.len() - 1 - state.parts;
        let part = &plan.parts[number];
        let service = Service::named(&part.service).ok_or_else(|| lost("the service of a part"))?;
        // A part that has no state has not begun.
        if files.read::<PartState>(&files.state(number as u64)?).await?.is_some() {
            let mut ids = ids_of(plan, &vault, part).await?;
            ids.reverse();
            for ids in ids.get(state.things..).unwrap_or_default().chunks(NOTED_AFTER) {
                // One after the other: things of a type may refer to each other.
                for id in ids {
                    if !things::undo(context, service, &plan.target.tenant_id, &step_of(part, id)?).await? {
                        state.left.add(&part.service, &part.entity_type, id);
                    }
                }
                state.things += ids.len();
                state.undone += ids.len() as u64;
                files.write_json(&state_file, &state).await?;
            }
        }
        (state.parts, state.things) = (state.parts + 1, 0);
        files.write_json(&state_file, &state).await?;
    }
    Ok(state)
}

/// The ids in a part, in the order in which they were written.
async fn ids_of(plan: &Plan, vault: &Vault<'_>, part: &PartEntry) -> Result<Vec<String>, ActivityError> {
    let (mut opened, mut ids) = (vault.open(part).await?, Vec::new());
    while let Some(line) = opened.next().await? {
        if part.entity_type != FILE_CONTENT {
            ids.push(plan.thing(part, &line)?.id);
        } else if let ContentLine::End { file, .. } = ContentLine::read(&line)? {
            ids.push(file);
        }
    }
    Ok(ids)
}

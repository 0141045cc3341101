//! Undoes a restore: services put back what was there before.

use contracts::{ActivityError, ErrorName};
use downstream::{Service, effects};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vault::PartEntry;

use super::{PartState, Plan, effect_of, step_of};
use crate::Context;
use crate::backup::{ContentLine, FILE_CONTENT, Vault};
use crate::files::lost;

/// After so many, what is done is noted.
const NOTED_AFTER: usize = 400;
/// Most things that the result names which somebody else changed meanwhile.
const MAX_TOLD: usize = 100;

/// How far it is undone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct UndoState {
    /// Parts that are undone, from the last one on.
    parts: usize,
    /// Things of the next part that are undone, from its last one on.
    things: usize,
    pub(super) undone: u64,
    /// What somebody else changed meanwhile: it stays as it is.
    pub(super) left: Vec<String>,
    left_count: u64,
}

/// Undoes a restore, and reports what was undone.
pub(crate) async fn undo(context: &Context<'_>) -> Result<Value, ActivityError> {
    let plan: Plan = match context.files().read_plan().await {
        // Nothing was written before it.
        Err(error) if error.error == ErrorName::IntegrityViolation.as_str() => return Ok(json!({ "left": 0 })),
        plan => plan?,
    };
    let state = undo_all(context, &plan).await?;
    let left = json!({ "changed_by_others": state.left, "changed_by_others_count": state.left_count });
    context.report(Map::from_iter([
        ("backup_id".to_owned(), json!(plan.backup_id)),
        ("undone".to_owned(), json!(true)),
        ("left".to_owned(), left),
    ]))?;
    Ok(json!({ "left": state.left_count }))
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
        // A part that has no state has not begun.
        if files.read::<PartState>(&files.state(number as u64)?).await?.is_some() {
            let mut ids = ids_of(plan, &vault, part).await?;
            ids.reverse();
            for ids in ids.get(state.things..).unwrap_or_default().chunks(NOTED_AFTER) {
                // One after the other: things of a type may refer to each other.
                for id in ids {
                    if let Some(left) = undo_one(context, plan, part, id).await? {
                        state.left_count += 1;
                        if state.left.len() < MAX_TOLD {
                            state.left.push(left);
                        }
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

/// Undoes what was done to one thing; what it is called if somebody else has changed it since.
async fn undo_one(
    context: &Context<'_>,
    plan: &Plan,
    part: &PartEntry,
    id: &str,
) -> Result<Option<String>, ActivityError> {
    let service = Service::named(&part.service).ok_or_else(|| lost("the service of a part"))?;
    let step = step_of(part, id)?;
    let effect = effect_of(context, &step);
    let (key, own_key) = (effect.idempotency_key(), effect.undo_key());
    match effects::undo(context.downstream, service, &plan.target.tenant_id, &key, own_key).await {
        Ok(_) => Ok(None),
        Err(error) if error.error == ErrorName::Conflict.as_str() => {
            Ok(Some(format!("{}/{}/{id}", part.service, part.entity_type)))
        }
        Err(error) => Err(error),
    }
}

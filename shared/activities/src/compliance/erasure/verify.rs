//! Looks whether anything of a person is left: asks every service again.

use std::collections::{BTreeMap, BTreeSet};

use contracts::ActivityError;
use contracts::dataset::{DatasetType, Strategy, at};
use downstream::data::Thing;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::page::page;
use super::strategy::{Fate, fate_of};
use super::{FOUND, Plan, Residue, files};
use crate::Context;
use crate::compliance::selection::Question;
use crate::restore::mark_of;

/// What is still there.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Found {
    /// Things that stay for a reason, by type: `service/type`.
    pub(super) retained: BTreeMap<String, u64>,
    /// What should not be there.
    pub(super) residue: Residue,
}

/// Verifies an erasure: answers `{retained, left}`.
pub(crate) async fn verify(context: &Context<'_>) -> Result<Value, ActivityError> {
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    let mut found = Found::default();
    for (of, state) in plan.sets.iter().zip(plan.states(&files).await?) {
        look(context, &plan, (of, &state.held_marks), &mut found).await?;
    }
    files.write_json(&files.key(FOUND)?, &found).await?;
    Ok(json!({ "retained": found.retained.values().sum::<u64>(), "left": found.residue.count }))
}

async fn look(
    context: &Context<'_>,
    plan: &Plan,
    (of, held): (&DatasetType, &BTreeSet<String>),
    found: &mut Found,
) -> Result<(), ActivityError> {
    let fate = fate_of(of);
    let questions = (0..).map_while(|number| Question::number(of, number));
    // Of a person who stays, what mentions them stays as well.
    for question in questions.take_while(|question| plan.is_whole || *question == Question::Own) {
        let mut cursor = None;
        loop {
            let page = page(context, of, &plan.subject, question, cursor.as_deref()).await?;
            let is_held = |thing: &&Thing| held.contains(&mark_of(&of.service, &of.entity_type, &thing.id));
            for thing in page.items.iter().filter(|thing| !is_held(thing)) {
                let stays = question == Question::Own && fate != Fate::Deleted && is_masked(of, thing);
                match stays {
                    true => *found.retained.entry(of.name()).or_default() += 1,
                    false => found.residue.add(&of.service, &of.entity_type, "StillThere"),
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Whether what was to become null is null.
fn is_masked(of: &DatasetType, thing: &Thing) -> bool {
    let is_gone = |path: &String| at(&thing.data, path).is_none_or(|value| value.is_null() || *value == json!({}));
    let nulls = of.fields.iter().filter(|(_, field)| matches!(field.strategy, Strategy::Delete | Strategy::Null));
    nulls.map(|(path, _)| path).all(is_gone)
}

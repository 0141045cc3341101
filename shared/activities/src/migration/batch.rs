//! Migrates the things of one batch.

use std::time::Duration;

use contracts::{ActivityError, ErrorName};
use downstream::data::{ImportStatus, Thing};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::source::Reading;
use super::{CONTENT, Plan, Refused, Set, State, content, refused, step_of, write};
use crate::Context;
use crate::files::{lost, unfinished};
use crate::things::key_of;

/// How long one attempt works before it says that it is to be called again.
const SLICE: Duration = Duration::from_secs(30);
/// How long it waits for batches that come before it.
const WAIT_SECONDS: u64 = 1;
/// Things in one call.
const CALL_ITEMS: usize = 200;

#[derive(Deserialize)]
struct Input {
    batch: BatchNumber,
    /// The error for which the machine gives the batch up.
    #[serde(default)]
    given_up: Option<String>,
}

#[derive(Deserialize)]
struct BatchNumber {
    batch: usize,
}

/// Migrates a batch: answers `{completed, failed}`.
pub(crate) async fn migrate(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { batch: BatchNumber { batch: number }, given_up } = context.input()?;
    let files = context.files();
    let plan: Plan = files.read_plan().await?;
    let part = plan.parts.get(number).ok_or_else(|| lost("a batch of the plan"))?;
    let state_file = files.state(number as u64)?;
    let mut state: State = files.read(&state_file).await?.unwrap_or_default();
    if given_up.is_none() && !is_due(context, &plan, number).await? {
        return Err(unfinished(WAIT_SECONDS));
    }
    if let Some(error) = given_up {
        state.given_up.get_or_insert(error);
        state.counts.failed += part.things.saturating_sub(state.counts.read);
        files.write_json(&state_file, &state).await?;
    }
    let migrating = Migrating { context, plan: &plan, set: &plan.sets[part.set], number };
    let began = context.clock.instant();
    let after = state.after.clone();
    let mut reading = Reading::part(context, &plan.source, &plan.sets[part.set], part, after.as_deref());
    while state.given_up.is_none() && !state.is_over {
        let Some(page) = reading.next().await? else {
            state.is_over = true;
            files.write_json(&state_file, &state).await?;
            break;
        };
        for things in page.items.chunks(CALL_ITEMS) {
            migrating.write_some(things, &mut state).await?;
            files.write_json(&state_file, &state).await?;
        }
        if context.clock.instant().since(began) >= SLICE {
            return Err(unfinished(0));
        }
    }
    let counts = state.counts;
    let completed = counts.created + counts.updated + counts.unchanged;
    let report = [("completed", completed), ("failed", counts.failed)];
    context.report(Map::from_iter(report.map(|(name, count)| (name.to_owned(), json!(count)))))?;
    Ok(json!({ "completed": completed, "failed": counts.failed }))
}

/// Whether all batches of lower levels are over: what they write is referred to. The first batch of a level that finds them so
/// notes it, so that the others need not look at all of them again.
async fn is_due(context: &Context<'_>, plan: &Plan, number: usize) -> Result<bool, ActivityError> {
    let own = plan.sets[plan.parts[number].set].level;
    let earlier = plan.parts.partition_point(|part| plan.sets[part.set].level < own);
    let files = context.files();
    let noted = files.key(&format!("level-{own}.json"))?;
    if earlier == 0 || files.read::<bool>(&noted).await?.is_some() {
        return Ok(true);
    }
    // The last ones are the last to begin.
    for earlier in (0..earlier).rev() {
        let state: Option<State> = files.read(&files.state(earlier as u64)?).await?;
        if !state.is_some_and(|state| state.is_over || state.given_up.is_some()) {
            return Ok(false);
        }
    }
    files.write_json(&noted, &true).await?;
    Ok(true)
}

struct Migrating<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    set: &'a Set,
    number: usize,
}

impl Migrating<'_> {
    async fn write_some(&self, things: &[Thing], state: &mut State) -> Result<(), ActivityError> {
        let Self { context, plan, set, number } = *self;
        let files = context.files();
        let moved: Vec<_> = things.iter().map(|thing| set.change.of(&set.service, &set.entity_type, thing)).collect();
        // Before the call: whoever undoes must know of everything that may have been written.
        let new: Vec<String> =
            moved.iter().map(|thing| thing.id.clone()).filter(|id| !state.ids.contains(id)).collect();
        state.ids.extend(new);
        files.write_json(&files.state(number as u64)?, state).await?;
        let results = write(context, plan, set, &moved, 0, false).await?;
        for ((thing, moved), result) in things.iter().zip(&moved).zip(&results) {
            state.counts.count(result.status);
            if result.status == ImportStatus::Failed {
                let ActivityError { error, cause } = refused(set, &moved.id, result);
                state.refused.push(Refused { id: moved.id.clone(), code: error, message: cause.message });
            } else if set.has_contents() {
                self.copy_content(&thing.id, &moved.id).await?;
            }
        }
        state.after = things.last().map(|thing| thing.id.clone());
        Ok(())
    }

    async fn copy_content(&self, from_id: &str, to_id: &str) -> Result<(), ActivityError> {
        let Self { context, plan, set, .. } = *self;
        let key = key_of(context, &step_of(CONTENT, set, to_id, 0)?);
        content::copy(context, (&plan.source, from_id), (&plan.target, to_id), key, plan.fence).await
    }
}

/// The error by which a batch was given up.
pub(super) fn given_up(state: &State, number: usize) -> Option<ActivityError> {
    let error = state.given_up.as_deref()?;
    let name = ErrorName::named(error).unwrap_or(ErrorName::ServiceUnavailable);
    Some(ActivityError::new(name, format!("the batch {number} could not be migrated")))
}

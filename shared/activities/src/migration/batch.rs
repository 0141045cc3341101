//! Migrates the things of one batch.

use std::collections::HashSet;
use std::time::Duration;

use contracts::{ActivityError, ErrorName};
use downstream::data::{ImportStatus, Imported, Thing};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::change::{Moved, Ready};
use super::source::Reading;
use super::transform::NotTransformed;
use super::{CHANGED_SINCE, CONTENT, Part, Plan, Refused, Set, State, Way, content, refused, step_of, write};
use super::{archive, restored, reverse};
use crate::Context;
use crate::files::{Files, lost, unfinished};
use crate::things::key_of;

/// How long one attempt works before it says that it is to be called again.
const SLICE: Duration = Duration::from_secs(30);
/// How long it waits for batches that come before it.
const WAIT_SECONDS: u64 = 1;
/// Things in one call.
pub(super) const CALL_ITEMS: usize = 200;

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

/// A batch in work.
pub(super) struct Working<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) plan: &'a Plan,
    pub(super) part: &'a Part,
    pub(super) number: usize,
    began: clock::Instant,
}

/// Migrates a batch: answers `{completed, failed}`.
pub(crate) async fn migrate(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { batch: BatchNumber { batch: number }, given_up } = context.input()?;
    context.files().noting(number, migrate_batch(context, number, given_up).await).await
}

async fn migrate_batch(context: &Context<'_>, number: usize, given_up: Option<String>) -> Result<Value, ActivityError> {
    let files = context.files();
    let plan: Plan = files.read_plan().await?;
    let part = plan.parts.get(number).ok_or_else(|| lost("a batch of the plan"))?;
    let mut state: State = files.read_state(number).await?.unwrap_or_default();
    if given_up.is_none() && !is_due(context, &plan, number).await? {
        return Err(unfinished(WAIT_SECONDS));
    }
    let working = Working { context, plan: &plan, part, number, began: context.clock.instant() };
    if let Some(error) = given_up {
        working.give_up(&mut state, error).await?;
    }
    if state.given_up.is_none() && !state.is_over {
        match plan.way() {
            Way::Write => working.write(&mut state).await?,
            Way::Remove => archive::migrate(&working, &mut state).await?,
            Way::Restore => restored::migrate(&working, &mut state, None).await?,
            Way::Reverse => reverse::migrate(&working, &mut state).await?,
        }
        state.is_over = true;
        working.note(&state).await?;
    }
    let is_reversal = matches!(plan.way(), Way::Reverse);
    let done = state.counts.migrated() + state.counts.skipped + state.counts.left;
    let (completed, failed) = (if is_reversal { state.counts.read } else { done }, state.counts.failed);
    let report = [("completed", completed), ("failed", failed)];
    context.report(Map::from_iter(report.map(|(name, count)| (name.to_owned(), json!(count)))))?;
    Ok(json!({ "completed": completed, "failed": failed }))
}

/// Whether all batches of lower turns are over. The first batch of a turn that finds them so notes it, so that the others need
/// not look at all of them again.
async fn is_due(context: &Context<'_>, plan: &Plan, number: usize) -> Result<bool, ActivityError> {
    let own = plan.parts[number].turn;
    let earlier = plan.parts.partition_point(|part| part.turn < own);
    let files = context.files();
    let noted = files.key(&format!("turn-{own}.json"))?;
    if earlier == 0 || files.read::<bool>(&noted).await?.is_some() {
        return Ok(true);
    }
    // The last ones are the last to begin.
    for earlier in (0..earlier).rev() {
        let state: Option<State> = files.read_state(earlier).await?;
        if !state.is_some_and(|state| state.is_over || state.given_up.is_some()) {
            return Ok(false);
        }
    }
    files.write_json(&noted, &true).await?;
    Ok(true)
}

impl State {
    /// Notes what came of a thing.
    pub(super) fn settle(&mut self, set: &Set, id: &str, result: &Imported) {
        self.counts.count(result.status);
        if result.status == ImportStatus::Failed {
            let ActivityError { error, cause } = refused(set, id, result);
            self.refused.push(Refused { id: id.to_owned(), code: error, message: cause.message });
        }
    }
}

impl Working<'_> {
    /// Writes down how far the batch is.
    pub(super) async fn note(&self, state: &State) -> Result<(), ActivityError> {
        let files = self.context.files();
        files.write_json(&files.state(self.number as u64)?, state).await
    }

    /// # Errors
    /// The attempt has worked long enough: it is to be called again.
    pub(super) fn check_time(&self) -> Result<(), ActivityError> {
        match self.context.clock.instant().since(self.began) >= SLICE {
            true => Err(unfinished(0)),
            false => Ok(()),
        }
    }

    /// The machine calls no more for this batch: what of it is not done has failed.
    async fn give_up(&self, state: &mut State, error: String) -> Result<(), ActivityError> {
        if matches!(self.plan.way(), Way::Restore) {
            restored::migrate(self, state, Some(error.clone())).await?;
        }
        state.given_up.get_or_insert(error);
        state.counts.failed += self.part.things.saturating_sub(state.counts.read);
        self.note(state).await
    }

    /// Writes the things of the batch, page by page.
    async fn write(&self, state: &mut State) -> Result<(), ActivityError> {
        let set = &self.plan.sets[self.part.set];
        let ready = set.change.ready()?;
        let after = state.after.clone();
        let mut reading = Reading::part(self.context, &self.plan.source, set, self.part, after.as_deref());
        while let Some(page) = reading.next().await? {
            for things in page.items.chunks(CALL_ITEMS) {
                self.write_some(set, &ready, things, state).await?;
                self.note(state).await?;
            }
            self.check_time()?;
        }
        Ok(())
    }

    async fn write_some(
        &self,
        set: &Set,
        ready: &Ready<'_>,
        things: &[Thing],
        state: &mut State,
    ) -> Result<(), ActivityError> {
        let moved = self.changed(set, ready, things, state);
        // Before the call: whoever undoes must know of everything that may have been written.
        let noted: HashSet<&String> = state.ids.iter().collect();
        let new: Vec<String> =
            moved.iter().map(|(_, thing)| thing.id.clone()).filter(|id| !noted.contains(id)).collect();
        state.ids.extend(new);
        self.note(state).await?;
        let (from, moved): (Vec<&str>, Vec<Moved>) = moved.into_iter().unzip();
        if !moved.is_empty() {
            let results = write(self.context, self.plan, set, &moved, 0, false).await?;
            for ((from, moved), result) in from.into_iter().zip(&moved).zip(&results) {
                if self.plan.is_in_place() && is_for_later(result) {
                    state.counts.count(ImportStatus::Updated);
                    continue;
                }
                state.settle(set, from, result);
                if result.status != ImportStatus::Failed && set.has_contents() {
                    let is_new = result.status == ImportStatus::Created;
                    self.copy_content(set, from, &moved.id, is_new).await?;
                }
            }
        }
        state.after = things.last().map(|thing| thing.id.clone());
        Ok(())
    }

    /// What is to be written, with the ids that the things have now. What cannot be changed, or is as it should be already,
    /// is noted at once.
    fn changed<'t>(
        &self,
        set: &Set,
        ready: &Ready<'_>,
        things: &'t [Thing],
        state: &mut State,
    ) -> Vec<(&'t str, Moved)> {
        let mut changed = Vec::with_capacity(things.len());
        for thing in things {
            match ready.of(&set.service, &set.entity_type, thing) {
                Ok(moved) if self.plan.is_in_place() && moved.data == thing.data => {
                    // An earlier attempt may have written it.
                    let is_written = state.ids.contains(&thing.id);
                    state.counts.count(if is_written { ImportStatus::Updated } else { ImportStatus::Skipped });
                }
                Ok(moved) => changed.push((thing.id.as_str(), moved)),
                Err(NotTransformed { code, message }) => {
                    state.counts.count(ImportStatus::Failed);
                    state.refused.push(Refused { id: thing.id.clone(), code: code.to_owned(), message });
                }
            }
        }
        changed
    }

    async fn copy_content(&self, set: &Set, from_id: &str, to_id: &str, is_new: bool) -> Result<(), ActivityError> {
        let Self { context, plan, .. } = *self;
        let key = key_of(context, &step_of(CONTENT, set, to_id, 0)?);
        content::copy(context, (&plan.source, from_id), (&plan.target, to_id), key, (plan.fence, is_new)).await
    }
}

/// Whether somebody has changed a thing since it was read: the completion reads it again.
pub(super) fn is_for_later(result: &Imported) -> bool {
    result.status == ImportStatus::Failed && matches!(result.code.as_deref(), Some(CHANGED_SINCE | "KeyReused"))
}

/// The error by which a batch was given up, if it was.
pub(super) async fn given_up(
    files: &Files<'_>,
    state: &State,
    number: usize,
) -> Result<Option<ActivityError>, ActivityError> {
    let Some(error) = state.given_up.as_deref() else { return Ok(None) };
    let name = ErrorName::named(error).unwrap_or(ErrorName::ServiceUnavailable);
    let message = files.with_why(number, format!("the batch {number} could not be migrated")).await?;
    Ok(Some(ActivityError::new(name, message)))
}

//! What changes in the source while it is copied: it is written again, until nothing is new.

use std::collections::{BTreeMap, HashSet};

use contracts::data_migration::MigrationType;
use contracts::{ActivityError, ErrorName};
use downstream::data::{ImportStatus, Thing, thing};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::BlobKey;

use super::batch::{CALL_ITEMS, is_for_later};
use super::change::{Moved, Ready};
use super::problems::{Line, Told};
use super::source::{Changed, Changes};
use super::target::is_tenant;
use super::undo::done_with;
use super::{CONTENT, Change, Counts, Plan, Set, State, content, refused, step_of, write};
use crate::Context;
use crate::files::lost;
use crate::things::{self, Left, fingerprint, key_of};

/// How often what has changed meanwhile is written again. What changes all the time is not waited for.
const MAX_ROUNDS: u32 = 5;

/// The file of what was written again.
pub(super) const CAUGHT_UP: &str = "caught-up.json";
/// The file of references of new things to what does not come along.
const DANGLING_MEANWHILE: &str = "dangling_meanwhile.jsonl";

/// What was written again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct CaughtUp {
    /// Set, id in the target, and round; noted before it is written.
    pub(super) written: Vec<(usize, String, u32)>,
    rounds: u32,
    /// Things whose original is gone.
    pub(super) gone: u64,
    /// Whether something was changing still when the last round was over.
    pub(super) is_changing: bool,
    /// Of each set, where what has changed after the last round begins: for the comparison that follows at once.
    #[serde(skip)]
    watermarks: Vec<String>,
    /// What is in no batch, as it came later.
    #[serde(default)]
    pub(super) late: Vec<Late>,
    /// What became of these, by set.
    #[serde(default)]
    counts: BTreeMap<usize, Counts>,
    /// What batches have done and was taken back, by set.
    #[serde(default)]
    taken_back: BTreeMap<usize, Counts>,
}

/// A thing that came later.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Late {
    pub(super) set: usize,
    /// In the source.
    pub(super) from: String,
    /// In the target.
    pub(super) to: String,
}

impl CaughtUp {
    /// The counts of the batches with what has changed since.
    pub(super) fn add_to(&self, plan: &Plan, types: &mut BTreeMap<(String, String), Counts>) {
        for (set, counts) in &self.counts {
            types.entry(plan.sets[*set].types()).or_default().add(*counts);
        }
        for (set, gone) in &self.taken_back {
            let counts = types.entry(plan.sets[*set].types()).or_default();
            counts.read = counts.read.saturating_sub(gone.read);
            counts.created = counts.created.saturating_sub(gone.created);
            counts.updated = counts.updated.saturating_sub(gone.updated);
            counts.unchanged = counts.unchanged.saturating_sub(gone.unchanged);
        }
    }
}

/// Writes again what has changed since it was planned, until nothing has.
pub(super) async fn catch_up(context: &Context<'_>, plan: &Plan, told: &mut Told) -> Result<CaughtUp, ActivityError> {
    let files = context.files();
    let place = files.key(CAUGHT_UP)?;
    let done: CaughtUp = files.read(&place).await?.unwrap_or_default();
    let known = known(context, plan, &done).await?;
    let mut catching = Catching { context, plan, told, place, done, known, bringing: HashSet::new() };
    let mut watermarks: Vec<String> = plan.sets.iter().map(|set| set.watermark.clone()).collect();
    // One that was interrupted begins behind the rounds that it has had: their keys are used.
    let first = catching.done.rounds + 1;
    for round in first..first + MAX_ROUNDS {
        let mut has_changed = false;
        catching.done.rounds = round;
        for (number, set) in plan.sets.iter().enumerate() {
            let ready = set.change.ready()?;
            let mut changes = Changes::since(context, plan, set, watermarks[number].clone());
            while let Some(Changed { things, gone, watermark }) = changes.next().await? {
                watermarks[number] = watermark;
                let moved = changed(plan, set, &ready, &things)?;
                has_changed |= !moved.is_empty() || !gone.is_empty();
                for thing in &things {
                    catching.bring(number, thing, round).await?;
                }
                catching.write(number, moved, round).await?;
                catching.done.gone += gone.len() as u64;
                if follows(plan) {
                    catching.take_back(number, &ready, gone).await?;
                }
            }
        }
        catching.done.is_changing = has_changed;
        if !has_changed {
            break;
        }
    }
    catching.done.watermarks = watermarks;
    Ok(catching.done)
}

/// The ids of the things of a set that have changed after the last round, and of those that are gone since then.
pub(super) async fn changed_after(
    context: &Context<'_>,
    plan: &Plan,
    (set, caught_up): (usize, &CaughtUp),
) -> Result<HashSet<String>, ActivityError> {
    let mut changed = HashSet::new();
    let since = caught_up.watermarks.get(set).ok_or_else(|| lost("what has changed meanwhile"))?;
    let mut changes = Changes::since(context, plan, &plan.sets[set], since.clone());
    while let Some(page) = changes.next().await? {
        changed.extend(page.things.into_iter().map(|thing| thing.id));
        changed.extend(page.gone);
    }
    Ok(changed)
}

/// Whether anything was written again.
pub(super) async fn written_again(context: &Context<'_>) -> Result<bool, ActivityError> {
    let files = context.files();
    let done: CaughtUp = files.read(&files.key(CAUGHT_UP)?).await?.unwrap_or_default();
    Ok(!done.written.is_empty())
}

fn follows(plan: &Plan) -> bool {
    plan.migration_type == MigrationType::TenantToTenant
}

/// What batches have written, and what came later: set and id in the target.
async fn known(context: &Context<'_>, plan: &Plan, done: &CaughtUp) -> Result<HashSet<u64>, ActivityError> {
    let mut known: HashSet<u64> = done.late.iter().map(|late| mark(plan, late.set, &late.to)).collect();
    for (number, part) in plan.parts.iter().enumerate() {
        let state: State = context.files().read_state(number).await?.unwrap_or_default();
        known.extend(state.ids.iter().map(|id| mark(plan, part.set, id)));
    }
    Ok(known)
}

fn mark(plan: &Plan, set: usize, id: &str) -> u64 {
    let set = &plan.sets[set];
    fingerprint(&set.to_service, &set.to_type, id)
}

/// What is to be written again, by its id in the source. Of what is changed where it is, that is not what is as it should be:
/// everything that was written has changed too.
pub(super) fn changed(
    plan: &Plan,
    set: &Set,
    ready: &Ready<'_>,
    things: &[Thing],
) -> Result<Vec<(String, Moved)>, ActivityError> {
    let mut changed = Vec::with_capacity(things.len());
    for thing in things {
        let moved = ready.of(&set.service, &set.entity_type, thing).map_err(|refused| {
            let message = format!("{}: the {} {}: {}", set.service, set.entity_type, thing.id, refused.message);
            ActivityError::new(ErrorName::InvalidInput, message)
        })?;
        if !plan.is_in_place() || moved.data != thing.data {
            changed.push((thing.id.clone(), moved));
        }
    }
    Ok(changed)
}

struct Catching<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    told: &'a mut Told,
    place: BlobKey,
    done: CaughtUp,
    known: HashSet<u64>,
    /// What is being brought along: things may refer to each other in a circle.
    bringing: HashSet<u64>,
}

impl Catching<'_> {
    async fn note(&self) -> Result<(), ActivityError> {
        self.context.files().write_json(&self.place, &self.done).await
    }

    async fn write(&mut self, number: usize, moved: Vec<(String, Moved)>, round: u32) -> Result<(), ActivityError> {
        if moved.is_empty() {
            return Ok(());
        }
        let (plan, set) = (self.plan, &self.plan.sets[number]);
        self.done.written.extend(moved.iter().map(|(_, thing)| (number, thing.id.clone(), round)));
        self.note().await?;
        for moved in moved.chunks(CALL_ITEMS) {
            let things: Vec<Moved> = moved.iter().map(|(_, thing)| thing.clone()).collect();
            let results = write(self.context, plan, set, &things, round, false).await?;
            for ((from, thing), result) in moved.iter().zip(&results) {
                if result.status == ImportStatus::Failed {
                    // The next round reads again what has changed still.
                    if plan.is_in_place() && is_for_later(result) {
                        continue;
                    }
                    return Err(refused(set, &thing.id, result));
                }
                if set.has_contents() {
                    let key = key_of(self.context, &step_of(CONTENT, set, &thing.id, round)?);
                    let is_new = result.status == ImportStatus::Created;
                    let (from, to) = ((&*plan.source, &**from), (&*plan.target, &*thing.id));
                    content::copy(self.context, from, to, key, (plan.fence, is_new)).await?;
                }
                let is_new = match plan.migration_type {
                    MigrationType::TenantToTenant => true,
                    // What is as it should be is in no list of a batch.
                    MigrationType::SystemUpgrade => !plan.parts.iter().any(|part| part.covers(number, from)),
                    _ => result.status == ImportStatus::Created,
                };
                if self.known.insert(mark(plan, number, &thing.id)) && is_new {
                    self.done.counts.entry(number).or_default().count(result.status);
                    self.done.late.push(Late { set: number, from: from.clone(), to: thing.id.clone() });
                }
            }
        }
        self.note().await
    }

    /// Brings along what a thing refers to, if it is not there and is to come along; tells of it if it is not.
    fn bring<'f>(
        &'f mut self,
        number: usize,
        thing: &'f Thing,
        round: u32,
    ) -> BoxFuture<'f, Result<(), ActivityError>> {
        async move {
            let (plan, of) = (self.plan, &self.plan.sets[number]);
            let own = mark(plan, number, &renamed(of, &thing.id));
            if !follows(plan) || self.known.contains(&own) || !self.bringing.insert(own) {
                return Ok(());
            }
            for to in &thing.references {
                let is_it = |set: &Set| set.service == to.service && set.entity_type == to.entity_type;
                let place = plan.sets.iter().position(is_it);
                let comes = place.is_some_and(|place| {
                    let (set, to) = (&plan.sets[place], mark(plan, place, &renamed(&plan.sets[place], &to.id)));
                    // All of the type are selected: it comes by itself.
                    let is_whole = set.ids.is_none() && set.filters.is_empty();
                    is_whole || self.known.contains(&to) || self.bringing.contains(&to)
                });
                if comes || is_tenant(&to.service, &to.entity_type) && to.id == plan.source {
                    continue;
                }
                let found = match place.filter(|_| of.brings) {
                    Some(place) => {
                        let found = of_source(self.context, plan, &plan.sets[place], &to.id).await?;
                        found.map(|thing| (place, thing))
                    }
                    None => None,
                };
                let Some((place, found)) = found else {
                    let message = format!(
                        "refers to the {} {} of {}, which does not come along",
                        to.entity_type, to.id, to.service
                    );
                    let (service, entity_type, id, code) = (&*of.service, &*of.entity_type, &*thing.id, "Dangling");
                    self.told.add(DANGLING_MEANWHILE, &Line { service, entity_type, id, code, message: &message })?;
                    continue;
                };
                self.bring(place, &found, round).await?;
                let set = &plan.sets[place];
                let moved = changed(plan, set, &set.change.ready()?, &[found])?;
                self.write(place, moved, round).await?;
            }
            Ok(())
        }
        .boxed()
    }

    /// Undoes what was written of things that are gone.
    async fn take_back(&mut self, number: usize, ready: &Ready<'_>, gone: Vec<String>) -> Result<(), ActivityError> {
        let (plan, set) = (self.plan, &self.plan.sets[number]);
        for id in gone {
            let original = Thing { id, version: None, data: json!({}), references: Vec::new() };
            let Ok(moved) = ready.of(&set.service, &set.entity_type, &original) else { continue };
            let again = self.done.written.iter().rev().filter(|(of, id, _)| *of == number && *id == moved.id);
            let rounds: Vec<u32> = again.map(|(.., round)| *round).chain([0]).collect();
            let mut undone = false;
            for round in rounds {
                let (done, own) = (done_with(plan, set, &moved.id, round)?, self.context.execution_id());
                undone |= things::undo(self.context, own, &done, &mut Left::default()).await? > 0;
            }
            if !self.known.remove(&mark(plan, number, &moved.id)) {
                continue;
            }
            let (at, downstream) = (set.target()?, self.context.downstream);
            let is_there = thing(downstream, at, &set.to_type, &plan.target, &moved.id).await?.is_some();
            let counts = self.done.taken_back.entry(number).or_default();
            counts.count(match (is_there, undone) {
                (false, _) => ImportStatus::Created,
                (true, true) => ImportStatus::Updated,
                (true, false) => ImportStatus::Skipped,
            });
            self.done.late.retain(|late| late.set != number || late.to != moved.id);
            self.note().await?;
        }
        Ok(())
    }
}

/// The id of a thing of a set in the target.
fn renamed(set: &Set, id: &str) -> String {
    match &set.change {
        Change::Renamed { names, .. } => names.renamed(&set.service, &set.entity_type, id),
        Change::Copied { .. } | Change::Transformed { .. } | Change::Removed => id.to_owned(),
    }
}

/// A thing of a set in the source, if it is there.
pub(super) async fn of_source(
    context: &Context<'_>,
    plan: &Plan,
    set: &Set,
    id: &str,
) -> Result<Option<Thing>, ActivityError> {
    thing(context.downstream, set.source()?, &set.entity_type, &plan.source, id).await
}

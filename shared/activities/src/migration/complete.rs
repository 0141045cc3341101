//! Completes a migration: writes again what has changed meanwhile, asks the target whether everything is as it should be,
//! and reports the result.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contracts::data_migration::MigrationType;
use contracts::{ActivityError, ErrorName, Timestamp};
use downstream::Service;
use downstream::data::{ImportStatus, PageOf, Thing, Within, page};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::archive;
use super::batch::{CALL_ITEMS, given_up};
use super::catch_up::{CaughtUp, Late, catch_up, changed, changed_after, of_source, written_again};
use super::change::Moved;
use super::problems::{FAILED, Line, ONLY_COPIES, STILL_CHANGING, Told};
use super::source::Reading;
use super::{ByType, Counts, Part, Plan, Refused, Set, State, Way, type_name, write};
use crate::Context;
use crate::backup::FILE_CONTENT;
use crate::restore::{self, PartFailure};
use crate::things::Left;

/// The file of what a comparison found out: what is not as it should be is told also where it is undone for that.
const VERIFIED: &str = "verified.json";

/// The most things that are told one by one.
const MAX_DIFFERING: usize = 10_000;

/// What a comparison found out.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Verified {
    /// Things that are as they should be.
    #[serde(with = "by_type")]
    types: ByType,
    differing: Vec<Differing>,
    /// How many more there are, by set.
    #[serde(default)]
    more: BTreeMap<usize, u64>,
}

/// A thing that is not as its original is now.
#[derive(Debug, Serialize, Deserialize)]
struct Differing {
    set: usize,
    /// In the source.
    from: String,
    /// In the target.
    to: String,
    /// Whether its original has changed, or gone, after the last round.
    has_changed: bool,
}

/// JSON has no objects whose names are pairs.
mod by_type {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::ByType;

    pub(super) fn serialize<S: Serializer>(of: &ByType, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(of)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<ByType, D::Error> {
        Vec::deserialize(from).map(|pairs: Vec<_>| pairs.into_iter().collect())
    }
}

impl Verified {
    fn add(&mut self, set: &Set, things: u64) {
        *self.types.entry(set.types()).or_default() += things;
    }

    fn differs(&mut self, set: usize, from: &str, to: &str) {
        if self.differing.len() < MAX_DIFFERING {
            self.differing.push(Differing { set, from: from.to_owned(), to: to.to_owned(), has_changed: false });
        } else {
            *self.more.entry(set).or_default() += 1;
        }
    }

    /// How many things are not as their originals are now.
    fn differing(&self) -> u64 {
        self.differing.len() as u64 + self.more.values().sum::<u64>()
    }

    fn still_changing(&self) -> usize {
        self.differing.iter().filter(|differing| differing.has_changed).count()
    }
}

/// A round of its own: under the keys of the others the target would tell what came of those.
const VERIFYING: u32 = u32::MAX;

/// Completes a migration. Its error is that of what failed.
pub(super) async fn complete(context: &Context<'_>) -> Result<Value, ActivityError> {
    let plan: Plan = context.files().read_plan().await?;
    let mut completing = Completing::new(context, &plan);
    completing.collect().await?;
    let mut caught_up = CaughtUp::default();
    completing.first = completing.first.take().or_else(|| completing.not_begun.take());
    let mut verified = Verified::default();
    if completing.first.is_none() && !plan.options.dry_run {
        match plan.way() {
            Way::Write => {
                caught_up = catch_up(context, &plan, &mut completing.told).await?;
                completing.miss(caught_up.gone);
                caught_up.add_to(&plan, &mut completing.types);
                verified = completing.verify(&caught_up).await?;
            }
            Way::Remove => verified.types = archive::verify(context, &plan).await?,
            Way::Restore => verified.types = completing.verify_restored().await?,
            Way::Reverse => {}
        }
    }
    if completing.first.is_none() && matches!(plan.way(), Way::Write) {
        completing.find_only_copies().await?;
    }
    completing.report(&caught_up, &verified).await
}

/// Until when a migration can be reversed, if it can.
pub(super) fn reversible_until(context: &Context<'_>, plan: &Plan) -> Option<Timestamp> {
    let days = plan.options.reversible_days;
    let is_reversible = days > 0 && !plan.options.dry_run && plan.reverses.is_none();
    is_reversible.then(|| context.clock.now() + DAY * days)
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

struct Completing<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    told: Told,
    /// What became of things, by what they were and what they are now.
    types: BTreeMap<(String, String), Counts>,
    /// What stays because somebody else has changed it.
    left: Left,
    /// Of a restore: files that got their bytes.
    contents: u64,
    /// Things that were written and are not as they should be.
    wrong: u64,
    /// What failed first.
    first: Option<ActivityError>,
    /// The first batch that was not done, for no fault of its own.
    not_begun: Option<ActivityError>,
    /// Whether something may have been written, told or not.
    may_have_written: bool,
    /// Of types that are migrated as a whole: things that were planned and not found again.
    vanished: u64,
}

impl<'a> Completing<'a> {
    fn new(context: &'a Context<'a>, plan: &'a Plan) -> Self {
        let (told, types, left) = (Told::default(), BTreeMap::new(), Left::default());
        Self {
            context,
            plan,
            told,
            types,
            left,
            contents: 0,
            wrong: 0,
            first: None,
            not_begun: None,
            may_have_written: false,
            vanished: 0,
        }
    }

    /// Puts together what became of the batches, or what would come of them.
    async fn collect(&mut self) -> Result<(), ActivityError> {
        if self.plan.options.dry_run {
            self.types = self.plan.expected_types.iter().cloned().collect();
            self.contents = self.plan.expected_contents;
            return Ok(());
        }
        if matches!(self.plan.way(), Way::Restore) {
            self.collect_restored().await?;
        }
        let files = self.context.files();
        for (number, part) in self.plan.parts.iter().enumerate() {
            let state: Option<State> = files.read_state(number).await?;
            let state = state.unwrap_or_default();
            let set = self.plan.sets.get(part.set);
            if let Some(set) = set {
                self.types.entry(set.types()).or_default().add(state.counts);
            }
            for (name, counts) in &state.types {
                self.types.entry((name.clone(), name.clone())).or_default().add(*counts);
            }
            self.left.add_all(state.left.clone());
            if let Some(error) = given_up(&files, &state, number).await? {
                self.first.get_or_insert(error);
            } else if !state.is_over {
                let message = format!("the batch {number} was not migrated");
                self.not_begun.get_or_insert(ActivityError::new(ErrorName::ServiceUnavailable, message));
            }
            // What is written is noted before, what came of it after.
            self.may_have_written |= !state.ids.is_empty() || state.given_up.is_some() || state.counts.migrated() > 0;
            if state.is_over && set.is_some_and(|set| set.filters.is_empty() && set.ids.is_none()) {
                self.vanished += part.things.saturating_sub(state.counts.read);
            }
            if let Some(set) = set {
                self.tell_not_tried(set, (number, part), &state)?;
                let of = (&*set.to_service, &*set.to_type);
                state.refused.into_iter().try_for_each(|refused| self.tell_refused(of, refused))?;
            }
        }
        for set in &self.plan.sets {
            let same = Counts { read: set.same, unchanged: set.same, ..Counts::default() };
            self.types.entry(set.types()).or_default().add(same);
        }
        self.told.add_left(&self.left)
    }

    /// What a service has listed, and neither has nor tells as deleted, was never there, or is lost.
    fn miss(&mut self, gone: u64) {
        let missing = self.vanished.saturating_sub(gone);
        if missing > 0 {
            let message =
                format!("the source listed {missing} things that it does not have, and does not tell them as deleted");
            self.first.get_or_insert(ActivityError::new(ErrorName::IntegrityViolation, message));
        }
    }

    /// The parts of a restore know what became of each type.
    async fn collect_restored(&mut self) -> Result<(), ActivityError> {
        let totals = restore::complete::totals(self.context).await?;
        self.contents = totals.contents;
        for ((service, entity_type), counts) in totals.types {
            let name = type_name(&service, &entity_type);
            self.types.insert((name.clone(), name), Counts::of_restored(counts, self.plan.options.restore_conflict()));
        }
        for ((service, entity_type), PartFailure { id, error, message }) in totals.failures {
            let name = type_name(&service, &entity_type);
            let failed = u64::from(id.is_some());
            let counts = self.types.entry((name.clone(), name)).or_default();
            counts.read += if entity_type == FILE_CONTENT { 0 } else { failed };
            counts.failed += failed;
            let refused = Refused { id: id.unwrap_or_default(), code: error, message };
            self.tell_refused((&service, &entity_type), refused)?;
        }
        Ok(())
    }

    /// Compares what was restored.
    async fn verify_restored(&self) -> Result<ByType, ActivityError> {
        let verified = restore::verify::verified(self.context).await?;
        let named = verified.into_iter().map(|((service, entity_type), things)| {
            let name = type_name(&service, &entity_type);
            ((name.clone(), name), things)
        });
        Ok(named.collect())
    }

    /// Of a batch that was given up it is known where it was, and not what comes after that.
    fn tell_not_tried(
        &mut self,
        set: &Set,
        (number, part): (usize, &Part),
        state: &State,
    ) -> Result<(), ActivityError> {
        let left = part.things.saturating_sub(state.counts.read);
        let Some(code) = state.given_up.as_ref().filter(|_| left > 0) else { return Ok(()) };
        let (service, entity_type) = (&*set.to_service, &*set.to_type);
        let after = state.after.as_deref().or(part.within.from_id.as_deref()).unwrap_or_default();
        let from = if after.is_empty() { String::new() } else { format!(", those from '{after}' on") };
        let message = format!("{left} of the things of batch {number} may not have been migrated{from}");
        self.told.add(FAILED, &Line { service, entity_type, id: "", code, message: &message })
    }

    fn tell_refused(
        &mut self,
        (service, entity_type): (&str, &str),
        Refused { id, code, message }: Refused,
    ) -> Result<(), ActivityError> {
        self.told.add(FAILED, &Line { service, entity_type, id: &id, code: &code, message: &message })?;
        let name = ErrorName::named(&code).unwrap_or(ErrorName::ServiceRejected);
        self.first.get_or_insert_with(|| ActivityError::new(name, message));
        Ok(())
    }

    /// Looks of every thing whether it is as it should be.
    async fn verify(&mut self, caught_up: &CaughtUp) -> Result<Verified, ActivityError> {
        let mut verified = Verified::default();
        for set in &self.plan.sets {
            verified.add(set, set.same);
        }
        for (number, part) in self.plan.parts.iter().enumerate() {
            match self.plan.is_in_place() {
                true => self.verify_in_place(part, number, &mut verified).await?,
                false => self.verify_copies(part, &mut verified).await?,
            }
        }
        for Late { set, from, .. } in &caught_up.late {
            let is_covered = !self.plan.is_in_place() && self.plan.parts.iter().any(|part| part.covers(*set, from));
            // What is gone again is not looked for.
            if !is_covered && let Some(thing) = of_source(self.context, self.plan, &self.plan.sets[*set], from).await? {
                self.verify_things(*set, &[thing], &mut verified).await?;
            }
        }
        self.excuse(caught_up, &mut verified).await?;
        self.context.files().write_json(&self.context.files().key(VERIFIED)?, &verified).await?;
        Ok(verified)
    }

    /// Tells apart what differs because its original has changed after the last round, and what is wrong.
    async fn excuse(&mut self, caught_up: &CaughtUp, verified: &mut Verified) -> Result<(), ActivityError> {
        let sets: BTreeSet<usize> = verified.differing.iter().map(|differing| differing.set).collect();
        for set in sets {
            let changed = changed_after(self.context, self.plan, (set, caught_up)).await?;
            for differing in verified.differing.iter_mut().filter(|differing| differing.set == set) {
                differing.has_changed = changed.contains(&differing.from);
            }
        }
        self.tell_differing(verified)
    }

    fn tell_differing(&mut self, verified: &Verified) -> Result<(), ActivityError> {
        for Differing { set, from, to, has_changed } in &verified.differing {
            let set = &self.plan.sets[*set];
            let (service, entity_type) = (&*set.to_service, &*set.to_type);
            if *has_changed {
                let message =
                    format!("its original, the {} {from} of {}, has changed again", set.entity_type, set.service);
                self.told
                    .add(STILL_CHANGING, &Line { service, entity_type, id: to, code: "Changed", message: &message })?;
                continue;
            }
            let counts = self.types.entry(set.types()).or_default();
            counts.failed += 1;
            self.wrong += 1;
            let message = format!("{service}: the {entity_type} {to} is not as it should be after it was written");
            let code = ErrorName::IntegrityViolation;
            self.told.add(FAILED, &Line { service, entity_type, id: to, code: code.as_str(), message: &message })?;
            self.first.get_or_insert_with(|| ActivityError::new(code, message));
        }
        for (set, things) in &verified.more {
            let set = &self.plan.sets[*set];
            self.types.entry(set.types()).or_default().failed += things;
            self.wrong += things;
            let message = format!("{things} more are not as they should be, or their originals have changed again");
            let (service, entity_type) = (&*set.to_service, &*set.to_type);
            let code = ErrorName::IntegrityViolation.as_str();
            self.told.add(FAILED, &Line { service, entity_type, id: "", code, message: &message })?;
            self.first.get_or_insert_with(|| ActivityError::new(ErrorName::IntegrityViolation, message));
        }
        Ok(())
    }

    /// Reads what was written, also what is not selected any more as it is another thing now.
    async fn verify_in_place(&self, part: &Part, number: usize, verified: &mut Verified) -> Result<(), ActivityError> {
        let (files, set) = (self.context.files(), &self.plan.sets[part.set]);
        let state: State = files.read_state(number).await?.unwrap_or_default();
        let written: BTreeSet<String> = state.ids.into_iter().collect();
        let (ready, whole) = (set.change.ready()?, Set { filters: BTreeMap::new(), ..set.clone() });
        let mut reading = Reading::part(self.context, &self.plan.source, &whole, part, None);
        let before = verified.differing();
        while !written.is_empty()
            && let Some(page) = reading.next().await?
        {
            for thing in page.items.iter().filter(|thing| written.contains(&thing.id)) {
                let moved = ready.of(&set.service, &set.entity_type, thing);
                if moved.ok().is_none_or(|moved| moved.data != thing.data) {
                    verified.differs(part.set, &thing.id, &thing.id);
                }
            }
        }
        let differing = verified.differing() - before;
        verified.add(set, (state.counts.updated + state.counts.unchanged).saturating_sub(differing));
        Ok(())
    }

    /// Asks the target whether the things are as they should be.
    async fn verify_copies(&self, part: &Part, verified: &mut Verified) -> Result<(), ActivityError> {
        let set = &self.plan.sets[part.set];
        let mut reading = Reading::part(self.context, &self.plan.source, set, part, None);
        while let Some(page) = reading.next().await? {
            self.verify_things(part.set, &page.items, verified).await?;
        }
        Ok(())
    }

    /// Asks the target whether these things are as they should be. What is changed where it is, and is as it should be, need not
    /// be asked about.
    async fn verify_things(
        &self,
        number: usize,
        things: &[Thing],
        verified: &mut Verified,
    ) -> Result<(), ActivityError> {
        let set = &self.plan.sets[number];
        let moved = changed(self.plan, set, &set.change.ready()?, things)?;
        verified.add(set, (things.len() - moved.len()) as u64);
        for moved in moved.chunks(CALL_ITEMS) {
            let things: Vec<Moved> = moved.iter().map(|(_, moved)| moved.clone()).collect();
            let results = write(self.context, self.plan, set, &things, VERIFYING, true).await?;
            for ((from, thing), result) in moved.iter().zip(&results) {
                match result.status {
                    ImportStatus::Skipped => verified.add(set, 1),
                    _ => verified.differs(number, from, &thing.id),
                }
            }
        }
        Ok(())
    }

    /// Looks for copies of what is not there any more: they are told of, and stay. There are none where digests are the same.
    async fn find_only_copies(&mut self) -> Result<(), ActivityError> {
        let is_whole = |set: &&Set| set.filters.is_empty();
        if self.plan.migration_type != MigrationType::CrossServiceSync {
            return Ok(());
        }
        for set in self.plan.sets.iter().filter(is_whole) {
            for within in set.ranges.clone().unwrap_or_else(|| vec![Within::default()]) {
                let originals = self.ids((set.source()?, &set.entity_type, &self.plan.source), &within).await?;
                let copies = self.ids((set.target()?, &set.to_type, &self.plan.target), &within).await?;
                for id in copies.difference(&originals) {
                    self.tell_only_copy(set, id)?;
                }
            }
        }
        Ok(())
    }

    fn tell_only_copy(&mut self, set: &Set, id: &str) -> Result<(), ActivityError> {
        let message = format!("is a copy of a {} that {} does not have", set.entity_type, set.service);
        let (service, entity_type) = (&*set.to_service, &*set.to_type);
        self.told.add(ONLY_COPIES, &Line { service, entity_type, id, code: "OnlyCopy", message: &message })
    }

    /// The ids of the things of a type in a range.
    async fn ids(
        &self,
        (service, entity_type, tenant_id): (Service, &str, &str),
        within: &Within,
    ) -> Result<BTreeSet<String>, ActivityError> {
        let (mut ids, mut cursor) = (BTreeSet::new(), None::<String>);
        loop {
            let of = PageOf { cursor: cursor.as_deref(), within: Some(within), ..PageOf::default() };
            let page = page(self.context.downstream, service, entity_type, tenant_id, of).await?;
            ids.extend(page.items.into_iter().map(|thing| thing.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(ids);
            }
        }
    }

    /// What became of things, as the result tells it.
    fn counted(&self, status: &str, verified: &ByType) -> (Counts, Value) {
        let Self { plan, types, left, .. } = self;
        let is_reversal = plan.reverses.is_some();
        let all = match plan.options.dry_run {
            true => plan.expected,
            false => {
                // What had changed before the plan is in no batch.
                let planned = Counts { read: plan.expected.left, left: plan.expected.left, ..Counts::default() };
                Counts::sum(types.values().chain([&planned]))
            }
        };
        let per_type = types.iter().map(|(types, counts)| {
            let mut told = json!(counts);
            told["verified"] = json!(verified.get(types).copied().unwrap_or_default());
            (told["from"], told["to"]) = (json!(types.0), json!(types.1));
            told
        });
        let affected: BTreeSet<&str> = plan.held.iter().filter_map(|of| of.split('/').next()).collect();
        let told = json!({
            "migration_id": plan.migration_id,
            "status": status,
            "records_processed": all.read,
            "records_migrated": if plan.options.dry_run || is_reversal { 0 } else { all.migrated().saturating_sub(self.wrong) },
            "records_failed": all.failed,
            "created": all.created,
            "updated": all.updated,
            "unchanged": all.unchanged,
            "removed": all.removed,
            "skipped": all.skipped,
            "taken_back": if is_reversal { all.read.saturating_sub(all.left) } else { 0 },
            "left": all.left,
            "left_first": left.told_first(),
            "file_contents": self.contents,
            "services_affected": if plan.held.is_empty() { plan.services() } else { affected },
            "per_type": per_type.collect::<Vec<_>>(),
            "dry_run": plan.options.dry_run,
        });
        (all, told)
    }

    async fn report(self, caught_up: &CaughtUp, verified: &Verified) -> Result<Value, ActivityError> {
        let status = if self.first.is_some() { "Failed" } else { "Completed" };
        let (all, mut report) = self.counted(status, &verified.types);
        let Self { context, plan, told, contents, first, .. } = self;
        let has_changed = all.created + all.updated + all.removed > 0 || contents > 0 || !caught_up.written.is_empty();
        let only_copies = told.count(ONLY_COPIES);
        let ended = json!({
            "verified": verified.types.values().sum::<u64>(),
            "only_copies": only_copies,
            "changed_meanwhile": caught_up.written.len(),
            "gone_meanwhile": caught_up.gone,
            "still_changing": caught_up.is_changing || verified.still_changing() > 0,
            "reversible_until": if first.is_none() && has_changed { reversible_until(context, plan) } else { None },
            "files": told.store(context).await?,
        });
        merge(&mut report, ended);
        merge(&mut report, end(context, plan, first.as_ref().map(summary)));
        context.report(report.as_object().cloned().unwrap_or_default())?;
        match first {
            Some(error) => Err(error),
            None => Ok(json!({ "migrated": all.migrated() })),
        }
    }
}

/// What every result ends with.
fn end(context: &Context<'_>, plan: &Plan, error_summary: Option<String>) -> Value {
    json!({
        "backup_id": plan.backup_id,
        "archive_id": plan.archive_id,
        "reverses": plan.reverses,
        "error_summary": error_summary,
        "completed_at": context.clock.now(),
    })
}

fn summary(error: &ActivityError) -> String {
    format!("{}: {}", error.error, error.cause.message)
}

fn merge(report: &mut Value, more: Value) {
    if let (Value::Object(report), Value::Object(more)) = (report, more) {
        report.extend(more);
    }
}

/// Reports how far a migration came that was interrupted. It stays as it is, unless it was rolled back: but for what is left
/// then, nothing of it is there any more.
pub(super) async fn report_interrupted(
    context: &Context<'_>,
    plan: &Plan,
    interrupted_by: &str,
    rolled_back: Option<Left>,
) -> Result<(), ActivityError> {
    let mut interrupted = Completing::new(context, plan);
    interrupted.collect().await?;
    let verified: Verified = context.files().read(&context.files().key(VERIFIED)?).await?.unwrap_or_default();
    interrupted.tell_differing(&verified)?;
    let mut status = "Failed";
    if let Some(left) = &rolled_back {
        for counts in interrupted.types.values_mut() {
            *counts = Counts { read: counts.read, failed: counts.failed, ..Counts::default() };
        }
        if left.count() == 0 {
            status = "RolledBack";
        }
        interrupted.told.add_left(left)?;
        interrupted.left.add_all(left.clone());
    }
    let there = if rolled_back.is_some() { ByType::new() } else { verified.types };
    let (_, mut report) = interrupted.counted(status, &there);
    if let Some(left) = &rolled_back {
        (report["left"], report["verified"]) = (json!(left.count()), json!(0));
    }
    let again = written_again(context).await?;
    let may_have_written = interrupted.may_have_written || interrupted.contents > 0 || again;
    let until = if rolled_back.is_none() && may_have_written { reversible_until(context, plan) } else { None };
    report["reversible_until"] = json!(until);
    report["files"] = json!(interrupted.told.store_beside(context).await?);
    let summary = interrupted.first.as_ref().map_or_else(|| interrupted_by.to_owned(), summary);
    merge(&mut report, end(context, plan, Some(summary)));
    context.report(report.as_object().cloned().unwrap_or_default())
}

/// Reports that nothing was written, as there is no plan. What was found out by then stays in the result.
pub(super) fn report_unplanned(context: &Context<'_>, plan: &Plan, interrupted_by: &str) -> Result<(), ActivityError> {
    let (_, mut report) = Completing::new(context, plan).counted("Failed", &ByType::new());
    merge(&mut report, end(context, plan, Some(interrupted_by.to_owned())));
    context.report(report.as_object().cloned().unwrap_or_default())
}

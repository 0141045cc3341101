//! Reads everything that is to be migrated, asks the target what would come of it, and cuts it into batches.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use contracts::data_migration::{DataMigrationRequest, DataSelector, MigrationType};
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{ImportStatus, Reference, Thing, Within, just_after};
use serde::Deserialize;
use serde_json::{Value, json};

use super::archive::{Archive, manifest_of};
use super::batch::is_for_later;
use super::change::{Change, Ready};
use super::differences::{self, Differences};
use super::problems::{Line, PROBLEMS, Told};
use super::sets::{self, Known, known, of, renamed};
use super::source::Reading;
use super::target::{self, Quotas, Used, is_tenant};
use super::transform::NotTransformed;
use super::{Counts, Part, Plan, Set, Way, restored, reverse, type_name, write};
use crate::Context;
use crate::leases::hold;
use crate::things::fingerprint;

/// The most things that may come with others.
const MAX_BROUGHT: usize = 50_000;
/// The most batches; they are larger where there would be more.
const MAX_BATCHES: usize = 10_000;

/// The file of references to things that are not in the target.
const DANGLING: &str = "dangling.jsonl";

/// A turn that is later than any other.
const LAST_TURN: u32 = 1_000;

#[derive(Deserialize)]
struct Input {
    request: DataMigrationRequest,
    /// The execution that is retried, if one is.
    origin: Option<Origin>,
    /// The execution that is taken back, if one is.
    #[serde(default)]
    reverses: Option<String>,
}

#[derive(Deserialize)]
struct Origin {
    execution_id: String,
}

/// Plans a migration: answers `{manifest, total, stops_at}`.
pub(crate) async fn plan(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { request, origin, reverses } = context.input()?;
    if let Some(execution_id) = reverses {
        return reverse::plan(context, &request, execution_id).await;
    }
    let earlier = origin.map(|origin| origin.execution_id);
    if request.migration_type == MigrationType::DataRestore {
        return restored::plan(context, &request, earlier).await;
    }
    let plan = Plan { earlier, ..new_plan(&request) };
    let known = known(context, &plan.source).await?;
    let sets = of(&request, &known)?;
    let manifest = manifest_of(context, &plan).await?;
    let archive = match &manifest {
        Some(manifest) => Some(Archive::open(context, manifest).await?),
        None => None,
    };
    let mut planning = Planning {
        context,
        request: &request,
        known: &known,
        plan,
        told: Told::default(),
        wanted: BTreeMap::new(),
        loose: Vec::new(),
        waiting: Vec::new(),
        refused: HashSet::new(),
        planned: HashSet::new(),
        types: BTreeMap::new(),
        archive: archive.as_ref(),
        removed: HashSet::new(),
        new: Used::default(),
    };
    planning.hold(&sets).await?;
    let quotas = match planning.follows() {
        true => target::quotas(context, &planning.plan, &known, &sets).await?,
        false => Quotas::default(),
    };
    planning.add_all(sets).await?;
    planning.refuse_orphans()?;
    planning.check_room(&quotas).await?;
    planning.finish().await
}

/// A plan without anything to do.
pub(super) fn new_plan(request: &DataMigrationRequest) -> Plan {
    let (options, target) = (request.migration_options.clone(), request.target_tenant_id.clone());
    let is_real = !options.dry_run;
    Plan {
        migration_id: request.migration_id.clone(),
        migration_type: request.migration_type,
        backup_id: (options.create_backup && is_real && !request.archives()).then(|| request.backup_id()),
        archive_id: (request.archives() && is_real).then(|| request.archive_id()),
        reverses: None,
        earlier: None,
        options,
        source: request.source_tenant_id.clone().unwrap_or_else(|| target.clone()),
        target,
        fence: None,
        sets: Vec::new(),
        held: BTreeSet::new(),
        parts: Vec::new(),
        dangling: 0,
        expected: Counts::default(),
        expected_types: Vec::new(),
        expected_contents: 0,
    }
}

/// Stores a plan: answers `{manifest, total, stops_at}`.
pub(super) async fn store(context: &Context<'_>, plan: &Plan) -> Result<Value, ActivityError> {
    let batches = if plan.options.dry_run { 0 } else { plan.parts.len() };
    let items: Vec<Value> = (0..batches).map(|batch| json!({ "batch": batch })).collect();
    let same: u64 = plan.sets.iter().map(|set| set.same).sum();
    let (total, stops_at) = (plan.expected.read - same, plan.options.rollback_on_error.then_some(1));
    let files = context.files();
    files.write_json(&files.manifest()?, &items).await?;
    files.write_json(&files.plan()?, plan).await?;
    Ok(json!({ "manifest": files.manifest()?.to_string(), "total": total, "stops_at": stops_at }))
}

pub(super) struct Planning<'a> {
    pub(super) context: &'a Context<'a>,
    request: &'a DataMigrationRequest,
    pub(super) known: &'a Known,
    pub(super) plan: Plan,
    pub(super) told: Told,
    /// What is referred to and not planned, by service and type.
    wanted: BTreeMap<(String, String), BTreeSet<String>>,
    /// References to what nobody has selected: of which thing, and to which.
    loose: Vec<(Named, Named)>,
    /// What the target takes only after something else: it belongs to a thing that is not there yet.
    waiting: Vec<Waiting>,
    /// What the target does not take, by fingerprint.
    refused: HashSet<u64>,
    /// What is planned, if things may refer to each other, by fingerprint: there may be many.
    planned: HashSet<u64>,
    /// What is expected, by what things were and what they become.
    types: BTreeMap<(String, String), Counts>,
    /// Of an archival: the archive, unless it is only tried.
    pub(super) archive: Option<&'a Archive<'a>>,
    /// The fingerprints of what is to be deleted.
    pub(super) removed: HashSet<u64>,
    /// What the target would have more.
    new: Used,
}

/// Service, type and id.
type Named = (String, String, String);

fn named(service: &str, entity_type: &str, id: &str) -> Named {
    (service.to_owned(), entity_type.to_owned(), id.to_owned())
}

/// A thing that belongs to another one, which is not in the target yet.
struct Waiting {
    level: u32,
    of: Named,
    /// To what it refers in its own service: what it belongs to is among it.
    to: Vec<Named>,
}

impl Planning<'_> {
    /// Nobody else may change many of these things meanwhile.
    async fn hold(&mut self, sets: &[Set]) -> Result<(), ActivityError> {
        if self.plan.options.dry_run {
            return Ok(());
        }
        let written: BTreeSet<String> = sets.iter().map(|set| format!("{}/{}", set.to_service, set.to_type)).collect();
        self.plan.held.extend(written.iter().cloned());
        // What is held later has the higher number, and it is good for all that was held before.
        let fence = hold(self.context, &self.plan.target, written).await?;
        self.plan.fence = self.plan.fence.max(Some(fence));
        Ok(())
    }

    fn follows(&self) -> bool {
        self.plan.migration_type == MigrationType::TenantToTenant
    }

    /// Whether what things of this type refer to comes with them.
    fn brings(&self, set: &Set) -> bool {
        let mut selectors = self.request.data_selectors.iter();
        let own = selectors.find(|of| of.service == set.service && of.entity_type == set.entity_type);
        // What was brought along brings along what it needs.
        own.is_none_or(|selector| selector.include_relationships)
    }

    /// Plans these sets, and what comes with them.
    async fn add_all(&mut self, sets: Vec<Set>) -> Result<(), ActivityError> {
        for set in sets {
            match self.plan.way() {
                Way::Remove => self.add_removal(set).await?,
                Way::Write | Way::Restore | Way::Reverse => self.add(set).await?,
            }
        }
        if self.plan.expected.read == 0 {
            let source = &self.plan.source;
            let is_tenant_missing = self.follows() && target::tenant(self.context, source).await?.is_none();
            let message = match is_tenant_missing {
                true => format!("there is no tenant {source}"),
                false => "the selectors match nothing".to_owned(),
            };
            return Err(ActivityError::new(ErrorName::NotFound, message));
        }
        if matches!(self.plan.way(), Way::Remove) {
            self.check_dependents().await?;
        }
        while self.follows() {
            let mut brought = Vec::new();
            for ((service, entity_type), ids) in std::mem::take(&mut self.wanted) {
                let is_missing = |id: &String| !self.planned.contains(&fingerprint(&service, &entity_type, id));
                let missing: Vec<String> = ids.into_iter().filter(is_missing).collect();
                if missing.is_empty() || !self.known.contains_key(&(service.clone(), entity_type.clone())) {
                    continue;
                }
                if missing.len() > MAX_BROUGHT {
                    let message =
                        format!("more than {MAX_BROUGHT} {service}/{entity_type} would come with others: select them");
                    return Err(ActivityError::new(ErrorName::PayloadTooLarge, message));
                }
                let set = renamed(self.request, self.known, &service, &entity_type, BTreeMap::new());
                brought.push(Set { ids: Some(missing), ..set });
            }
            if brought.is_empty() {
                break;
            }
            self.hold(&brought).await?;
            for set in brought {
                self.add(set).await?;
            }
        }
        Ok(())
    }

    /// Reads a set, tries it, and cuts it into batches.
    async fn add(&mut self, set: Set) -> Result<(), ActivityError> {
        let whole = Part { ids: set.ids.clone(), ..self.whole(&set) };
        let brings = self.follows() && self.brings(&set);
        let ready = set.change.ready()?;
        self.plan.sets.push(set.clone());
        let differences = self.compare(&set).await?;
        let mut watermark = differences.as_ref().map(|found| found.watermark.clone());
        let same = differences.as_ref().map_or(0, |found| found.same);
        let ranges = differences.map(|found| found.ranges);
        let (context, source) = (self.context, self.plan.source.clone());
        for within in ranges.clone().unwrap_or_else(|| vec![Within::default()]) {
            let whole = Part { within, ..whole.clone() };
            let mut cut = Cut::of(&whole, self.plan.options.batch_size);
            let mut reading = Reading::part(context, &source, &set, &whole, None);
            while let Some(page) = reading.next().await? {
                watermark.get_or_insert(page.watermark);
                for thing in &page.items {
                    check_order(&set, cut.last(), thing)?;
                    cut.add(&thing.id);
                    self.note_references(&set, thing, brings)?;
                }
                self.expect(&set, &ready, &page.items).await?;
            }
            self.plan.parts.extend(cut.parts());
        }
        if let Some(planned) = self.plan.sets.last_mut() {
            planned.watermark = watermark.unwrap_or_default();
            planned.ranges = ranges;
            planned.same = same;
            planned.brings = brings;
        }
        Ok(())
    }

    /// Finds by digests where copies differ, if the things are copies of all of a type; counts those that do not.
    async fn compare(&mut self, set: &Set) -> Result<Option<Differences>, ActivityError> {
        let Change::Copied { fields, .. } = &set.change else { return Ok(None) };
        if !set.filters.is_empty() {
            return Ok(None);
        }
        let found = differences::find(self.context, &self.plan, set, fields).await?;
        if let Some(Differences { same, .. }) = &found {
            let same = *same;
            self.expect_of(set.types(), |counts| {
                counts.read += same;
                counts.unchanged += same;
            });
        }
        Ok(found)
    }

    /// All of a set as one batch.
    pub(super) fn whole(&self, set: &Set) -> Part {
        let turn = match self.plan.way() {
            // What others refer to goes after them.
            Way::Remove => LAST_TURN.saturating_sub(set.level),
            Way::Write | Way::Restore | Way::Reverse => set.level,
        };
        Part::empty(self.plan.sets.len(), turn)
    }

    /// Things in a batch of so many: one size for all of a type, or the batches would be too many.
    pub(super) fn batch_size(&self, things: usize) -> usize {
        let size = usize::try_from(self.plan.options.batch_size).unwrap_or(usize::MAX);
        size.max(things.div_ceil(MAX_BATCHES))
    }

    fn note_references(&mut self, set: &Set, thing: &Thing, brings: bool) -> Result<(), ActivityError> {
        if !self.follows() {
            return Ok(());
        }
        self.planned.insert(fingerprint(&set.service, &set.entity_type, &thing.id));
        for Reference { service, entity_type, id, .. } in &thing.references {
            if is_tenant(service, entity_type) && *id == self.plan.source {
                continue;
            }
            if self.planned.contains(&fingerprint(service, entity_type, id)) {
                continue;
            }
            if brings {
                let wanted = self.wanted.entry((service.clone(), entity_type.clone())).or_default();
                wanted.insert(id.clone());
            }
            let (of, to) = (named(&set.service, &set.entity_type, &thing.id), named(service, entity_type, id));
            match self.is_selected(service, entity_type) || self.may_come_later(set, service, entity_type) {
                true => self.loose.push((of, to)),
                false => self.tell_loose(&of, &to)?,
            }
        }
        Ok(())
    }

    /// Whether all things of a type are selected.
    fn is_selected(&self, service: &str, entity_type: &str) -> bool {
        let mut selectors = self.request.data_selectors.iter();
        selectors.any(|of| of.service == service && of.entity_type == entity_type && of.filters.is_empty())
    }

    /// Whether things of this type may be planned after those of a set that refer to them.
    fn may_come_later(&self, set: &Set, service: &str, entity_type: &str) -> bool {
        let is_below = || sets::level(self.known, service, entity_type) < set.level;
        let is_later = |of: &DataSelector| of.service == service && of.entity_type == entity_type && !is_below();
        self.request.data_selectors.iter().any(|of| of.include_relationships || is_later(of))
    }

    /// Counts what is expected of things of a type.
    pub(super) fn expect_of(&mut self, types: (String, String), count: impl Fn(&mut Counts)) {
        count(&mut self.plan.expected);
        count(self.types.entry(types).or_default());
    }

    /// Asks the target what would come of things.
    async fn expect(&mut self, set: &Set, ready: &Ready<'_>, things: &[Thing]) -> Result<(), ActivityError> {
        let options = &self.plan.options;
        if !options.validate_data && !options.dry_run {
            self.expect_of(set.types(), |counts| counts.read += things.len() as u64);
            return Ok(());
        }
        let (mut from, mut moved) = (Vec::with_capacity(things.len()), Vec::with_capacity(things.len()));
        for thing in things {
            match ready.of(&set.service, &set.entity_type, thing) {
                Ok(moved) if self.plan.is_in_place() && moved.data == thing.data => {
                    self.expect_of(set.types(), |counts| counts.count(ImportStatus::Skipped));
                }
                Ok(ready) => {
                    from.push(thing);
                    moved.push(ready);
                }
                Err(NotTransformed { code, message }) => {
                    self.expect_of(set.types(), |counts| counts.count(ImportStatus::Failed));
                    self.tell_problem(set, &thing.id, code, &message)?;
                }
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        let results = write(self.context, &self.plan, set, &moved, 0, true).await?;
        for ((from, thing), result) in from.into_iter().zip(&moved).zip(&results) {
            let waits = self.follows() && result.code.as_deref() == Some(ErrorName::NotFound.as_str());
            let status = match result.status {
                _ if waits => {
                    let waiting = waiting(set, from);
                    // Mostly what it belongs to comes before it.
                    if waiting.to.iter().any(|to| self.is_away(to)) {
                        self.waiting.push(waiting);
                    }
                    ImportStatus::Created
                }
                _ if self.plan.is_in_place() && is_for_later(result) => ImportStatus::Updated,
                status => status,
            };
            self.expect_of(set.types(), |counts| counts.count(status));
            if status == ImportStatus::Created {
                self.new.add(set, &thing.data);
            }
            if status == ImportStatus::Failed {
                if self.follows() {
                    self.refused.insert(fingerprint(&set.service, &set.entity_type, &from.id));
                }
                let (code, message) = (result.code.as_deref().unwrap_or("ServiceRejected"), result.message.as_deref());
                self.tell_problem(set, &from.id, code, message.unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// What belongs to something that does not come along, or that the target does not take, is not taken either.
    fn refuse_orphans(&mut self) -> Result<(), ActivityError> {
        let mut waiting = std::mem::take(&mut self.waiting);
        // What others belong to comes first.
        waiting.sort_by_key(|waiting| waiting.level);
        for Waiting { of, to, .. } in waiting {
            let Some((_, to_type, to_id)) = to.iter().find(|to| self.is_away(to)) else { continue };
            let message = format!("belongs to the {to_type} {to_id}, which does not come along");
            let named = type_name(&of.0, &of.1);
            self.expect_of((named.clone(), named), |counts| {
                counts.created -= 1;
                counts.failed += 1;
            });
            self.tell_problem_of([&of.0, &of.1, &of.2], ErrorName::NotFound.as_str(), &message)?;
            self.refused.insert(fingerprint(&of.0, &of.1, &of.2));
        }
        Ok(())
    }

    /// Whether something does not come along, as far as is known.
    fn is_away(&self, (service, entity_type, id): &Named) -> bool {
        let named = fingerprint(service, entity_type, id);
        !self.planned.contains(&named) || self.refused.contains(&named)
    }

    /// The target may not have as much as it would.
    async fn check_room(&mut self, quotas: &Quotas) -> Result<(), ActivityError> {
        let tenant_id = self.plan.target.clone();
        for message in quotas.exceeded(self.context, &tenant_id, &self.new).await? {
            self.tell_problem_of([Service::Tenant.as_str(), "tenant", &tenant_id], "QuotaExceeded", &message)?;
        }
        Ok(())
    }

    /// Tells of a thing that cannot be migrated.
    pub(super) fn tell_problem(&mut self, set: &Set, id: &str, code: &str, message: &str) -> Result<(), ActivityError> {
        self.tell_problem_of([&set.to_service, &set.to_type, id], code, message)
    }

    pub(super) fn tell_problem_of(&mut self, of: [&str; 3], code: &str, message: &str) -> Result<(), ActivityError> {
        let [service, entity_type, id] = of;
        self.told.add(PROBLEMS, &Line { service, entity_type, id, code, message })
    }

    /// Tells of references to things that do not come along.
    fn tell_dangling(&mut self) -> Result<(), ActivityError> {
        for (of, to) in std::mem::take(&mut self.loose) {
            if !self.planned.contains(&fingerprint(&to.0, &to.1, &to.2)) {
                self.tell_loose(&of, &to)?;
            }
        }
        Ok(())
    }

    fn tell_loose(&mut self, of: &Named, to: &Named) -> Result<(), ActivityError> {
        let mut sets = self.plan.sets.iter();
        let brings = sets.any(|set| set.brings && set.service == of.0 && set.entity_type == of.1);
        // Whatever the source has of it would come.
        let why = match brings || self.is_selected(&to.0, &to.1) {
            true => "is not there",
            false => "does not come along",
        };
        let message = format!("refers to the {} {} of {}, which {why}", to.1, to.2, to.0);
        self.tell_of_dangling([&of.0, &of.1, &of.2], &message)
    }

    /// Tells of a reference to a thing that will not be there.
    pub(super) fn tell_of_dangling(&mut self, of: [&str; 3], message: &str) -> Result<(), ActivityError> {
        self.plan.dangling += 1;
        let [service, entity_type, id] = of;
        self.told.add(DANGLING, &Line { service, entity_type, id, code: "Dangling", message })
    }

    async fn finish(mut self) -> Result<Value, ActivityError> {
        self.tell_dangling()?;
        self.plan.parts.sort_by_key(|part| part.turn);
        if self.plan.options.dry_run {
            self.plan.expected_types = std::mem::take(&mut self.types).into_iter().collect();
        }
        let Plan { expected, dangling, .. } = &self.plan;
        let report = json!({
            "migration_id": self.plan.migration_id, "expected": expected, "dangling_references": dangling,
        });
        finish(self.context, &self.plan, self.told, report).await
    }
}

/// Reports what a plan found out, and stores it, unless there are problems: only a dry run goes on with those.
pub(super) async fn finish(
    context: &Context<'_>,
    plan: &Plan,
    told: Told,
    report: Value,
) -> Result<Value, ActivityError> {
    let (problems, codes) = (told.count(PROBLEMS), told.codes(PROBLEMS));
    let mut report = report.as_object().cloned().unwrap_or_default();
    report.insert("problems".to_owned(), json!(problems));
    report.insert("plan_files".to_owned(), json!(told.store(context).await?));
    context.report(report)?;
    if problems > 0 && !plan.options.dry_run {
        let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let message = format!("problems.jsonl names what stands in the way: {problems} ({})", codes.join(", "));
        return Err(ActivityError::new(ErrorName::InvalidInput, message));
    }
    store(context, plan).await
}

fn waiting(set: &Set, from: &Thing) -> Waiting {
    let own = from.references.iter().filter(|to| to.service == set.service && !is_tenant(&to.service, &to.entity_type));
    Waiting {
        level: set.level,
        of: named(&set.service, &set.entity_type, &from.id),
        to: own.map(|to| named(&to.service, &to.entity_type, &to.id)).collect(),
    }
}

/// Things come by their ids, or pages would be read for ever.
pub(super) fn check_order(set: &Set, last: Option<&String>, next: &Thing) -> Result<(), ActivityError> {
    if last.is_none_or(|last| *last < next.id) {
        return Ok(());
    }
    let message = format!("{}: its pages of {} are not in the order of ids, or repeat", set.service, set.entity_type);
    Err(ActivityError::new(ErrorName::IntegrityViolation, message))
}

/// Where a set may be cut into batches. Only the ends of units are kept: a type may have millions of things.
struct Cut {
    /// A batch without things.
    empty: Part,
    /// Whether not all things between the first and the last of a unit are meant.
    lists_ids: bool,
    /// Things in a unit.
    size: u64,
    units: Vec<Unit>,
}

struct Unit {
    first: String,
    last: String,
    things: u64,
    /// All of them, if they are listed.
    ids: Vec<String>,
}

impl Cut {
    fn of(whole: &Part, size: u64) -> Self {
        Self { empty: Part::empty(whole.set, whole.turn), lists_ids: whole.ids.is_some(), size, units: Vec::new() }
    }

    fn last(&self) -> Option<&String> {
        self.units.last().map(|unit| &unit.last)
    }

    fn add(&mut self, id: &str) {
        if self.units.last().is_none_or(|unit| unit.things == self.size) {
            self.units.push(Unit { first: id.to_owned(), last: String::new(), things: 0, ids: Vec::new() });
        }
        let Some(unit) = self.units.last_mut() else { return };
        id.clone_into(&mut unit.last);
        unit.things += 1;
        if self.lists_ids {
            unit.ids.push(id.to_owned());
        }
    }

    /// A batch for each unit, or for some of them, or the batches would be too many.
    fn parts(self) -> Vec<Part> {
        let together = self.units.len().div_ceil(MAX_BATCHES).max(1);
        let part = |units: &[Unit]| {
            let from_id = units.first().map(|unit| unit.first.clone());
            let to_id = units.last().map(|unit| just_after(&unit.last));
            let ids = || units.iter().flat_map(|unit| &unit.ids).cloned().collect();
            Part {
                within: Within { from_id, to_id, filters: BTreeMap::new() },
                ids: self.lists_ids.then(ids),
                things: units.iter().map(|unit| unit.things).sum(),
                ..self.empty.clone()
            }
        };
        self.units.chunks(together).map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(ids: Option<Vec<String>>) -> Part {
        Part { ids, ..Part::empty(0, 3) }
    }

    #[test]
    fn batches_cover_all_things_and_are_not_too_many() {
        for (things, size, expected) in [(0, 2, vec![]), (5, 2, vec![2, 2, 1]), (4, 4, vec![4])] {
            let mut cut = Cut::of(&whole(None), size);
            (0..things).for_each(|number| cut.add(&format!("id-{number}")));
            let parts = cut.parts();
            assert_eq!(parts.iter().map(|part| part.things).collect::<Vec<_>>(), expected);
            assert!(parts.iter().all(|part| part.ids.is_none() && part.turn == 3));
            if things == 5 {
                let ends = |part: &Part| {
                    [part.within.from_id.clone(), part.within.to_id.clone()].map(Option::unwrap_or_default)
                };
                assert_eq!(ends(&parts[1]), ["id-2", "id-3!"]);
            }
        }
        let ids: Vec<String> = (0..=MAX_BATCHES).map(|number| format!("{number:06}")).collect();
        let mut cut = Cut::of(&whole(Some(ids.clone())), 1);
        ids.iter().for_each(|id| cut.add(id));
        let parts = cut.parts();
        assert_eq!(parts.len(), MAX_BATCHES.div_ceil(2) + 1);
        assert_eq!(parts.into_iter().flat_map(|part| part.ids.unwrap_or_default()).collect::<Vec<_>>(), ids);
    }
}

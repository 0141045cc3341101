//! Reads everything that is to be migrated, asks the target what would come of it, and cuts it into batches.

use std::collections::{BTreeMap, BTreeSet};

use contracts::data_migration::{DataMigrationRequest, MigrationType};
use contracts::{ActivityError, ErrorName};
use downstream::data::{ImportStatus, Reference, Thing, Within};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::change::is_tenant;
use super::problems::{Line, Told};
use super::sets::{Known, known, of, renamed};
use super::source::{Reading, just_after};
use super::{Counts, Part, Plan, Set, write};
use crate::Context;
use crate::leases::hold;

/// The most things that may come with others.
const MAX_BROUGHT: usize = 50_000;
/// The most batches; they are larger where there would be more.
const MAX_BATCHES: usize = 10_000;

/// The file of what the target would not take.
const PROBLEMS: &str = "problems.jsonl";
/// The file of references to things that are not in the target.
const DANGLING: &str = "dangling.jsonl";

#[derive(Deserialize)]
struct Input {
    request: DataMigrationRequest,
}

/// Plans a migration: answers `{manifest, total, stops_at}`.
pub(crate) async fn plan(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { request } = context.input()?;
    let target = request.target_tenant_id.clone();
    let source = request.source_tenant_id.clone().unwrap_or_else(|| target.clone());
    let known = known(context, &source).await?;
    let sets = of(&request, &known)?;
    let options = request.migration_options.clone();
    let plan = Plan {
        migration_id: request.migration_id.clone(),
        migration_type: request.migration_type,
        backup_id: (options.create_backup && !options.dry_run).then(|| request.backup_id()),
        options,
        source,
        target,
        fence: None,
        sets: Vec::new(),
        parts: Vec::new(),
        dangling: 0,
        expected: Counts::default(),
    };
    let mut planning = Planning {
        context,
        request: &request,
        known: &known,
        plan,
        told: Told::default(),
        wanted: BTreeMap::new(),
        loose: Vec::new(),
        planned: BTreeSet::new(),
    };
    planning.hold(&sets).await?;
    planning.add_all(sets).await?;
    planning.finish().await
}

struct Planning<'a> {
    context: &'a Context<'a>,
    request: &'a DataMigrationRequest,
    known: &'a Known,
    plan: Plan,
    told: Told,
    /// What is referred to and not planned: its id, and who refers to it.
    wanted: BTreeMap<(String, String), BTreeMap<String, String>>,
    /// References to what nobody has selected: of which thing, and to which.
    loose: Vec<(Named, Named)>,
    /// What is planned, if things may refer to each other: service, type and id.
    planned: BTreeSet<Named>,
}

/// Service, type and id.
type Named = (String, String, String);

impl Planning<'_> {
    /// Nobody else may change many of these things meanwhile.
    async fn hold(&mut self, sets: &[Set]) -> Result<(), ActivityError> {
        if self.plan.options.dry_run {
            return Ok(());
        }
        let written = sets.iter().map(|set| format!("{}/{}", set.to_service, set.to_type)).collect();
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
            self.add(set).await?;
        }
        if self.plan.expected.read == 0 {
            let message = "the selectors match nothing".to_owned();
            return Err(ActivityError::new(ErrorName::NotFound, message));
        }
        while self.follows() {
            let mut brought = Vec::new();
            for ((service, entity_type), ids) in std::mem::take(&mut self.wanted) {
                let is_missing =
                    |id: &String| !self.planned.contains(&(service.clone(), entity_type.clone(), id.clone()));
                let missing: Vec<String> = ids.into_keys().filter(is_missing).collect();
                if missing.is_empty() || !self.known.contains_key(&(service.clone(), entity_type.clone())) {
                    continue;
                }
                if missing.len() > MAX_BROUGHT {
                    let message = format!(
                        "more than {MAX_BROUGHT} {entity_type} of {service} would come with others: select them"
                    );
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
        let whole = Part { set: self.plan.sets.len(), within: Within::default(), ids: set.ids.clone(), things: 0 };
        let brings = self.follows() && self.brings(&set);
        self.plan.sets.push(set.clone());
        let size = usize::try_from(self.plan.options.batch_size).unwrap_or(usize::MAX);
        let (mut ids, mut watermark) = (Vec::<String>::new(), None::<String>);
        let (context, source) = (self.context, self.plan.source.clone());
        let mut reading = Reading::part(context, &source, &set, &whole, None);
        while let Some(page) = reading.next().await? {
            watermark.get_or_insert(page.watermark);
            for thing in &page.items {
                if ids.last().is_some_and(|last| *last >= thing.id) {
                    let message = format!(
                        "{}: its pages of {} are not in the order of ids, or repeat",
                        set.service, set.entity_type
                    );
                    return Err(ActivityError::new(ErrorName::IntegrityViolation, message));
                }
                ids.push(thing.id.clone());
                self.note_references(&set, thing, brings)?;
            }
            self.expect(&set, &page.items).await?;
        }
        // One for all of a type, or the batches would be too many.
        let size = size.max(ids.len().div_ceil(MAX_BATCHES));
        self.plan.parts.extend(ids.chunks(size).map(|ids| part(&whole, ids)));
        if let Some(planned) = self.plan.sets.last_mut() {
            planned.watermark = watermark.unwrap_or_default();
        }
        Ok(())
    }

    fn note_references(&mut self, set: &Set, thing: &Thing, brings: bool) -> Result<(), ActivityError> {
        if !self.follows() {
            return Ok(());
        }
        self.planned.insert((set.service.clone(), set.entity_type.clone(), thing.id.clone()));
        for Reference { service, entity_type, id, .. } in &thing.references {
            if is_tenant(service, entity_type) && *id == self.plan.source {
                continue;
            }
            if brings {
                let wanted = self.wanted.entry((service.clone(), entity_type.clone())).or_default();
                wanted.insert(id.clone(), thing.id.clone());
            }
            if !self.is_selected(service, entity_type) {
                let of = (set.service.clone(), set.entity_type.clone(), thing.id.clone());
                self.loose.push((of, (service.clone(), entity_type.clone(), id.clone())));
            }
        }
        Ok(())
    }

    fn is_selected(&self, service: &str, entity_type: &str) -> bool {
        let mut selectors = self.request.data_selectors.iter();
        selectors.any(|of| of.service == service && of.entity_type == entity_type && of.filters.is_empty())
    }

    /// Asks the target what would come of things.
    async fn expect(&mut self, set: &Set, things: &[Thing]) -> Result<(), ActivityError> {
        let options = &self.plan.options;
        if !options.validate_data && !options.dry_run {
            self.plan.expected.read += things.len() as u64;
            return Ok(());
        }
        let moved: Vec<_> = things.iter().map(|thing| set.change.of(&set.service, &set.entity_type, thing)).collect();
        if moved.is_empty() {
            return Ok(());
        }
        let results = write(self.context, &self.plan, set, &moved, 0, true).await?;
        for (thing, result) in moved.iter().zip(&results) {
            // What it belongs to is not there yet, and comes before it.
            let is_for_now = self.follows() && result.code.as_deref() == Some(ErrorName::NotFound.as_str());
            let status = if is_for_now { ImportStatus::Created } else { result.status };
            self.plan.expected.count(status);
            if status == ImportStatus::Failed {
                let (code, message) = (result.code.as_deref().unwrap_or("ServiceRejected"), result.message.as_deref());
                let (service, entity_type) = (&*set.to_service, &*set.to_type);
                let line = Line { service, entity_type, id: &thing.id, code, message: message.unwrap_or_default() };
                self.told.add(PROBLEMS, &line)?;
            }
        }
        Ok(())
    }

    /// Tells of references to things that do not come along.
    fn tell_dangling(&mut self) -> Result<(), ActivityError> {
        for ((service, entity_type, id), to) in std::mem::take(&mut self.loose) {
            if self.planned.contains(&to) {
                continue;
            }
            self.plan.dangling += 1;
            let message = format!("refers to the {} {} of {}, which does not come along", to.1, to.2, to.0);
            let line =
                Line { service: &service, entity_type: &entity_type, id: &id, code: "Dangling", message: &message };
            self.told.add(DANGLING, &line)?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Value, ActivityError> {
        self.tell_dangling()?;
        let sets = &self.plan.sets;
        self.plan.parts.sort_by_key(|part| sets[part.set].level);
        let problems = self.told.count(PROBLEMS);
        let files = std::mem::take(&mut self.told).store(self.context).await?;
        let Plan { options, expected, parts, dangling, .. } = &self.plan;
        self.context.report(Map::from_iter([
            ("migration_id".to_owned(), json!(self.plan.migration_id)),
            ("expected".to_owned(), json!(expected)),
            ("dangling_references".to_owned(), json!(dangling)),
            ("problems".to_owned(), json!(problems)),
            ("plan_files".to_owned(), json!(files)),
        ]))?;
        if problems > 0 && !options.dry_run {
            let message = format!("the target would not take {problems} things; problems.jsonl names them");
            return Err(ActivityError::new(ErrorName::InvalidInput, message));
        }
        let batches = if options.dry_run { 0 } else { parts.len() };
        let items: Vec<Value> = (0..batches).map(|batch| json!({ "batch": batch })).collect();
        let (total, stops_at) = (expected.read, options.rollback_on_error.then_some(1));
        let files = self.context.files();
        files.write_json(&files.manifest()?, &items).await?;
        files.write_json(&files.plan()?, &self.plan).await?;
        Ok(json!({ "manifest": files.manifest()?.to_string(), "total": total, "stops_at": stops_at }))
    }
}

/// A batch of these things.
fn part(whole: &Part, ids: &[String]) -> Part {
    let from_id = ids.first().cloned();
    let to_id = ids.last().map(|last| just_after(last));
    let within = Within { from_id, to_id, filters: BTreeMap::new() };
    let ids_of_set = whole.ids.as_ref().map(|_| ids.to_vec());
    Part { set: whole.set, within, ids: ids_of_set, things: ids.len() as u64 }
}

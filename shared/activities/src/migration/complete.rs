//! Completes a migration: writes again what has changed meanwhile, asks the target whether everything is as it should be,
//! and reports the result.

use std::collections::{BTreeMap, BTreeSet};

use contracts::data_migration::MigrationType;
use contracts::{ActivityError, ErrorName};
use downstream::data::{ImportStatus, PageOf, page};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::batch::given_up;
use super::problems::{Line, Told};
use super::source::{Reading, changes};
use super::undo::undo_one;
use super::{Counts, Plan, Refused, Set, State, THING, refused, write};
use crate::Context;

/// How often what has changed meanwhile is written again. What changes all the time is not waited for.
const MAX_ROUNDS: u32 = 5;
/// Things in one call.
const CALL_ITEMS: usize = 200;

/// A round of its own: under the keys of the others the target would tell what came of those.
const VERIFYING: u32 = u32::MAX;

const FAILED: &str = "failed.jsonl";
/// Copies of what is not there any more.
const ONLY_COPIES: &str = "only_copies.jsonl";

/// What was written again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct CaughtUp {
    /// Set, id in the target, and round; noted before it is written.
    pub(super) written: Vec<(usize, String, u32)>,
    rounds: u32,
    /// Things whose original is gone.
    gone: u64,
    /// Whether something was changing still when the last round was over.
    is_changing: bool,
}

/// Completes a migration. Its error is that of what failed.
pub(super) async fn complete(context: &Context<'_>) -> Result<Value, ActivityError> {
    let plan: Plan = context.files().read_plan().await?;
    let mut completing = Completing { context, plan: &plan, told: Told::default(), sets: BTreeMap::new(), first: None };
    completing.collect().await?;
    let mut caught_up = CaughtUp::default();
    let mut verified = 0;
    if completing.first.is_none() && !plan.options.dry_run {
        caught_up = completing.catch_up().await?;
        verified = completing.verify().await?;
        completing.find_only_copies().await?;
    }
    completing.report(&caught_up, verified).await
}

struct Completing<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    told: Told,
    /// What became of each set.
    sets: BTreeMap<usize, Counts>,
    /// What failed first.
    first: Option<ActivityError>,
}

impl Completing<'_> {
    /// Puts together what became of the batches.
    async fn collect(&mut self) -> Result<(), ActivityError> {
        if self.plan.options.dry_run {
            return Ok(());
        }
        let files = self.context.files();
        for (number, part) in self.plan.parts.iter().enumerate() {
            let state: Option<State> = files.read(&files.state(number as u64)?).await?;
            let state = state.unwrap_or_default();
            self.sets.entry(part.set).or_default().add(state.counts);
            if let Some(error) = given_up(&state, number) {
                self.first.get_or_insert(error);
            } else if !state.is_over {
                let message = format!("the batch {number} was not migrated");
                self.first.get_or_insert(ActivityError::new(ErrorName::ServiceUnavailable, message));
            }
            if state.given_up.is_none() {
                self.tell_refused(&self.plan.sets[part.set], state.refused)?;
            }
        }
        Ok(())
    }

    fn tell_refused(&mut self, set: &Set, refused: Vec<Refused>) -> Result<(), ActivityError> {
        for Refused { id, code, message } in refused {
            let (service, entity_type) = (&*set.to_service, &*set.to_type);
            self.told.add(FAILED, &Line { service, entity_type, id: &id, code: &code, message: &message })?;
            let name = ErrorName::named(&code).unwrap_or(ErrorName::ServiceRejected);
            self.first.get_or_insert_with(|| ActivityError::new(name, message));
        }
        Ok(())
    }

    /// Writes again what has changed since it was planned, until nothing has.
    async fn catch_up(&mut self) -> Result<CaughtUp, ActivityError> {
        let files = self.context.files();
        let place = files.key("caught-up.json")?;
        let mut caught_up: CaughtUp = files.read(&place).await?.unwrap_or_default();
        let mut watermarks: Vec<String> = self.plan.sets.iter().map(|set| set.watermark.clone()).collect();
        let follows = self.plan.migration_type == MigrationType::TenantToTenant;
        // One that was interrupted begins behind the rounds that it has had: their keys are used.
        for round in caught_up.rounds + 1..=caught_up.rounds + MAX_ROUNDS {
            let mut has_changed = false;
            for (number, set) in self.plan.sets.iter().enumerate() {
                let (things, gone, watermark) = changes(self.context, self.plan, set, &watermarks[number]).await?;
                watermarks[number] = watermark;
                has_changed |= !things.is_empty() || !gone.is_empty();
                let moved: Vec<_> =
                    things.iter().map(|thing| set.change.of(&set.service, &set.entity_type, thing)).collect();
                caught_up.rounds = round;
                caught_up.written.extend(moved.iter().map(|thing| (number, thing.id.clone(), round)));
                files.write_json(&place, &caught_up).await?;
                for moved in moved.chunks(CALL_ITEMS) {
                    let results = write(self.context, self.plan, set, moved, round, false).await?;
                    for (thing, result) in moved.iter().zip(&results) {
                        if result.status == ImportStatus::Failed {
                            return Err(refused(set, &thing.id, result));
                        }
                    }
                }
                caught_up.gone += gone.len() as u64;
                for id in gone.iter().filter(|_| follows) {
                    let thing = downstream::data::Thing { id: id.clone(), data: json!({}), references: Vec::new() };
                    let moved = set.change.of(&set.service, &set.entity_type, &thing);
                    undo_one(self.context, self.plan, set, THING, &moved.id, 0).await?;
                }
            }
            caught_up.is_changing = has_changed;
            if !has_changed {
                break;
            }
        }
        Ok(caught_up)
    }

    /// Asks the target of every thing whether it is as it should be; how many are.
    async fn verify(&self) -> Result<u64, ActivityError> {
        let mut verified = 0;
        for part in &self.plan.parts {
            let set = &self.plan.sets[part.set];
            let mut reading = Reading::part(self.context, &self.plan.source, set, part, None);
            while let Some(page) = reading.next().await? {
                let moved: Vec<_> =
                    page.items.iter().map(|thing| set.change.of(&set.service, &set.entity_type, thing)).collect();
                for moved in moved.chunks(CALL_ITEMS) {
                    let results = write(self.context, self.plan, set, moved, VERIFYING, true).await?;
                    for (thing, result) in moved.iter().zip(&results) {
                        if result.status != ImportStatus::Skipped {
                            return Err(differs(set, &thing.id));
                        }
                    }
                    verified += moved.len() as u64;
                }
            }
        }
        Ok(verified)
    }

    /// Looks for copies of what is not there any more: they are told of, and stay.
    async fn find_only_copies(&mut self) -> Result<(), ActivityError> {
        let is_whole = |set: &&Set| set.filters.is_empty();
        if self.plan.migration_type != MigrationType::CrossServiceSync {
            return Ok(());
        }
        for set in self.plan.sets.iter().filter(is_whole) {
            let originals = self.ids(set.source()?, &set.entity_type, &self.plan.source).await?;
            for id in self.ids(set.target()?, &set.to_type, &self.plan.target).await?.difference(&originals) {
                let message = format!("is a copy of a {} that {} does not have", set.entity_type, set.service);
                let (service, entity_type) = (&*set.to_service, &*set.to_type);
                self.told.add(ONLY_COPIES, &Line { service, entity_type, id, code: "OnlyCopy", message: &message })?;
            }
        }
        Ok(())
    }

    /// The ids of all things of a type.
    async fn ids(
        &self,
        service: downstream::Service,
        entity_type: &str,
        tenant_id: &str,
    ) -> Result<BTreeSet<String>, ActivityError> {
        let (mut ids, mut cursor) = (BTreeSet::new(), None::<String>);
        loop {
            let of = PageOf { cursor: cursor.as_deref(), ..PageOf::default() };
            let page = page(self.context.downstream, service, entity_type, tenant_id, of).await?;
            ids.extend(page.items.into_iter().map(|thing| thing.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(ids);
            }
        }
    }

    async fn report(self, caught_up: &CaughtUp, verified: u64) -> Result<Value, ActivityError> {
        let Self { context, plan, told, sets, first } = self;
        let mut all = if plan.options.dry_run { plan.expected } else { Counts::default() };
        let mut per_type = Vec::new();
        for (number, counts) in &sets {
            all.add(*counts);
            let Set { service, entity_type, to_service, to_type, .. } = &plan.sets[*number];
            per_type.push(json!({
                "from": format!("{service}/{entity_type}"), "to": format!("{to_service}/{to_type}"),
                "read": counts.read, "created": counts.created, "updated": counts.updated,
                "unchanged": counts.unchanged, "failed": counts.failed,
            }));
        }
        let affected: BTreeSet<&str> = plan.sets.iter().map(|set| set.to_service.as_str()).collect();
        let migrated = if plan.options.dry_run { 0 } else { all.created + all.updated + all.unchanged };
        let only_copies = told.count(ONLY_COPIES);
        let Value::Object(report) = json!({
            "migration_id": plan.migration_id,
            "status": if first.is_some() { "Failed" } else { "Completed" },
            "records_processed": all.read,
            "records_migrated": migrated,
            "records_failed": all.failed,
            "created": all.created,
            "updated": all.updated,
            "unchanged": all.unchanged,
            "verified": verified,
            "only_copies": only_copies,
            "changed_meanwhile": caught_up.written.len(),
            "gone_meanwhile": caught_up.gone,
            "still_changing": caught_up.is_changing,
            "services_affected": affected,
            "per_type": per_type,
            "backup_id": plan.backup_id,
            "error_summary": first.as_ref().map(|error| format!("{}: {}", error.error, error.cause.message)),
            "dry_run": plan.options.dry_run,
            "files": told.store(context).await?,
            "completed_at": context.clock.now(),
        }) else {
            return Ok(Value::Null);
        };
        context.report(Map::from_iter(report))?;
        match first {
            Some(error) => Err(error),
            None => Ok(json!({ "migrated": migrated })),
        }
    }
}

fn differs(set: &Set, id: &str) -> ActivityError {
    let message = format!("{}: the {} {id} is not as it should be after it was written", set.to_service, set.to_type);
    ActivityError::new(ErrorName::IntegrityViolation, message)
}

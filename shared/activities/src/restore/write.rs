//! Writes one part of a backup into its service.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use contracts::backup::RestoreConflict;
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{ImportItem, ImportStatus, Imported, OnConflict, Reference, Thing, import, thing};
use serde::Deserialize;
use serde_json::{Value, json};
use vault::PartEntry;

use super::upload::{Known, upload_file};
use super::{Counts, PartFailure, PartState, Plan, Refused, files, is_tenant, key_of};
use crate::Context;
use crate::backup::{FILE_CONTENT, Opened};
use crate::files::{Files, lost, unfinished};
use crate::sets::report;
use crate::things::fingerprint;

/// Things in one call.
const CALL_ITEMS: usize = 200;
/// About the most bytes of one call; a single thing may have more.
const CALL_BYTES: usize = 512 * 1024;
/// How long one attempt works before it says that it is to be called again.
pub(super) const SLICE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Input {
    batch: PartNumber,
    /// The error for which the machine gives the part up.
    #[serde(default)]
    given_up: Option<String>,
}

#[derive(Deserialize)]
struct PartNumber {
    part: usize,
}

/// Writes a part: answers `{completed, failed}`.
pub(crate) async fn write(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { batch: PartNumber { part: number }, given_up } = context.input()?;
    let (completed, state) = write_part(context, number, given_up).await?;
    let failed = u64::from(state.failure.is_some());
    report(context, completed, failed)?;
    Ok(json!({ "completed": completed, "failed": failed }))
}

/// Writes a part; how many things of it are done, and how far it is.
pub(crate) async fn write_part(
    context: &Context<'_>,
    number: usize,
    given_up: Option<String>,
) -> Result<(u64, PartState), ActivityError> {
    files(context).noting(number, write_lines(context, number, given_up).await).await
}

async fn write_lines(
    context: &Context<'_>,
    number: usize,
    given_up: Option<String>,
) -> Result<(u64, PartState), ActivityError> {
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    let part = plan.parts.get(number).ok_or_else(|| lost("a part of the plan"))?;
    let state_file = files.state(number as u64)?;
    let mut state: PartState = files.read(&state_file).await?.unwrap_or_default();
    if let Some(error) = given_up {
        let message = files.with_why(number, format!("the part {} could not be restored", part.name)).await?;
        state.failure.get_or_insert(PartFailure { id: None, error, message });
    }
    // Before the first call: whoever undoes must know that it began.
    files.write_json(&state_file, &state).await?;
    let vault = plan.vault(context).await?;
    let mut opened = vault.open(part).await?;
    for _ in 0..state.lines {
        opened.next().await?;
    }
    let known = match part.entity_type == FILE_CONTENT {
        true => Known::read(&plan, &vault, part, kept_files(&files, &plan).await?).await?,
        false => Known::default(),
    };
    let writing = Writing { context, plan: &plan, part, dry_run: plan.dry_run, restored: None };
    let began = context.clock.instant();
    while state.failure.is_none() {
        let is_over = match part.entity_type == FILE_CONTENT {
            true => upload_file(&writing, &known, &mut opened, &mut state).await?,
            false => writing.write_some(&mut opened, &mut state).await?,
        };
        if let Some(refused) = std::mem::take(&mut state.refused).into_iter().next() {
            state.failure.get_or_insert(refused.failure(part));
        }
        files.write_json(&state_file, &state).await?;
        if is_over {
            break;
        }
        if context.clock.instant().since(began) >= SLICE {
            return Err(unfinished(0));
        }
    }
    let completed = if part.entity_type == FILE_CONTENT { 0 } else { state.counts.sum() };
    Ok((completed, state))
}

/// Files that were there when they were restored, and stay as they are.
async fn kept_files(files: &Files<'_>, plan: &Plan) -> Result<HashSet<String>, ActivityError> {
    let mut kept = HashSet::new();
    for (number, part) in plan.parts.iter().enumerate().filter(|(_, part)| part.entity_type == "file") {
        let state: Option<PartState> = files.read_state(number).await?;
        let unrestored = || {
            let message = format!("the part {} is not restored yet", part.name);
            ActivityError::new(ErrorName::Internal, message)
        };
        kept.extend(state.ok_or_else(unrestored)?.kept_files);
    }
    Ok(kept)
}

/// What would come of a restore.
#[derive(Default)]
pub(crate) struct Asked {
    /// By service and type.
    pub(crate) types: BTreeMap<(String, String), Counts>,
    /// Files that would get their bytes.
    pub(crate) contents: u64,
    /// What the services would not take, by service and type.
    pub(crate) refused: Vec<((String, String), Refused)>,
}

/// Asks the services what would come of a restore that is planned.
pub(crate) async fn ask(context: &Context<'_>) -> Result<Asked, ActivityError> {
    let plan: Plan = files(context).read_plan().await?;
    let vault = plan.vault(context).await?;
    let (mut asked, mut kept, restored) = (Asked::default(), HashSet::new(), Mutex::default());
    for part in &plan.parts {
        let writing = Writing { context, plan: &plan, part, dry_run: true, restored: Some(&restored) };
        let mut state = PartState::default();
        let mut opened = vault.open(part).await?;
        let named = (part.service.clone(), part.entity_type.clone());
        if part.entity_type == FILE_CONTENT {
            let known = Known::read(&plan, &vault, part, kept.clone()).await?;
            while !upload_file(&writing, &known, &mut opened, &mut state).await? {}
            asked.contents += state.counts.replaced;
        } else {
            while !writing.write_some(&mut opened, &mut state).await? {}
            kept.extend(state.kept_files);
            // What is not restored gets no bytes.
            kept.extend(state.refused.iter().filter(|_| part.entity_type == "file").map(|refused| refused.id.clone()));
            asked.types.entry(named.clone()).or_default().add(state.counts);
        }
        asked.refused.extend(state.refused.into_iter().map(|refused| (named.clone(), refused)));
    }
    Ok(asked)
}

/// A part in work.
pub(super) struct Writing<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) plan: &'a Plan,
    pub(super) part: &'a PartEntry,
    /// Whether it is only asked what would come of it.
    pub(super) dry_run: bool,
    /// If all parts are asked about, one after the other: what would be there and what would not, by fingerprints.
    restored: Option<&'a Mutex<HashMap<u64, bool>>>,
}

impl Writing<'_> {
    /// Writes some things by one call; whether there is nothing left.
    async fn write_some(&self, opened: &mut Opened, state: &mut PartState) -> Result<bool, ActivityError> {
        let (mut things, mut lines, mut bytes, mut is_over) = (Vec::new(), 0, 0, false);
        while things.len() < CALL_ITEMS && bytes < CALL_BYTES {
            let Some(line) = opened.next().await? else {
                is_over = true;
                break;
            };
            lines += 1;
            if let Some(thing) = self.plan.thing(self.part, &line)? {
                bytes += line.len();
                things.push(thing);
            }
        }
        if things.is_empty() {
            state.lines += lines;
            return Ok(is_over);
        }
        let mut items = Vec::with_capacity(things.len());
        for thing in &things {
            items.push(ImportItem {
                id: &thing.id,
                key: key_of(self.context, self.part, &thing.id)?,
                data: &thing.data,
                if_version: None,
            });
        }
        let on_conflict = match self.plan.on_conflict {
            RestoreConflict::Skip => OnConflict::Skip,
            RestoreConflict::Overwrite => OnConflict::Overwrite,
            RestoreConflict::Fail => OnConflict::Fail,
        };
        let mut results = self.import(&items, on_conflict, self.dry_run).await?;
        self.settle_doubts(&things, &items, &mut results).await?;
        let mut counts = Counts::default();
        for (thing, result) in things.iter().zip(results) {
            match result.status {
                ImportStatus::Created => counts.created += 1,
                ImportStatus::Updated => counts.replaced += 1,
                ImportStatus::Skipped => {
                    counts.skipped += 1;
                    if self.part.entity_type == "file" && self.plan.on_conflict == RestoreConflict::Skip {
                        state.kept_files.push(thing.id.clone());
                    }
                }
                ImportStatus::Deleted | ImportStatus::Failed => {
                    let code = result.code.unwrap_or_else(|| ErrorName::ServiceRejected.to_string());
                    let (id, message) = (thing.id.clone(), result.message.unwrap_or_default());
                    state.refused.push(Refused { id, code, message });
                }
            }
        }
        state.counts.add(counts);
        state.lines += lines;
        Ok(is_over)
    }

    async fn import(
        &self,
        items: &[ImportItem<'_>],
        on_conflict: OnConflict,
        dry_run: bool,
    ) -> Result<Vec<Imported>, ActivityError> {
        let PartEntry { service, entity_type, .. } = self.part;
        let at = Service::named(service).ok_or_else(|| lost("the service of a part"))?;
        let (tenant_id, downstream) = (&self.plan.target.tenant_id, self.context.downstream.fenced(self.plan.fence));
        import(&downstream, at, entity_type, tenant_id, items, on_conflict, dry_run).await
    }

    /// Settles what the service's answers leave open.
    async fn settle_doubts(
        &self,
        things: &[Thing],
        items: &[ImportItem<'_>],
        results: &mut [Imported],
    ) -> Result<(), ActivityError> {
        if self.plan.on_conflict == RestoreConflict::Fail {
            // The service refuses whatever is there; what is as the backup says may be there.
            for place in self.would_be_skipped(items, results, "Conflict", OnConflict::Overwrite).await?.0 {
                results[place].status = ImportStatus::Skipped;
            }
        }
        if self.dry_run {
            let (there, missing) = self.would_be_skipped(items, results, "NotFound", OnConflict::Skip).await?;
            there.into_iter().for_each(|place| results[place].status = ImportStatus::Updated);
            for place in missing {
                // Mostly what it belongs to would be restored before it.
                if self.has_parents(&things[place]).await? {
                    results[place].status = ImportStatus::Created;
                }
            }
            let there = things.iter().zip(&*results).filter(|(_, result)| result.status != ImportStatus::Failed);
            let there = there.map(|(thing, _)| fingerprint(&self.part.service, &self.part.entity_type, &thing.id));
            if let Some(restored) = self.restored {
                let there = there.map(|named| (named, true));
                restored.lock().unwrap_or_else(PoisonError::into_inner).extend(there);
            }
        }
        Ok(())
    }

    /// Whether all that a thing refers to within its service would be there: what it belongs to is among it.
    async fn has_parents(&self, of: &Thing) -> Result<bool, ActivityError> {
        // Of a whole backup everything is restored.
        let Some(restored) = self.restored else { return Ok(true) };
        let is_own = |to: &&Reference| to.service == self.part.service && !is_tenant(&to.service, &to.entity_type);
        for to in of.references.iter().filter(is_own) {
            let named = fingerprint(&to.service, &to.entity_type, &to.id);
            let known = restored.lock().unwrap_or_else(PoisonError::into_inner).get(&named).copied();
            match known {
                Some(true) => continue,
                Some(false) => return Ok(false),
                None => {}
            }
            let at = Service::named(&to.service).ok_or_else(|| lost("the service of a part"))?;
            let (tenant_id, downstream) = (&self.plan.target.tenant_id, self.context.downstream);
            let is_there = thing(downstream, at, &to.entity_type, tenant_id, &to.id).await?.is_some();
            restored.lock().unwrap_or_else(PoisonError::into_inner).insert(named, is_there);
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The places of the things that failed with this code: first those that would be skipped if they were imported in this
    /// way, then the others.
    async fn would_be_skipped(
        &self,
        items: &[ImportItem<'_>],
        results: &[Imported],
        code: &str,
        on_conflict: OnConflict,
    ) -> Result<(Vec<usize>, Vec<usize>), ActivityError> {
        let places: Vec<usize> = (0..items.len()).filter(|at| results[*at].code.as_deref() == Some(code)).collect();
        if places.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let asked: Vec<ImportItem<'_>> = places.iter().map(|place| items[*place].clone()).collect();
        let answers = self.import(&asked, on_conflict, true).await?;
        let answered = places.into_iter().zip(answers);
        let (skipped, others): (Vec<_>, Vec<_>) =
            answered.partition(|(_, answer)| answer.status == ImportStatus::Skipped);
        let places = |of: Vec<(usize, Imported)>| of.into_iter().map(|(place, _)| place).collect();
        Ok((places(skipped), places(others)))
    }
}

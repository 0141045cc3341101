//! Archival: what an archive holds is deleted from its service.
//!
//! The archive is made before, by the steps of a backup, and read back here once more. Only what is still as the archive says
//! is deleted, under the condition that it has not changed since it was compared.

use std::collections::HashSet;

use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{DeleteItem, ImportStatus, Imported, PageOf, Thing, Within, delete, just_after, page};
use serde::{Deserialize, Serialize};
use vault::{Manifest, PartEntry};

use super::batch::{CALL_ITEMS, Working};
use super::plan::{Planning, check_order};
use super::problems::{LEFT, Line};
use super::source::Reading;
use super::target::is_tenant;
use super::{ByType, CHANGED_SINCE, Part, Plan, Set, State, THING, step_of};
use crate::Context;
use crate::backup::{Lines, Vault};
use crate::compliance::erasure::Erased;
use crate::files::lost;
use crate::restore::plan::{check_parts, manifest};
use crate::things::{fingerprint, key_of};

/// A thing that is to be deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Listed {
    id: String,
    version: u64,
}

/// An archive that was read back.
pub(super) struct Archive<'a> {
    manifest: &'a Manifest,
    vault: Vault<'a>,
}

/// The manifest of the archive of a plan, if it has one.
pub(super) async fn manifest_of(context: &Context<'_>, plan: &Plan) -> Result<Option<Manifest>, ActivityError> {
    let Some(archive_id) = &plan.archive_id else { return Ok(None) };
    let manifest = manifest(context, context.tenant_id(), archive_id).await?;
    check_parts(context, &manifest, &Erased::nobody()).await?;
    Ok(Some(manifest))
}

impl<'a> Archive<'a> {
    pub(super) async fn open(context: &Context<'a>, manifest: &'a Manifest) -> Result<Self, ActivityError> {
        let Manifest { tenant_id, backup_id, data_key, .. } = manifest;
        Ok(Self { manifest, vault: Vault::of(context, tenant_id, backup_id, data_key).await? })
    }

    /// Its parts of a set.
    fn parts(&self, set: &Set) -> Vec<PartEntry> {
        let is_of = |part: &&PartEntry| part.service == set.service && part.entity_type == set.entity_type;
        self.manifest.parts.iter().filter(is_of).cloned().collect()
    }
}

/// The things of a set in its archive, in the order of their ids.
struct Archived<'a> {
    lines: Lines<'a>,
    next: Option<Thing>,
}

impl<'a> Archived<'a> {
    async fn of(archive: &'a Archive<'a>, parts: &'a [PartEntry]) -> Result<Self, ActivityError> {
        let mut archived = Self { lines: Lines::of(&archive.vault, parts), next: None };
        archived.advance().await?;
        Ok(archived)
    }

    async fn advance(&mut self) -> Result<(), ActivityError> {
        let line = self.lines.next().await?;
        let thing = line.map(|(_, line)| serde_json::from_slice(&line).map_err(|_| lost("a line of an archive")));
        self.next = thing.transpose()?;
        Ok(())
    }

    /// Whether it holds a thing as it is now. Things are asked for in the order of their ids.
    async fn holds(&mut self, thing: &Thing) -> Result<bool, ActivityError> {
        while self.next.as_ref().is_some_and(|next| next.id < thing.id) {
            self.advance().await?;
        }
        Ok(self.next.as_ref().is_some_and(|next| next.id == thing.id && next.data == thing.data))
    }
}

impl Planning<'_> {
    /// Reads a set, compares it with its archive, and cuts what is to be deleted into batches.
    pub(super) async fn add_removal(&mut self, set: Set) -> Result<(), ActivityError> {
        let whole = self.whole(&set);
        let number = self.plan.sets.len();
        self.plan.sets.push(set.clone());
        let parts = self.archive.map(|archive| archive.parts(&set)).unwrap_or_default();
        let mut archived = match self.archive {
            Some(archive) => Some(Archived::of(archive, &parts).await?),
            None => None,
        };
        let (context, source, mut listed, mut last) = (self.context, self.plan.source.clone(), Vec::new(), None);
        let mut reading = Reading::part(context, &source, &set, &whole, None);
        while let Some(page) = reading.next().await? {
            let before = listed.len();
            for thing in page.items {
                check_order(&set, last.as_ref(), &thing)?;
                self.expect_of(set.types(), |counts| counts.read += 1);
                let is_archived = match &mut archived {
                    Some(archived) => archived.holds(&thing).await?,
                    None => true,
                };
                last = Some(thing.id.clone());
                match is_archived {
                    true => listed.push(listed_of(&set, thing)?),
                    false => self.tell_left(&set, &thing.id)?,
                }
            }
            self.expect_removal(&set, &listed[before..]).await?;
        }
        self.removed.extend(listed.iter().map(|of| fingerprint(&set.service, &set.entity_type, &of.id)));
        let files = context.files();
        for (place, listed) in listed.chunks(self.batch_size(listed.len())).enumerate() {
            let name = format!("list-{number}-{place}.json");
            files.write_json(&files.key(&name)?, &listed).await?;
            self.plan.parts.push(Part { things: listed.len() as u64, list: Some(name), ..whole.clone() });
        }
        Ok(())
    }

    fn tell_left(&mut self, set: &Set, id: &str) -> Result<(), ActivityError> {
        self.expect_of(set.types(), |counts| counts.left += 1);
        let (service, entity_type) = (&*set.service, &*set.entity_type);
        let message = "has changed since it was archived, and stays";
        self.told.add(LEFT, &Line { service, entity_type, id, code: CHANGED_SINCE, message })
    }

    /// Asks the service what would come of the deletions.
    async fn expect_removal(&mut self, set: &Set, listed: &[Listed]) -> Result<(), ActivityError> {
        let options = &self.plan.options;
        if listed.is_empty() || !options.validate_data && !options.dry_run {
            return Ok(());
        }
        let results = remove(self.context, &self.plan, set, listed, true).await?;
        for (listed, result) in listed.iter().zip(&results) {
            match result.status {
                // Its batch will leave it.
                ImportStatus::Failed if result.code.as_deref() == Some(CHANGED_SINCE) => {}
                ImportStatus::Failed => {
                    self.expect_of(set.types(), |counts| counts.failed += 1);
                    let (code, message) = (result.code.as_deref(), result.message.as_deref());
                    let code = code.unwrap_or(ErrorName::ServiceRejected.as_str());
                    self.tell_problem(set, &listed.id, code, message.unwrap_or_default())?;
                }
                _ => self.expect_of(set.types(), |counts| counts.removed += 1),
            }
        }
        Ok(())
    }

    /// Looks for what refers to things that are to be deleted. What their own service would delete with them must be archived
    /// too; references of other services are told of.
    pub(super) async fn check_dependents(&mut self) -> Result<(), ActivityError> {
        let known = self.known;
        for ((service, entity_type), of) in known {
            let refers = self.plan.sets.iter().any(|set| {
                of.references.iter().any(|to| to.service == set.service && to.entity_type == set.entity_type)
            });
            // All that its service holds belongs to a tenant, whatever the references say.
            if !refers && !self.removes_tenant_of(service) {
                continue;
            }
            let at = Service::named(service).ok_or_else(|| lost("the service of a type"))?;
            let mut cursor: Option<String> = None;
            loop {
                let of = PageOf { cursor: cursor.as_deref(), ..PageOf::default() };
                let page = page(self.context.downstream, at, entity_type, &self.plan.source, of).await?;
                for thing in &page.items {
                    self.check_dependent(service, entity_type, thing)?;
                }
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether the tenant itself is to be deleted, from this service.
    fn removes_tenant_of(&self, service: &str) -> bool {
        self.plan.sets.iter().any(|set| set.service == service && is_tenant(service, &set.entity_type))
    }

    fn check_dependent(&mut self, service: &str, entity_type: &str, thing: &Thing) -> Result<(), ActivityError> {
        if self.removed.contains(&fingerprint(service, entity_type, &thing.id)) {
            return Ok(());
        }
        if self.removes_tenant_of(service) {
            let message = "belongs to the tenant, which is to be archived";
            return self.tell_dependent([service, entity_type, &thing.id], message);
        }
        let is_removed =
            |removed: &HashSet<u64>, service: &str, of: &str, id: &str| removed.contains(&fingerprint(service, of, id));
        for to in &thing.references {
            if !is_removed(&self.removed, &to.service, &to.entity_type, &to.id) {
                continue;
            }
            let message =
                format!("refers to the {} {} of {}, which is to be archived", to.entity_type, to.id, to.service);
            if to.service != service {
                self.tell_of_dangling([service, entity_type, &thing.id], &message)?;
                continue;
            }
            self.tell_dependent([service, entity_type, &thing.id], &message)?;
        }
        Ok(())
    }

    fn tell_dependent(&mut self, of: [&str; 3], why: &str) -> Result<(), ActivityError> {
        let message = format!("{why}: the service may delete it with that; select {} too", of[1]);
        self.plan.expected.failed += 1;
        self.tell_problem_of(of, "Dependent", &message)
    }
}

fn listed_of(set: &Set, thing: Thing) -> Result<Listed, ActivityError> {
    let version = thing.version.ok_or_else(|| {
        let message = format!("{}: its {} have no versions: nothing is deleted without", set.service, set.entity_type);
        ActivityError::new(ErrorName::IntegrityViolation, message)
    })?;
    Ok(Listed { id: thing.id, version })
}

/// Deletes things, or asks what would come of that.
async fn remove(
    context: &Context<'_>,
    plan: &Plan,
    set: &Set,
    listed: &[Listed],
    dry_run: bool,
) -> Result<Vec<Imported>, ActivityError> {
    let mut results = Vec::with_capacity(listed.len());
    for listed in listed.chunks(CALL_ITEMS) {
        let items = listed.iter().map(|Listed { id, version }| {
            let key = key_of(context, &step_of(THING, set, id, 0)?);
            Ok(DeleteItem { id, key, if_version: Some(*version) })
        });
        let items: Vec<DeleteItem<'_>> = items.collect::<Result<_, ActivityError>>()?;
        results.extend(
            delete(
                &context.downstream.fenced(plan.fence),
                set.source()?,
                &set.entity_type,
                &plan.source,
                &items,
                dry_run,
            )
            .await?,
        );
    }
    Ok(results)
}

/// The things of a batch.
async fn list(context: &Context<'_>, part: &Part) -> Result<Vec<Listed>, ActivityError> {
    let files = context.files();
    let name = part.list.as_deref().ok_or_else(|| lost("the list of a batch"))?;
    files.read(&files.key(name)?).await?.ok_or_else(|| lost("the list of a batch"))
}

/// Deletes the things of a batch.
pub(super) async fn migrate(working: &Working<'_>, state: &mut State) -> Result<(), ActivityError> {
    let Working { context, plan, part, .. } = *working;
    let set = &plan.sets[part.set];
    let all = list(context, part).await?;
    while state.done < all.len() {
        let listed = &all[state.done..all.len().min(state.done + CALL_ITEMS)];
        // Before the call: whoever undoes must know of everything that may have been deleted.
        state.ids.truncate(state.done);
        state.ids.extend(listed.iter().map(|listed| listed.id.clone()));
        working.note(state).await?;
        for (listed, result) in listed.iter().zip(remove(context, plan, set, listed, false).await?) {
            match (result.status, result.code.as_deref()) {
                (ImportStatus::Failed, Some(CHANGED_SINCE)) => {
                    state.counts.read += 1;
                    state.counts.left += 1;
                    state.left.add(&set.service, &set.entity_type, &listed.id);
                }
                // Somebody else has deleted it.
                (ImportStatus::Failed, Some(code)) if code == ErrorName::NotFound.as_str() => {
                    state.counts.count(ImportStatus::Skipped);
                }
                _ => state.settle(set, &listed.id, &result),
            }
        }
        state.done += listed.len();
        working.note(state).await?;
        working.check_time()?;
    }
    Ok(())
}

/// Looks whether what was deleted is gone; how many things are.
pub(super) async fn verify(context: &Context<'_>, plan: &Plan) -> Result<ByType, ActivityError> {
    let (files, mut verified) = (context.files(), ByType::new());
    for (number, part) in plan.parts.iter().enumerate() {
        let set = &plan.sets[part.set];
        let state: State = files.read_state(number).await?.unwrap_or_default();
        let ids: HashSet<String> = list(context, part).await?.into_iter().map(|listed| listed.id).collect();
        let (first, last) = (ids.iter().min().cloned(), ids.iter().max().map(|last| just_after(last)));
        let within = Within { from_id: first, to_id: last, ..Within::default() };
        let (mut there, mut cursor) = (0, None::<String>);
        loop {
            let of = PageOf { cursor: cursor.as_deref(), within: Some(&within), ..PageOf::default() };
            let page = page(context.downstream, set.source()?, &set.entity_type, &plan.source, of).await?;
            there += page.items.iter().filter(|thing| ids.contains(&thing.id)).count() as u64;
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        if there > state.counts.left {
            let message = format!("{}: {} that were deleted are still there", set.service, set.entity_type);
            return Err(ActivityError::new(ErrorName::IntegrityViolation, message));
        }
        *verified.entry(set.types()).or_default() += ids.len() as u64 - state.counts.left;
    }
    Ok(verified)
}

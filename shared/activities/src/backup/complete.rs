//! Completes a backup: reads again what has changed meanwhile, checks every part, and signs the manifest.

use std::collections::{BTreeMap, HashSet};

use contracts::backup::BackupSummary;
use contracts::{ActivityError, ErrorName};
use downstream::data::{PageOf, Reference, Thing};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use vault::{
    Dangling, MANIFEST_FILE, MANIFEST_FORMAT, MANIFEST_VERSION, MAX_DANGLING, Manifest, PartEntry, ServiceSummary,
    TypeSummary,
};

use super::keep::{keep, summary};
use super::lines::ContentLine;
use super::read::write_content;
use super::sealed::{Sealing, Vault};
use super::{DataSet, Plan, SetState, changed_part_name_of, entry, files, line_of, place, sign_failed};
use crate::Context;
use crate::files::lost;
use crate::things::fingerprint;

/// How often what has changed is read again. What changes all the time is not waited for.
const MAX_ROUNDS: u32 = 5;
/// Most things that may have changed meanwhile; a backup that would need more is begun too early.
const MAX_CHANGES: usize = 50_000;
/// Most references to what is missing that the result itself tells; the manifest tells more.
const MAX_DANGLING_TOLD: usize = 20;

/// What has become of things since they were read, by id; none of what is gone.
type Changes = BTreeMap<String, Option<Thing>>;

#[derive(Deserialize)]
struct ReportedAs {
    /// The member of the result that tells of the backup, if all of it does not.
    reported_as: Option<String>,
}

/// Completes a backup, and reports the result.
pub(crate) async fn complete(context: &Context<'_>) -> Result<Value, ActivityError> {
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    if !plan.is_wanted {
        return Ok(json!({ "parts": 0 }));
    }
    let vault = plan.vault(context).await?;
    let mut states = Vec::new();
    for set in 0..plan.sets.len() {
        let state: Option<SetState> = files.read_state(set).await?;
        let state = state.unwrap_or_default();
        if !state.is_done {
            let name = state.failure.as_deref().and_then(ErrorName::named);
            let told = files.with_why(set, unread(&plan.sets[set])).await?;
            return Err(ActivityError::new(name.unwrap_or(ErrorName::Internal), told));
        }
        states.push(state);
    }
    let (changes, rounds) = catch_up(context, &plan, &states).await?;
    let mut parts = Vec::new();
    for ((set, state), changed) in plan.sets.iter().zip(&states).zip(&changes) {
        let rewriting = Rewriting { context, vault: &vault, set };
        parts.push(if changed.is_empty() { state.parts.clone() } else { rewriting.rewrite(state, changed).await? });
    }
    let checked = check(&vault, &plan, &parts).await?;
    if plan.is_archive && parts.iter().flatten().all(|part| part.items == 0) {
        return Err(ActivityError::new(ErrorName::NotFound, "the selectors match nothing"));
    }
    let manifest = Manifest {
        format: MANIFEST_FORMAT.to_owned(),
        version: MANIFEST_VERSION,
        backup_id: plan.backup_id.clone(),
        tenant_id: context.tenant_id().to_owned(),
        began_at: plan.began_at,
        created_at: context.clock.now(),
        data_key: plan.data_key()?.clone(),
        services: checked.services,
        parts: parts.into_iter().flatten().collect(),
        dangling: checked.dangling,
        dangling_count: checked.dangling_count,
        changed_during: changes.iter().any(|changed| !changed.is_empty()),
        rounds,
    };
    manifest.check().map_err(|error| ActivityError::new(ErrorName::Internal, error.to_string()))?;
    let text = manifest.sign(context.keys).await.map_err(sign_failed)?;
    let manifest_bytes = text.len() as u64;
    files.write(&place(context.tenant_id(), &plan.backup_id, MANIFEST_FILE)?, text).await?;
    let summary = summary(context, &plan, &manifest, (manifest_bytes, checked.files));
    let result = result(&manifest, &summary);
    let ReportedAs { reported_as } = context.input()?;
    context.report(match reported_as {
        Some(name) => Map::from_iter([(name, result.into())]),
        None => result,
    })?;
    // It is a backup from here on: whatever is interrupted before is done again, or discarded.
    keep(context, &plan, summary).await?;
    Ok(json!({ "parts": manifest.parts.len() }))
}

fn unread(set: &DataSet) -> String {
    format!("{}/{} was not read to its end", set.service, set.entity_type)
}

/// What the API answers.
fn result(manifest: &Manifest, summary: &BackupSummary) -> Map<String, Value> {
    let names: Vec<&str> = summary.services.iter().map(|service| service.service.as_str()).collect();
    let mut types = summary.services.iter().flat_map(|service| &service.types);
    let result = json!({
        "backup_id": summary.backup_id,
        "backup_location": summary.backup_location,
        "services_backed_up": names,
        "backup_size_bytes": summary.backup_size_bytes,
        "records_backed_up": summary.records_backed_up,
        "has_file_contents": types.any(|of| of.entity_type == super::FILE_CONTENT),
        "parts": manifest.parts.len(),
        "changed_during": summary.changed_during,
        "dangling_references": summary.dangling_references,
        "dangling_first": manifest.dangling.iter().take(MAX_DANGLING_TOLD).collect::<Vec<_>>(),
        "began_at": summary.began_at,
        "created_at": summary.created_at,
    });
    result.as_object().cloned().unwrap_or_default()
}

/// Reads what has changed since the first pages, until nothing has; how often it was read.
async fn catch_up(
    context: &Context<'_>,
    plan: &Plan,
    states: &[SetState],
) -> Result<(Vec<Changes>, u32), ActivityError> {
    let mut changes: Vec<Changes> = plan.sets.iter().map(|_| Changes::new()).collect();
    let mut watermarks: Vec<Option<String>> = states.iter().map(|state| state.watermark.clone()).collect();
    for round in 1..=MAX_ROUNDS {
        let mut has_changed = false;
        for (number, set) in plan.sets.iter().enumerate() {
            let Some(since) = watermarks[number].clone() else { return Err(lost("the watermark of a data set")) };
            let mut cursor = None;
            loop {
                let of = PageOf { cursor: cursor.as_deref(), changed_since: Some(&since), within: None };
                let page = set.page(context, of).await?;
                has_changed |= !page.items.is_empty() || !page.deletions.is_empty();
                changes[number].extend(page.deletions.into_iter().map(|deletion| (deletion.id, None)));
                changes[number].extend(page.items.into_iter().map(|thing| (thing.id.clone(), Some(thing))));
                watermarks[number].get_or_insert_with(String::new).clone_from(&page.watermark);
                if changes.iter().map(BTreeMap::len).sum::<usize>() > MAX_CHANGES {
                    let message = format!("more than {MAX_CHANGES} things changed while they were read");
                    return Err(ActivityError::new(ErrorName::Conflict, message));
                }
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        if !has_changed {
            return Ok((changes, round));
        }
    }
    Ok((changes, MAX_ROUNDS))
}

/// Writes the parts of a data set anew, with what has changed. Under other names: until the manifest is signed this may be
/// repeated.
struct Rewriting<'a> {
    context: &'a Context<'a>,
    vault: &'a Vault<'a>,
    set: &'a DataSet,
}

/// Changes that are not written yet, the first id last.
type Pending<'a> = Vec<(&'a String, &'a Option<Thing>)>;

impl Rewriting<'_> {
    async fn rewrite(&self, state: &SetState, changes: &Changes) -> Result<Vec<PartEntry>, ActivityError> {
        let mut pending: Pending<'_> = changes.iter().rev().collect();
        let mut parts = Vec::new();
        for (number, old) in (1..).zip(state.parts.iter().map(Some).chain([None])) {
            let name = changed_part_name_of(self.set, number);
            let written = self.vault.write(&name, async |sealing| {
                match (old, self.set.is_content) {
                    (Some(old), false) => self.merge(old, &mut pending, sealing).await?,
                    (Some(old), true) => self.leave_out(old, changes, sealing).await?,
                    (None, false) => add_before(None, &mut pending, sealing).await?,
                    (None, true) => self.read_again(changes, sealing).await?,
                }
                Ok(sealing.lines)
            });
            let (lines, summary) = written.await?;
            if lines > 0 {
                parts.push(entry(self.set, name, parts.len() + 1, summary));
            }
        }
        Ok(parts)
    }

    /// Writes the things of a part as they are now. What is new comes where its id belongs.
    async fn merge(
        &self,
        old: &PartEntry,
        pending: &mut Pending<'_>,
        sealing: &mut Sealing<'_>,
    ) -> Result<(), ActivityError> {
        let mut opened = self.vault.open(old).await?;
        while let Some(line) = opened.next().await? {
            let thing: Thing = serde_json::from_slice(&line).map_err(|_| lost("a line"))?;
            add_before(Some(&thing.id), pending, sealing).await?;
            match pending.pop_if(|(id, _)| **id == thing.id) {
                Some((_, Some(now))) => sealing.line(&line_of(now)?).await?,
                Some((_, None)) => {}
                None => sealing.line(&line).await?,
            }
        }
        opened.finish().map(drop)
    }

    /// Writes the bytes of a part's files, but for those of files that have changed.
    async fn leave_out(
        &self,
        old: &PartEntry,
        changes: &Changes,
        sealing: &mut Sealing<'_>,
    ) -> Result<(), ActivityError> {
        let mut opened = self.vault.open(old).await?;
        while let Some(line) = opened.next().await? {
            if !changes.contains_key(&ContentLine::file_of(&line)?) {
                sealing.line(&line).await?;
            }
        }
        opened.finish().map(drop)
    }

    /// Writes the bytes of files that have changed and are still there.
    async fn read_again(&self, changes: &Changes, sealing: &mut Sealing<'_>) -> Result<(), ActivityError> {
        for (id, _) in changes.iter().filter(|(_, now)| now.is_some()) {
            write_content(self.context, id, sealing).await?;
        }
        Ok(())
    }
}

/// Writes what is new before an id, or all that is left.
async fn add_before(
    id: Option<&str>,
    pending: &mut Pending<'_>,
    sealing: &mut Sealing<'_>,
) -> Result<(), ActivityError> {
    while let Some((_, new)) = pending.pop_if(|(new, _)| id.is_none_or(|id| new.as_str() < id)) {
        if let Some(new) = new {
            sealing.line(&line_of(new)?).await?;
        }
    }
    Ok(())
}

/// What is in the parts.
#[derive(Default)]
struct Checked {
    services: Vec<ServiceSummary>,
    dangling: Vec<Dangling>,
    dangling_count: u64,
    /// Files whose bytes are there.
    files: u64,
}

impl Checked {
    /// Notes that a thing refers to another one, or to bytes, that are not there.
    fn note_dangling(&mut self, set: &DataSet, id: String, field: &str, refers_to: &str) {
        self.dangling_count += 1;
        if self.dangling.len() < MAX_DANGLING {
            let (service, entity_type) = (set.service.clone(), set.entity_type.clone());
            let (field, refers_to) = (field.to_owned(), refers_to.to_owned());
            self.dangling.push(Dangling { service, entity_type, id, field, refers_to });
        }
    }
}

/// The type of things that have bytes.
const FILE: &str = "file";

/// Reads all parts back: each is what was written, and what it refers to is looked for.
async fn check(vault: &Vault<'_>, plan: &Plan, parts: &[Vec<PartEntry>]) -> Result<Checked, ActivityError> {
    let mut checked = Checked::default();
    let mut known = HashSet::new();
    let mut unresolved = Vec::new();
    let mut with_bytes = HashSet::new();
    // What is referred to comes last, so that most references are resolved at once.
    for (set, parts) in plan.sets.iter().zip(parts).rev() {
        let (mut hash, mut items) = (Sha256::new(), 0);
        let is_same = |of: &&DataSet| of.service == set.service && of.is_content;
        let has_content = set.entity_type == FILE && plan.sets.iter().any(|of| is_same(&of));
        for part in parts {
            let mut opened = vault.open(part).await?;
            while let Some(line) = opened.next().await? {
                items += 1;
                if set.is_content {
                    hash.update(&line);
                    hash.update(b"\n");
                    with_bytes.insert(fingerprint("", "", &ContentLine::file_of(&line)?));
                    continue;
                }
                let thing: Thing = serde_json::from_slice(&line).map_err(|_| lost("a line of a backup"))?;
                hash.update(canonical(&thing).as_bytes());
                known.insert(fingerprint(&set.service, &set.entity_type, &thing.id));
                // Its service says that it has bytes, and did not hand them out.
                if has_content
                    && thing.data["size_bytes"].as_u64().is_some_and(|bytes| bytes > 0)
                    && !with_bytes.contains(&fingerprint("", "", &thing.id))
                {
                    checked.note_dangling(set, thing.id.clone(), "content", "");
                }
                for reference in &thing.references {
                    let Reference { service, entity_type, id, .. } = reference;
                    let is_looked_for = plan.sets.iter().any(|set| set.is_of(reference));
                    if is_looked_for && !known.contains(&fingerprint(service, entity_type, id)) {
                        unresolved.push((set, thing.id.clone(), reference.clone()));
                    }
                }
            }
            let found = opened.finish()?;
            if found.sha256 != part.sha256 {
                return Err(lost(&format!("the part {}", part.name)));
            }
        }
        let summary = TypeSummary {
            entity_type: set.entity_type.clone(),
            schema_version: set.schema_version,
            items,
            digest: contracts::effect::hex(&hash.finalize()),
        };
        match checked.services.iter_mut().find(|service| service.service == set.service) {
            Some(service) => service.types.insert(0, summary),
            None => checked.services.insert(0, ServiceSummary { service: set.service.clone(), types: vec![summary] }),
        }
    }
    checked.files = with_bytes.len() as u64;
    for (set, id, reference) in unresolved {
        if known.contains(&fingerprint(&reference.service, &reference.entity_type, &reference.id)) {
            continue;
        }
        checked.note_dangling(set, id, &reference.field, &reference.id);
    }
    Ok(checked)
}

/// A thing as the services' digests have it: JSON without spaces, names in order, and a line break.
pub(crate) fn canonical(thing: &Thing) -> String {
    let value = json!({ "data": thing.data, "id": thing.id, "references": thing.references });
    let mut text = contracts::document::canonical(&value).to_string();
    text.push('\n');
    text
}

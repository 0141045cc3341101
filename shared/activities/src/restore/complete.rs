//! Completes a restore: reads back what was written, and reports the result.

use std::collections::BTreeMap;

use contracts::backup::RestoreConflict;
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{PageOf, Thing, page};
use serde_json::{Value, json};
use vault::PartEntry;

use super::{Counts, PartState, Plan, drill, is_same_type};
use crate::Context;
use crate::backup::{FILE_CONTENT, Opened, Vault};
use crate::files::lost;

/// Completes a restore.
pub(crate) async fn complete(context: &Context<'_>) -> Result<Value, ActivityError> {
    let files = context.files();
    let plan: Plan = files.read_plan().await?;
    let (mut things, mut contents) = (BTreeMap::<&str, Counts>::new(), 0_u64);
    for (number, part) in plan.parts.iter().enumerate() {
        let state: Option<PartState> = files.read(&files.state(number as u64)?).await?;
        let state = state.ok_or_else(|| ActivityError::new(ErrorName::ServiceUnavailable, unwritten(part)))?;
        if let Some(failure) = state.failure {
            let name = ErrorName::named(&failure.error).unwrap_or(ErrorName::ServiceUnavailable);
            return Err(ActivityError::new(name, failure.message));
        }
        match part.entity_type == FILE_CONTENT {
            true => contents += state.counts.replaced,
            false => things.entry(&part.service).or_default().add(state.counts),
        }
    }
    let vault = plan.vault(context).await?;
    // What was there and stays is not what the backup says.
    let is_comparable = !plan.dry_run && plan.on_conflict != RestoreConflict::Skip;
    let verified = if is_comparable { verify(context, &vault, &plan).await? } else { 0 };
    let recovery_seconds = if plan.is_drill { Some(drill::passed(context, &plan).await?) } else { None };
    let all = things.values().fold(Counts::default(), |mut all, counts| {
        all.add(*counts);
        all
    });
    let report = json!({
        "backup_id": plan.backup_id,
        "services_restored": things.keys().collect::<Vec<_>>(),
        "records_restored": all.created + all.replaced,
        "created": all.created,
        "replaced": all.replaced,
        "skipped": all.skipped,
        "per_service": things,
        "file_contents_restored": contents,
        "verified": verified,
        "dry_run": plan.dry_run,
        "tenant_id": plan.target.tenant_id,
        "drill": plan.is_drill,
        "recovery_seconds": recovery_seconds,
        "recovery_point": plan.recovery_point,
        "restored_at": context.clock.now(),
    });
    context.report(report.as_object().cloned().unwrap_or_default())?;
    Ok(json!({ "records": all.sum() }))
}

fn unwritten(part: &PartEntry) -> String {
    format!("the part {} was not restored", part.name)
}

/// Compares what the services hold now with the backup; how many things are the same. All are, or it is an error.
async fn verify(context: &Context<'_>, vault: &Vault<'_>, plan: &Plan) -> Result<u64, ActivityError> {
    let mut verified = 0;
    for parts in plan.parts.chunk_by(is_same_type).filter(|parts| parts[0].entity_type != FILE_CONTENT) {
        let PartEntry { service, entity_type, .. } = &parts[0];
        let mut saved = Saved { plan, vault, parts: parts.iter(), opened: None };
        let at = Service::named(service).ok_or_else(|| lost("the service of a part"))?;
        let mut expected = saved.next().await?;
        let mut cursor: Option<String> = None;
        loop {
            let of = PageOf { cursor: cursor.as_deref(), changed_since: None, within: None };
            let page = page(context.downstream, at, entity_type, &plan.target.tenant_id, of).await?;
            for thing in page.items {
                if expected.as_ref().is_some_and(|expected| expected.id == thing.id && expected.data == thing.data) {
                    verified += 1;
                    expected = saved.next().await?;
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        if let Some(Thing { id, .. }) = expected {
            let message =
                format!("{service}: the {entity_type} {id} is not what the backup says after it was restored");
            return Err(ActivityError::new(ErrorName::IntegrityViolation, message));
        }
    }
    Ok(verified)
}

/// The things of a type in a backup, in the order of their ids.
struct Saved<'a> {
    plan: &'a Plan,
    vault: &'a Vault<'a>,
    parts: std::slice::Iter<'a, PartEntry>,
    opened: Option<(&'a PartEntry, Opened)>,
}

impl Saved<'_> {
    async fn next(&mut self) -> Result<Option<Thing>, ActivityError> {
        loop {
            if let Some((part, opened)) = &mut self.opened {
                if let Some(line) = opened.next().await? {
                    return self.plan.thing(part, &line).map(Some);
                }
                self.opened = None;
            }
            let Some(part) = self.parts.next() else { return Ok(None) };
            self.opened = Some((part, self.vault.open(part).await?));
        }
    }
}

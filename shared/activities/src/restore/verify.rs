//! Looks whether everything was written, and compares what services hold now with the backup.

use std::collections::BTreeMap;

use contracts::backup::RestoreConflict;
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{PageOf, Thing, page};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vault::PartEntry;

use super::{PartState, Plan, drill, files, is_same_type};
use crate::Context;
use crate::backup::{FILE_CONTENT, Lines, Vault};
use crate::files::lost;

/// The file of what was compared.
pub(super) const VERIFIED: &str = "verified.json";

/// What was compared.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Verified {
    /// Things that are as in the backup.
    pub(super) things: u64,
    /// Of a drill: how long it took.
    pub(super) recovery_seconds: Option<u64>,
}

/// Verifies a restore: answers `{verified}`.
pub(crate) async fn verify(context: &Context<'_>) -> Result<Value, ActivityError> {
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    let things = verify_plan(context, &plan).await?.into_values().sum();
    let recovery_seconds = if plan.is_drill { Some(drill::passed(context, &plan).await?) } else { None };
    files.write_json(&files.key(VERIFIED)?, &Verified { things, recovery_seconds }).await?;
    Ok(json!({ "verified": things }))
}

/// Things by service and type.
type ByType = BTreeMap<(String, String), u64>;

/// How many things are as in the backup, if everything was written.
pub(crate) async fn verified(context: &Context<'_>) -> Result<ByType, ActivityError> {
    verify_plan(context, &files(context).read_plan().await?).await
}

async fn verify_plan(context: &Context<'_>, plan: &Plan) -> Result<ByType, ActivityError> {
    let (files, mut skipped) = (files(context), ByType::new());
    for (number, part) in plan.parts.iter().enumerate() {
        let state: Option<PartState> = files.read_state(number).await?;
        let state = state.ok_or_else(|| ActivityError::new(ErrorName::ServiceUnavailable, unwritten(part)))?;
        if let Some(failure) = state.failure {
            let name = ErrorName::named(&failure.error).unwrap_or(ErrorName::ServiceUnavailable);
            return Err(ActivityError::new(name, failure.message));
        }
        if plan.on_conflict == RestoreConflict::Skip {
            let named = (part.service.clone(), part.entity_type.clone());
            *skipped.entry(named).or_default() += state.counts.skipped;
        }
    }
    match plan.dry_run {
        false => compare(context, &plan.vault(context).await?, plan, skipped).await,
        true => Ok(ByType::new()),
    }
}

fn unwritten(part: &PartEntry) -> String {
    format!("the part {} was not restored", part.name)
}

/// Compares what the services hold now with the backup; how many things are the same. All are, but for as many as were there
/// before and were skipped, or it is an error.
async fn compare(
    context: &Context<'_>,
    vault: &Vault<'_>,
    plan: &Plan,
    mut skipped: ByType,
) -> Result<ByType, ActivityError> {
    let mut verified = ByType::new();
    for parts in plan.parts.chunk_by(is_same_type).filter(|parts| parts[0].entity_type != FILE_CONTENT) {
        let PartEntry { service, entity_type, .. } = &parts[0];
        let mut saved = Saved { plan, lines: Lines::of(vault, parts) };
        let at = Service::named(service).ok_or_else(|| lost("the service of a part"))?;
        let mut expected = saved.next().await?;
        let may_differ = skipped.entry((service.clone(), entity_type.clone())).or_default();
        let things = verified.entry((service.clone(), entity_type.clone())).or_default();
        let mut cursor: Option<String> = None;
        loop {
            let of = PageOf { cursor: cursor.as_deref(), changed_since: None, within: None };
            let page = page(context.downstream, at, entity_type, &plan.target.tenant_id, of).await?;
            for thing in page.items {
                let Some(saved_thing) = expected.as_ref().filter(|expected| expected.id == thing.id) else { continue };
                if saved_thing.data == thing.data {
                    *things += 1;
                } else if *may_differ > 0 {
                    *may_differ -= 1;
                } else {
                    break;
                }
                expected = saved.next().await?;
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
    lines: Lines<'a>,
}

impl Saved<'_> {
    async fn next(&mut self) -> Result<Option<Thing>, ActivityError> {
        while let Some((part, line)) = self.lines.next().await? {
            if let Some(thing) = self.plan.thing(part, &line)? {
                return Ok(Some(thing));
            }
        }
        Ok(None)
    }
}

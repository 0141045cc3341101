//! Completes a restore: reports the result.

use std::collections::BTreeMap;

use contracts::ActivityError;
use serde_json::{Value, json};

use super::verify::{VERIFIED, Verified};
use super::{Counts, PartFailure, PartState, Plan, files};
use crate::Context;
use crate::backup::FILE_CONTENT;
use crate::files::lost;

/// Completes a restore.
pub(crate) async fn complete(context: &Context<'_>) -> Result<Value, ActivityError> {
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    let Totals { types, contents, .. } = totals(context).await?;
    let mut things = BTreeMap::<&str, Counts>::new();
    for ((service, _), counts) in &types {
        things.entry(service).or_default().add(*counts);
    }
    let Verified { things: verified, recovery_seconds } =
        files.read(&files.key(VERIFIED)?).await?.ok_or_else(|| lost("what was compared"))?;
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

/// What a restore did.
pub(crate) struct Totals {
    /// By service and type.
    pub(crate) types: BTreeMap<(String, String), Counts>,
    /// Files that got their bytes.
    pub(crate) contents: u64,
    /// Why parts could not be written, by service and type.
    pub(crate) failures: Vec<((String, String), PartFailure)>,
}

/// Puts together what became of the parts.
pub(crate) async fn totals(context: &Context<'_>) -> Result<Totals, ActivityError> {
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    let mut totals = Totals { types: BTreeMap::new(), contents: 0, failures: Vec::new() };
    for (number, part) in plan.parts.iter().enumerate() {
        let state: Option<PartState> = files.read_state(number).await?;
        let PartState { counts, failure, .. } = state.unwrap_or_default();
        let named = (part.service.clone(), part.entity_type.clone());
        totals.failures.extend(failure.map(|failure| (named.clone(), failure)));
        match part.entity_type == FILE_CONTENT {
            true => totals.contents += counts.replaced,
            false => totals.types.entry(named).or_default().add(counts),
        }
    }
    Ok(totals)
}

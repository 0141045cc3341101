//! Restores what is selected of an archive or a backup: the work of a restore, within the steps of a migration.

use contracts::backup::{RestoreConflict, RestoreRequest};
use contracts::data_migration::DataMigrationRequest;
use contracts::{ActivityError, ErrorName};
use serde_json::{Map, Value, json};

use super::batch::Working;
use super::plan::{new_plan, store};
use super::{Counts, Part, Plan, State};
use crate::Context;
use crate::restore::plan::{Planned, plan_some};
use crate::restore::{Selected, write};

/// Plans to restore: checks all that is selected first.
pub(super) async fn plan(
    context: &Context<'_>,
    request: &DataMigrationRequest,
    earlier: Option<String>,
) -> Result<Value, ActivityError> {
    let restore = RestoreRequest {
        backup_id: request.restore_from.clone().unwrap_or_default(),
        tenant_id: context.tenant_id().to_owned(),
        target_tenant_id: None,
        drill: false,
        on_conflict: request.migration_options.on_conflict.unwrap_or(RestoreConflict::Overwrite),
        dry_run: request.migration_options.dry_run,
    };
    let selected = request.data_selectors.iter().map(|selector| Selected {
        service: selector.service.clone(),
        entity_type: selector.entity_type.clone(),
        filters: selector.filters.clone(),
    });
    let Planned { parts, total, types } = plan_some(context, &restore, Some(selected.collect())).await?;
    if total == 0 {
        return Err(ActivityError::new(ErrorName::NotFound, "the selectors match nothing".to_owned()));
    }
    let plan = Plan {
        earlier,
        held: types,
        expected: Counts { read: total, ..Counts::default() },
        // One after the other, as they refer to each other.
        parts: (0..parts).map(part).collect(),
        ..new_plan(request)
    };
    context.report(Map::from_iter([
        ("migration_id".to_owned(), json!(plan.migration_id)),
        ("restored_from".to_owned(), json!(restore.backup_id)),
        ("expected".to_owned(), json!(plan.expected)),
        ("plan_files".to_owned(), json!({})),
    ]))?;
    store(context, &plan).await
}

fn part(number: usize) -> Part {
    Part::empty(0, u32::try_from(number).unwrap_or(u32::MAX))
}

/// Writes a part.
pub(super) async fn migrate(
    working: &Working<'_>,
    state: &mut State,
    given_up: Option<String>,
) -> Result<(), ActivityError> {
    let (things, part) = write::write_part(working.context, working.number, given_up).await?;
    if let Some(failure) = part.failure {
        state.given_up.get_or_insert(failure.error);
    }
    if things > 0 {
        let crate::restore::Counts { created, replaced, skipped } = part.counts;
        state.counts = Counts { read: things, created, updated: replaced, unchanged: skipped, ..Counts::default() };
    }
    Ok(())
}

//! Restores what is selected of an archive or a backup: the work of a restore, within the steps of a migration.

use std::collections::BTreeMap;

use contracts::backup::RestoreRequest;
use contracts::data_migration::DataMigrationRequest;
use contracts::{ActivityError, ErrorName};
use serde_json::{Value, json};

use super::batch::Working;
use super::plan::{finish, new_plan};
use super::problems::{Line, PROBLEMS, Told};
use super::{Counts, Part, Plan, State, type_name};
use crate::Context;
use crate::backup::FILE_CONTENT;
use crate::restore::plan::{Planned, plan_some};
use crate::restore::write::{Asked, ask};
use crate::restore::{Refused, Selected, write};

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
        on_conflict: request.migration_options.restore_conflict(),
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
    let mut plan = Plan {
        earlier,
        held: types,
        expected: Counts { read: total, ..Counts::default() },
        // One after the other, as they refer to each other.
        parts: (0..parts).map(part).collect(),
        ..new_plan(request)
    };
    let mut told = Told::default();
    if plan.options.validate_data || plan.options.dry_run {
        expect(&mut plan, &mut told, ask(context).await?)?;
    }
    let report = json!({
        "migration_id": plan.migration_id, "restored_from": restore.backup_id, "expected": plan.expected,
    });
    finish(context, &plan, told, report).await
}

/// Notes what would come of it, and tells what the services would not take.
fn expect(plan: &mut Plan, told: &mut Told, asked: Asked) -> Result<(), ActivityError> {
    let mut types: BTreeMap<String, Counts> = BTreeMap::new();
    for ((service, entity_type), counts) in &asked.types {
        types.insert(type_name(service, entity_type), Counts::of_restored(*counts, plan.options.restore_conflict()));
    }
    for ((service, entity_type), Refused { id, code, message }) in &asked.refused {
        let counts = types.entry(type_name(service, entity_type)).or_default();
        // The bytes of a file are no thing.
        counts.read += u64::from(entity_type != FILE_CONTENT);
        counts.failed += 1;
        told.add(PROBLEMS, &Line { service, entity_type, id, code, message })?;
    }
    plan.expected = Counts::sum(types.values());
    if plan.options.dry_run {
        plan.expected_types = types.into_iter().map(|(name, counts)| ((name.clone(), name), counts)).collect();
        plan.expected_contents = asked.contents;
    }
    Ok(())
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
        state.counts = Counts::of_restored(part.counts, working.plan.options.restore_conflict());
    }
    Ok(())
}

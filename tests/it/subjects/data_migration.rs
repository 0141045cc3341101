//! Data migrations: other services' copies of profiles become what the profiles say. It is about all of them, so executions
//! do not run side by side.

use contracts::responses::StatusResponse;
use contracts::{Status, WorkflowKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Subject, site};
use crate::world::{TENANT, World};

pub(crate) static DATA_MIGRATION: Subject = Subject {
    kind: WorkflowKind::DataMigration,
    variant: None,
    path: "/api/v1/workflows/data-migration",
    request: |number| {
        json!({
            "migration_id": format!("migration-{number:04}"), "target_tenant_id": TENANT,
            "migration_type": "CrossServiceSync",
            "data_selectors": [{ "service": "user", "entity_type": "profile", "include_relationships": true }],
            "migration_options": { "batch_size": 2, "parallel_workers": 1 },
        })
    },
    prepare: |_, _| std::future::ready(()).boxed(),
    presupposes: None,
    sites: &[
        site("PlanBackup", "auth", "GET", "/api/v1/data"),
        site("BackUpDataSet/content", "file", "GET", "/api/v1/data/file/{file_id}/content"),
        site("BackUpDataSet", "auth", "GET", PAGES),
        site("PlanMigration/catalogue", "user", "GET", "/api/v1/data").after(1),
        site("PlanMigration", "tenant", "POST", IMPORT),
        // The backup reads two types twice, and the plan reads one.
        site("MigrateBatch", "user", "GET", PAGES).after(5),
        site("MigrateBatch/write", "tenant", "POST", IMPORT).after(1),
        site("CompleteMigration", "tenant", "POST", IMPORT).after(3),
    ],
    undoable: &[("MigrateBatches", "tenant"), ("MigrateBatches", "user")],
    tolerated: &[],
    last_before_pivot: "MigrateBatch",
    final_steps: &["CompleteMigration"],
    batches: &[],
    taken_elsewhere: &[
        "BackUpDataSets/Catch/0",
        "BackUpDataSet/Catch/0",
        "WaitForDataSet",
        "MigrateBatches/Catch/0",
        "MigrateBatch/Catch/0",
        "WaitForBatch",
    ],
    masked: &["completed_at", "backup", "reverses", "reversible_until"],
    personal: &[],
    mails: 0,
    marks: |_, _, _| vec![TENANT.to_owned()],
    counts: None,
    about_everything: Some(the_copies_are_right),
};

/// After a migration that is complete there is nothing to do.
fn the_copies_are_right<'w>(
    world: &'w World,
    status: &'w StatusResponse,
    request: &'w Value,
    _: &'w Value,
) -> BoxFuture<'w, Result<(), String>> {
    async move {
        match status.status {
            Status::Completed => nothing_is_left(world, request).await,
            _ => Ok(()),
        }
    }
    .boxed()
}

/// Doing a migration again would do nothing.
pub(crate) async fn nothing_is_left(world: &World, request: &Value) -> Result<(), String> {
    let mut again = request.clone();
    again["migration_id"] = json!(format!("{}-again", request["migration_id"].as_str().unwrap()));
    again["migration_options"]["dry_run"] = json!(true);
    let id = world.start_of(&DATA_MIGRATION, &again).await;
    let told = world.until_ended(&id).await;
    let result = told.result.filter(|_| told.status == Status::Completed);
    let result = result.ok_or_else(|| format!("it cannot be tried again: {:?}", told.error))?;
    match (&result["created"], &result["updated"]) == (&json!(0), &json!(0)) {
        true => Ok(()),
        false => Err(format!("there is something left to do: {result}")),
    }
}

const PAGES: &str = "/api/v1/data/{type}";
const IMPORT: &str = "/api/v1/data/{type}/import";

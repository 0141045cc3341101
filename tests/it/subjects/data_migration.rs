//! Data migrations: other services' copies of profiles become what the profiles say. It is about all of them, so executions
//! do not run side by side.

use contracts::WorkflowKind;
use futures::FutureExt as _;
use serde_json::json;

use super::{Subject, site};
use crate::world::TENANT;

pub(crate) static DATA_MIGRATION: Subject = Subject {
    kind: WorkflowKind::DataMigration,
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
        site("BackUpDataSet", "auth", "GET", PAGES),
        site("BackUpDataSet/content", "file", "GET", "/api/v1/data/file/{file_id}/content"),
        site("PlanMigration", "tenant", "POST", IMPORT),
        site("MigrateBatch", "user", "GET", PAGES),
        site("MigrateBatch/write", "tenant", "POST", IMPORT),
    ],
    undoable: &[("MigrateBatches", "tenant")],
    tolerated: &[],
    last_before_pivot: "MigrateBatch",
    final_steps: &["CompleteMigration"],
    taken_elsewhere: &[
        "BackUpDataSets/Catch/0",
        "BackUpDataSet/Catch/0",
        "WaitForDataSet",
        "MigrateBatches/Catch/0",
        "MigrateBatch/Catch/0",
        "WaitForBatch",
    ],
    masked: &["completed_at", "backup"],
    personal: &[],
    mails: 0,
    marks: |_, _, _| vec![TENANT.to_owned()],
    counts: None,
};

const PAGES: &str = "/api/v1/data/{type}";
const IMPORT: &str = "/api/v1/data/{type}/import";

//! Exports of what is kept of a person. They change nothing, and what they leave is one package.

use contracts::responses::StatusResponse;
use contracts::{Status, WorkflowKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Subject, site};
use crate::world::{TENANT, World};

pub(crate) static COMPLIANCE: Subject = Subject {
    kind: WorkflowKind::Compliance,
    variant: None,
    path: "/api/v1/workflows/compliance",
    request: |number| {
        json!({
            "compliance_id": format!("export-{number:04}"), "tenant_id": TENANT, "compliance_type": "GdprDataExport",
            "subject_user_id": "user-123", "legal_basis": "Asked for by letter",
            "audit_requirements": { "include_access_logs": true, "include_deletion_logs": true },
        })
    },
    prepare: |_, _| std::future::ready(()).boxed(),
    presupposes: None,
    sites: &[
        site("PlanExport/types", "auth", "GET", "/api/v1/data"),
        site("PlanExport", "auth", "GET", PAGES),
        site("CollectDataSet/logs", "auth", "GET", LOGS),
        site("CollectDataSet/logs-last", "notifications", "GET", LOGS).after(1),
        // The plan has asked for the account.
        site("CollectDataSet", "auth", "GET", PAGES).after(1),
        site("CollectDataSet/content", "file", "GET", CONTENT),
        site("CollectDataSet/content-last", "file", "GET", CONTENT).after(2),
        site("CollectDataSet/last", "notifications", "GET", PAGES),
    ],
    undoable: &[],
    tolerated: &[],
    last_before_pivot: "PackExport",
    final_steps: &["CompleteCompliance"],
    batches: &[("CollectDataSet", 11)],
    // A type that is not there yet is refused when it is asked for; its list of data sets is lost; a data set takes longer
    // than one attempt.
    taken_elsewhere: &["ChooseType/Choices/1", "CollectDataSets/Catch/0", "CollectDataSet/Catch/0", "WaitForDataSet"],
    masked: &["package", "packages", "received_at", "due_at", "completed_at"],
    personal: &["legal_basis"],
    mails: 0,
    marks: |_, _, _| Vec::new(),
    counts: None,
    about_everything: Some(a_package_is_there_and_nothing_else),
};

const PAGES: &str = "/api/v1/data/{type}";
const LOGS: &str = "/api/v1/logs";
const CONTENT: &str = "/api/v1/data/file/{file_id}/content";

/// An export that is complete leaves its package; any other leaves nothing. Nobody needs what was read for it any more.
fn a_package_is_there_and_nothing_else<'w>(
    world: &'w World,
    status: &'w StatusResponse,
    _: &'w Value,
    _: &'w Value,
) -> BoxFuture<'w, Result<(), String>> {
    async move {
        let id = &status.workflow_id;
        let names = |folder: &str| -> Vec<String> {
            let files = std::fs::read_dir(world.blobs().join(TENANT).join(folder).join(id));
            let names =
                files.into_iter().flatten().map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
            names.collect()
        };
        let parts: Vec<String> = names("bulk").into_iter().filter(|name| name.ends_with(".part")).collect();
        let packages = names("results");
        let expected = if status.status == Status::Completed { 1 } else { 0 };
        match parts.is_empty() && packages.len() == expected {
            true => Ok(()),
            false => Err(format!("{:?}: there are the parts {parts:?} and the packages {packages:?}", status.status)),
        }
    }
    .boxed()
}

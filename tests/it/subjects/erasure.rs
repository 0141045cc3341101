//! Erasures of a person: what goes does not come back, whatever goes wrong, and what is left is told.

use std::sync::OnceLock;

use contracts::responses::StatusResponse;
use contracts::{Status, WorkflowKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reference_services::{LedgerEntry, Outcome};
use serde_json::{Value, json};

use super::{Subject, Variant, site};
use crate::world::{TENANT, World};

pub(crate) static ERASURE: Subject = Subject {
    kind: WorkflowKind::Compliance,
    variant: Some(Variant { name: "erasure", option: "GdprDataDeletion", steps: OnceLock::new() }),
    path: "/api/v1/workflows/compliance",
    request: |number| {
        json!({
            "compliance_id": format!("erasure-{number:04}"), "tenant_id": TENANT, "compliance_type": "GdprDataDeletion",
            "subject_user_id": PERSON, "legal_basis": "Asked for by letter",
        })
    },
    prepare: |_, _| std::future::ready(()).boxed(),
    presupposes: None,
    sites: &[
        site("PlanErasure", "auth", "GET", PAGES),
        site("PlanErasure/types", "auth", "GET", "/api/v1/data"),
        site("PlanBackup", "auth", "GET", "/api/v1/data").after(1),
        site("EraseDataSet", "auth", "POST", DELETE),
        site("EraseDataSet/copy", "tenant", "POST", DELETE),
        site("EraseDataSet/profile", "user", "POST", DELETE),
        site("EraseDataSet/files", "file", "POST", DELETE),
        site("EraseDataSet/last", "auth", "POST", DELETE).after(1),
        site("ForgetPerson", "auth", "POST", FORGET),
        site("ForgetPerson/last", "notifications", "POST", FORGET),
    ],
    undoable: &[],
    tolerated: &[],
    last_before_pivot: "CompleteBackup",
    final_steps: &["BeginErasure", "EraseDataSet", "ForgetPerson", "VerifyErasure", "CompleteCompliance"],
    batches: &[("BackUpDataSet", 10), ("EraseDataSet", 9)],
    // A list of types is lost, or a type takes longer than one attempt.
    taken_elsewhere: &[
        "BackUpDataSets/Catch/0",
        "EraseDataSets/Catch/0",
        "BackUpDataSet/Catch/0",
        "WaitForBackUp",
        "EraseDataSet/Catch/0",
        "WaitForErasure",
    ],
    masked: &["received_at", "due_at", "completed_at", "pseudonym", "compliance_certificate", "backup"],
    personal: &["legal_basis"],
    mails: 0,
    marks: |_, _, _| vec![PERSON.to_owned()],
    counts: Some(what_is_told_is_what_was_done),
    about_everything: Some(nobody_is_left),
};

/// Whom the demo data has most of.
const PERSON: &str = "user-123";
const PAGES: &str = "/api/v1/data/{type}";
const DELETE: &str = "/api/v1/data/{type}/delete";
const FORGET: &str = "/api/v1/data/forget";

/// A result counts what the services did, and a certificate is only where nothing is left.
fn what_is_told_is_what_was_done(status: &StatusResponse, ledger: &[LedgerEntry]) -> Result<(), String> {
    if status.status != Status::Completed {
        return Ok(());
    }
    let result = status.result.clone().unwrap_or_default();
    let is_whole = result["residue_count"] == 0;
    let is_certified = !result["compliance_certificate"].is_null();
    let expected = if is_whole { "Completed" } else { "PartiallyCompleted" };
    if is_whole != is_certified || result["status"] != expected {
        return Err(format!("the result is {result}"));
    }
    let is_own = |entry: &&LedgerEntry| {
        entry.at >= status.started_at && entry.route == DELETE && entry.outcome == Outcome::Applied
    };
    let deleted = ledger.iter().filter(is_own).count() as u64;
    let told = result["data_deleted"]["total_records_deleted"].as_u64().unwrap_or(u64::MAX);
    let told = told.saturating_sub(result["erased_before"].as_u64().unwrap_or_default());
    // A service that deletes and never says so is told of as a residue.
    match told == deleted || !is_whole && told < deleted {
        true => Ok(()),
        false => Err(format!("the services deleted {deleted} things, and the result is {result}")),
    }
}

/// Where an erasure is complete, nothing of the person is left in the tenant.
fn nobody_is_left<'w>(
    world: &'w World,
    status: &'w StatusResponse,
    _: &'w Value,
    _: &'w Value,
) -> BoxFuture<'w, Result<(), String>> {
    async move {
        if status.result.as_ref().is_none_or(|result| result["status"] != "Completed") {
            return Ok(());
        }
        let left = world.snapshot().await;
        let tables = left.as_object().unwrap().values().flat_map(|of| of.as_object().unwrap().values());
        let mut rows = tables.flat_map(|rows| rows.as_array().unwrap());
        let quoted = json!(PERSON).to_string();
        match rows.find(|row| row["tenant_id"] == TENANT && row.to_string().contains(&quoted)) {
            None => Ok(()),
            Some(row) => Err(format!("it is complete, and there is {row}")),
        }
    }
    .boxed()
}

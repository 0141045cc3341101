//! The certificate of an erasure: what became of a person's data, signed, for programs and for people.

use contracts::compliance::{ERASURE_BACKUP, ERASURE_CERTIFICATE};
use contracts::data_migration::ARCHIVE;
use contracts::dataset::DatasetType;
use contracts::{ActivityError, ErrorName, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use vault::sign_document;

use super::super::package::html::{PageTable, page_of};
use super::strategy::bases_of;
use super::verify::Found;
use super::{Forgotten, Plan, SetState};
use crate::Context;
use crate::backup::sign_failed;
use crate::harness::store_failed;

/// Backups that are looked at at once.
const PAGE: u32 = 200;

/// A backup that may still hold data of the person.
#[derive(Debug, Serialize)]
struct Holding {
    backup_id: String,
    created_at: Timestamp,
    /// Until when it is kept; none: until somebody removes it.
    kept_until: Option<Timestamp>,
    /// Why it is there.
    purpose: &'static str,
}

/// What came of an erasure.
pub(super) struct Outcome<'a> {
    pub(super) plan: &'a Plan,
    pub(super) states: &'a [SetState],
    pub(super) forgotten: &'a Forgotten,
    pub(super) found: &'a Found,
    pub(super) began_at: Timestamp,
}

/// The number that a certificate has. It repeats within a day: certificates are looked up by the id of the request.
pub(super) fn number_of(tenant_id: &str, at: Timestamp) -> String {
    format!("COMPLIANCE_CERT_GDPR_DATA_DELETION_{tenant_id}_{}", at.strftime("%Y%m%d"))
}

/// The certificate as a document.
pub(super) async fn document(context: &Context<'_>, of: &Outcome<'_>) -> Result<Value, ActivityError> {
    let (plan, now) = (of.plan, context.clock.now());
    let types: Vec<Value> = plan.sets.iter().zip(of.states).map(|(set, state)| type_entry(set, state, of)).collect();
    Ok(json!({
        "format": "workflow-service/erasure-certificate",
        "version": 1,
        "number": number_of(context.tenant_id(), now),
        "compliance_id": plan.compliance_id,
        "tenant_id": context.tenant_id(),
        "workflow_id": context.execution_id(),
        // Whoever knows the person and has the tenant's key can tell that it is about them; nobody else can.
        "subject": plan.subject_hash,
        "pseudonym": plan.pseudonym(),
        "legal_basis": plan.legal_basis,
        "scope": if plan.is_whole { json!("all categories") } else { json!(plan.categories) },
        "received_at": plan.received_at,
        "began_at": of.began_at,
        "completed_at": now,
        "types": types,
        "not_erased_as_other_categories_are_in_it": plan.left_out,
        "besides": {
            "images_and_answers_forgotten_by_services": of.forgotten.in_services,
            "log_entries_with_a_pseudonym": of.forgotten.log_entries,
            "requests_and_results_forgotten": of.forgotten.executions,
            "retained": [{
                "what": "audit log of the workflow service",
                "basis": "accountability: GDPR, articles 5 (2) and 17 (3)",
            }],
        },
        "still_held_by": holding(context, of).await?,
        "older_states_recoverable_days": context.erasures.recoverable_days(),
    }))
}

fn type_entry(set: &DatasetType, state: &SetState, of: &Outcome<'_>) -> Value {
    let (removed, masked) = of.plan.done(set, state);
    let retained = of.found.retained.get(&set.name()).copied().unwrap_or_default();
    json!({
        "service": set.service,
        "entity_type": set.entity_type,
        "removed": removed,
        "masked": masked,
        "retained": retained,
        "retained_because": if retained > 0 { json!(bases_of(set)) } else { json!([]) },
        "held": state.held,
        "held_by": state.held_by,
        "retained_days": if retained > 0 { json!(set.retention_days) } else { Value::Null },
    })
}

/// The backups from before: they may hold the person until they go. A restore leaves the person out. Those that erasures of other
/// persons have made are nobody's business here.
async fn holding(context: &Context<'_>, of: &Outcome<'_>) -> Result<Vec<Holding>, ActivityError> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = context.backups.backups(context.tenant_id(), before.as_deref(), PAGE).await.map_err(store_failed)?;
        for backup in page.backups.into_iter().filter(|backup| backup.summary.began_at <= of.began_at) {
            let id = &backup.summary.backup_id;
            let purpose = if *id == of.plan.backup_id {
                "made by this erasure, against mistakes"
            } else if of.plan.earlier_backups.contains(id) {
                "made by an earlier erasure of the person, against mistakes"
            } else if id.starts_with(ERASURE_BACKUP) {
                continue;
            } else if id.starts_with(ARCHIVE) {
                "archive"
            } else {
                "backup"
            };
            if backup.summary.records_backed_up == 0 {
                continue;
            }
            all.push(Holding {
                created_at: backup.summary.created_at,
                kept_until: backup.keep_until,
                purpose,
                backup_id: backup.summary.backup_id,
            });
        }
        before = page.next;
        if before.is_none() {
            return Ok(all);
        }
    }
}

/// The certificate as it is kept: signed.
pub(super) async fn signed(context: &Context<'_>, document: &Value) -> Result<Vec<u8>, ActivityError> {
    let signed = sign_document(ERASURE_CERTIFICATE, document, context.keys).await.map_err(sign_failed)?;
    serde_json::to_vec_pretty(&signed).map_err(|error| ActivityError::new(ErrorName::Internal, error.to_string()))
}

/// What the certificate counts besides things, and what it is for people.
const FORGOTTEN_BESIDES: [(&str, &str); 3] = [
    ("images_and_answers_forgotten_by_services", "Earlier states and answers that services had kept"),
    ("log_entries_with_a_pseudonym", "Entries of the services' logs that have a pseudonym now"),
    ("requests_and_results_forgotten", "Requests to the workflow service, and their results"),
];

/// The certificate for people. The signed document counts.
pub(super) fn readable(document: &Value) -> String {
    let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    let facts = [
        ("Number", text("number")),
        ("Request", text("compliance_id")),
        ("Tenant", text("tenant_id")),
        ("Person, as a keyed hash", text("subject")),
        ("Name in the logs", text("pseudonym")),
        ("Asked for on the basis of", text("legal_basis")),
        ("Received", text("received_at")),
        ("Begun", text("began_at")),
        ("Completed", text("completed_at")),
    ];
    let facts: Vec<(&str, String)> = facts.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let rows = document["types"].as_array().into_iter().flatten().map(|of| {
        let bases: Vec<&str> =
            of["retained_because"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let days = of["retained_days"].as_u64().map(|days| format!("{days} days")).unwrap_or_default();
        let holds: Vec<&str> = of["held_by"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let holds = if holds.is_empty() { String::new() } else { format!("legal hold {}", holds.join(", ")) };
        vec![
            cell(&of["service"]),
            cell(&of["entity_type"]).replace('_', " "),
            cell(&of["removed"]),
            cell(&of["masked"]),
            cell(&of["retained"]),
            cell(&of["held"]),
            [bases.join(", "), days, holds].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; "),
        ]
    });
    let held = document["still_held_by"].as_array().into_iter().flatten().map(|of| {
        let until = of["kept_until"].as_str().unwrap_or("until it is removed").to_owned();
        vec![cell(&of["backup_id"]), cell(&of["purpose"]), cell(&of["created_at"]), until]
    });
    let besides =
        FORGOTTEN_BESIDES.iter().map(|(name, what)| vec![(*what).to_owned(), cell(&document["besides"][name])]);
    let kept = document["besides"]["retained"].as_array().into_iter().flatten();
    let kept = kept.map(|of| vec![cell(&of["what"]), cell(&of["basis"])]);
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(|text| text.replace('_', " ")).collect()
    };
    let (asked, left_out) = (texts(&document["scope"]), texts(&document["not_erased_as_other_categories_are_in_it"]));
    let of_all = |name: &str| -> u64 {
        document["types"].as_array().into_iter().flatten().filter_map(|of| of[name].as_u64()).sum()
    };
    let mut summary = match asked.is_empty() {
        true => "All data of the person below was to be erased.".to_owned(),
        false => format!("Of the person below only these categories were to be erased: {}.", asked.join(", ")),
    };
    summary += &format!(" {} records were removed, {} masked.", of_all("removed"), of_all("masked"));
    if !left_out.is_empty() {
        summary += &format!(" These hold other categories too and stay: {}.", left_out.join(", "));
    }
    if of_all("held") > 0 {
        summary += &format!(" {} records stay because of a legal hold.", of_all("held"));
    }
    summary += " A search in every service found nothing else of what was to be erased, but what is retained. The file \
                certificate.json beside this page has the same, with the signature that proves it.";
    let days = document["older_states_recoverable_days"].as_u64().unwrap_or_default();
    let older = match days {
        0 => String::new(),
        days => format!("The storage of this installation can bring back older states of itself for {days} days."),
    };
    page_of(
        "Certificate of erasure",
        &summary,
        &facts,
        &[
            PageTable {
                title: "What became of the data",
                columns: &["Service", "What", "Removed", "Masked", "Retained", "Held", "Why it stays"],
                rows: rows.collect(),
            },
            PageTable {
                title: "What may still hold the data",
                columns: &["Backup", "Purpose", "Made", "Kept until"],
                rows: held.collect(),
            },
            PageTable { title: "What was forgotten besides", columns: &["What", "How much"], rows: besides.collect() },
            PageTable { title: "What stays by law", columns: &["What", "Basis"], rows: kept.collect() },
        ],
        &older,
    )
}

fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

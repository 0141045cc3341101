//! Looks up what is read for an export, and whether there is such a person.

use contracts::compliance::{AuditRequirements, ComplianceWorkflowRequest, MAX_PACKAGE_BYTES};
use contracts::dataset::{Dataset, DatasetType};
use contracts::{ActivityError, ErrorName, Timestamp};
use downstream::Service;
use downstream::data::{Catalogue, Personal, catalogue, personal_page};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DataSet, Plan, Source, dataset, sealed};
use crate::Context;
use crate::files::lost;
use crate::leases::hold_shared;

#[derive(Deserialize)]
struct Input {
    request: ComplianceWorkflowRequest,
}

/// Plans an export: answers `{manifest, sets, stops_at}`.
pub(crate) async fn plan(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { request } = context.input()?;
    let subject = request.subject_user_id.clone().ok_or_else(|| lost("the person whom the export is about"))?;
    hold_shared(context).await?;
    let dataset = dataset(context)?;
    let not_asked = check_map(context, &dataset, request.allow_partial).await?;
    find(context, &dataset, &subject, request.allow_partial).await?;
    let plan = Plan {
        sets: sets(&dataset, &request, context.clock.now()),
        not_asked,
        subject,
        compliance_id: request.compliance_id,
        categories: request.data_categories,
        received_at: request.received_at.unwrap_or(context.call.workflow.started_at),
        legal_basis: request.legal_basis,
        encrypt_to: request.encrypt_to,
        allow_partial: request.allow_partial,
        max_package_bytes: request.max_package_bytes.unwrap_or(MAX_PACKAGE_BYTES),
        data_key: sealed::new_key(context).await?,
    };
    if plan.sets.is_empty() {
        let message = "the dataset map has nothing of the categories that are asked for".to_owned();
        return Err(ActivityError::new(ErrorName::NotFound, message));
    }
    let files = context.files();
    let items: Vec<Value> = (0..plan.sets.len()).map(|set| json!({ "set": set })).collect();
    files.write_json(&files.manifest()?, &items).await?;
    files.write_json(&files.plan()?, &plan).await?;
    Ok(json!({
        "manifest": files.manifest()?.to_string(),
        "sets": plan.sets.len(),
        "stops_at": if plan.allow_partial { Value::Null } else { json!(1) },
    }))
}

/// Checks that the map knows all that services hold. Services that did not tell what they hold, with the error of each: they may
/// hold what the map does not know.
async fn check_map(
    context: &Context<'_>,
    dataset: &Dataset,
    allow_partial: bool,
) -> Result<Vec<(String, String)>, ActivityError> {
    let (mut unknown, mut not_asked) = (Vec::new(), Vec::new());
    for service in Service::ALL {
        match catalogue(context.downstream, service, context.tenant_id()).await {
            Ok(known) => unknown.extend(unknown_types(dataset, service, &known)),
            Err(error) if allow_partial => not_asked.push((service.as_str().to_owned(), error.error)),
            Err(error) => return Err(error),
        }
    }
    refuse_unknown(&unknown)?;
    Ok(not_asked)
}

/// The types of a service that the map does not know.
pub(super) fn unknown_types(dataset: &Dataset, service: Service, known: &Catalogue) -> Vec<String> {
    dataset.unknown(service.as_str(), known.entity_types.iter().map(|of| of.name.as_str()))
}

/// What is personal in a type that the map does not know might be forgotten.
pub(super) fn refuse_unknown(unknown: &[String]) -> Result<(), ActivityError> {
    if unknown.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the dataset map does not say what is personal in {}: name them there, or in its nothing_personal",
        unknown.join(", ")
    );
    Err(ActivityError::new(ErrorName::InvalidInput, message))
}

/// Whether any service keeps anything of this person in the tenant.
pub(super) async fn find(
    context: &Context<'_>,
    dataset: &Dataset,
    subject: &str,
    allow_partial: bool,
) -> Result<(), ActivityError> {
    let mut unread = None;
    for of in dataset.types.iter().filter(|of| of.subject.is_some()) {
        match has_any(context, of, subject).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if allow_partial => drop(unread.get_or_insert(error)),
            Err(error) => return Err(error),
        }
    }
    let unknown = || ActivityError::new(ErrorName::NotFound, "no service keeps anything of this person in the tenant");
    Err(unread.unwrap_or_else(unknown))
}

async fn has_any(context: &Context<'_>, of: &DatasetType, subject: &str) -> Result<bool, ActivityError> {
    let service = Service::named(&of.service).ok_or_else(|| lost("the service of a type"))?;
    let (person, first) = ((subject, Personal::Own), (None, false));
    let page = personal_page(context.downstream, service, &of.entity_type, context.tenant_id(), person, first).await?;
    Ok(!page.items.is_empty())
}

/// What is read, in this order: logs first, as reading leaves entries there.
fn sets(dataset: &Dataset, request: &ComplianceWorkflowRequest, now: Timestamp) -> Vec<DataSet> {
    let mut sets = Vec::new();
    if let Some(source) = logs(&request.audit_requirements, now) {
        let services = Service::ALL.map(Service::as_str);
        sets.extend(services.map(|service| DataSet { service: service.to_owned(), source: source.clone() }));
    }
    for of in dataset.types.iter().filter(|of| of.has(&request.data_categories)) {
        let set = |source| DataSet { service: of.service.clone(), source };
        sets.push(set(Source::Things(of.clone())));
        if of.has_bytes(&request.data_categories) && of.subject.is_some() {
            sets.push(set(Source::Bytes(of.clone())));
        }
    }
    sets
}

/// The logs that are asked for, up to now.
fn logs(required: &AuditRequirements, now: Timestamp) -> Option<Source> {
    let kinds = [
        ("access", required.include_access_logs),
        ("modification", required.include_modification_logs),
        ("deletion", required.include_deletion_logs),
        ("export", required.include_export_logs),
    ];
    let kinds: Vec<String> = kinds.into_iter().filter(|(_, asked)| *asked).map(|(kind, _)| kind.to_owned()).collect();
    let range = required.date_range.as_ref();
    let to = range.map_or(now, |range| range.end_date.min(now));
    (!kinds.is_empty()).then(|| Source::Logs { kinds, from: range.map(|range| range.start_date), to })
}

#[cfg(test)]
mod tests {
    use contracts::dataset::Category;
    use contracts::document::Document;

    use super::*;

    fn named(sets: &[DataSet]) -> Vec<String> {
        sets.iter().map(|set| format!("{}/{}", set.service, set.name())).collect()
    }

    fn dataset() -> Dataset {
        let field = |category: Category| json!({ "category": category, "strategy": "delete" });
        let map = json!({
            "version": 1,
            "auth": { "account": { "subject": "user_id", "fields": { "name": field(Category::Identity) } } },
            "user": { "usage": { "subject": "user_id", "fields": { "day": field(Category::Usage) } } },
            "file": { "file": {
                "subject": "user_id", "bytes": "content", "fields": { "created_at": field(Category::Usage) },
            } },
        });
        Dataset::read(&map).expect("a good map")
    }

    fn request(rest: &str) -> ComplianceWorkflowRequest {
        let body = format!(
            r#"{{"compliance_id":"c","tenant_id":"t","compliance_type":"GdprDataExport","subject_user_id":"u"{rest}}}"#
        );
        contracts::request::read(&Document::parse(body.as_bytes()).expect("JSON")).expect("good")
    }

    #[test]
    fn only_what_is_asked_for_is_read() {
        let now = Timestamp::UNIX_EPOCH;
        let of = |rest| named(&sets(&dataset(), &request(rest), now));
        assert_eq!(of(""), ["auth/account", "user/usage", "file/file", "file/file_content"]);
        assert_eq!(of(r#","data_categories":["personal"]"#), ["auth/account"]);
        assert_eq!(of(r#","data_categories":["usage"]"#), ["user/usage", "file/file"]);
        let logs = of(r#","data_categories":["identity"],"audit_requirements":{"include_export_logs":true}"#);
        assert_eq!(logs, ["auth/logs", "user/logs", "tenant/logs", "file/logs", "notifications/logs", "auth/account"]);
    }

    #[test]
    fn logs_end_before_the_export_begins() {
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().expect("a time");
        for (end, expected) in
            [("2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"), ("2027-01-01T00:00:00Z", "2026-03-01T00:00:00Z")]
        {
            let range = format!(
                r#","audit_requirements":{{"include_deletion_logs":true,"include_access_logs":true,
                "date_range":{{"start_date":"2026-01-01T00:00:00Z","end_date":"{end}"}}}}"#
            );
            let Some(Source::Logs { kinds, from, to }) = logs(&request(&range).audit_requirements, now) else {
                panic!("logs are asked for");
            };
            assert_eq!(kinds, ["access", "deletion"]);
            assert_eq!(from.map(|from| from.to_string()).as_deref(), Some("2026-01-01T00:00:00Z"));
            assert_eq!(to.to_string(), expected);
        }
    }
}

//! The audit log: one row for each change through the API, and one for each denial of a caller who is known.

use std::sync::Arc;
use std::time::Duration;

use api::{
    Access, Api, Check, Compliance, Files, GatewayClaims, KeptBackups, Operating, Readiness, Releasing, ServiceChecks,
    SignedLinks, Starting, Streaming,
};
use async_trait::async_trait;
use axum::body::Body;
use axum::{Extension, Router};
use contracts::EngineKind;
use contracts::responses::AuditResponse;
use downstream::{Downstream, Endpoints};
use engine::Engines;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use store::{Audit, AuditFilter, AuditPage, NewAuditRow, StoreError};
use store_sql::FileBlobs;
use tower::ServiceExt as _;

use crate::in_process::InProcess;
use crate::world::{Control, ControlAction, Script, Site, TENANT, World, full_request, run};

const START: &str = "/api/v1/workflows/user-onboarding";
const FOREIGN: &str = "tenant-456";

/// What the log of the tenant tells, newest first: action, outcome, execution, request.
type Told = Vec<[String; 4]>;

fn told(log: &AuditResponse) -> Told {
    let entry = |entry: &contracts::responses::AuditEntry| {
        let id = entry.workflow_id.clone().unwrap_or_default();
        [entry.action.to_string(), entry.outcome.as_str().to_owned(), id, entry.request_id.clone()]
    };
    log.entries.iter().map(entry).collect()
}

fn row(action: &str, outcome: &str, id: &str, request_id: &str) -> [String; 4] {
    [action, outcome, id, request_id].map(str::to_owned)
}

async fn log(site: &Site, query: &str) -> AuditResponse {
    let (status, log) = site.get(&format!("/api/v1/audit{query}")).await;
    assert_eq!(status, StatusCode::OK, "{log}");
    serde_json::from_value(log).unwrap()
}

/// Lets time go on: what happens in one and the same moment has no order.
async fn later(world: &World) {
    clock::sleep(&*world.clock, Duration::from_millis(1)).await;
}

/// An execution that a pause holds, started by a user with a request id of its own.
async fn held() -> (World, String) {
    let pause = Control { during: "CreateUserAccount".to_owned(), what: ControlAction::Pause, after_seconds: 0 };
    let world = World::with(Script { control: vec![pause], ..Script::default() }, &[]).await;
    let headers = [("x-request-id", "started"), ("x-user-id", "user-1"), ("idempotency-key", "key-1")];
    let (status, started) = world.post(START, &full_request(), &headers).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{started}");
    clock::sleep(&*world.clock, Duration::from_secs(10)).await;
    let id = started["workflow_id"].as_str().unwrap().to_owned();
    (world, id)
}

#[test]
fn a_change_has_one_row_and_a_repetition_none() {
    run(async {
        let (world, id) = held().await;
        let started = row("start_workflow", "accepted", &id, "started");
        let again = [("idempotency-key", "key-1"), ("x-request-id", "again")];
        assert_eq!(world.post(START, &full_request(), &again).await.0, StatusCode::ACCEPTED);
        let mut other = full_request();
        other["role"] = json!("admin");
        assert_eq!(world.post(START, &other, &again).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(told(&log(&world, "").await), std::slice::from_ref(&started));

        let cancel = format!("/api/v1/workflows/{id}/cancel");
        for request_id in ["cancelled", "cancelled-again"] {
            let answer = world.post(&cancel, &Value::Null, &[("x-request-id", request_id)]).await;
            assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
        }
        world.until_ended(&id).await;
        assert_eq!(world.post(&cancel, &Value::Null, &[]).await.0, StatusCode::CONFLICT);
        let cancelled = row("cancel_workflow", "accepted", &id, "cancelled");
        let found = log(&world, "").await;
        assert_eq!(told(&found), [cancelled, started]);
        let start = &found.entries[1];
        assert_eq!((start.actor.as_deref(), start.is_admin, start.tenant_id.as_str()), (Some("user-1"), false, TENANT));
        assert_eq!(start.workflow_type.map(|kind| kind.as_str()), Some("user_onboarding"));
        assert_eq!(start.details, json!({ "method": "POST", "route": START }));
        assert_eq!(found.entries[0].actor, None, "it did not say who it is");
        let text = serde_json::to_string(&found).unwrap();
        assert!(!text.contains('@') && !text.contains("Nina"), "ids only: {text}");
    });
}

#[test]
fn a_denial_has_one_row_and_most_mistakes_none() {
    run(async {
        let (world, id) = held().await;
        let mut foreign = full_request();
        foreign["tenant_id"] = json!(FOREIGN);
        let denied = [("x-request-id", "foreign-body"), ("x-user-id", "user-2")];
        assert_eq!(world.post(START, &foreign, &denied).await.0, StatusCode::FORBIDDEN);
        foreign["tenant_id"] = Value::Null;
        assert_eq!(world.post(START, &foreign, &[]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        for (path, request_id) in [("nowhere", "unknown"), ("new@example.com", "no-id")] {
            let path = format!("/api/v1/workflows/{path}/cancel");
            later(&world).await;
            let answer = world.post(&path, &Value::Null, &[("x-request-id", request_id)]).await;
            assert_eq!(answer.0, StatusCode::NOT_FOUND, "{}", answer.1);
        }
        // Who names no tenant is not known, and no log is theirs.
        let nobody = Request::get("/api/v1/workflows").body(Body::empty()).unwrap();
        assert_eq!(world.call(nobody).await.0, StatusCode::BAD_REQUEST);
        let theirs = Request::get(format!("/api/v1/workflows/{id}/status")).header("x-tenant-id", FOREIGN);
        let theirs = theirs.header("x-request-id", "theirs").body(Body::empty()).unwrap();
        assert_eq!(world.call(theirs).await.0, StatusCode::NOT_FOUND);

        let found = log(&world, "?outcome=denied").await;
        let expected = [
            row("cancel_workflow", "denied", "", "no-id"),
            row("cancel_workflow", "denied", "nowhere", "unknown"),
            row("start_workflow", "denied", "", "foreign-body"),
        ];
        assert_eq!(told(&found), expected, "what is no id is not kept");
        let [.., start] = &found.entries[..] else { panic!("{found:?}") };
        assert_eq!(start.actor.as_deref(), Some("user-2"));
        assert_eq!(start.workflow_type.map(|kind| kind.as_str()), Some("user_onboarding"));
        assert_eq!((&start.details["status"], &start.details["code"]), (&json!(403), &json!("AccessDenied")));
        assert!(start.details["detail"].as_str().unwrap().contains("tenant_id"), "{}", start.details);
        assert_eq!(world.get("/api/v1/workflows").await.1["total_count"], 1, "nothing was done");
        let theirs = Request::get("/api/v1/audit").header("x-tenant-id", FOREIGN).body(Body::empty()).unwrap();
        let theirs: AuditResponse = serde_json::from_value(world.call(theirs).await.2).unwrap();
        assert_eq!(told(&theirs), [row("read", "denied", &id, "theirs")], "each tenant sees its own");
    });
}

#[test]
fn a_mistake_in_what_concerns_persons_has_a_row() {
    run(async {
        let world = World::new().await;
        let start = "/api/v1/workflows/compliance";
        let erasure = json!({
            "compliance_id": "c-1", "tenant_id": TENANT, "compliance_type": "GdprDataDeletion",
            "subject_user_id": "user-123",
        });
        let changed = |field: &str, value: Value| {
            let mut changed = erasure.clone();
            changed[field] = value;
            changed
        };
        let hold = json!({ "hold_id": "h-1", "subject_user_id": "user-124", "reason": "a lawsuit" });
        for (method, path, body, status, action) in [
            ("POST", start, changed("subject_user_id", Value::Null), 422, "start_workflow"),
            ("POST", start, changed("data_categories", json!(["secrets"])), 422, "start_workflow"),
            ("POST", start, erasure.clone(), 202, "start_workflow"),
            ("POST", start, changed("subject_user_id", json!("user-124")), 422, "start_workflow"),
            ("POST", start, changed("compliance_type", json!("AuditLogGeneration")), 501, "start_workflow"),
            ("POST", "/api/v1/compliance/holds", hold.clone(), 201, "place_hold"),
            ("POST", "/api/v1/compliance/holds", json!({ "hold_id": "h-2" }), 422, "place_hold"),
            ("DELETE", "/api/v1/compliance/holds/h-1", json!({}), 422, "release_hold"),
            ("POST", "/api/v1/compliance/requests/c-9/extension", json!({ "reason": "late" }), 404, "extend_request"),
        ] {
            later(&world).await;
            let asked = Request::builder().method(method).uri(path).header("x-tenant-id", TENANT);
            let asked = asked.header("content-type", "application/json").header("x-request-id", "this");
            let (answered, _, answer) = world.call(asked.body(Body::from(body.to_string())).unwrap()).await;
            assert_eq!(answered.as_u16(), status, "{method} {path}: {answer}");
            let found = log(&world, "?page_size=1").await;
            let outcome = match status {
                404 => "denied",
                422 | 501 => "refused",
                _ => "accepted",
            };
            let [last] = &found.entries[..] else { panic!("{found:?}") };
            assert_eq!((last.action.as_str(), last.outcome.as_str()), (action, outcome), "{method} {path} {body}");
            let told = serde_json::to_string(last).unwrap();
            assert!(!told.contains("secrets") && !told.contains("user-124"), "fields only: {told}");
            let of = [("compliance_id", start), ("hold_id", "/holds/h-1"), ("compliance_id", "/c-9/extension")];
            if let Some((name, _)) = of.iter().find(|(_, of)| path.ends_with(of) && outcome != "accepted") {
                assert!(last.details[name].is_string(), "{method} {path} names what it is about: {told}");
            }
        }
        // Elsewhere a mistake has none, and neither has reading.
        let rows = log(&world, "?outcome=refused").await.entries.len();
        assert_eq!(rows, 6);
        assert_eq!(world.post(START, &json!({}), &[]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(world.get("/api/v1/compliance/requests?state=lost").await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(log(&world, "?outcome=refused").await.entries.len(), rows);
    });
}

/// As an action on each of them by itself has.
#[test]
fn an_action_on_many_has_one_row_for_each_denial() {
    run(async {
        let (world, id) = held().await;
        for (dry_run, request_id) in [(false, "acted"), (true, "looked")] {
            let body = json!({ "action": "terminate", "ids": [id, "nowhere"], "dry_run": dry_run });
            let as_other = Request::post("/api/v1/workflows/actions").header("x-tenant-id", FOREIGN);
            let as_other = as_other.header("content-type", "application/json").header("x-request-id", request_id);
            let (status, _, answer) = world.call(as_other.body(Body::from(body.to_string())).unwrap()).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let outcomes = answer["results"].as_array().unwrap().iter().map(|result| &result["outcome"]);
            assert!(outcomes.eq(["not_found", "not_found"]), "{answer}");
            let theirs = Request::get("/api/v1/audit?outcome=denied").header("x-tenant-id", FOREIGN);
            let theirs = world.call(theirs.body(Body::empty()).unwrap()).await.2;
            let theirs: AuditResponse = serde_json::from_value(theirs).unwrap();
            let mut rows = told(&theirs);
            rows.retain(|[_, _, _, request]| request == request_id);
            rows.sort();
            let denied = |id: &str| row("act_on_workflows", "denied", id, request_id);
            assert_eq!(rows, [denied("nowhere"), denied(&id)]);
        }
        assert_eq!(log(&world, "?outcome=denied").await.entries, [], "no other tenant's log tells of it");
    });
}

#[test]
fn a_log_is_filtered_and_paged() {
    run(async {
        let (world, id) = held().await;
        world.post(&format!("/api/v1/workflows/{id}/cancel"), &Value::Null, &[("x-request-id", "cancelled")]).await;
        later(&world).await;
        world.get("/api/v1/workflows/nowhere/status").await;
        let all = told(&log(&world, "").await);
        assert_eq!(all.len(), 3);
        for (query, expected) in [
            ("action=start_workflow".to_owned(), &all[2..]),
            ("outcome=denied".to_owned(), &all[..1]),
            ("user_id=user-1".to_owned(), &all[2..]),
            (format!("workflow_id={id}"), &all[1..]),
            ("to=2026-01-01T00:00:05Z".to_owned(), &all[2..]),
            ("from=2026-01-01T00:00:05Z".to_owned(), &all[..2]),
            ("from=2026-01-01T00:00:05Z&outcome=accepted".to_owned(), &all[1..2]),
            ("user_id=nobody".to_owned(), &[]),
        ] {
            assert_eq!(told(&log(&world, &format!("?{query}")).await), expected, "{query}");
        }
        let (mut parts, mut token) = (Vec::new(), String::new());
        loop {
            let page = log(&world, &format!("?page_size=1{token}")).await;
            assert!(page.entries.len() <= 1 && page.page_size == 1);
            parts.extend(told(&page));
            let Some(next) = page.next_page_token else { break };
            token = format!("&page_token={next}");
        }
        assert_eq!(parts, all, "in parts it is the same");

        let wrong = "/api/v1/audit?action=x&outcome=y&user_id=a@b&workflow_id=%2F&from=now&page_size=0";
        let (status, problem) = world.get(wrong).await;
        let named: Vec<&str> =
            problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        let names = ["page_size", "action", "outcome", "user_id", "workflow_id", "from"];
        assert_eq!(
            (status, named),
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                names.map(|name| format!("/query/{name}")).iter().map(String::as_str).collect()
            )
        );
        let backwards = "/api/v1/audit?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z";
        assert_eq!(world.get(backwards).await.1["errors"][0]["pointer"], "/query/to");
        assert_eq!(log(&world, "?outcome=denied").await.entries.len(), 1, "mistakes are no denials");
        let other = format!("/api/v1/audit?page_size=1&outcome=denied{token}");
        assert_eq!(world.get(&other).await.0, StatusCode::UNPROCESSABLE_ENTITY, "a token of another list");
        assert_eq!(log(&world, "?outcome=denied").await.entries.len(), 2, "it might have been another tenant's");
    });
}

/// Whatever is asked, it works.
struct Well;

#[async_trait]
impl Check for Well {
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A log that takes no rows.
struct Full;

#[async_trait]
impl Audit for Full {
    async fn record(&self, _row: NewAuditRow) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("full".to_owned()))
    }

    async fn rows(&self, _: &str, _: &AuditFilter, _: Option<&str>, _: u32) -> Result<AuditPage, StoreError> {
        Err(StoreError::Unavailable("full".to_owned()))
    }
}

/// The API of a world, behind a gateway that authenticates.
pub(crate) async fn behind_a_gateway(world: &World, folder: &std::path::Path, audit: Arc<dyn Audit>) -> Router {
    let store = Arc::new(world.app.store.clone());
    let access = Access::Gateway { tenants_claim: "tenants".to_owned(), roles_claim: "roles".to_owned() };
    let api = Api {
        executions: store.clone(),
        history: store.clone(),
        audit,
        engines: Engines::new(vec![Arc::new(world.app.engine.clone())]),
        clock: Arc::clone(&world.clock),
        access,
        request_timeout: Duration::from_secs(30),
        longest_wait: Duration::from_secs(25),
        streaming: Streaming::Unsupported,
    };
    let starting = Starting {
        api: api.clone(),
        engine: EngineKind::Embedded,
        blobs: Arc::new(FileBlobs::open(folder).await.unwrap()),
        default_timeout: Duration::from_secs(3_600),
        durations: Arc::default(),
        backups: store.clone(),
        erasures: store.clone(),
    };
    let nobody = Downstream::new(
        Arc::new(InProcess::default()),
        Endpoints::default(),
        Arc::clone(&world.clock),
        Duration::from_secs(1),
    );
    let services = ServiceChecks::new(nobody, Arc::clone(&world.clock));
    let blobs = Arc::clone(&starting.blobs);
    let (clock, audit) = (Arc::clone(&world.clock), Arc::clone(&api.audit));
    let links = Arc::new(SignedLinks::new(*b"a secret", Arc::clone(&blobs), clock, audit));
    let files = Files { api: api.clone(), blobs: Arc::new(FileBlobs::open(folder).await.unwrap()), links };
    let kept = KeptBackups { api: api.clone(), backups: store.clone(), blobs, erasures: store.clone() };
    let compliance =
        Compliance { api: api.clone(), holds: store.clone(), requests: store.clone(), dataset: Arc::default() };
    let releasing = Releasing { compliance, starting: starting.clone() };
    let readiness = Readiness { api, engine: Arc::new(Well), services };
    api::router(Operating { starting, ends: store }, readiness, files, kept, releasing)
}

/// Calls with these claims, for these tenants and this user.
async fn call(
    router: &Router,
    claims: Option<&[(&str, &str)]>,
    request: (Method, &str, &Value),
    headers: &[(&str, &str)],
) -> (StatusCode, Value) {
    let (method, path, body) = request;
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    let claims = claims.map(|claims| claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let router = match claims {
        Some(claims) => router.clone().layer(Extension(GatewayClaims(claims.collect()))),
        None => router.clone(),
    };
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    (parts.status, serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap())
}

#[test]
fn a_denial_is_told_in_a_log_of_the_callers_own() {
    run(async {
        let world = World::new().await;
        let folder = tempfile::tempdir().unwrap();
        let router = behind_a_gateway(&world, folder.path(), Arc::new(world.app.store.clone())).await;
        let (list, start) = ("/api/v1/workflows", full_request());
        let get = |path| (Method::GET, path, &Value::Null);
        let mine = [("sub", "user-1"), ("tenants", "[tenant-789 tenant-123]")];
        let in_tenant = ("x-tenant-id", TENANT);
        // Whose log, if any, tells of it, and which request.
        for (why, claims, request, headers, status, told_by) in [
            ("no token", None, get(list), vec![in_tenant], 401, None),
            ("no subject", Some(&[("tenants", "[tenant-123]")][..]), get(list), vec![in_tenant], 401, None),
            ("a foreign tenant", Some(&mine[..]), get(list), vec![("x-tenant-id", FOREIGN)], 403, Some("tenant-789")),
            ("no tenant", Some(&mine), get(list), vec![], 400, Some("tenant-789")),
            ("two tenants", Some(&mine), get(list), vec![in_tenant, in_tenant], 400, Some("tenant-789")),
            ("another user", Some(&mine), get(list), vec![in_tenant, ("x-user-id", "user-2")], 403, Some(TENANT)),
            (
                "a foreign body",
                Some(&mine),
                (Method::POST, START, &start),
                vec![("x-tenant-id", "tenant-789")],
                403,
                Some("tenant-789"),
            ),
            ("no such path", Some(&mine), get("/api/v1/nothing"), vec![in_tenant], 404, None),
            ("a wrong page", Some(&mine), get("/api/v1/workflows?page=0"), vec![in_tenant], 422, None),
        ] {
            later(&world).await;
            let before = total(&world).await;
            let (answered, problem) = call(&router, claims, request, &headers).await;
            assert_eq!(answered.as_u16(), status, "{why}: {problem}");
            let expected = before + usize::from(told_by.is_some());
            assert_eq!(total(&world).await, expected, "{why}");
            let Some(tenant_id) = told_by else { continue };
            let newest = world.app.store.rows(tenant_id, &AuditFilter::default(), None, 1).await.unwrap().rows;
            let newest = &newest[0].row;
            assert_eq!(problem["request_id"], newest.request_id.as_str(), "{why}");
            assert_eq!(newest.actor.as_deref(), Some("user-1"), "{why}: the token says who it is");
        }
    });
}

/// The rows in the logs of all tenants that there are.
async fn total(world: &World) -> usize {
    let mut total = 0;
    for tenant_id in [TENANT, FOREIGN, "tenant-789"] {
        let page = world.app.store.rows(tenant_id, &AuditFilter::default(), None, 200).await.unwrap();
        assert_eq!((page.next, tenant_id == FOREIGN && !page.rows.is_empty()), (None, false), "no foreign log");
        total += page.rows.len();
    }
    total
}

#[test]
fn an_administrator_who_acts_for_a_user_is_who_asked() {
    run(async {
        let world = World::new().await;
        let folder = tempfile::tempdir().unwrap();
        let router = behind_a_gateway(&world, folder.path(), Arc::new(world.app.store.clone())).await;
        let claims = [("sub", "admin-1"), ("tenants", "tenant-123"), ("roles", "[workflow-admin]")];
        let headers = [("x-tenant-id", TENANT), ("x-user-id", "user-1")];
        let (status, started) = call(&router, Some(&claims), (Method::POST, START, &full_request()), &headers).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{started}");
        let (_, log) = call(&router, Some(&claims), (Method::GET, "/api/v1/audit", &Value::Null), &headers).await;
        let entry = &log["entries"][0];
        assert_eq!((&entry["actor"], &entry["is_admin"]), (&json!("admin-1"), &json!(true)), "{log}");
        assert_eq!(
            (&entry["details"]["acting_for"], &entry["workflow_id"]),
            (&json!("user-1"), &started["workflow_id"])
        );
    });
}

#[test]
fn a_denial_that_cannot_be_recorded_stays_one() {
    run(async {
        let world = World::new().await;
        let folder = tempfile::tempdir().unwrap();
        let router = behind_a_gateway(&world, folder.path(), Arc::new(Full)).await;
        let claims = [("sub", "user-1"), ("tenants", "[tenant-123]")];
        let list = (Method::GET, "/api/v1/workflows", &Value::Null);
        let (status, problem) = call(&router, Some(&claims), list, &[("x-tenant-id", FOREIGN)]).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("AccessDenied")), "{problem}");
    });
}

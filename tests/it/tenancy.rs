//! The tenant matrix, as far as it needs no token: every endpoint, and every way to reach for what another tenant has.
//! It is denied, or nothing is found; nothing happens, and the log of who asked tells of the denial.

use std::time::Duration;

use api::{ENDPOINTS, Endpoint};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::{Status, Timestamp};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use store::Executions as _;

use crate::subjects::{BULK_OPERATION, COMPLIANCE, DATA_MIGRATION};
use crate::world::{Control, ControlAction, Script, TENANT, World, full_request, full_request_of, run};

/// Who asks. What there is belongs to [`TENANT`].
const ASKING: &str = "tenant-456";

/// The key with which [`TENANT`] has started an execution.
const KEY: (&str, &str) = ("idempotency-key", "key-1");

/// A request.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    path: String,
    body: Value,
    headers: Vec<(&'static str, String)>,
}

impl Asked {
    /// A request of an endpoint that [`TENANT`] may send; it names this execution if it names any. There may be several.
    fn of(endpoint: &Endpoint, id: &str) -> Vec<Self> {
        let path = endpoint.path.replace("{workflow_id}", id).replace("{name}", "failed.csv");
        let path = path.replace("{backup_id}", "backup-1").replace("{hold_id}", "hold-1");
        let path = path.replace("{compliance_id}", "export-0000");
        let one = |path: String, body| vec![Self { method: endpoint.method.clone(), path, body, headers: Vec::new() }];
        match endpoint.name {
            "start-user-onboarding" => one(path, full_request_of(7)),
            "start-tenant-switching" => one(
                path,
                json!({ "user_id": "user-123", "current_tenant_id": TENANT, "target_tenant_id": "tenant-789" }),
            ),
            "start-data-migration" => one(path, (DATA_MIGRATION.request)(7)),
            "start-compliance" => one(path, (COMPLIANCE.request)(7)),
            "start-bulk-operation" => one(path, (BULK_OPERATION.request)(7)),
            "start-backup" | "start-restore" => one(path, json!({ "backup_id": "backup-1", "tenant_id": TENANT })),
            "create-bulk-upload" => one(path, json!({ "size_bytes": 1 })),
            "get-workflow-status"
            | "get-workflow-results"
            | "stream-workflow"
            | "list-workflows"
            | "list-backups"
            | "get-backup"
            | "delete-backup"
            | "list-holds"
            | "get-hold"
            | "list-data-requests"
            | "get-data-request"
            | "get-certificate" => one(path, Value::Null),
            "extend-data-request" => one(path, json!({ "reason": "much data" })),
            "place-hold" => {
                one(path, json!({ "hold_id": "hold-1", "subject_user_id": "user-9", "reason": "a lawsuit" }))
            }
            "release-hold" => one(path, json!({ "reason": "it is over" })),
            "cancel-workflow" | "pause-workflow" | "resume-workflow" | "terminate-workflow" => {
                one(path, json!({ "reason": "a mistake" }))
            }
            "reverse-workflow" => one(path, json!({ "reason": "a mistake" })),
            "retry-workflow" => [json!({}), json!({ "undo": true })].map(|body| one(path.clone(), body)).concat(),
            "get-workflow-history" | "list-audit-rows" => one(format!("{path}?workflow_id={id}"), Value::Null),
            "act-on-workflows" => {
                let actions = ["cancel", "pause", "resume", "terminate", "retry", "undo"];
                let asked = actions.into_iter().flat_map(|action| [(action, false), (action, true)]);
                let bodies =
                    asked.map(|(action, dry_run)| json!({ "action": action, "ids": [id], "dry_run": dry_run }));
                bodies.flat_map(|body| one(path.clone(), body)).collect()
            }
            "check-services-health" => one(path, json!({ "services": ["auth"] })),
            other => panic!("{other} has no rule: add one"),
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn for_tenant(self, tenant_id: &str) -> Self {
        self.with("x-tenant-id", tenant_id)
    }

    /// With the same request id each time, so that answers can be compared.
    async fn send(&self, world: &World) -> (StatusCode, HeaderMap, Value) {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = if self.body.is_null() { Body::empty() } else { Body::from(self.body.to_string()) };
        let request = request.header("content-type", "application/json").header("x-request-id", "the-same");
        world.call(request.body(body).unwrap()).await
    }
}

/// The endpoints that tenants ask.
fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| endpoint.path.starts_with("/api/v1/"))
}

/// What [`TENANT`] has: an execution that is held, one that can be retried, and one that has completed.
struct Theirs {
    world: World,
    ids: [String; 3],
}

impl Theirs {
    async fn new() -> Self {
        let pause = Control { during: "CreateUserAccount".to_owned(), what: ControlAction::Pause, after_seconds: 0 };
        let world = World::with(Script { control: vec![pause], ..Script::default() }, &[]).await;
        let start = async |number: usize| {
            let headers = [KEY, ("x-user-id", "user-1")];
            let headers = if number == 0 { &headers[..] } else { &headers[1..] };
            let (status, started) =
                world.post("/api/v1/workflows/user-onboarding", &full_request_of(number), headers).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{started}");
            // Long enough to become what it is to be.
            clock::sleep(&*world.clock, Duration::from_secs(10)).await;
            started["workflow_id"].as_str().unwrap().to_owned()
        };
        let held = start(0).await;
        world.script.lock().unwrap().control.push(Control {
            during: "CreateUserAccount".to_owned(),
            what: ControlAction::Pause,
            after_seconds: 0,
        });
        let terminated = start(1).await;
        let path = format!("/api/v1/workflows/{terminated}/terminate");
        assert_eq!(world.post(&path, &Value::Null, &[]).await.0, StatusCode::OK);
        let completed = start(2).await;
        let theirs = Self { world, ids: [held, terminated, completed] };
        for (id, expected) in theirs.ids.iter().zip([Status::Paused, Status::Terminated, Status::Completed]) {
            assert_eq!(theirs.world.status(id).await.status, expected);
        }
        theirs.until_quiet().await;
        theirs
    }

    /// What holds an execution looks whether it may go on, at last every five minutes, and each look is a change: behind
    /// one of these it is quiet.
    async fn until_quiet(&self) {
        clock::sleep(&*self.world.clock, Duration::from_secs(1_000)).await;
        let version = async || self.world.app.store.get(TENANT, &self.ids[0]).await.unwrap().unwrap().version;
        let seen = version().await;
        while version().await == seen {
            clock::sleep(&*self.world.clock, Duration::from_secs(1)).await;
        }
        clock::sleep(&*self.world.clock, Duration::from_secs(1)).await;
    }

    /// All that there is of it: services, records, histories, log.
    async fn all(&self) -> Vec<Value> {
        let mut all = vec![self.world.snapshot().await, json!(self.world.calls.lock().unwrap().clone())];
        let lists = ["/api/v1/workflows", "/api/v1/workflows/history?page_size=200", "/api/v1/audit"];
        for path in lists {
            let (status, answer) = self.world.get(path).await;
            assert_eq!(status, StatusCode::OK, "{path}: {answer}");
            all.push(answer);
        }
        for id in &self.ids {
            all.push(json!(format!("{:?}", self.world.app.store.get(TENANT, id).await.unwrap())));
        }
        all
    }

    /// What [`ASKING`] sees here.
    async fn of_asking(&self, path: &str) -> Value {
        let asked = Asked { method: Method::GET, path: path.to_owned(), body: Value::Null, headers: Vec::new() };
        let (status, _, answer) = asked.for_tenant(ASKING).send(&self.world).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// A moment of which no row tells yet: rows of one and the same moment have no order.
    async fn now(&self) -> Timestamp {
        clock::sleep(&*self.world.clock, Duration::from_millis(1)).await;
        self.world.clock.now()
    }

    /// The denials in the log of [`ASKING`] since then: action and execution.
    async fn denials(&self, since: Timestamp) -> Vec<(String, Value)> {
        let log = self.of_asking(&format!("/api/v1/audit?page_size=200&from={since}")).await;
        let rows = log["entries"].as_array().unwrap().iter();
        rows.map(|row| {
            assert_eq!((&row["outcome"], &row["tenant_id"]), (&json!("denied"), &json!(ASKING)), "{row}");
            (row["action"].as_str().unwrap().to_owned(), row["workflow_id"].clone())
        })
        .collect()
    }

    /// Whether an answer tells anything of what is not the caller's.
    fn is_told_in(&self, answer: &Value) -> bool {
        let text = answer.to_string();
        self.ids.iter().any(|id| text.contains(id.as_str())) || text.contains(TENANT)
    }
}

/// What the log calls a request of an endpoint.
fn action(endpoint: &Endpoint) -> &'static str {
    match endpoint.name {
        name if name.starts_with("start-") => "start_workflow",
        "cancel-workflow" => "cancel_workflow",
        "pause-workflow" => "pause_workflow",
        "resume-workflow" => "resume_workflow",
        "terminate-workflow" => "terminate_workflow",
        "retry-workflow" => "retry_workflow",
        "reverse-workflow" => "reverse_workflow",
        "act-on-workflows" => "act_on_workflows",
        "delete-backup" => "delete_backup",
        "place-hold" => "place_hold",
        "release-hold" => "release_hold",
        "extend-data-request" => "extend_request",
        _ => "read",
    }
}

#[test]
fn who_names_no_tenant_is_denied_everywhere() {
    run(async {
        let theirs = Theirs::new().await;
        let before = theirs.all().await;
        let long = "t".repeat(65);
        let malformed = ["../etc", "a b", "tenant-123,tenant-456", "tenant-123/", "*", "tenant\u{e4}", &long];
        let mut headers: Vec<Vec<&str>> = vec![vec![], vec![""], vec![TENANT, TENANT], vec![TENANT, ASKING]];
        headers.extend(malformed.map(|tenant| vec![tenant]));
        let mut requests = 0;
        for endpoint in endpoints() {
            for asked in Asked::of(endpoint, &theirs.ids[0]) {
                for tenants in &headers {
                    let asked = tenants.iter().fold(asked.clone(), |asked, tenant| asked.for_tenant(tenant));
                    let (status, _, problem) = asked.send(&theirs.world).await;
                    let told = (status, &problem["error"]["type"]);
                    assert_eq!(told, (StatusCode::BAD_REQUEST, &json!("TenantContext")), "{asked:?}: {problem}");
                    requests += 1;
                }
            }
        }
        println!("{requests} requests that name no tenant are denied");
        assert_eq!(theirs.all().await, before, "nothing happened, and who is not known has no log");
        assert!(theirs.denials(Timestamp::UNIX_EPOCH).await.is_empty(), "nor has anybody else");
    });
}

/// Whether the answer to a request that names an execution is about that execution. Those that list find nothing.
fn is_about_an_execution(endpoint: &Endpoint) -> bool {
    endpoint.path.contains("{workflow_id}") || ["get-workflow-history", "act-on-workflows"].contains(&endpoint.name)
}

#[test]
fn a_foreign_execution_is_a_missing_one() {
    run(async {
        let theirs = Theirs::new().await;
        let before = theirs.all().await;
        let missing = "user_onboarding_01900000-0000-7000-8000-000000000000";
        let forged = theirs.ids.iter().flat_map(|id| {
            let uuid = id.strip_prefix("user_onboarding_").unwrap();
            [id.to_uppercase(), id[..id.len() - 1].to_owned(), format!("{id}0"), format!("tenant_switching_{uuid}")]
        });
        let ids: Vec<String> = theirs.ids.iter().cloned().chain(forged).collect();
        for endpoint in endpoints().filter(|endpoint| is_about_an_execution(endpoint)) {
            let expected = Asked::of(endpoint, missing);
            for id in &ids {
                for (asked, missed) in Asked::of(endpoint, id).into_iter().zip(&expected) {
                    let since = theirs.now().await;
                    let mut answers = Vec::new();
                    // A key that another tenant has used changes nothing either.
                    for (asked, id) in
                        [(asked.clone(), id.as_str()), (asked.with(KEY.0, KEY.1), id), (missed.clone(), missing)]
                    {
                        let (status, headers, answer) = asked.for_tenant(ASKING).send(&theirs.world).await;
                        let is_one_of_many = endpoint.name == "act-on-workflows" && status == StatusCode::OK;
                        let is_missing = match is_one_of_many {
                            true => answer["results"][0]["outcome"] == "not_found",
                            false => status == StatusCode::NOT_FOUND,
                        };
                        assert!(is_missing, "{} {id}: {answer}", endpoint.name);
                        let headers: Vec<_> = headers.iter().filter(|(name, _)| *name != "content-length").collect();
                        answers.push(format!("{status} {headers:?} {answer}").replace(id, "ID"));
                    }
                    assert_eq!(answers[0], answers[2], "{}", endpoint.name);
                    assert_eq!(answers[1], answers[2], "{}", endpoint.name);
                    let denials = theirs.denials(since).await;
                    assert_eq!(denials.len(), 3, "{} {id}: one row each", endpoint.name);
                    let row = |id: &str| (action(endpoint).to_owned(), json!(id));
                    for expected in [row(id), row(missing)] {
                        assert!(denials.contains(&expected), "{}: {denials:?}", endpoint.name);
                    }
                }
            }
        }
        assert_eq!(theirs.all().await, before, "nothing happened");
        assert_eq!(theirs.of_asking("/api/v1/workflows").await["total_count"], 0);
    });
}

/// Ids that are none, in paths: whatever stands behind a tenant's id in a key must not be reached by an id.
#[test]
fn an_id_that_is_none_reaches_nothing() {
    run(async {
        let theirs = Theirs::new().await;
        let before = theirs.all().await;
        let id = &theirs.ids[0];
        let odd = [
            format!("..%2F{id}"),
            format!("{TENANT}%2F{id}"),
            format!("{TENANT}%23{id}"),
            format!("{id}%00"),
            format!("{id}%20"),
            format!("%20{id}"),
            format!("{id}%27%20OR%20%271%27=%271"),
            "%25".to_owned(),
            "*".to_owned(),
        ];
        for endpoint in endpoints().filter(|endpoint| endpoint.path.contains("{workflow_id}")) {
            for asked in odd.iter().flat_map(|id| Asked::of(endpoint, id)) {
                let since = theirs.now().await;
                let (status, _, problem) = asked.clone().for_tenant(ASKING).send(&theirs.world).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{asked:?}: {problem}");
                let denials = theirs.denials(since).await;
                assert_eq!(denials.len(), 1, "{asked:?}");
                assert_eq!(denials[0], (action(endpoint).to_owned(), Value::Null), "what is no id is not kept");
            }
        }
        assert_eq!(theirs.all().await, before, "nothing happened");
    });
}

#[test]
fn a_start_is_for_the_tenant_of_its_header() {
    run(async {
        let theirs = Theirs::new().await;
        let before = theirs.all().await;
        let mut starts = 0;
        for endpoint in endpoints().filter(|endpoint| endpoint.name.starts_with("start-")) {
            for asked in Asked::of(endpoint, "") {
                for headers in [&[][..], &[KEY], &[("prefer", "wait=1")], &[("x-user-id", "user-1")]] {
                    let asked = headers.iter().fold(asked.clone(), |asked, (name, value)| asked.with(name, *value));
                    let since = theirs.now().await;
                    let (status, _, problem) = asked.clone().for_tenant(ASKING).send(&theirs.world).await;
                    assert_eq!(status, StatusCode::FORBIDDEN, "{asked:?}: {problem}");
                    assert!(!theirs.is_told_in(&problem), "{problem}");
                    let denials = theirs.denials(since).await;
                    assert_eq!(denials.len(), 1, "{asked:?}");
                    assert_eq!(denials[0].0, "start_workflow");
                    starts += 1;
                }
            }
        }
        assert!(starts >= 9);
        assert_eq!(theirs.all().await, before, "nothing happened");
        assert_eq!(theirs.of_asking("/api/v1/workflows").await["total_count"], 0);
    });
}

/// The same key begins an execution of each tenant, and tells neither of the other's.
#[test]
fn a_foreign_key_is_a_new_one() {
    run(async {
        let theirs = Theirs::new().await;
        let mut own = full_request();
        own["tenant_id"] = json!(ASKING);
        let switch = json!({ "user_id": "user-123", "current_tenant_id": ASKING, "target_tenant_id": "tenant-789" });
        let mut job = (BULK_OPERATION.request)(7);
        job["tenant_id"] = json!(ASKING);
        let mut migration = (DATA_MIGRATION.request)(7);
        migration["target_tenant_id"] = json!(ASKING);
        let mut export = (COMPLIANCE.request)(7);
        export["tenant_id"] = json!(ASKING);
        for endpoint in endpoints().filter(|endpoint| endpoint.name.starts_with("start-")) {
            for mut asked in Asked::of(endpoint, "") {
                asked.body = match endpoint.name {
                    "start-user-onboarding" => own.clone(),
                    "start-tenant-switching" => switch.clone(),
                    "start-data-migration" => migration.clone(),
                    "start-compliance" => export.clone(),
                    "start-bulk-operation" => job.clone(),
                    "start-backup" | "start-restore" => json!({ "backup_id": "backup-1", "tenant_id": ASKING }),
                    other => panic!("{other} has no rule: add one"),
                };
                let (status, _, started) = asked.with(KEY.0, KEY.1).for_tenant(ASKING).send(&theirs.world).await;
                assert!(status.is_success(), "{started}");
                assert!(!theirs.is_told_in(&started), "{started}");
            }
        }
        let (status, again) = theirs.world.post("/api/v1/workflows/user-onboarding", &full_request_of(0), &[KEY]).await;
        assert_eq!((status, again["workflow_id"].as_str()), (StatusCode::ACCEPTED, Some(&*theirs.ids[0])), "{again}");
    });
}

#[test]
fn a_foreign_page_token_is_denied() {
    run(async {
        let theirs = Theirs::new().await;
        // So many that an action has pages.
        for number in 10..110 {
            theirs.world.start(&full_request_of(number)).await;
        }
        theirs.until_quiet().await;
        for id in ["backup-1", "backup-2"] {
            let request = json!({ "backup_id": id, "tenant_id": TENANT });
            let (status, answer) = theirs.world.post("/api/v1/coordination/backup", &request, &[]).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
        for id in ["hold-1", "hold-2"] {
            let hold = json!({ "hold_id": id, "subject_user_id": "user-9", "reason": "a lawsuit" });
            let (status, answer) = theirs.world.post("/api/v1/compliance/holds", &hold, &[]).await;
            assert_eq!(status, StatusCode::CREATED, "{answer}");
        }
        for number in 0..2 {
            theirs.world.start_of(&COMPLIANCE, &(COMPLIANCE.request)(number)).await;
        }
        theirs.until_quiet().await;
        let act = json!({ "action": "cancel", "filter": {}, "dry_run": true });
        let get = |path: &str| (Method::GET, path.to_owned(), Value::Null);
        let paged = [
            ("list-workflows", get("/api/v1/workflows?page_size=1")),
            ("get-workflow-history", get("/api/v1/workflows/history?page_size=1")),
            ("list-audit-rows", get("/api/v1/audit?page_size=1")),
            ("list-backups", get("/api/v1/coordination/backups?page_size=1")),
            ("list-holds", get("/api/v1/compliance/holds?page_size=1")),
            ("list-data-requests", get("/api/v1/compliance/requests?page_size=1")),
            ("act-on-workflows", (Method::POST, "/api/v1/workflows/actions".to_owned(), act)),
        ];
        for endpoint in endpoints() {
            let is_listed = paged.iter().any(|(name, _)| *name == endpoint.name);
            let has_pages = endpoint.ports.iter().any(|port| {
                matches!(
                    port,
                    api::Port::List
                        | api::Port::History
                        | api::Port::Audit
                        | api::Port::Backups
                        | api::Port::Holds
                        | api::Port::DataRequests
                )
            });
            assert_eq!(is_listed, has_pages, "{} has pages", endpoint.name);
        }
        let before = theirs.all().await;
        for (name, (method, path, body)) in paged {
            let asked = Asked { method, path, body, headers: Vec::new() };
            let (status, _, page) = asked.clone().for_tenant(TENANT).send(&theirs.world).await;
            let token = page["next_page_token"].as_str().unwrap_or_else(|| panic!("{name}: {status} {page}"));
            let mut forged = asked.clone();
            match &mut forged.body {
                Value::Null => forged.path = format!("{}&page_token={token}", forged.path),
                body => body["page_token"] = json!(token),
            }
            let (status, _, own) = forged.clone().for_tenant(TENANT).send(&theirs.world).await;
            assert_eq!(status, StatusCode::OK, "{name}: it is good for whom it was made: {own}");
            let since = theirs.now().await;
            let (status, _, problem) = forged.for_tenant(ASKING).send(&theirs.world).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {problem}");
            assert!(!theirs.is_told_in(&problem), "{problem}");
            let denials = theirs.denials(since).await;
            assert_eq!(denials.len(), 1, "{name}");
            let endpoint = endpoints().find(|endpoint| endpoint.name == name).unwrap();
            assert_eq!(denials[0], (action(endpoint).to_owned(), Value::Null), "{name}");
        }
        assert_eq!(theirs.all().await, before, "nothing happened");
    });
}

/// Nothing in a query or a body makes more visible, or lets more be done, than the header's tenant has.
#[test]
fn no_filter_widens_what_is_seen() {
    run(async {
        let theirs = Theirs::new().await;
        let hold = json!({ "hold_id": "hold-1", "subject_user_id": "user-9", "reason": TENANT });
        let (status, placed) = theirs.world.post("/api/v1/compliance/holds", &hold, &[]).await;
        assert_eq!(status, StatusCode::CREATED, "{placed}");
        let before = theirs.all().await;
        let narrowing = ["", "status=Paused,Terminated,Completed", "user_id=user-1", "workflow_type=user_onboarding"];
        let widening = [
            "",
            "tenant_id=tenant-123",
            "tenant_id=*",
            "x-tenant-id=tenant-123",
            "tenant=tenant-123&tenant_id[]=tenant-123",
            "page_size=200&page=1",
        ];
        for path in [
            "/api/v1/workflows",
            "/api/v1/workflows/history",
            "/api/v1/audit",
            "/api/v1/compliance/holds",
            "/api/v1/compliance/requests",
        ] {
            for query in narrowing.iter().flat_map(|narrow| widening.map(|wide| format!("{narrow}&{wide}"))) {
                let answer = theirs.of_asking(&format!("{path}?{query}")).await;
                assert!(!theirs.is_told_in(&answer), "{path}?{query}: {answer}");
                for list in ["workflows", "events", "entries", "holds", "requests"] {
                    assert!(answer[list].as_array().is_none_or(Vec::is_empty), "{path}?{query}: {answer}");
                }
                for count in ["total_count", "total_events"] {
                    assert!(answer[count].is_null() || answer[count] == 0, "{path}?{query}: {answer}");
                }
                let counts = answer["counts"].as_object().into_iter().flat_map(|counts| counts.values());
                assert!(counts.into_iter().all(|count| *count == 0), "{path}?{query}: {answer}");
            }
        }
        let log = theirs.of_asking(&format!("/api/v1/audit?workflow_id={}", theirs.ids[0])).await;
        assert_eq!(log["entries"], json!([]), "{log}");
        for action in ["cancel", "pause", "resume", "terminate", "retry", "undo"] {
            for filter in [
                json!({}),
                json!({ "user_id": "user-1" }),
                json!({ "status": ["Paused", "Terminated"], "workflow_type": "user_onboarding" }),
            ] {
                let narrow = json!({ "action": action, "filter": filter });
                let (mut beside, mut within) = (narrow.clone(), narrow.clone());
                beside["tenant_id"] = json!(TENANT);
                within["filter"]["tenant_id"] = json!("*");
                for (body, refused) in
                    [(narrow, None), (beside, Some("/tenant_id")), (within, Some("/filter/tenant_id"))]
                {
                    let (method, path) = (Method::POST, "/api/v1/workflows/actions".to_owned());
                    let asked = Asked { method, path, body, headers: Vec::new() }.for_tenant(ASKING);
                    let (status, _, answer) = asked.send(&theirs.world).await;
                    match refused {
                        None => {
                            assert_eq!((status, &answer["results"]), (StatusCode::OK, &json!([])), "{answer}");
                            assert_eq!(answer["next_page_token"], Value::Null, "{answer}");
                        }
                        Some(field) => {
                            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{asked:?}: {answer}");
                            assert_eq!(answer["errors"][0]["pointer"], field, "{answer}");
                        }
                    }
                }
            }
        }
        assert_eq!(theirs.all().await, before, "nothing happened");
        assert!(theirs.denials(Timestamp::UNIX_EPOCH).await.is_empty(), "to find nothing is no denial");
    });
}

/// Nothing that a tenant is answered depends on what others do: what it asks in a world of its own and beside a busy tenant
/// is answered with the same bytes, but for ids and times.
#[test]
fn answers_do_not_tell_what_other_tenants_do() {
    run(async {
        let alone = answers(0).await;
        let beside_another = answers(3).await;
        assert!(alone.len() > 40, "{} answers", alone.len());
        for (alone, beside_another) in alone.iter().zip(&beside_another) {
            assert_eq!(alone, beside_another);
        }
        assert_eq!(alone.len(), beside_another.len());
    });
}

/// What [`TENANT`] is answered, with so many starts of [`ASKING`] before each of its requests.
async fn answers(others: usize) -> Vec<String> {
    let world = World::new().await;
    let mut asking = Asking { world: &world, others, started: 0, masks: Vec::new(), answers: Vec::new() };
    let start = "/api/v1/workflows/user-onboarding";
    let keyed = [KEY, ("x-user-id", "user-1")];
    for (number, headers) in
        [(1, &keyed[..]), (1, &keyed), (2, &keyed), (2, &keyed[1..]), (3, &[("prefer", "wait=20")])]
    {
        asking.ask(Method::POST, start, full_request_of(number), headers).await;
        clock::sleep(&*world.clock, Duration::from_secs(30)).await;
    }
    // The same person again, which fails.
    let failed = asking.ask(Method::POST, start, full_request_of(1), &keyed[1..]).await;
    clock::sleep(&*world.clock, Duration::from_secs(30)).await;
    let of_failed = format!("/api/v1/workflows/{}", failed["workflow_id"].as_str().unwrap());
    for action in ["pause", "resume", "cancel", "terminate", "retry", "retry"] {
        let reason = if action == "retry" { json!({}) } else { json!({ "reason": "a mistake" }) };
        asking.ask(Method::POST, &format!("{of_failed}/{action}"), reason, &[]).await;
        clock::sleep(&*world.clock, Duration::from_secs(30)).await;
    }
    asking.ask(Method::GET, &format!("{of_failed}/status"), Value::Null, &[]).await;
    asking.ask(Method::GET, "/api/v1/workflows/nothing/status", Value::Null, &[]).await;
    asking.ask(Method::POST, "/api/v1/coordination/health-check", json!({}), &[]).await;
    let dry_run = json!({ "action": "retry", "filter": {}, "dry_run": true });
    asking.ask(Method::POST, "/api/v1/workflows/actions", dry_run, &[]).await;
    let id = failed["workflow_id"].as_str().unwrap();
    for list in [
        "/api/v1/workflows?page_size=2",
        "/api/v1/workflows?page_size=1&status=Completed,Running",
        "/api/v1/workflows?page_size=1&user_id=user-1",
        "/api/v1/workflows?page_size=1&started_after=2026-01-01T00:00:30Z",
        "/api/v1/workflows/history?page_size=20",
        "/api/v1/workflows/history?page_size=2&event_type=WorkflowExecutionStarted",
        &format!("/api/v1/workflows/history?page_size=5&workflow_id={id}"),
        "/api/v1/audit?page_size=3",
    ] {
        let mut page = asking.ask(Method::GET, list, Value::Null, &[]).await;
        while let Some(token) = page["next_page_token"].as_str() {
            page = asking.ask(Method::GET, &format!("{list}&page_token={token}"), Value::Null, &[]).await;
        }
    }
    asking.answers
}

/// A tenant that asks, and another one that is busy meanwhile.
struct Asking<'a> {
    world: &'a World,
    others: usize,
    started: usize,
    /// Ids in the order in which the tenant has seen them.
    masks: Vec<String>,
    answers: Vec<String>,
}

impl Asking<'_> {
    async fn ask(&mut self, method: Method, path: &str, body: Value, headers: &[(&'static str, &str)]) -> Value {
        self.other().await;
        // Rows of one and the same moment have no order.
        clock::sleep(&*self.world.clock, Duration::from_millis(1)).await;
        let asked = Asked { method, path: path.to_owned(), body, headers: Vec::new() }.for_tenant(TENANT);
        let asked = headers.iter().fold(asked, |asked, (name, value)| asked.with(name, *value));
        let (status, headers, answer) = asked.send(self.world).await;
        assert!(!status.is_server_error(), "{path}: {answer}");
        let path = path.split("&page_token").next().unwrap_or_default();
        let mut told = answer.clone();
        self.mask(&mut told);
        let headers = headers.iter().filter(|(name, _)| *name != "content-length");
        let headers: Vec<String> =
            headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        let (path, headers) = (self.without_ids(path), self.without_ids(&headers.join("; ")));
        self.answers.push(format!("{} {path}: {status} {headers} {told}", asked.method));
        answer
    }

    /// What the busy tenant does: it starts executions with the same key, and reads.
    async fn other(&mut self) {
        for number in 0..self.others {
            self.started += 1;
            let mut body = full_request_of(1_000 + self.started);
            body["tenant_id"] = json!(ASKING);
            let path = "/api/v1/workflows/user-onboarding".to_owned();
            let start = Asked { method: Method::POST, path, body, headers: Vec::new() }.for_tenant(ASKING);
            let start = if number == 0 { start.with(KEY.0, KEY.1) } else { start.with("x-user-id", "user-1") };
            start.send(self.world).await;
            for path in ["/api/v1/workflows/history", "/api/v1/workflows/nothing/status"] {
                let read = Asked { method: Method::GET, path: path.to_owned(), body: Value::Null, headers: Vec::new() };
                read.for_tenant(ASKING).send(self.world).await;
            }
        }
    }

    /// Takes ids and times out of an answer, and reads page tokens: they hold nothing else either.
    fn mask(&mut self, value: &mut Value) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    if let ("next_page_token", Some(token)) = (name.as_str(), value.as_str()) {
                        let token = String::from_utf8(URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
                        let (_, cursor) = token.split_once(':').unwrap();
                        *value = json!(cursor);
                    }
                    self.mask(value);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.mask(value)),
            Value::String(text) => *text = self.without_ids(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn without_ids(&mut self, text: &str) -> String {
        if text.parse::<Timestamp>().is_ok() {
            return "TIME".to_owned();
        }
        let mut masked = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if let Some(id) = rest.get(..36).filter(|id| is_uuid(id)) {
                let known = self.masks.iter().position(|mask| mask == id);
                let number = known.unwrap_or_else(|| {
                    self.masks.push(id.to_owned());
                    self.masks.len() - 1
                });
                masked.push_str(&format!("ID{number}"));
                rest = &rest[36..];
            } else if digits >= 16 {
                // Microseconds since 1970.
                masked.push_str("TIME");
                rest = &rest[digits..];
            } else {
                masked.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        masked
    }
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(place, byte)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

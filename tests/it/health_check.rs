//! `POST /api/v1/coordination/health-check`, with services that work and services that do not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::{Access, Api, Check, Readiness, ServiceChecks, Streaming};
use async_trait::async_trait;
use axum::body::Body;
use clock::SharedClock;
use contracts::responses::{HealthCheckResponse, ServiceHealth};
use contracts::{Timestamp, WorkflowKind};
use downstream::{Downstream, Endpoints};
use engine::Engines;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::in_process::InProcess;
use crate::subjects;
use crate::world::{Site, TENANT, World, run};

const PATH: &str = "/api/v1/coordination/health-check";

async fn ask(site: &Site, body: &Value) -> HealthCheckResponse {
    let (status, answer) = site.post(PATH, body, &[]).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    serde_json::from_value(answer).unwrap()
}

/// Lets a service's health check fail for ever.
fn fail(site: &Site, kind: ServiceKind, fault: Fault) {
    site.services.set_faults(kind, vec![FaultRule::on("GET", "/health", fault)]);
}

fn detail<'a>(answer: &'a HealthCheckResponse, service: &str) -> &'a ServiceHealth {
    answer.details.iter().find(|detail| detail.service == service).unwrap()
}

/// How often each service was asked, by its port.
fn asked(site: &Site) -> BTreeMap<String, u32> {
    site.calls
        .lock()
        .unwrap()
        .iter()
        .filter(|(call, _)| call.ends_with("/health"))
        .map(|(c, n)| (c.clone(), *n))
        .collect()
}

#[test]
fn all_services_are_healthy() {
    run(async {
        let world = World::new().await;
        for body in [json!({}), json!({ "services": null }), Value::Null] {
            let answer = ask(&world, &body).await;
            let names = ["auth", "user", "tenant", "file", "notifications", "workflow"];
            assert_eq!(answer.service_results, names.map(|name| (name.to_owned(), true)).into(), "{body}");
            assert!(answer.overall_healthy && answer.affected_workflows.is_empty(), "{body}");
            assert_eq!(answer.checked_at, world.clock.now());
            assert_eq!(answer.details.iter().map(|detail| &*detail.service).collect::<Vec<_>>(), names);
            for detail in &answer.details {
                assert!(detail.healthy && detail.affected_by.is_empty() && !detail.workflows.is_empty(), "{detail:?}");
                assert_eq!(detail.reason, None);
            }
        }
        assert_eq!(detail(&ask(&world, &json!({})).await, "file").depends_on, ["user", "tenant"]);
        let without_body = Request::post(PATH).header("x-tenant-id", TENANT).body(Body::empty()).unwrap();
        assert_eq!(world.call(without_body).await.0, StatusCode::OK);
    });
}

#[test]
fn what_does_not_work_is_told_with_its_reason_and_what_it_affects() {
    run(async {
        let world = World::new().await;
        fail(&world, ServiceKind::Auth, Fault::Status { status: 503, retry_after_seconds: None });
        fail(&world, ServiceKind::Tenant, Fault::DelayBeforeEffect { delay_ms: 60_000 });
        fail(&world, ServiceKind::Notifications, Fault::Reset);
        let before = world.clock.now();
        let named = json!({ "services": ["notifications", "file-service", "tenant_service", "auth-service", "user"] });
        let answer = ask(&world, &named).await;
        assert_eq!(world.clock.now().duration_since(before).as_secs(), 5, "at once, and a hanging one for 5 s");
        assert!(!answer.overall_healthy);
        let results = [
            ("auth-service", false),
            ("file-service", true),
            ("notifications", false),
            ("tenant_service", false),
            ("user", true),
        ];
        assert_eq!(answer.service_results, results.map(|(name, healthy)| (name.to_owned(), healthy)).into());
        let order: Vec<&str> = answer.details.iter().map(|detail| &*detail.service).collect();
        assert_eq!(order, ["auth-service", "user", "tenant_service", "file-service", "notifications"]);
        for (service, reason, latency_ms) in [
            ("auth-service", Some("answered 503"), 0),
            ("user", None, 0),
            ("tenant_service", Some("did not answer within 5 s"), 5_000),
            ("file-service", None, 0),
            ("notifications", Some("broke the connection before it answered"), 0),
        ] {
            let detail = detail(&answer, service);
            assert_eq!((detail.reason.as_deref(), detail.latency_ms), (reason, latency_ms), "{service}");
        }
        assert_eq!(detail(&answer, "user").affected_by, ["auth-service"]);
        assert_eq!(detail(&answer, "file-service").depends_on, ["user", "tenant_service"]);
        assert_eq!(detail(&answer, "file-service").affected_by, ["auth-service", "tenant_service"]);
        let every = [
            WorkflowKind::UserOnboarding,
            WorkflowKind::TenantSwitching,
            WorkflowKind::DataMigration,
            WorkflowKind::BulkOperation,
            WorkflowKind::Compliance,
            WorkflowKind::CrossServiceBackup,
            WorkflowKind::CrossServiceRestore,
        ];
        assert_eq!(answer.affected_workflows, every);

        // Only what is asked about counts.
        let one = ask(&world, &json!({ "services": ["user"] })).await;
        assert!(one.overall_healthy && detail(&one, "user").affected_by.is_empty());
        // A switch sends no mail.
        let one = ask(&world, &json!({ "services": ["notifications"] })).await;
        let mailing = [every[0], every[2], every[3], every[4], every[5], every[6]];
        assert_eq!(one.affected_workflows, mailing);
        assert_eq!(detail(&one, "notifications").workflows, mailing);
    });
}

#[test]
fn asking_often_asks_the_services_once() {
    run(async {
        let world = World::new().await;
        let askers = (0..50).map(|_| {
            let router = world.app.router.clone();
            async move {
                let request = Request::post(PATH).header("x-tenant-id", TENANT).body(Body::empty()).unwrap();
                let body = router.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
                serde_json::from_slice::<HealthCheckResponse>(&body).unwrap()
            }
        });
        let answers = clock::spawn_all(&world.clock, askers).await;
        let answers: Vec<HealthCheckResponse> = answers.into_iter().map(Option::unwrap).collect();
        assert!(answers.iter().all(|answer| answer.overall_healthy && answer.service_results.len() == 6));
        let (status, ready) = world.get("/ready").await;
        assert_eq!(status, StatusCode::OK, "{ready}");
        let once = asked(&world);
        assert_eq!((once.len(), once.values().max()), (5, Some(&1)), "{once:?}");

        // The answer of a moment ago says when it was.
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        fail(&world, ServiceKind::File, Fault::Status { status: 500, retry_after_seconds: None });
        assert_eq!(ask(&world, &json!({ "services": ["file"] })).await.checked_at, answers[0].checked_at);
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        assert!(!ask(&world, &json!({ "services": ["file"] })).await.overall_healthy);
        let (status, ready) = world.get("/ready").await;
        assert_eq!((status, &ready["checks"]["services"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
        assert_eq!(asked(&world).into_values().max(), Some(2));
    });
}

/// An engine that does not work, for a reason with a secret in it.
struct Broken;

#[async_trait]
impl Check for Broken {
    async fn check(&self) -> Result<(), String> {
        Err("no answer from https://user:secret@engine.example.com".to_owned())
    }
}

#[test]
fn nothing_of_an_address_is_told() {
    run(async {
        let world = World::new().await;
        let clock: SharedClock = Arc::clone(&world.clock);
        let store = Arc::new(world.app.store.clone());
        let api = Api {
            executions: store.clone(),
            history: store.clone(),
            audit: store,
            engines: Engines::default(),
            clock: Arc::clone(&clock),
            access: Access::Open,
            request_timeout: Duration::from_secs(28),
            longest_wait: Duration::from_secs(25),
            streaming: Streaming::Unsupported,
        };
        let urls = ["https://secret.service.example.com"; 5];
        let nobody = Arc::new(InProcess::default());
        let downstream =
            Downstream::new(nobody, Endpoints::new(urls).unwrap(), Arc::clone(&clock), Duration::from_secs(10));
        let services = ServiceChecks::new(downstream, Arc::clone(&clock));
        let readiness = Readiness { api, engine: Arc::new(Broken), services };
        let routes = api::check_services_health::route().with_state(readiness);
        let routes = api::complete(routes, clock, Duration::from_secs(28), None);
        let request = Request::post(PATH).header("x-tenant-id", TENANT).body(Body::empty()).unwrap();
        let body = routes.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(!text.contains("secret") && !text.contains("example.com"), "{text}");
        let answer: HealthCheckResponse = serde_json::from_str(&text).unwrap();
        assert!(answer.service_results.values().all(|healthy| !healthy), "{text}");
        assert_eq!(detail(&answer, "auth").reason.as_deref(), Some("could not be reached"));
        let own = detail(&answer, "workflow");
        assert_eq!(own.reason.as_deref(), Some("the engine cannot be used"));
        assert_eq!(own.affected_by, ["auth", "user", "tenant", "file", "notifications"]);
        assert!(answer.checked_at > Timestamp::UNIX_EPOCH);
    });
}

/// Which workflows a service affects follows from what their activities say they call: the calls that the fault matrix lets
/// fail one by one. Which services a job calls, its request says.
#[test]
fn activities_say_which_services_they_call() {
    for (subject, step) in subjects::steps().filter(|(subject, _)| !subject.is_job()) {
        let sites = subject.sites.iter().filter(|site| {
            let state = site.name.split('/').next().unwrap();
            state.strip_prefix("Undo").unwrap_or(state) == step.state
        });
        let called: BTreeSet<&str> = sites.map(|site| site.service).collect();
        let activity = activities::ALL.iter().find(|activity| activity.name == step.activity).unwrap();
        let said: BTreeSet<&str> = activity.calls.iter().map(|service| service.as_str()).collect();
        assert_eq!(said, called, "{}", activity.name);
    }
}

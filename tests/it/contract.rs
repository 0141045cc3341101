//! The rules of the services' contract: the reference services keep all of them.

mod breaking;
mod command;
mod description;
mod schema;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Json, Response};
use clock::{SharedClock, VirtualClock};
use downstream::contract::{self, Finding, Target, Verdict};
use downstream::{Service, TransportFault};
use reference_services::{ServiceKind, Services};
use serde_json::json;

use crate::in_process::InProcess;

const TENANT: &str = "tenant-123";

async fn services(clock: &SharedClock) -> Services {
    let services = Services::in_memory(Arc::clone(clock)).await.unwrap();
    services.seed_demo().await.unwrap();
    services
}

fn clock() -> SharedClock {
    Arc::new(VirtualClock::new("2026-03-01T08:00:00Z".parse().unwrap()))
}

fn kind(service: Service) -> ServiceKind {
    ServiceKind::ALL.into_iter().find(|kind| kind.name() == service.as_str()).unwrap()
}

fn target(clock: &SharedClock, service: Service, router: Router) -> Target {
    let transport = Arc::new(InProcess::default().with("127.0.0.1:1", router));
    Target::new(transport, Arc::clone(clock), service, "http://127.0.0.1:1/", TENANT).unwrap()
}

async fn check(clock: &SharedClock, service: Service, router: Router) -> Vec<Finding> {
    contract::check(&target(clock, service, router), |_| {}).await.unwrap()
}

/// What each service cannot be asked for.
fn skipped(service: Service) -> &'static [&'static str] {
    match service {
        Service::Auth | Service::User => &["content.comes-back-as-it-went"],
        Service::Tenant => &["creation.refuses-a-second", "mask.hides-the-field", "content.comes-back-as-it-went"],
        Service::File => &[],
        Service::Notifications => {
            &["creation.keeps-the-chosen-id", "creation.refuses-a-second", "content.comes-back-as-it-went"]
        }
    }
}

#[tokio::test]
async fn the_reference_services_keep_every_rule_and_nothing_stays() {
    let clock = clock();
    for service in Service::ALL {
        let services = services(&clock).await;
        let before = services.snapshot(None).await.unwrap();
        let findings = check(&clock, service, services.router(kind(service))).await;
        let verdicts = findings.iter().map(|finding| (finding.rule.name, &finding.verdict));
        let others: Vec<_> = verdicts.filter(|(_, verdict)| **verdict != Verdict::Kept).collect();
        let names: Vec<_> = others.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, skipped(service), "{} {others:#?}", service.as_str());
        assert_eq!(services.snapshot(None).await.unwrap(), before, "{}", service.as_str());
        assert!(findings.iter().all(|finding| finding.left.is_empty()), "{}", service.as_str());
    }
}

#[test]
fn rules_are_named_by_their_group_and_only_once() {
    let names: Vec<_> = contract::rules().map(|rule| rule.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for rule in contract::rules() {
        assert!(rule.name.split_once('.').is_some_and(|(group, promise)| !group.is_empty() && !promise.is_empty()));
        assert!(!rule.proves.is_empty() && !rule.change.is_empty(), "{}", rule.name);
    }
}

#[tokio::test]
async fn a_service_that_is_away_cannot_be_checked() {
    let clock = clock();
    let transport = Arc::new(InProcess::default());
    let target = Target::new(transport, clock, Service::Auth, "http://127.0.0.1:1", TENANT).unwrap();
    assert_eq!(contract::check(&target, |_| {}).await.err(), Some(TransportFault::Unreachable));
}

#[tokio::test]
async fn a_breach_is_told_without_data() {
    let clock = clock();
    let services = services(&clock).await;
    let router = layer(services.router(ServiceKind::Auth), async |request, next| {
        let answer = next.run(request).await;
        if answer.status() == StatusCode::NOT_FOUND {
            return (StatusCode::OK, Json(json!({ "email": "a@example.com", "results": [] }))).into_response();
        }
        answer
    });
    let findings = check(&clock, Service::Auth, router).await;
    let finding = findings.iter().find(|finding| finding.rule.name == "operations.unknown-operation").unwrap();
    let Verdict::Broken(breach) = &finding.verdict else { panic!("{:?}", finding.verdict) };
    assert_eq!(breach.sent, "POST /api/v1/operations/ContractCheckUnknown");
    assert_eq!((breach.came.as_str(), breach.expected.as_str()), ("200 {email, results []}", "a refusal with 404"));
}

/// A service of which every request goes through this before it finds its route.
fn layer<F>(router: Router, change: impl Fn(Request, Next) -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = Response> + Send + 'static,
{
    Router::new().fallback_service(router).layer(middleware::from_fn(change))
}

#[tokio::test]
async fn what_stays_is_told() {
    let clock = clock();
    let services = services(&clock).await;
    let router = layer(services.router(ServiceKind::Auth), async |request, next| {
        let path = request.uri().path();
        if path.starts_with("/api/v1/effects/") || path.ends_with("/delete") {
            return StatusCode::NOT_IMPLEMENTED.into_response();
        }
        next.run(request).await
    });
    let findings = check(&clock, Service::Auth, router).await;
    let left = findings.iter().find(|finding| finding.rule.name == "creation.keeps-the-chosen-id").unwrap();
    assert!(left.left.iter().all(|left| left.starts_with("account contract-check-")) && left.left.len() == 1);
}

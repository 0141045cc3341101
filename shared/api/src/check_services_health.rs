//! `POST /api/v1/coordination/health-check`: which services are healthy, and what is affected by those that are not.
//!
//! A service that is not healthy is an answer, not a failure of this endpoint: the status is 200.

use std::collections::BTreeSet;

use activities::Activity;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use clock::{Clock, Timestamp};
use contracts::WorkflowKind;
use contracts::document::Document;
use contracts::limits::MAX_CHECKED_SERVICES;
use contracts::responses::{HealthCheckResponse, ServiceHealth};
use downstream::{HEALTH_TIME, Service};
use workflows::Workflow;

use crate::access::Caller;
use crate::{Problem, Readiness, body};

/// The route.
pub fn route() -> Router<Readiness> {
    Router::new().route("/api/v1/coordination/health-check", post(handle))
}

async fn handle(
    State(readiness): State<Readiness>,
    _: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<HealthCheckResponse>, Problem> {
    let body = body::optional_json(&headers, body).await?.unwrap_or_default();
    let asked = read(&body)?;
    let checks = asked.iter().map(|(_, part)| {
        let (readiness, part) = (readiness.clone(), *part);
        async move { part.check(&readiness).await }
    });
    let clock = &readiness.api.clock;
    let outcomes = clock::spawn_all(clock, checks.collect::<Vec<_>>()).await;
    let outcomes = outcomes.into_iter().map(|outcome| outcome.ok_or_else(Problem::internal));
    let outcomes = outcomes.collect::<Result<Vec<_>, _>>()?;
    let answers = asked.into_iter().zip(outcomes).map(|((name, part), outcome)| Answer { name, part, outcome });
    Ok(Json(response(answers.collect(), clock.now())))
}

/// What can be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Service(Service),
    /// This service itself: its store and its engine.
    Workflow,
}

/// What came of asking.
#[derive(Debug, Clone)]
struct Outcome {
    at: Timestamp,
    latency_ms: u64,
    /// Why it is not healthy, if it is not.
    reason: Option<String>,
}

/// A part under the name that it was asked about by, and what came of it.
struct Answer {
    name: String,
    part: Part,
    outcome: Outcome,
}

impl Part {
    /// All there are, in the order of dependency.
    fn all() -> impl Iterator<Item = Self> {
        Service::ALL.into_iter().map(Self::Service).chain([Self::Workflow])
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "workflow" | "workflow-service" | "workflow_service" => Some(Self::Workflow),
            name => Service::named(name).map(Self::Service),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Service(service) => service.as_str(),
            Self::Workflow => "workflow",
        }
    }

    fn depends_on(self) -> &'static [Service] {
        match self {
            Self::Service(service) => service.depends_on(),
            Self::Workflow => &Service::ALL,
        }
    }

    /// Whether it does not work without the other one, which may be so because of a third.
    fn needs(self, other: Self) -> bool {
        self.depends_on().iter().any(|service| Self::Service(*service) == other || Self::Service(*service).needs(other))
    }

    /// The workflows that call it.
    fn workflows(self) -> BTreeSet<WorkflowKind> {
        let calls = |workflow: &&Workflow| match self {
            Self::Service(service) => workflow.activities().iter().any(|name| activity_calls(name, service)),
            Self::Workflow => true,
        };
        workflows::ALL.iter().filter(calls).map(|workflow| workflow.kind).collect()
    }

    async fn check(self, readiness: &Readiness) -> Outcome {
        match self {
            Self::Service(service) => {
                let checked = readiness.services.of(service).await;
                let latency_ms = milliseconds(checked.health.latency);
                Outcome { at: checked.at, latency_ms, reason: checked.health.fault.map(|fault| fault.to_string()) }
            }
            Self::Workflow => {
                let clock = &*readiness.api.clock;
                let asked_at = clock.now();
                let reason = own_problem(readiness, clock).await;
                let at = clock.now();
                let latency_ms = milliseconds(at.duration_since(asked_at).unsigned_abs());
                Outcome { at, latency_ms, reason: reason.map(str::to_owned) }
            }
        }
    }
}

/// Why this service does not work, if it does not. Details are for the log: who asks is not who runs it.
async fn own_problem(readiness: &Readiness, clock: &dyn Clock) -> Option<&'static str> {
    let asked = async {
        if let Err(error) = readiness.api.executions.check().await {
            tracing::warn!(%error, "the store cannot be used");
            return Some("the store cannot be used");
        }
        if let Err(reason) = readiness.engine.check().await {
            tracing::warn!(reason, "the engine cannot be used");
            return Some("the engine cannot be used");
        }
        None
    };
    clock::timeout(clock, HEALTH_TIME, asked).await.unwrap_or(Some("the store or the engine does not answer"))
}

fn activity_calls(name: &str, service: Service) -> bool {
    let named = |activity: &&&Activity| activity.name == name;
    activities::ALL.iter().find(named).is_some_and(|activity| activity.calls.contains(&service))
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// What is asked about, under the names it is asked by: everything, if the request does not say.
fn read(body: &Document) -> Result<Vec<(String, Part)>, Problem> {
    let mut fields = body.fields();
    let is_given = fields.is_given("services");
    let known: Vec<&str> = Part::all().map(Part::as_str).collect();
    let expected = format!("one of {}", known.join(", "));
    let named = match is_given {
        true => fields.distinct("services", 1..=MAX_CHECKED_SERVICES, Part::named, &expected),
        false => Vec::new(),
    };
    fields.finish().map_err(Problem::invalid)?;
    let named = named.into_iter().map(|(name, part)| (name.to_owned(), part));
    Ok(if is_given { named.collect() } else { Part::all().map(|part| (part.as_str().to_owned(), part)).collect() })
}

fn response(mut answers: Vec<Answer>, now: Timestamp) -> HealthCheckResponse {
    answers.sort_by_key(|answer| Part::all().position(|part| part == answer.part));
    let down: Vec<&Answer> = answers.iter().filter(|answer| answer.outcome.reason.is_some()).collect();
    let affected = |part: Part| down.iter().filter(move |down| part.needs(down.part));
    // A service has the name that it was asked by.
    let name_of = |part: Part| {
        let asked = answers.iter().find(|answer| answer.part == part);
        asked.map_or_else(|| part.as_str().to_owned(), |answer| answer.name.clone())
    };
    let detail = |answer: &Answer| ServiceHealth {
        service: answer.name.clone(),
        healthy: answer.outcome.reason.is_none(),
        latency_ms: answer.outcome.latency_ms,
        reason: answer.outcome.reason.clone(),
        depends_on: answer.part.depends_on().iter().map(|service| name_of(Part::Service(*service))).collect(),
        affected_by: affected(answer.part).map(|down| down.name.clone()).collect(),
        workflows: answer.part.workflows().into_iter().collect(),
    };
    let impaired = Part::all().filter(|part| {
        let is_down = down.iter().any(|down| down.part == *part);
        is_down || matches!(part, Part::Service(_)) && affected(*part).next().is_some()
    });
    HealthCheckResponse {
        overall_healthy: down.is_empty(),
        service_results: answers.iter().map(|a| (a.name.clone(), a.outcome.reason.is_none())).collect(),
        checked_at: answers.iter().map(|answer| answer.outcome.at).min().unwrap_or(now),
        affected_workflows: impaired.flat_map(Part::workflows).collect::<BTreeSet<_>>().into_iter().collect(),
        details: answers.iter().map(detail).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(name: &str, is_healthy: bool) -> Answer {
        let reason = (!is_healthy).then(|| "answered 503".to_owned());
        let part = Part::named(name).expect("a known name");
        Answer { name: name.to_owned(), part, outcome: Outcome { at: Timestamp::UNIX_EPOCH, latency_ms: 7, reason } }
    }

    fn affected(answers: Vec<Answer>) -> Vec<(String, Vec<String>)> {
        let response = response(answers, Timestamp::UNIX_EPOCH);
        response.details.into_iter().map(|detail| (detail.service, detail.affected_by)).collect()
    }

    #[test]
    fn what_depends_on_a_service_is_affected_by_it_through_others_too() {
        let names = ["workflow", "notifications", "file-service", "user", "tenant", "auth_service"];
        let found = affected(names.iter().map(|name| answer(name, !name.starts_with("auth"))).collect());
        let by_auth = vec!["auth_service".to_owned()];
        let expected = [
            ("auth_service", vec![]),
            ("user", by_auth.clone()),
            ("tenant", vec![]),
            ("file-service", by_auth.clone()),
            ("notifications", vec![]),
            ("workflow", by_auth),
        ];
        assert_eq!(found, expected.map(|(name, by)| (name.to_owned(), by)));
    }

    #[test]
    fn workflows_are_affected_by_the_services_that_their_activities_call() {
        let kinds = |down: &str| response(vec![answer(down, false)], Timestamp::UNIX_EPOCH).affected_workflows;
        let both = vec![WorkflowKind::UserOnboarding, WorkflowKind::TenantSwitching];
        for (down, expected) in [
            ("auth", &both[..]),
            ("notifications", &both[..1]),
            ("file", &both[..1]),
            ("user", &both),
            ("workflow-service", &both),
        ] {
            assert!(expected.iter().all(|kind| kinds(down).contains(kind)), "{down}");
        }
        assert!(!kinds("notifications").contains(&WorkflowKind::TenantSwitching));
        assert_eq!(response(vec![answer("auth", true)], Timestamp::UNIX_EPOCH).affected_workflows, []);
    }

    #[test]
    fn all_bad_names_are_told_at_once() {
        let named = |body: &Document| {
            let problem = read(body).expect_err("bad").document("", "");
            let errors = problem["errors"].as_array().cloned().unwrap_or_default();
            errors.iter().map(|error| error["pointer"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let pointers = |body: Value| named(&body.into());
        let twice = Document::parse(br#"{"services":["auth"],"services":["billing"]}"#).expect("JSON");
        assert_eq!(named(&twice), ["/services", "/services/0"]);
        let services = json!({ "services": ["auth", "billing", 7, "auth-service", "user", ""] });
        assert_eq!(pointers(services), ["/services/1", "/services/2", "/services/3", "/services/5"]);
        assert_eq!(pointers(json!({ "services": [] })), ["/services"]);
        assert_eq!(pointers(json!({ "services": vec!["auth"; MAX_CHECKED_SERVICES + 1] })), ["/services"]);
        assert_eq!(pointers(json!({ "services": "auth" })), ["/services"]);
        assert_eq!(pointers(json!([])), [""]);
    }

    #[test]
    fn nothing_named_is_everything() {
        for body in [json!({}), json!({ "services": null }), json!({ "other": 1 })] {
            let names: Vec<String> = read(&body.into()).expect("good").into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["auth", "user", "tenant", "file", "notifications", "workflow"]);
        }
    }
}

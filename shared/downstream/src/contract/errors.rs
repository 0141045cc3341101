//! Whether the service refuses what it cannot do, so that the caller knows what to correct.

use serde_json::json;

use super::answer::Answer;
use super::probe::Probe;
use super::request::{Request, Tenant};
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "errors.missing-tenant",
        proves: "a call without X-Tenant-ID is refused with 400",
        change: "refuse every call under /api/v1 that has no X-Tenant-ID, before anything else",
        run: |probe| Box::pin(missing_tenant(probe)),
    },
    Rule {
        name: "errors.missing-key",
        proves: "a call that creates something without Idempotency-Key is refused with 400",
        change: "refuse calls that change one thing unless they have an Idempotency-Key: they could not be repeated \
                 or undone",
        run: |probe| Box::pin(missing_key(probe)),
    },
    Rule {
        name: "errors.bad-field",
        proves: "a field of the wrong type is refused with 422 and named by a JSON pointer",
        change: "answer 422 application/problem+json (RFC 9457) with 'errors': [{\"pointer\": \"/name\", \"detail\": \
                 ...}]",
        run: |probe| Box::pin(bad_field(probe)),
    },
    Rule {
        name: "errors.no-json",
        proves: "a body that is not JSON is refused with 400",
        change: "answer 400 application/problem+json to a body that cannot be parsed, without repeating any of it",
        run: |probe| Box::pin(no_json(probe)),
    },
    Rule {
        name: "errors.unknown-type",
        proves: "a type that the service does not hold is refused with 404",
        change: "answer 404 at /api/v1/data/{type} for types that GET /api/v1/data does not list",
        run: |probe| Box::pin(unknown_type(probe)),
    },
];

/// Whether it is a problem as RFC 9457 has it.
fn is_problem(answer: &Answer) -> bool {
    let content_type = answer.headers.get("content-type").and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/problem+json"))
        && answer.body["status"] == answer.status.as_u16()
}

fn refused(answer: &Answer, status: u16) -> Result<(), Stop> {
    answer.refused(status)?;
    answer.require(is_problem(answer), "application/problem+json whose 'status' is that of the answer")
}

async fn missing_tenant(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key) = (probe.new_id(), probe.new_id());
    probe.remember(probe.example.entity_type, &id);
    let request = probe.creation(&id).with_key(&key).of(Tenant::Unnamed);
    refused(&probe.send(request).await?, 400)
}

async fn missing_key(probe: &mut Probe) -> Result<(), Stop> {
    let id = probe.new_id();
    probe.remember(probe.example.entity_type, &id);
    let request = probe.creation(&id).noted("no Idempotency-Key");
    refused(&probe.send(request).await?, 400)
}

async fn bad_field(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key, field) = (probe.new_id(), probe.new_id(), probe.example.bad_field);
    probe.remember(probe.example.entity_type, &id);
    let (method, path, mut body) = (probe.example.creation)(&probe.target.tenant_id, &id);
    body[field] = 7.into();
    let request = Request::new(method, path).with_body(&body).with_key(&key).noted("a number in place of a field");
    let answer = probe.send(request).await?;
    refused(&answer, 422)?;
    let pointer = format!("/{field}");
    let mut errors = answer.body["errors"].as_array().into_iter().flatten();
    let is_named = errors.any(|error| error["pointer"] == pointer.as_str());
    answer.require(is_named, format!("an entry of 'errors' with the pointer {pointer}"))
}

async fn no_json(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key) = (probe.new_id(), probe.new_id());
    let request = probe.creation(&id).with_key(&key).with_bytes(b"{", "application/json").noted("the body is '{'");
    refused(&probe.send(request).await?, 400)
}

async fn unknown_type(probe: &mut Probe) -> Result<(), Stop> {
    refused(&probe.send(Request::get("/data/contract_check_unknown")).await?, 404)?;
    let body = json!({ "items": [{ "id": probe.new_id(), "key": probe.new_id() }] });
    refused(&probe.send(Request::post("/data/contract_check_unknown/delete", &body)).await?, 404)
}

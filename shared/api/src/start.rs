//! What all starts have in common.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use clock::Instant;
use contracts::audit::AuditAction;
use contracts::document::{Document, canonical};
use contracts::effect::sha256_hex;
use contracts::fields::{BadField, Fields};
use contracts::limits::MAX_IDEMPOTENCY_KEY_CHARS;
use contracts::request::Request;
use contracts::responses::StartResponse;
use contracts::step::WorkflowRef;
use contracts::{EventType, Status, WorkflowKind};
use engine::Engine;
use serde_json::{Value, json};
use store::{
    BlobKey, Created, ExecutionRecord, IdempotencyKey, Inherited, NewEvent, NewExecution, Progress, StoreError,
    StoredRequest, UPLOADS,
};
use tokio::sync::oneshot;

use crate::access::Caller;
use crate::audit::COMPLIANCE_ID;
use crate::get_backup::{self, destroyed};
use crate::headers::{Quotes, members, pair, parts, single, unquoted};
use crate::{Api, Problem, Starting, body, create_bulk_upload};

/// The header by which a client says that a request is the same as another one.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Kept free for answering when a client prefers to wait.
pub(crate) const ANSWERING_TIME: Duration = Duration::from_secs(2);

/// The route of an endpoint that starts what this request asks for.
pub(crate) fn route<R: Request + 'static>(path: &'static str) -> Router<Starting> {
    let handle = move |State(starting): State<Starting>, caller: Caller, headers: HeaderMap, body: Body| async move {
        start::<R>(&starting, path, caller, &headers, body).await
    };
    Router::new().route(path, post(handle))
}

/// Reads a request of this kind, checks it, starts it and answers, after waiting for the end if the client prefers to.
/// `path` is the endpoint's.
async fn start<R: Request>(
    starting: &Starting,
    path: &'static str,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    // The answer must be out before the request's own time is up, however much of it storing and starting takes.
    let time = starting.api.working_time();
    let answer_by = starting.api.clock.instant() + time;
    let mut body = body::json(headers, body).await.map_err(|problem| match R::KIND {
        WorkflowKind::BulkOperation if problem.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            problem.with(&format!("Upload the entities instead: POST {} says where to.", create_bulk_upload::PATH))
        }
        _ => problem,
    })?;
    if R::KIND == WorkflowKind::Compliance
        && let Some(id) = body.value()[COMPLIANCE_ID].as_str()
    {
        caller.request.know_about(COMPLIANCE_ID, id);
    }
    let (request, is_synchronous) = read::<R>(&mut body)?;
    match request.bad_at(starting.api.clock.now()) {
        bad if bad.is_empty() => {}
        bad => return Err(Problem::invalid(bad)),
    }
    check_caller(&request, &caller)?;
    if let Some(why) = request.unavailable() {
        return Err(Problem::not_implemented(why));
    }
    let idempotency = own_key(&request, headers, path, body.value())?;
    let tenant_id = caller.tenant_id.clone();
    let warnings = request.warnings();
    let mean = starting.durations.mean(&starting.api, &tenant_id, R::KIND);
    let (record, mean) = futures::join!(begin(starting, &request, caller, idempotency), mean);
    let record = record?;
    refuse_removed(starting, &request, &record).await?;
    let preferred = preferred_wait(headers);
    let Some(wait) = preferred.or((is_synchronous || R::IS_AWAITED).then_some(Duration::MAX)) else {
        return Ok(answer(&record, mean, warnings, R::IS_AWAITED));
    };
    let wait = starting.api.granted(wait);
    let deadline = (starting.api.clock.instant() + wait).min(answer_by);
    let record = wait_for_end(&starting.api, &tenant_id, record, deadline).await;
    let mut answer = answer(&record, mean, warnings, R::IS_AWAITED);
    if preferred.is_some() {
        let applied =
            HeaderValue::from_str(&format!("wait={}", wait.as_secs())).unwrap_or(HeaderValue::from_static("wait"));
        answer.headers_mut().insert(HeaderName::from_static("preference-applied"), applied);
    }
    Ok(answer)
}

/// Stores the start and begins it. The request is checked, and the caller may ask for it.
pub(crate) async fn begin<R: Request>(
    starting: &Starting,
    request: &R,
    caller: Caller,
    idempotency: Option<IdempotencyKey>,
) -> Result<ExecutionRecord, Problem> {
    let tenant_id = caller.tenant_id.clone();
    refuse_if_full(&starting.api, &tenant_id, idempotency.as_ref()).await?;
    check_upload(starting, request, &tenant_id, idempotency.as_ref()).await?;
    check_backup(starting, request, &tenant_id, idempotency.as_ref()).await?;
    let engine = starting.api.engines.of(starting.engine).ok_or_else(Problem::internal)?;
    let mut new = new_execution(starting, request, caller, idempotency)?;
    engine.admit(&mut new).await?;
    // Durable before the record that needs it.
    new.request = StoredRequest::keep(&tenant_id, json!(request), &*starting.blobs).await?;
    match create(starting, Arc::clone(engine), new).await? {
        Created::New(record) | Created::Existing(record) => Ok(record),
        Created::KeyReused => {
            let what = request.own_id().map_or(IDEMPOTENCY_KEY, |(field, _)| field);
            Err(Problem::key_reused(what))
        }
        Created::UploadUsed { by } => Err(Problem::upload_used(&by)),
        Created::NameUsed { by } => Err(Problem::name_used(request.own_id().map_or("id", |(field, _)| field), &by)),
        Created::Full(full) => Err(Problem::full(full)),
    }
}

/// What a start is about must have been uploaded. One that repeats an earlier start needs it no more.
async fn check_upload(
    starting: &Starting,
    request: &impl Request,
    tenant_id: &str,
    key: Option<&IdempotencyKey>,
) -> Result<(), Problem> {
    let Some((pointer, upload_id)) = request.upload() else { return Ok(()) };
    let blob = BlobKey::new(tenant_id, &[UPLOADS, upload_id]).ok_or_else(Problem::internal)?;
    // Only an empty blob is left where a job has used it.
    if starting.blobs.size(&blob).await?.is_some_and(|bytes| bytes > 0) || repeats(starting, tenant_id, key).await? {
        return Ok(());
    }
    if let Some(by) = starting.api.executions.used_by(tenant_id, upload_id).await? {
        return Err(Problem::upload_used(&by));
    }
    let detail = "is no upload of this tenant, or nothing was uploaded, or it is long ago that a job has used it";
    let detail = detail.to_owned();
    Err(Problem::invalid(vec![BadField { pointer: pointer.to_owned(), detail }]))
}

/// What a start reads may be a backup that is not there. One that repeats an earlier start needs it no more.
async fn check_backup(
    starting: &Starting,
    request: &impl Request,
    tenant_id: &str,
    key: Option<&IdempotencyKey>,
) -> Result<(), Problem> {
    let Some((owner, backup_id)) = request.read_backup() else { return Ok(()) };
    if is_kept(starting, owner, backup_id).await? || repeats(starting, tenant_id, key).await? {
        return Ok(());
    }
    let destroyed = destroyed(&*starting.erasures, owner, backup_id, starting.api.clock.now()).await?;
    Err(destroyed.unwrap_or_else(get_backup::none))
}

/// An id stands for one backup. Where that has been made and removed, the execution that made it is no answer.
async fn refuse_removed(starting: &Starting, request: &impl Request, record: &ExecutionRecord) -> Result<(), Problem> {
    let Some((owner, backup_id)) = request.made_backup().filter(|_| record.status == Status::Completed) else {
        return Ok(());
    };
    if is_kept(starting, owner, backup_id).await? {
        return Ok(());
    }
    let detail = format!("The backup {backup_id} was made, and has been removed: ask for one with another backup_id.");
    Err(Problem::conflict(&record.id, detail))
}

async fn is_kept(starting: &Starting, owner: &str, backup_id: &str) -> Result<bool, Problem> {
    let backup = starting.backups.backup(owner, backup_id).await?;
    Ok(backup.is_some_and(|backup| backup.removing_since.is_none()))
}

/// Whether there was a start with this key before.
async fn repeats(starting: &Starting, tenant_id: &str, key: Option<&IdempotencyKey>) -> Result<bool, Problem> {
    let Some(key) = key else { return Ok(false) };
    Ok(starting.api.executions.has_started(tenant_id, key).await?)
}

/// Before anything is prepared or kept for a start that will not be accepted.
pub(crate) async fn refuse_if_full(api: &Api, tenant_id: &str, key: Option<&IdempotencyKey>) -> Result<(), Problem> {
    match api.executions.full(tenant_id, key).await? {
        Some(full) => Err(Problem::full(full)),
        None => Ok(()),
    }
}

/// What is asked for, and whether the answer is to wait for the end as long as it may. `synchronous` is taken out of
/// the body: it says how to answer, so it is neither kept nor part of what an `Idempotency-Key` stands for.
fn read<R: Request>(body: &mut Document) -> Result<(R, bool), Problem> {
    let synchronous = body.take("synchronous").map(|value| ("synchronous".to_owned(), value));
    let synchronous = Value::Object(synchronous.into_iter().collect());
    let mut fields = Fields::new(&synchronous);
    let is_synchronous = fields.flag("synchronous");
    match (contracts::request::read(body), fields.finish()) {
        (Ok(request), Ok(())) => Ok((request, is_synchronous)),
        (request, synchronous) => {
            let bad = request.err().into_iter().chain(synchronous.err());
            Err(Problem::invalid(bad.flatten().collect()))
        }
    }
}

/// Whether the caller may ask for this: the tenants that it is about are the caller's, one of them is the header's, and
/// the user for whom it acts is the caller.
pub(crate) fn check_caller(request: &impl Request, caller: &Caller) -> Result<(), Problem> {
    let tenants = request.tenants();
    if let Some((field, _)) = request.own_tenant().filter(|(_, tenant)| *tenant != caller.tenant_id) {
        return Err(Problem::forbidden(format!("The tenant of the X-Tenant-ID header is not the body's {field}.")));
    }
    if !tenants.iter().any(|(_, tenant)| *tenant == caller.tenant_id) {
        let fields: Vec<&str> = tenants.iter().map(|(field, _)| *field).collect();
        let detail = format!("The tenant of the X-Tenant-ID header is not the body's {}.", fields.join(" or "));
        return Err(Problem::forbidden(detail));
    }
    if let Some((field, _)) = tenants.iter().find(|(_, tenant)| !caller.may_act_in(tenant)) {
        return Err(Problem::forbidden(format!("The token is not for the tenant in the body's {field}.")));
    }
    match request.acts_for() {
        Some(user_id) if !caller.may_act_for(user_id) => {
            Err(Problem::forbidden("The body's user_id is another user than the one who acts."))
        }
        _ => Ok(()),
    }
}

/// Does what must not stop half way: it goes on when the client hangs up meanwhile.
pub(crate) async fn to_the_end<T: Send + 'static>(
    api: &Api,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let (reply, answer) = oneshot::channel();
    let clock = Arc::clone(&api.clock);
    clock::spawn(&api.clock, async move {
        let _ = reply.send((work.await, clock.busy()));
    });
    match clock::park(&*api.clock, answer).await {
        Ok((done, _busy)) => done,
        Err(_) => Err(StoreError::InDoubt("it panicked".to_owned()).into()),
    }
}

/// Stores the start and begins it, also when the client hangs up meanwhile.
pub(crate) async fn create(
    starting: &Starting,
    engine: Arc<dyn Engine>,
    new: NewExecution,
) -> Result<Created, Problem> {
    let executions = Arc::clone(&starting.api.executions);
    let work = async move {
        let created = executions.create(new).await?;
        // The record is the outbox: it is accepted, whether or not the engine hears of it now. Starting one twice is
        // starting it once.
        let (Created::New(record) | Created::Existing(record)) = &created else { return Ok(created) };
        // One that another engine is to run, from before a switch, is the reconciler's.
        let is_ours = record.engine == engine.kind();
        if (matches!(created, Created::New(_))
            || record.status == Status::Pending && record.damage.is_none() && is_ours)
            && let Err(error) = engine.start(record).await
        {
            tracing::error!(workflow_id = record.id, %error, "not started yet; reconciling will start it");
        }
        Ok(created)
    };
    to_the_end(&starting.api, work).await
}

fn new_execution<R: Request>(
    starting: &Starting,
    request: &R,
    caller: Caller,
    idempotency: Option<IdempotencyKey>,
) -> Result<NewExecution, Problem> {
    let kind = R::KIND;
    let options = request.options();
    let steps = workflows::workflow(kind).ok_or_else(Problem::internal)?.steps_with(&options);
    let now = starting.api.clock.now();
    let id = kind.new_execution_id(now);
    let audit = caller.audit_row(AuditAction::StartWorkflow, &id, now);
    let reference = WorkflowRef {
        id: id.clone(),
        kind,
        tenant_id: caller.tenant_id.clone(),
        user_id: caller.user_id.clone(),
        started_at: now,
        traceparent: caller.traceparent,
    };
    let progress = Progress {
        current_step: steps.first().map(|step| step.state.clone()).unwrap_or_default(),
        total_steps: steps.len() as u32,
        completed_steps: 0,
        status_message: None,
    };
    let details = json!({ "workflow_type": kind, "input": null });
    Ok(NewExecution {
        tenant_id: caller.tenant_id,
        effect_scope: id.clone(),
        id,
        kind,
        engine: starting.engine,
        user_id: caller.user_id,
        started_at: now,
        deadline_at: R::HAS_DEADLINE.then(|| clock::after(&*starting.api.clock, starting.default_timeout)),
        status: Status::Pending,
        input: json!({ "workflow": reference, "options": options }),
        request: StoredRequest::Inline(Value::Null),
        idempotency,
        progress,
        history: vec![NewEvent { event_type: EventType::WorkflowExecutionStarted, at: now, details }],
        journal: None,
        begins_pivot: false,
        upload_id: request.upload().map(|(_, upload_id)| upload_id.to_owned()),
        retry_of: None,
        inherited: Inherited::default(),
        cancel_requested_at: None,
        audit: Some(audit),
    })
}

/// The execution once it has ended, or as it is at the deadline or when the process stops.
async fn wait_for_end(api: &Api, tenant_id: &str, mut record: ExecutionRecord, deadline: Instant) -> ExecutionRecord {
    let mut pause = Duration::from_millis(10);
    while record.status.is_open() && api.clock.instant() < deadline {
        let next = (api.clock.instant() + pause).min(deadline);
        let goes_on = api.streaming.sleep_until(&*api.clock, next).await;
        pause = (pause * 2).min(Duration::from_millis(250));
        match api.executions.get(tenant_id, &record.id).await {
            Ok(Some(newer)) => record = newer,
            // It is accepted, whatever becomes of reading it: the client must hear so.
            Ok(None) | Err(_) => break,
        }
        if !goes_on {
            break;
        }
    }
    record
}

/// 202 while it runs, 200 once it has ended; with how long executions of its kind take.
fn answer(record: &ExecutionRecord, mean: Option<Duration>, warnings: Vec<String>, with_result: bool) -> Response {
    let status_url = format!("/api/v1/workflows/{}/status", record.id);
    let body = StartResponse {
        workflow_id: record.id.clone(),
        operation_id: record.id.clone(),
        status: record.status.reported().as_snake_case().to_owned(),
        result: record.result.clone(),
        error: record.failure.as_ref().map(contracts::responses::Failure::summary),
        started_at: record.started_at,
        status_url: status_url.clone(),
        stream_url: format!("/api/v1/workflows/{}/stream", record.id),
        estimated_duration_seconds: mean.map(|mean| mean.as_millis().div_ceil(1_000) as u64),
        warnings,
    };
    let mut body = json!(body);
    // Existing clients of these endpoints read the result there.
    if let (true, Some(Value::Object(result)), Some(body)) = (with_result, &record.result, body.as_object_mut()) {
        for (name, value) in result {
            body.entry(name).or_insert_with(|| value.clone());
        }
    }
    let status = if record.status.is_open() { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    if let Ok(url) = HeaderValue::from_str(&status_url) {
        headers.insert(header::LOCATION, url.clone());
        headers.insert(HeaderName::from_static("operation-location"), url);
    }
    if record.status.is_open() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// `Prefer: wait=N` (RFC 7240): what cannot be understood is ignored, and of a
/// preference that comes more than once all but the first.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = members(headers, "prefer", Quotes::Escaping);
    let mut preferences = preferences.filter_map(|preference| pair(parts(preference, ';', Quotes::Escaping).next()?));
    let (_, seconds) = preferences.find(|(name, _)| name == "wait")?;
    let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| seconds.parse().map_or(Duration::MAX, Duration::from_secs))
}

/// What makes a start the same as another one: the request's own id, if it has one, else the client's key.
fn own_key(
    request: &impl Request,
    headers: &HeaderMap,
    path: &str,
    body: &Value,
) -> Result<Option<IdempotencyKey>, Problem> {
    let of_client = idempotency_key(headers, path, body)?;
    let Some((field, id)) = request.own_id() else { return Ok(of_client) };
    Ok(Some(key_of_own_id(path, field, id, body)))
}

/// The key of a request that has an id of its own.
pub(crate) fn key_of_own_id(path: &str, field: &str, id: &str, body: &Value) -> IdempotencyKey {
    IdempotencyKey { route: format!("POST {path}"), key: format!("{field}:{id}"), body_hash: hash(body) }
}

fn hash(body: &Value) -> String {
    sha256_hex(canonical(body).to_string().as_bytes())
}

/// What makes a request the same as another one, if the client says so. A key may be quoted, as the draft
/// `draft-ietf-httpapi-idempotency-key-header` has it; the quotes are no part of it.
pub(crate) fn idempotency_key(
    headers: &HeaderMap,
    path: &str,
    body: &Value,
) -> Result<Option<IdempotencyKey>, Problem> {
    let unusable = || {
        let detail =
            format!("Send one {IDEMPOTENCY_KEY} of 1 to {MAX_IDEMPOTENCY_KEY_CHARS} ASCII characters, no comma.");
        Problem::malformed(detail)
    };
    let Some(value) = single(headers, IDEMPOTENCY_KEY).map_err(|_| unusable())? else { return Ok(None) };
    let key = match value.starts_with('"') {
        true => unquoted(value),
        // API Gateway joins two headers of one name with a comma.
        false => Some(value.into()).filter(|_| !value.contains(',')),
    };
    let key = key.filter(|key| (1..=MAX_IDEMPOTENCY_KEY_CHARS).contains(&key.len())).ok_or_else(unusable)?;
    Ok(Some(IdempotencyKey { route: format!("POST {path}"), key: key.into_owned(), body_hash: hash(body) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn preferences() {
        for (values, expected) in [
            (&[][..], None),
            (&["wait=5"], Some(5)),
            (&["WAIT=5"], Some(5)),
            (&["wait=\"5\""], Some(5)),
            (&["wait = 5"], Some(5)),
            (&["wait=0"], Some(0)),
            (&["respond-async, wait=20; foo=\"bar\""], Some(20)),
            (&["respond-async", "wait=7"], Some(7)),
            (&["foo=\"a, wait=5\", wait=6"], Some(6)),
            (&["foo; wait=5, wait=6"], Some(6)),
            (&["foo=\"\\\", wait=5\", wait=6"], Some(6)),
            (&["wait=5, wait=6"], Some(5)),
            (&["wait=5", "wait=6"], Some(5)),
            (&["wait=x, wait=6"], None),
            (&["wait"], None),
            (&["wait=+5"], None),
            (&["wait=-5"], None),
            (&["wait=1.5"], None),
            (&["waiting=5"], None),
            (&["wait=600"], Some(600)),
            (&["wait=99999999999999999999999"], Some(u64::MAX)),
        ] {
            let wait = preferred_wait(&of("prefer", values)).map(|wait| wait.as_secs());
            assert_eq!(wait, expected, "{values:?}");
        }
    }

    #[test]
    fn idempotency_keys() {
        for (value, expected) in [
            ("key-1", "key-1"),
            (" key 1 ", "key 1"),
            ("\"key-1\"", "key-1"),
            ("\"a,b\"", "a,b"),
            ("\"a\\\"b\"", "a\"b"),
            ("a\"b", "a\"b"),
        ] {
            let key = idempotency_key(&of("idempotency-key", &[value]), "/", &Value::Null).expect("good");
            assert_eq!(key.map(|key| key.key).as_deref(), Some(expected), "{value}");
        }
        for bad in [&[""][..], &["a,b"], &["\"\""], &["\"a\", \"b\""], &["\"a"], &["\"a\"b"], &["a", "a"], &["\u{e9}"]]
        {
            assert!(idempotency_key(&of("idempotency-key", bad), "/", &Value::Null).is_err(), "{bad:?}");
        }
        assert!(idempotency_key(&HeaderMap::new(), "/", &Value::Null).is_ok_and(|key| key.is_none()));
    }

    #[test]
    fn a_key_stands_for_one_body() {
        let hash = |body: &Value| {
            let key = idempotency_key(&of("idempotency-key", &["k"]), "/", body).expect("good");
            key.map(|key| key.body_hash)
        };
        let body = json!({ "user_name": "A", "role": "user", "list": [1, 2], "inner": { "a": 1, "b": 2 } });
        let same = json!({ "inner": { "b": 2, "a": 1 }, "list": [1, 2], "role": "user", "user_name": "A" });
        assert_eq!(hash(&body), hash(&same));
        for (pointer, other) in [
            ("/user_name", json!("a")),
            ("/list", json!([2, 1])),
            ("/inner", json!({ "a": 1 })),
            ("/inner", json!({ "a": 1, "b": 2, "c": null })),
            ("/role", Value::Null),
        ] {
            let mut changed = body.clone();
            changed.pointer_mut(pointer).map(|place| *place = other).expect("it is there");
            assert_ne!(hash(&body), hash(&changed), "{changed}");
        }
        let mut longer = body.clone();
        longer["nobody knows it"] = Value::Null;
        assert_ne!(hash(&body), hash(&longer), "an unknown field is part of the body");
    }
}

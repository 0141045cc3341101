//! What operators do to executions: the same for the endpoint of one execution and for the one of many.

use std::sync::Arc;

use contracts::audit::AuditAction;
use contracts::backup::{BackupRequest, RestoreRequest};
use contracts::bulk_operation::BulkOperationRequest;
use contracts::compliance::ComplianceWorkflowRequest;
use contracts::data_migration::DataMigrationRequest;
use contracts::request::Request;
use contracts::step::{StepPath, WorkflowRef};
use contracts::tenant_switching::TenantSwitchingRequest;
use contracts::user_onboarding::UserOnboardingRequest;
use contracts::{EngineKind, ErrorName, Event, EventType, Status, Timestamp, WorkflowKind};
use engine::EngineError;
use serde_json::{Value, json};
use store::{
    Control, Controlled, Created, EngineEnd, ExecutionRecord, IdempotencyKey, Inherited, NewAuditRow, NewEvent,
    NewExecution, Progress, RequestError, Retried, RetryOf, StoreError, inherit,
};
use workflows::Workflow;

use crate::access::Caller;
use crate::start::{IDEMPOTENCY_KEY, check_caller, create, refuse_if_full, to_the_end};
use crate::{Api, Operating, Problem, Starting, damage};

/// Events of a history that are read at once.
const EVENTS_READ: u32 = 200;

/// Asks it by the record, then tells the engine that runs the execution, where that is reached from here: an execution
/// that a pause holds is to look at once. The record is what counts, so an engine that is not reached changes nothing.
pub(crate) async fn control(
    api: &Api,
    caller: &Caller,
    id: &str,
    control: Control,
    reason: Option<String>,
    now: Timestamp,
) -> Result<ExecutionRecord, Problem> {
    let action = match control {
        Control::Cancel => AuditAction::CancelWorkflow,
        Control::Pause => AuditAction::PauseWorkflow,
        Control::Resume => AuditAction::ResumeWorkflow,
    };
    let audit = NewAuditRow { reason, ..caller.audit_row(action, id, now) };
    let (task, tenant_id, id) = (api.clone(), caller.tenant_id.clone(), id.to_owned());
    let work = async move {
        if let Some(why) = damage::in_quarantine(&task, &id) {
            let record = task.executions.get(&tenant_id, &id).await?.ok_or_else(|| Problem::no_workflow(&id))?;
            if record.status.is_open() {
                return Err(damage::refused(&id, &why));
            }
        }
        let controlled = match task.executions.control(&tenant_id, &id, control, now, Some(audit)).await {
            // The record tells more about it.
            Err(error @ StoreError::Inconsistent(_)) => {
                let found = task.executions.get(&tenant_id, &id).await?.filter(|record| record.damage.is_some());
                Controlled::Refused(found.ok_or_else(|| damage::unreadable(&id, error))?)
            }
            controlled => controlled?,
        };
        match controlled {
            Controlled::Accepted(record) => {
                if let Some(engine) = task.engines.of(record.engine)
                    && let Err(error) = engine.wake(&record).await
                {
                    tracing::warn!(workflow_id = id, %error, "the engine was not told; it looks by itself");
                }
                Ok(record)
            }
            Controlled::NotFound => Err(Problem::no_workflow(&id)),
            Controlled::Refused(record) => match damage::of(&task, &record).filter(|_| record.status.is_open()) {
                Some(why) => Err(damage::refused(&id, &why)),
                None => Err(Problem::conflict(&id, refusal(control, &record))),
            },
        }
    };
    to_the_end(api, work).await
}

/// Why an execution is in no state for a control.
pub(crate) fn refusal(control: Control, record: &ExecutionRecord) -> String {
    let status = record.status.reported();
    if !record.status.is_open() {
        return has_ended(record);
    }
    match control {
        Control::Resume => format!("It is {status}, not Paused."),
        Control::Pause if record.cancel_requested_at.is_some() => {
            format!("It is {status}, and is being cancelled.")
        }
        Control::Pause | Control::Cancel => {
            format!("It is {status}, and its last step or its undoing has begun, which nothing may interrupt.")
        }
    }
}

pub(crate) fn has_ended(record: &ExecutionRecord) -> String {
    format!("It has ended: {}.", record.status)
}

/// When what was asked of an execution acts at the latest.
pub(crate) fn acts_within(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Embedded => "at once",
        EngineKind::StepFunctions | EngineKind::Temporal => "within 5 minutes",
    }
}

/// An execution that was stopped, and what of it may still stand.
pub(crate) struct Terminated {
    pub(crate) record: ExecutionRecord,
    pub(crate) standing: Vec<StepPath>,
    /// Why more than that may stand, if what is stored does not tell all.
    pub(crate) unknown: Option<String>,
}

/// Stops an execution where it is; nothing is undone.
pub(crate) async fn terminate(
    operating: &Operating,
    caller: &Caller,
    id: &str,
    reason: Option<String>,
) -> Result<Terminated, Problem> {
    let api = &operating.starting.api;
    let tenant_id = &caller.tenant_id;
    let record = api.executions.get(tenant_id, id).await?.ok_or_else(|| Problem::no_workflow(id))?;
    if !record.status.is_open() {
        return Err(Problem::conflict(id, has_ended(&record)));
    }
    let audit = NewAuditRow { reason, ..caller.audit_row(AuditAction::TerminateWorkflow, id, api.clock.now()) };
    let (task, running) = (operating.clone(), record);
    to_the_end(api, async move { stop(&task, &running, audit).await }).await?;
    let record = match api.executions.get(tenant_id, id).await {
        Ok(record) => record.ok_or_else(|| Problem::no_workflow(id))?,
        // It may just have ended by itself.
        Err(error) => return Err(StoreError::InDoubt(error.to_string()).into()),
    };
    if record.status != Status::Terminated {
        return Err(Problem::conflict(id, has_ended(&record)));
    }
    let Left { inherited, unknown } = left_standing(api, &record).await.unwrap_or_else(|problem| {
        tracing::error!(workflow_id = id, ?problem, "what a terminated execution left cannot be read");
        Left { unknown: Some("its history cannot be read now".to_owned()), ..Left::default() }
    });
    let mut standing: Vec<StepPath> = inherited.standing().into_iter().cloned().collect();
    standing.extend(batches_under_way(api, &record).await);
    Ok(Terminated { record, standing, unknown })
}

/// The step whose batches were under way: what they did is in no history.
async fn batches_under_way(api: &Api, record: &ExecutionRecord) -> Option<StepPath> {
    let workflow = workflows::workflow(record.kind).filter(|workflow| workflow.has_batches())?;
    let estimated = api.executions.get_estimated(&record.tenant_id, &record.id).await.ok().flatten()?;
    let has_begun = estimated.items.is_some_and(|items| items.total > 0);
    let name = workflow.map_after(&record.progress.current_step).filter(|_| has_begun)?;
    Some(StepPath { name: name.to_owned(), item: None })
}

/// What an execution left, as far as what is stored of it can be read.
async fn left_standing(api: &Api, record: &ExecutionRecord) -> Result<Left, Problem> {
    match api.executions.retried(&record.tenant_id, &record.id).await {
        Ok(Some(retried)) => left_by(api, &retried).await,
        Ok(None) => Ok(Left::default()),
        Err(StoreError::Inconsistent(problem)) => {
            let earlier = Inherited::default();
            let left = left_in_history(api, record, &earlier, &record.id).await?;
            Ok(Left { unknown: Some(problem), ..left })
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends an execution in the record and at its engine.
async fn stop(operating: &Operating, record: &ExecutionRecord, audit: NewAuditRow) -> Result<(), Problem> {
    let engine = operating.starting.api.engines.of(record.engine).ok_or_else(|| {
        Problem::unavailable(format!("It runs on {}, and this server is not connected to that engine.", record.engine))
    })?;
    // The reason stays in the audit log: what an engine is told it keeps for months.
    let told = "terminated by an operator";
    if record.engine == EngineKind::Embedded {
        return match engine.terminate(record, told, Some(audit)).await {
            Err(EngineError::Store(error)) => Err(damage::unreadable(&record.id, error)),
            stopped => Ok(stopped?),
        };
    }
    let (tenant_id, id, now) = (&record.tenant_id, &record.id, audit.at);
    let ended = operating.ends.record_end(tenant_id, id, &EngineEnd::Terminated, now, Some(audit)).await;
    if ended.map_err(|error| damage::unreadable(id, error))?
        && let Err(error) = engine.terminate(record, told, None).await
    {
        // From the record on nothing begins any more, so it only ends later there.
        tracing::error!(workflow_id = id, tenant_id, %error, "the engine was not told of the termination");
    }
    Ok(())
}

/// What a retry is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retrying {
    /// What did not complete.
    Everything,
    /// Of a job in batches: what failed, and not what was never tried.
    OnlyFailed,
    /// Nothing: it undoes what still stands.
    Undo,
    /// Nothing: it takes back what was migrated.
    Reverse,
}

impl Retrying {
    /// Whether the new execution does nothing but undo.
    fn undoes(self) -> bool {
        matches!(self, Self::Undo | Self::Reverse)
    }
}

/// Why an execution cannot be reversed, if it cannot.
fn not_reversible(record: &ExecutionRecord, now: Timestamp) -> Option<String> {
    let status = record.status.reported();
    let until = record.result.as_ref().and_then(|result| result["reversible_until"].as_str());
    let until = until.and_then(|until| until.parse::<Timestamp>().ok());
    let days = record.input["options"]["reversible_days"].as_u64();
    // What was ended by force, or could not be undone, has left something.
    let residue =
        record.failure.as_ref().is_some_and(|failure| failure.error == ErrorName::CompensationFailed.as_str());
    let has_left = record.status == Status::Terminated || residue;
    match (&record.retried_as, until) {
        _ if record.kind != WorkflowKind::DataMigration => {
            Some("It is no data migration: only those can be reversed.".to_owned())
        }
        _ if record.status.is_open() => Some(format!("It is {status}: cancel it instead; what it did is undone then.")),
        _ if !record.input["options"]["reverses"].is_null() => {
            Some("It has reversed another one, and cannot be reversed itself.".to_owned())
        }
        (Some(other), _) => Some(format!("{other} has reversed or retried it.")),
        (None, None) if has_left => None,
        (None, None) if days == Some(0) => Some("It was asked for with reversible_days 0.".to_owned()),
        (None, None) => Some(format!("It is {status}, and there is nothing to take back.")),
        (None, Some(until)) if until < now => Some(format!("It could be reversed until {until}.")),
        (None, Some(_)) => None,
    }
}

/// Why an execution cannot be retried, if it cannot.
pub(crate) fn not_retriable(record: &ExecutionRecord, how: Retrying) -> Option<String> {
    let has_batches = workflows::workflow(record.kind).is_some_and(Workflow::has_batches);
    let is_bulk = record.kind == WorkflowKind::BulkOperation;
    let undoes = how == Retrying::Undo;
    match (record.status, &record.retried_as) {
        _ if is_bulk && undoes => {
            Some("It works on each entity by itself, and what was done to one is not undone.".to_owned())
        }
        _ if has_batches && undoes => Some("What it did in batches is not undone by a retry.".to_owned()),
        _ if !is_bulk && how == Retrying::OnlyFailed => {
            Some("It is no bulk operation: retry it without \"only\".".to_owned())
        }
        (status, _) if status.is_open() => {
            Some(format!("It is {}: only what has ended without completing can be retried.", status.reported()))
        }
        (Status::Terminated, None) if how == Retrying::OnlyFailed => Some(
            "It was terminated, so nobody knows what failed. Retry it without \"only\": what was done is not done again."
                .to_owned(),
        ),
        (_, None) if how == Retrying::OnlyFailed => {
            // Rows that are no entities have failed too, and cannot be tried again.
            let has_failed = record.result.as_ref().is_some_and(|result| result["files"]["failed.jsonl"].is_string());
            (!has_failed).then(|| {
                "None of the entities that failed can be tried again. Retry it without \"only\", if it did not try them all."
                    .to_owned()
            })
        }
        (Status::Completed, None) if is_bulk => {
            Some("It has completed. What failed is tried again by {\"only\": \"failed\"}.".to_owned())
        }
        (Status::Completed, _) if how != Retrying::OnlyFailed => {
            Some("It has completed: there is nothing to retry.".to_owned())
        }
        (_, Some(retry)) if undoes => Some(format!("It has been retried as {retry}: undo that one.")),
        (_, Some(retry)) => Some(format!("It has been retried as {retry}: retry that one.")),
        (_, None) => None,
    }
}

/// Starts a new execution of what did not complete, which takes over what of the earlier one may still stand, or only
/// undoes that. An execution is retried once: the same again is the same retry.
pub(crate) async fn retry(
    starting: &Starting,
    caller: &Caller,
    id: &str,
    how: Retrying,
    reason: Option<String>,
    idempotency: Option<IdempotencyKey>,
) -> Result<ExecutionRecord, Problem> {
    let undoes = how == Retrying::Undo;
    let api = &starting.api;
    let now = api.clock.now();
    let retried = match api.executions.retried(&caller.tenant_id, id).await {
        Ok(Some(retried)) => retried,
        Ok(None) => return Err(not_kept(api, caller, id).await?),
        Err(StoreError::Inconsistent(problem)) => return Err(not_known(id, &problem)),
        Err(error) => return Err(error.into()),
    };
    let record = &retried.record;
    if let Some(damage) = &record.damage {
        return Err(not_known(id, &damage.why));
    }
    let request = load_request(starting, caller, &retried).await?;
    check_request(record, &request, caller)?;
    let earlier = record.retried_as.as_ref().filter(|_| !record.status.is_open());
    if let (Some(existing), None) = (earlier, &idempotency) {
        return earlier_retry(api, caller, record, existing, how).await;
    }
    // With a key the store tells, which compares the body with the one that the key came with before.
    let is_repeated = earlier.is_some();
    let refusal = match how {
        Retrying::Reverse => not_reversible(record, now),
        Retrying::Everything | Retrying::OnlyFailed | Retrying::Undo => not_retriable(record, how),
    };
    if let Some(why) = refusal.filter(|_| !is_repeated) {
        return Err(Problem::conflict(id, why));
    }
    // A retry is a start. What only undoes is not: it is never refused for this.
    if !undoes && !is_repeated {
        refuse_if_full(api, &caller.tenant_id, idempotency.as_ref()).await?;
    }
    let Left { inherited, unknown } = left_by(api, &retried).await?;
    if let Some(problem) = unknown {
        return Err(not_known(id, &problem));
    }
    if undoes && !is_repeated && inherited.undoable().is_empty() {
        return Err(Problem::conflict(
            id,
            format!("{} Nothing that it did still stands, so there is nothing to undo.", has_ended(record)),
        ));
    }
    let engine = api.engines.of(starting.engine).ok_or_else(Problem::internal)?;
    let mut new = new_retry(starting, caller, &retried, inherited, how)?;
    new.idempotency = idempotency;
    new.audit = new.audit.map(|row| NewAuditRow { reason, ..row });
    engine.admit(&mut new).await?;
    match create(starting, Arc::clone(engine), new).await? {
        Created::New(retry) => Ok(retry),
        Created::Existing(retry) => same_retry(record, retry, how),
        Created::KeyReused => Err(Problem::key_reused(IDEMPOTENCY_KEY)),
        Created::UploadUsed { by } => Err(Problem::upload_used(&by)),
        // A retry is of the same request.
        Created::NameUsed { .. } => Err(Problem::internal()),
        Created::Full(full) => Err(Problem::full(full)),
    }
}

/// The answer where a retry would go on from what nobody knows.
fn not_known(id: &str, problem: &str) -> Problem {
    Problem::conflict(id, format!("What is stored of it is damaged, so it cannot be retried: {problem}."))
}

/// The answer where what was asked for is kept no more.
async fn not_kept(api: &Api, caller: &Caller, id: &str) -> Result<Problem, Problem> {
    Ok(match api.executions.get(&caller.tenant_id, id).await? {
        Some(record) => Problem::conflict(
            id,
            format!("{} Its request is not kept any more, so it cannot be retried.", has_ended(&record)),
        ),
        None => Problem::no_workflow(id),
    })
}

async fn load_request(starting: &Starting, caller: &Caller, retried: &Retried) -> Result<Value, Problem> {
    let id = &retried.record.id;
    match retried.request.load(&caller.tenant_id, &*starting.blobs).await {
        // An erasure of the person whom it named forgets the request.
        Ok(Value::Null) | Err(RequestError::Lost(_)) => {
            let ended = has_ended(&retried.record);
            Err(Problem::conflict(id, format!("{ended} Its request is not kept any more, so it cannot be retried.")))
        }
        Ok(request) => Ok(request),
        Err(RequestError::Store(error)) => Err(error.into()),
    }
}

/// Who retries must be allowed to ask for the same.
fn check_request(record: &ExecutionRecord, request: &Value, caller: &Caller) -> Result<(), Problem> {
    fn check<R: Request>(id: &str, request: &Value, caller: &Caller) -> Result<(), Problem> {
        check_caller(&stored::<R>(id, request)?, caller)
    }
    match record.kind {
        WorkflowKind::UserOnboarding => check::<UserOnboardingRequest>(&record.id, request, caller),
        WorkflowKind::TenantSwitching => check::<TenantSwitchingRequest>(&record.id, request, caller),
        WorkflowKind::BulkOperation => check::<BulkOperationRequest>(&record.id, request, caller),
        WorkflowKind::CrossServiceBackup => check::<BackupRequest>(&record.id, request, caller),
        WorkflowKind::CrossServiceRestore => check::<RestoreRequest>(&record.id, request, caller),
        WorkflowKind::DataMigration => check::<DataMigrationRequest>(&record.id, request, caller),
        WorkflowKind::Compliance => check::<ComplianceWorkflowRequest>(&record.id, request, caller),
    }
}

/// Whether executions of this kind end after the time limit of workflows.
fn has_deadline(kind: WorkflowKind) -> bool {
    match kind {
        WorkflowKind::BulkOperation => BulkOperationRequest::HAS_DEADLINE,
        WorkflowKind::CrossServiceBackup => BackupRequest::HAS_DEADLINE,
        WorkflowKind::CrossServiceRestore => RestoreRequest::HAS_DEADLINE,
        WorkflowKind::DataMigration => DataMigrationRequest::HAS_DEADLINE,
        WorkflowKind::Compliance => ComplianceWorkflowRequest::HAS_DEADLINE,
        WorkflowKind::UserOnboarding | WorkflowKind::TenantSwitching => true,
    }
}

/// What the plan of a job in batches needs to know of the execution that it retries: the keys of entities stay those of the
/// first one.
fn origin(record: &ExecutionRecord, how: Retrying) -> Value {
    let first = record.input["options"]["origin"]["effect_scope"].as_str().unwrap_or(&record.id);
    json!({ "execution_id": record.id, "effect_scope": first, "only_failed": how == Retrying::OnlyFailed })
}

/// A request that was accepted. Its fields are not looked at again: the rules may have become stricter since.
fn stored<R: Request>(id: &str, request: &Value) -> Result<R, Problem> {
    let read = serde_json::from_value(request.clone());
    read.map_err(|error| not_known(id, &format!("its request ({error})")))
}

/// The retry that an execution has, if it is what is asked for.
pub(crate) async fn earlier_retry(
    api: &Api,
    caller: &Caller,
    record: &ExecutionRecord,
    existing: &str,
    how: Retrying,
) -> Result<ExecutionRecord, Problem> {
    let retry = api.executions.get(&caller.tenant_id, existing).await?.ok_or_else(|| Problem::no_workflow(existing))?;
    same_retry(record, retry, how)
}

fn same_retry(record: &ExecutionRecord, retry: ExecutionRecord, how: Retrying) -> Result<ExecutionRecord, Problem> {
    let (undoes, tries_failed) = (how.undoes(), retry.input["options"]["origin"]["only_failed"] == true);
    let is_same = retry.retry_of.as_ref().is_some_and(|of| of.id == record.id && of.undoes == undoes);
    if is_same && tries_failed == (how == Retrying::OnlyFailed) {
        return Ok(retry);
    }
    if is_same && tries_failed {
        let why = format!(
            "It has been retried as {}, which tries only what had failed. What was not tried is in the file unprocessed.jsonl of this one, if any: upload it as another job.",
            retry.id
        );
        return Err(Problem::conflict(&record.id, why));
    }
    let started_at = retry.started_at;
    let linked = ExecutionRecord { retried_as: Some(retry.id), ..record.clone() };
    let why = match how {
        Retrying::Reverse => not_reversible(&linked, started_at),
        Retrying::Everything | Retrying::OnlyFailed | Retrying::Undo => not_retriable(&linked, how),
    }
    .unwrap_or_default();
    Err(Problem::conflict(&record.id, why))
}

/// What an execution left.
#[derive(Default)]
struct Left {
    inherited: Inherited,
    /// Why that may not be all, if what is stored is damaged.
    unknown: Option<String>,
}

/// What a retry of an execution takes over.
async fn left_by(api: &Api, retried: &Retried) -> Result<Left, Problem> {
    left_in_history(api, &retried.record, &retried.inherited, &retried.effect_scope).await
}

async fn left_in_history(
    api: &Api,
    record: &ExecutionRecord,
    earlier: &Inherited,
    effect_scope: &str,
) -> Result<Left, Problem> {
    if let Some(unknown) = record.damage.as_ref().and_then(|damage| damage.unknown_kind.as_deref()) {
        let unknown = format!("the workflow type '{unknown}' is not known here");
        return Ok(Left { unknown: Some(unknown), ..Left::default() });
    }
    let workflow = workflows::workflow(record.kind).ok_or_else(Problem::internal)?;
    if workflow.has_batches() {
        return Ok(Left::default());
    }
    let (history, unknown) = whole_history(api, record).await?;
    let inherited = inherit(&history, earlier, effect_scope, |step| workflow.effect_of(&step.name));
    Ok(Left { inherited, unknown })
}

/// The events of an execution that can be read, and what is wrong with the others, if there are any.
async fn whole_history(api: &Api, record: &ExecutionRecord) -> Result<(Vec<Event>, Option<String>), Problem> {
    let (mut events, mut after, mut damage) = (Vec::new(), None, None);
    loop {
        let page = api.history.events(&record.tenant_id, &record.id, &[], after.as_deref(), EVENTS_READ).await?;
        let page = page.ok_or_else(|| Problem::no_workflow(&record.id))?;
        for row in page.rows {
            let number = row.event.event_id;
            match row.damage {
                None => events.push(row.event),
                Some(why) => drop(damage.get_or_insert(format!("event {number} of its history: {why}"))),
            }
        }
        after = page.next;
        if after.is_none() {
            let (found, total) = (events.len() as u64, page.total);
            let missing = (found != total).then(|| format!("its history has {found} of {total} events"));
            return Ok((events, damage.or(missing)));
        }
    }
}

fn new_retry(
    starting: &Starting,
    caller: &Caller,
    retried: &Retried,
    inherited: Inherited,
    how: Retrying,
) -> Result<NewExecution, Problem> {
    let undoes = how.undoes();
    let record = &retried.record;
    let now = starting.api.clock.now();
    let id = record.kind.new_execution_id(now);
    let workflow = workflows::workflow(record.kind).ok_or_else(Problem::internal)?;
    let mut options = record.input["options"].clone();
    let steps = workflow.steps_with(&options);
    if workflow.has_batches() {
        options["origin"] = origin(record, how);
    }
    if how == Retrying::Reverse {
        options["reverses"] = json!(record.id);
        // Nothing is copied before what was there before comes back.
        options["create_backup"] = json!(false);
        options["archives"] = json!(false);
    }
    let reference = WorkflowRef {
        id: id.clone(),
        kind: record.kind,
        tenant_id: record.tenant_id.clone(),
        user_id: caller.user_id.clone(),
        started_at: now,
        traceparent: caller.traceparent.clone(),
    };
    let action = match how {
        Retrying::Undo => AuditAction::UndoWorkflow,
        Retrying::Reverse => AuditAction::ReverseWorkflow,
        Retrying::Everything | Retrying::OnlyFailed => AuditAction::RetryWorkflow,
    };
    let mut audit = caller.audit_row(action, &record.id, now);
    audit.details["new_workflow_id"] = json!(id);
    let details = json!({ "workflow_type": record.kind, "input": null, "retried_from": record.id, "undo": undoes });
    Ok(NewExecution {
        tenant_id: record.tenant_id.clone(),
        effect_scope: id.clone(),
        retry_of: Some(RetryOf { id: record.id.clone(), undoes }),
        inherited,
        id,
        kind: record.kind,
        engine: starting.engine,
        user_id: caller.user_id.clone(),
        started_at: now,
        deadline_at: (!undoes && has_deadline(record.kind))
            .then(|| clock::after(&*starting.api.clock, starting.default_timeout)),
        cancel_requested_at: (how == Retrying::Undo).then_some(now),
        status: Status::Pending,
        input: json!({ "workflow": reference, "options": options }),
        request: retried.request.clone(),
        idempotency: None,
        progress: Progress {
            current_step: steps.first().map(|step| step.state.clone()).unwrap_or_default(),
            total_steps: steps.len() as u32,
            completed_steps: 0,
            status_message: None,
        },
        history: vec![NewEvent { event_type: EventType::WorkflowExecutionStarted, at: now, details }],
        journal: None,
        begins_pivot: false,
        upload_id: None,
        audit: Some(audit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_is_not_refused_by_rules_that_came_later() {
        let full = json!({
            "user_email": "user@example.com", "user_name": "Ann Lee", "tenant_id": "tenant-123", "role": "user",
            "send_welcome_email": true, "setup_default_workspace": false, "assign_default_permissions": false,
            "create_sample_data": false,
        });
        for (name, value) in
            [("user_name", "\u{202e}nnA"), ("user_email", "user@my_host.example.com"), ("role", "user")]
        {
            let mut request = full.clone();
            request[name] = value.into();
            let read: UserOnboardingRequest = stored("e-1", &request).expect("it was accepted");
            assert_eq!(json!(read), request);
        }
        assert!(stored::<UserOnboardingRequest>("e-1", &json!({})).is_err_and(|problem| problem.status() == 409));
    }
}

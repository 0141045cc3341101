//! `POST /api/v1/workflows/actions`: the same action on many executions, each answered by itself.
//!
//! Acting twice is acting once: what holds already is done, and what was retried is answered with its retry. So a client
//! that lost an answer repeats its request.
//!
//! Fields that are not known are refused, unlike elsewhere: without a condition or a `dry_run` that is misspelt, the request
//! would act on more than was meant.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use clock::Instant;
use contracts::document::Document;
use contracts::fields::Fields;
use contracts::ids::{PLAIN_ID, SUBJECT, is_plain_id, is_subject};
use contracts::limits::{MAX_ACTIONS, MAX_REASON_CHARS, MAX_SUBJECT_CHARS};
use contracts::responses::{ActionOutcome, ActionResult, ActionsResponse};
use contracts::{Status, Timestamp, WorkflowKind};
use futures::{StreamExt as _, stream};
use store::{Control, Decision, ExecutionRecord, ListFilter};

use crate::access::Caller;
use crate::audit::record_problem;
use crate::operate::Retrying;
use crate::{Operating, Problem, body, damage, list_workflows, operate, page};

/// Executions that are acted on at the same time.
const AT_ONCE: usize = 8;

/// The route.
pub fn route() -> Router<Operating> {
    Router::new().route("/api/v1/workflows/actions", post(handle))
}

/// What is done to each execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Control(Control),
    Terminate,
    Retry { how: Retrying },
}

impl Action {
    const ALL: [Self; 6] = [
        Self::Control(Control::Cancel),
        Self::Control(Control::Pause),
        Self::Control(Control::Resume),
        Self::Terminate,
        Self::Retry { how: Retrying::Everything },
        Self::Retry { how: Retrying::Undo },
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Control(Control::Cancel) => "cancel",
            Self::Control(Control::Pause) => "pause",
            Self::Control(Control::Resume) => "resume",
            Self::Terminate => "terminate",
            Self::Retry { how: Retrying::Undo } => "undo",
            Self::Retry { .. } => "retry",
        }
    }
}

/// Which executions.
#[derive(Debug)]
enum Selection {
    Ids(Vec<String>),
    /// A page of those that a filter lets through.
    Filter {
        filter: ListFilter,
        scope: String,
        before: Option<String>,
    },
}

/// What a body asks for.
#[derive(Debug)]
struct Asked {
    action: Action,
    selection: Selection,
    is_dry_run: bool,
    reason: Option<String>,
}

impl Asked {
    /// Reads it; all that is wrong is named.
    fn read(body: &Document, tenant_id: &str) -> Result<Self, Problem> {
        let mut fields = body.fields();
        fields.only(&["action", "ids", "filter", "page_token", "dry_run", "reason"]);
        let action = fields.one_of("action", &Action::ALL, Action::as_str);
        let is_dry_run = fields.flag("dry_run");
        let reason = fields.optional_remark("reason", MAX_REASON_CHARS).map(str::to_owned);
        let selection = match (fields.is_given("ids"), fields.is_given("filter")) {
            (true, false) => Selection::Ids(ids(&mut fields)),
            (false, true) => filtered(&mut fields, tenant_id),
            (true, true) => {
                fields.bad("filter", "must not be given together with ids: give one of them");
                Selection::Ids(Vec::new())
            }
            (false, false) => {
                fields.bad("ids", "is missing: give ids, or a filter");
                Selection::Ids(Vec::new())
            }
        };
        if matches!(selection, Selection::Ids(_)) && fields.is_given("page_token") {
            fields.bad("page_token", "is for a filter only");
        }
        // As in lists: the token may be another tenant's.
        let has_other_token =
            fields.is_given("page_token") && matches!(selection, Selection::Filter { before: None, .. });
        if let Err(bad) = fields.finish() {
            let problem = Problem::invalid(bad);
            return Err(if has_other_token { problem.denying() } else { problem });
        }
        let action = action.ok_or_else(Problem::internal)?;
        Ok(Self { action, selection, is_dry_run, reason })
    }
}

fn ids(fields: &mut Fields<'_>) -> Vec<String> {
    let is_id = |id: &str| is_plain_id(id).then(|| id.to_owned());
    let found = fields.distinct("ids", 1..=MAX_ACTIONS, is_id, PLAIN_ID);
    found.into_iter().map(|(_, id)| id).collect()
}

fn filtered(fields: &mut Fields<'_>, tenant_id: &str) -> Selection {
    let filter = fields.object("filter", conditions).unwrap_or_default();
    let scope = format!("{tenant_id} actions {filter:?}");
    let token = fields.optional_text("page_token", 1..=1024).map(str::to_owned);
    let before = token.as_deref().and_then(|token| page::open(token, &scope));
    if token.is_some_and(|token| !token.is_empty()) && before.is_none() {
        fields.bad("page_token", "must be the next_page_token of a request with the same filter");
    }
    Selection::Filter { filter, scope, before }
}

/// The conditions of the list's query, as an object.
fn conditions(fields: &mut Fields<'_>) -> ListFilter {
    fields.only(&["status", "workflow_type", "user_id", "started_after", "started_before"]);
    let wanted = match fields.is_given("status") {
        true => fields.distinct("status", 1..=Status::ALL.len(), |name| name.parse().ok(), list_workflows::STATUSES),
        false => Vec::new(),
    };
    let wanted: Vec<Status> = wanted.into_iter().map(|(_, status)| status).collect();
    let kind = match fields.is_given("workflow_type") {
        true => fields.one_of("workflow_type", &WorkflowKind::ALL, WorkflowKind::as_str),
        false => None,
    };
    let user_id = match fields.is_given("user_id") {
        true => Some(fields.text_like("user_id", 1..=MAX_SUBJECT_CHARS, is_subject, SUBJECT).to_owned()),
        false => None,
    };
    let mut moment = |name: &str| {
        let text = fields.optional_text(name, 1..=64)?;
        let parsed = text.parse::<Timestamp>().ok();
        if parsed.is_none() && !text.is_empty() {
            fields.bad(name, format!("must be {}", list_workflows::MOMENT));
        }
        parsed
    };
    let (started_after, started_before) = (moment("started_after"), moment("started_before"));
    if started_after.zip(started_before).is_some_and(|(after, before)| after >= before) {
        fields.bad("started_before", "must be later than started_after");
    }
    ListFilter { statuses: list_workflows::found_as(&wanted), kind, user_id, started_after, started_before }
}

async fn handle(
    State(operating): State<Operating>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ActionsResponse>, Problem> {
    let api = &operating.starting.api;
    let answer_by = api.clock.instant() + api.working_time();
    let body = body::json(&headers, body).await?;
    let asked = Asked::read(&body, &caller.tenant_id)?;
    let (ids, next_page_token) = match &asked.selection {
        Selection::Ids(ids) => (ids.clone(), None),
        Selection::Filter { filter, scope, before } => {
            let limit = MAX_ACTIONS as u32;
            let found = api.executions.list(&caller.tenant_id, filter, before.as_deref(), 0, limit).await?;
            let next = found.next.map(|next| page::token(&next, scope));
            (found.executions.into_iter().map(|record| record.id).collect(), next)
        }
    };
    let acting = Acting { operating: &operating, caller: &caller, asked: &asked, answer_by };
    let results = stream::iter(ids).map(|id| acting.on(id)).buffered(AT_ONCE).collect().await;
    Ok(Json(ActionsResponse {
        action: asked.action.as_str().to_owned(),
        dry_run: asked.is_dry_run,
        results,
        next_page_token,
    }))
}

/// What it takes to act on each.
struct Acting<'a> {
    operating: &'a Operating,
    caller: &'a Caller,
    asked: &'a Asked,
    answer_by: Instant,
}

impl Acting<'_> {
    async fn on(&self, id: String) -> ActionResult {
        let api = &self.operating.starting.api;
        let none = ActionResult {
            workflow_id: id.clone(),
            outcome: ActionOutcome::Failed,
            status: None,
            detail: None,
            new_workflow_id: None,
        };
        if api.clock.instant() > self.answer_by {
            return ActionResult { detail: Some("There was no time left: repeat the request.".to_owned()), ..none };
        }
        let acted = if self.asked.is_dry_run { self.would(&id).await } else { self.act(&id).await };
        match acted {
            Ok(done) => ActionResult { workflow_id: id, ..done },
            Err(problem) => {
                let problem = problem.about(&id);
                record_problem(Some(&*api.audit), &self.caller.request, &problem, &*api.clock).await;
                let outcome = match problem.status().as_u16() {
                    404 => ActionOutcome::NotFound,
                    // It may be possible later, as what the request had no time for.
                    429 | 500.. => ActionOutcome::Failed,
                    _ => ActionOutcome::Refused,
                };
                let record = api.executions.get(&self.caller.tenant_id, &id).await.ok().flatten();
                let status = record.map(|record| record.status.reported());
                ActionResult { outcome, status, detail: Some(problem.detail().to_owned()), ..none }
            }
        }
    }

    async fn act(&self, id: &str) -> Result<ActionResult, Problem> {
        let Self { operating, caller, asked, .. } = self;
        let now = operating.starting.api.clock.now();
        match asked.action {
            Action::Control(control) => {
                let reason = asked.reason.clone();
                let record = operate::control(&operating.starting.api, caller, id, control, reason, now).await?;
                Ok(result(&record, ActionOutcome::Done, None))
            }
            Action::Terminate => {
                let stopped = operate::terminate(operating, caller, id, asked.reason.clone()).await?;
                let standing: Vec<String> = stopped.standing.iter().map(ToString::to_string).collect();
                let listed = (!standing.is_empty()).then(|| format!("May still stand: {}.", standing.join(", ")));
                let more = stopped.unknown.map(|unknown| format!("More may stand than is known: {unknown}."));
                let detail: Vec<String> = listed.into_iter().chain(more).collect();
                let detail = (!detail.is_empty()).then(|| detail.join(" "));
                Ok(result(&stopped.record, ActionOutcome::Done, detail))
            }
            Action::Retry { how } => {
                let retry = operate::retry(&operating.starting, caller, id, how, asked.reason.clone(), None).await?;
                let done = result(&retry, ActionOutcome::Done, None);
                Ok(ActionResult { new_workflow_id: Some(retry.id), ..done })
            }
        }
    }

    /// What acting would come to, as far as the record tells.
    async fn would(&self, id: &str) -> Result<ActionResult, Problem> {
        let api = &self.operating.starting.api;
        let found = api.executions.get(&self.caller.tenant_id, id).await?;
        let record = found.ok_or_else(|| Problem::no_workflow(id))?;
        if let (Action::Retry { how }, Some(existing)) = (self.asked.action, &record.retried_as) {
            // Acting would answer with the same retry.
            let retry = operate::earlier_retry(api, self.caller, &record, existing, how).await?;
            let would = result(&record, ActionOutcome::Would, None);
            return Ok(ActionResult { new_workflow_id: Some(retry.id), ..would });
        }
        let holds = match self.asked.action {
            Action::Terminate => false,
            Action::Retry { .. } => true,
            Action::Control(_) => record.status.is_open(),
        };
        let damaged = damage::of(api, &record).filter(|_| holds);
        let why_not = match self.asked.action {
            _ if damaged.is_some() => damaged,
            Action::Control(control) => {
                (control.decide(&record) == Decision::Refused).then(|| operate::refusal(control, &record))
            }
            Action::Terminate => (!record.status.is_open()).then(|| operate::has_ended(&record)),
            Action::Retry { how } => operate::not_retriable(&record, how),
        };
        let outcome = if why_not.is_some() { ActionOutcome::Refused } else { ActionOutcome::Would };
        Ok(result(&record, outcome, why_not))
    }
}

fn result(record: &ExecutionRecord, outcome: ActionOutcome, detail: Option<String>) -> ActionResult {
    let status = Some(record.status.reported());
    ActionResult { workflow_id: record.id.clone(), outcome, status, detail, new_workflow_id: None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pointers(body: &Value) -> Vec<String> {
        named(&body.clone().into())
    }

    fn named(body: &Document) -> Vec<String> {
        let problem = Asked::read(body, "t").expect_err("something is wrong");
        let document = problem.document("", "");
        let errors = document["errors"].as_array().into_iter().flatten();
        errors.filter_map(|error| error["pointer"].as_str().map(str::to_owned)).collect()
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        assert_eq!(pointers(&json!({})), ["/action", "/ids"]);
        assert_eq!(pointers(&json!({ "action": "cancel", "ids": ["a"], "filter": {} })), ["/filter"]);
        assert_eq!(
            pointers(&json!({ "action": "stop", "ids": ["a", "a", "b/c", 1] })),
            ["/action", "/ids/1", "/ids/2", "/ids/3"]
        );
        let many: Vec<String> = (0..=MAX_ACTIONS).map(|number| format!("e-{number}")).collect();
        assert_eq!(pointers(&json!({ "action": "pause", "ids": many, "page_token": "x" })), ["/ids", "/page_token"]);
        let filter = json!({
            "status": ["Running", "Odd"], "workflow_type": "none", "user_id": "a@example.com", "started_after": "soon",
            "started_before": 1,
        });
        let expected = ["status/1", "workflow_type", "user_id", "started_after", "started_before"];
        let expected: Vec<String> = expected.iter().map(|field| format!("/filter/{field}")).collect();
        assert_eq!(pointers(&json!({ "action": "retry", "filter": filter })), expected);
        let misspelt = json!({ "action": "cancel", "filter": { "statuses": ["Failed"] }, "dryRun": true });
        assert_eq!(pointers(&misspelt), ["/dryRun", "/filter/statuses"]);
        let twice =
            r#"{"action":"cancel","filter":{"status":["Failed"],"status":["Odd"]},"dry_run":true,"dry_run":false}"#;
        let twice = Document::parse(twice.as_bytes()).expect("JSON");
        assert_eq!(named(&twice), ["/filter/status", "/dry_run", "/filter/status/0"]);
        let foreign = page::token("5", "another tenant actions ListFilter");
        assert_eq!(pointers(&json!({ "action": "retry", "filter": {}, "page_token": foreign })), ["/page_token"]);
    }

    #[test]
    fn a_token_fits_its_own_filter() {
        let first =
            Asked::read(&json!({ "action": "cancel", "filter": { "status": ["Running"] } }).into(), "t").expect("good");
        let Selection::Filter { filter, scope, before: None } = first.selection else { panic!("{first:?}") };
        assert_eq!(filter.statuses, [Status::Pending, Status::Running]);
        let body =
            json!({ "action": "cancel", "filter": { "status": ["Running"] }, "page_token": page::token("7", &scope) });
        let next = Asked::read(&body.clone().into(), "t").expect("good");
        assert!(matches!(next.selection, Selection::Filter { before: Some(at), .. } if at == "7"));
        assert!(Asked::read(&body.clone().into(), "another").is_err(), "it is one tenant's own");
    }
}

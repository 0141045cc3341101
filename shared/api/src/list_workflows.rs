//! `GET /api/v1/workflows`

use axum::extract::{Query as QueryString, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::ids::{SUBJECT, is_subject};
use contracts::limits::MAX_PAGED_ROWS;
use contracts::responses::{ListResponse, WorkflowSummary};
use contracts::{Status, Timestamp, WorkflowKind};
use store::{ExecutionRecord, ListFilter};

use crate::access::Caller;
use crate::page::{self, Query};
use crate::{Api, Problem, damage};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows", get(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    QueryString(parameters): QueryString<Vec<(String, String)>>,
) -> Result<Json<ListResponse>, Problem> {
    let mut query = Query::new(parameters);
    let page_size = query.page_size();
    let page: u32 = query.get("page", |text| text.parse().ok().filter(|page| *page >= 1), "1 or more").unwrap_or(1);
    let filter = filter(&mut query);
    let scope = format!("{} list {filter:?}", caller.tenant_id);
    let before = query.cursor(&scope);
    let skip = u64::from(page - 1) * u64::from(page_size);
    if before.is_none() && skip >= MAX_PAGED_ROWS {
        query.bad("page", format!("reaches {MAX_PAGED_ROWS} rows; go on with next_page_token from there"));
    }
    query.finish()?;

    // A token says where it goes on; `page` then only counts.
    let skip = if before.is_some() { 0 } else { skip };
    let found = api.executions.list(&caller.tenant_id, &filter, before.as_deref(), skip, page_size).await?;
    Ok(Json(ListResponse {
        workflows: found.executions.into_iter().map(|record| summary(&api, record)).collect(),
        total_count: found.total,
        total_is_exact: found.counts.is_exact,
        counts: found.counts.by_status,
        page,
        page_size,
        has_more: found.next.is_some(),
        next_page_token: found.next.map(|next| page::token(&next, &scope)),
    }))
}

/// The statuses that clients see, for people.
pub(crate) const STATUSES: &str = "one of Running, Paused, Completed, Failed, Cancelled, TimedOut, Terminated";

/// What a moment looks like, for people.
pub(crate) const MOMENT: &str = "a moment as in RFC 3339, like 2026-11-23T18:29:24Z";

/// The statuses of records that clients see as these, in their order. One that is pending is reported as running.
pub(crate) fn found_as(wanted: &[Status]) -> Vec<Status> {
    let is_wanted = |status: &Status| wanted.iter().any(|wanted| wanted.reported() == status.reported());
    Status::ALL.into_iter().filter(is_wanted).collect()
}

/// What narrows the list. Names come in the order of their lists, so that a page token fits however they were asked for.
fn filter(query: &mut Query) -> ListFilter {
    let one_of = |names: Vec<&str>| format!("one of {}", names.join(", "));
    let wanted = query.list("status", |name| name.parse::<Status>().ok(), STATUSES);
    let statuses = found_as(&wanted);
    let kinds = one_of(WorkflowKind::ALL.map(WorkflowKind::as_str).to_vec());
    let kind = query.get("workflow_type", |name| name.parse().ok(), &kinds);
    let user_id = query.get("user_id", |id| is_subject(id).then(|| id.to_owned()), SUBJECT);
    let moment = format!("{MOMENT}, with + as %2B");
    let started_after = query.get("started_after", |text| text.parse::<Timestamp>().ok(), &moment);
    let started_before = query.get("started_before", |text| text.parse::<Timestamp>().ok(), &moment);
    if started_after.zip(started_before).is_some_and(|(after, before)| after >= before) {
        query.bad("started_before", "must be later than started_after");
    }
    ListFilter { statuses, kind, user_id, started_after, started_before }
}

fn summary(api: &Api, record: ExecutionRecord) -> WorkflowSummary {
    WorkflowSummary {
        damaged: damage::of(api, &record),
        workflow_type: record.workflow_type().to_owned(),
        workflow_id: record.id,
        status: record.status.reported(),
        started_at: record.started_at,
        updated_at: record.updated_at,
        tenant_id: record.tenant_id,
        user_id: record.user_id,
        retried_from: record.retry_of.map(|retry| retry.id),
        retried_as: record.retried_as,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parameters: &[(&str, &str)]) -> (ListFilter, bool) {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut query = Query::new(parameters);
        let filter = filter(&mut query);
        (filter, query.finish().is_ok())
    }

    #[test]
    fn a_filter_is_the_same_in_whatever_order_it_is_asked_for() {
        let (one, _) = of(&[("status", "Failed,Running"), ("status", "Failed")]);
        let (other, _) = of(&[("status", "Pending"), ("status", "Failed")]);
        assert_eq!(one, other);
        assert_eq!(one.statuses, [Status::Pending, Status::Running, Status::Failed]);
        assert_eq!(of(&[]), (ListFilter::default(), true));
    }

    #[test]
    fn a_window_has_a_beginning_before_its_end() {
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let (window, is_good) =
            of(&[("started_after", "2026-01-01T00:00:00+02:00"), ("started_before", "2026-01-01T00:00:00Z")]);
        assert!(is_good);
        assert_eq!(window.started_after, Some(moment("2025-12-31T22:00:00Z")));
        assert_eq!(window.started_before, Some(moment("2026-01-01T00:00:00Z")));
        for bad in [
            [("started_after", "2026-01-01T00:00:00Z"), ("started_before", "2026-01-01T00:00:00Z")],
            [("started_after", "yesterday"), ("started_before", "2026-01-01T00:00:00Z")],
            [("started_after", "2026-01-01T00:00:00 02:00"), ("user_id", "u")],
            [("started_before", "2026-01-01"), ("user_id", "u")],
            [("user_id", "a b"), ("status", "Failed")],
        ] {
            assert!(!of(&bad).1, "{bad:?}");
        }
    }
}

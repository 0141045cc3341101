//! The requests of persons, each a row.

use async_trait::async_trait;
use contracts::data_requests::{DataRequest, Extension, RequestEnd, RequestState};
use contracts::{Timestamp, WorkflowKind};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};
use store::{
    ClaimedNotice, DataRequests, DueNotice, Extended, KnownRequest, NewAuditRow, NewExecution, RequestFilter,
    RequestPage, RequestParts, StoreError, StoredRequest, data_request_of, extending, subject_of,
};

use crate::audit::append_audit;
use crate::rows::{self, get, has_more, inconsistent, json_text, micros, read_error, sound};
use crate::writer::{Fault, Operation};
use crate::{SqlStore, unavailable};

const COLUMNS: &str = "r.tenant_id AS tenant_id, r.compliance_id AS compliance_id, r.workflow_id AS workflow_id, \
     r.due_at AS due_at, r.look_at AS look_at, r.request AS request, r.ended AS ended, r.extension AS extension, \
     r.last_notice AS last_notice";

/// With the request of the execution, which says whom it is about.
const KNOWN: &str = "AS r LEFT JOIN executions AS e ON e.id = r.workflow_id AND e.tenant_id = r.tenant_id";

#[async_trait]
impl DataRequests for SqlStore {
    async fn request(&self, tenant_id: &str, compliance_id: &str) -> Result<Option<KnownRequest>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let query = format!(
            "SELECT {COLUMNS}, e.request AS asked FROM data_requests {KNOWN} WHERE r.tenant_id = $1 AND r.compliance_id = $2"
        );
        let query = sqlx::query(AssertSqlSafe(query)).bind(tenant_id).bind(compliance_id);
        let found = query.fetch_optional(&mut *reader).await.map_err(read_error)?;
        found.as_ref().map(known).transpose()
    }

    async fn requests(
        &self,
        tenant_id: &str,
        filter: &RequestFilter,
        now: Timestamp,
        after: Option<&str>,
        limit: u32,
    ) -> Result<RequestPage, StoreError> {
        let (due_at, compliance_id) = place(after)?;
        let before = filter.due_before.map_or(i64::MAX, micros);
        let mut reader = self.readers.of(tenant_id).await?;
        let query = sqlx::query(AssertSqlSafe(select(filter))).bind(tenant_id).bind(due_at).bind(compliance_id);
        let query = query.bind(before).bind(micros(now)).bind(i64::from(limit) + 1);
        let mut found = query.fetch_all(&mut *reader).await.map_err(read_error)?;
        let next = match has_more(&mut found, limit) {
            true => found.last().map(next_of).transpose()?,
            false => None,
        };
        Ok(RequestPage { requests: sound(&found, known), next })
    }

    async fn extend(
        &self,
        compliance_id: &str,
        extension: &Extension,
        audit: NewAuditRow,
    ) -> Result<Extended, StoreError> {
        let extend = Extend { compliance_id: compliance_id.to_owned(), extension: extension.clone(), audit };
        self.writer.write_first(extend).await
    }

    async fn due_notices(&self, now: Timestamp, limit: u32) -> Result<Vec<DueNotice>, StoreError> {
        let mut reader = self.readers.of_engine().await?;
        let query = "SELECT tenant_id, compliance_id FROM data_requests WHERE look_at <= $1 ORDER BY look_at LIMIT $2";
        let query = sqlx::query(query).bind(micros(now)).bind(i64::from(limit));
        let found = query.fetch_all(&mut *reader).await.map_err(unavailable)?;
        Ok(sound(&found, |row| {
            Ok(DueNotice { tenant_id: rows::text(row, "tenant_id")?, compliance_id: rows::text(row, "compliance_id")? })
        }))
    }

    async fn claim_notice(
        &self,
        due: &DueNotice,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ClaimedNotice>, StoreError> {
        self.writer.write(Claim { due: due.clone(), now, until }).await
    }

    async fn note_notice(&self, claimed: &ClaimedNotice) -> Result<(), StoreError> {
        self.writer.write(Note(claimed.clone())).await
    }
}

/// A page of the requests that fit. All moments are compared by microseconds.
fn select(filter: &RequestFilter) -> String {
    let state = match filter.state {
        None => "$5 = $5".to_owned(),
        Some(RequestState::Open) => "state = 'open' AND due_at > $5".to_owned(),
        Some(RequestState::Overdue) => "state = 'open' AND due_at <= $5".to_owned(),
        Some(state) => format!("state = '{state}' AND $5 = $5"),
    };
    format!(
        "SELECT {COLUMNS}, e.request AS asked FROM \
         (SELECT * FROM data_requests \
         WHERE tenant_id = $1 AND {state} AND due_at >= $2 AND due_at < $4 AND (due_at > $2 OR compliance_id > $3) \
         ORDER BY due_at, compliance_id LIMIT $6) {KNOWN} ORDER BY r.due_at, r.compliance_id"
    )
}

fn request(row: &AnyRow) -> Result<DataRequest, StoreError> {
    let parts = RequestParts {
        workflow_id: rows::text(row, "workflow_id")?,
        ended: rows::optional_json(row, "ended")?,
        extension: rows::optional_json(row, "extension")?,
        last_notice: rows::optional_json(row, "last_notice")?,
    };
    Ok(parts.of(rows::json(row, "request")?))
}

fn known(row: &AnyRow) -> Result<KnownRequest, StoreError> {
    let asked = rows::optional_json::<StoredRequest>(row, "asked").unwrap_or_default();
    Ok(KnownRequest { request: request(row)?, subject_user_id: asked.as_ref().and_then(subject_of) })
}

/// Where a page ends, for the next one.
fn next_of(row: &AnyRow) -> Result<String, StoreError> {
    Ok(format!("{}#{}", get::<i64>(row, "due_at")?, rows::text(row, "compliance_id")?))
}

/// What comes behind which a page begins.
fn place(after: Option<&str>) -> Result<(i64, &str), StoreError> {
    let Some(after) = after else { return Ok((i64::MIN, "")) };
    let (due_at, compliance_id) = after.split_once('#').ok_or_else(|| inconsistent("no place among requests"))?;
    Ok((due_at.parse().map_err(inconsistent)?, compliance_id))
}

async fn existing(
    connection: &mut AnyConnection,
    tenant_id: &str,
    compliance_id: &str,
) -> Result<Option<(DataRequest, Option<i64>)>, Fault> {
    let query = format!("SELECT {COLUMNS} FROM data_requests AS r WHERE r.tenant_id = $1 AND r.compliance_id = $2");
    let query = sqlx::query(AssertSqlSafe(query)).bind(tenant_id.to_owned()).bind(compliance_id.to_owned());
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    let read = |row: &AnyRow| Ok::<_, StoreError>((request(row)?, get::<Option<i64>>(row, "look_at")?));
    read(&row).map(Some).map_err(|error| Fault::Inconsistent(error.to_string()))
}

/// The last execution of an earlier request with the name of the one that a start answers: it may be archived, and its key gone.
pub(crate) async fn named_before(connection: &mut AnyConnection, new: &NewExecution) -> Result<Option<String>, Fault> {
    let Some(request) = data_request_of(new).filter(|_| new.retry_of.is_none()) else { return Ok(None) };
    let earlier = existing(connection, &request.tenant_id, &request.compliance_id).await?;
    Ok(earlier.map(|(request, _)| request.workflow_id))
}

/// Remembers the request that a start or a retry answers. What was extended stays so when it is tried again.
pub(crate) async fn remember(connection: &mut AnyConnection, new: &NewExecution) -> Result<(), Fault> {
    let Some(request) = data_request_of(new) else { return Ok(()) };
    let insert = "INSERT INTO data_requests (tenant_id, compliance_id, workflow_id, state, due_at, look_at, request) \
                  VALUES ($1, $2, $3, 'open', $4, $5, $6) ON CONFLICT (tenant_id, compliance_id) DO UPDATE \
                  SET workflow_id = excluded.workflow_id, state = excluded.state, ended = NULL, look_at = $7";
    sqlx::query(insert)
        .bind(&request.tenant_id)
        .bind(&request.compliance_id)
        .bind(&request.workflow_id)
        .bind(micros(request.due_at))
        .bind(request.next_notice_at().map(micros))
        .bind(json_text(&request))
        // When the next notice of what is tried again is, is seen when it is looked at.
        .bind(micros(new.started_at))
        .execute(connection)
        .await?;
    Ok(())
}

/// Remembers how an execution ended that answers a request, if it does.
pub(crate) async fn end(connection: &mut AnyConnection, workflow_id: &str, end: RequestEnd) -> Result<(), Fault> {
    if WorkflowKind::of_execution(workflow_id) != Some(WorkflowKind::Compliance) {
        return Ok(());
    }
    sqlx::query("UPDATE data_requests SET state = $2, ended = $3, look_at = $4 WHERE workflow_id = $1")
        .bind(workflow_id.to_owned())
        .bind(end.state().as_str())
        .bind(json_text(&end))
        // When the next notice is, is seen when it is looked at.
        .bind((!end.is_settled()).then(|| micros(end.at)))
        .execute(connection)
        .await?;
    Ok(())
}

struct Extend {
    compliance_id: String,
    extension: Extension,
    audit: NewAuditRow,
}

#[async_trait]
impl Operation for Extend {
    type Output = Extended;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Extended, Fault> {
        let Self { compliance_id, extension, audit } = self;
        let Some((request, _)) = existing(connection, &audit.tenant_id, compliance_id).await? else {
            return Ok(Extended::Missing);
        };
        let extended = extending(&request, extension);
        if extended != Extended::Now {
            return Ok(extended);
        }
        let request = DataRequest { extension: Some(extension.clone()), ..request };
        sqlx::query(
            "UPDATE data_requests SET extension = $3, due_at = $4, look_at = $5 WHERE tenant_id = $1 AND compliance_id = $2",
        )
        .bind(&audit.tenant_id)
        .bind(compliance_id)
        .bind(json_text(extension))
        .bind(micros(request.due()))
        .bind(request.next_notice_at().map(micros))
        .execute(&mut *connection)
        .await?;
        append_audit(connection, Some(audit)).await?;
        Ok(Extended::Now)
    }

    fn rows(&self) -> usize {
        2
    }
}

struct Claim {
    due: DueNotice,
    now: Timestamp,
    until: Timestamp,
}

#[async_trait]
impl Operation for Claim {
    type Output = Option<ClaimedNotice>;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Option<ClaimedNotice>, Fault> {
        let Self { due: DueNotice { tenant_id, compliance_id }, now, until } = self;
        let Some((request, Some(look_at))) = existing(connection, tenant_id, compliance_id).await? else {
            return Ok(None);
        };
        if look_at > micros(*now) {
            return Ok(None);
        }
        let notice = request.notice(*now);
        let look_at = if notice.is_some() { Some(*until) } else { request.next_notice_at() };
        look_again(connection, tenant_id, compliance_id, look_at).await?;
        Ok(notice.map(|notice| ClaimedNotice { request, notice, until: *until }))
    }

    fn rows(&self) -> usize {
        1
    }
}

async fn look_again(
    connection: &mut AnyConnection,
    tenant_id: &str,
    compliance_id: &str,
    at: Option<Timestamp>,
) -> Result<(), Fault> {
    sqlx::query("UPDATE data_requests SET look_at = $3 WHERE tenant_id = $1 AND compliance_id = $2")
        .bind(tenant_id.to_owned())
        .bind(compliance_id.to_owned())
        .bind(at.map(micros))
        .execute(connection)
        .await?;
    Ok(())
}

struct Note(ClaimedNotice);

#[async_trait]
impl Operation for Note {
    type Output = ();

    async fn apply(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        let ClaimedNotice { request, notice, until } = &self.0;
        let told = DataRequest { last_notice: Some(*notice), ..request.clone() };
        sqlx::query(
            "UPDATE data_requests SET last_notice = $4, look_at = $5 \
             WHERE tenant_id = $1 AND compliance_id = $2 AND look_at = $3",
        )
        .bind(&request.tenant_id)
        .bind(&request.compliance_id)
        .bind(micros(*until))
        .bind(json_text(notice))
        .bind(told.next_notice_at().map(micros))
        .execute(connection)
        .await?;
        Ok(())
    }

    fn rows(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;

    #[tokio::test]
    async fn requests_are_read_from_ranges_of_an_index() {
        let of = |state| select(&RequestFilter { state, due_before: None });
        let index = "data_requests_of_tenant (tenant_id=? AND due_at>? AND due_at<?)";
        for statement in [of(None), of(Some(RequestState::Failed)), of(Some(RequestState::Overdue))] {
            let steps = plan(&statement).await;
            assert!(steps.iter().any(|step| step.ends_with(index)), "{statement}: {steps:?}");
            assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "nothing is sorted: {steps:?}");
        }
    }
}

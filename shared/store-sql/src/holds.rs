//! Legal holds, each a row.

use async_trait::async_trait;
use contracts::Timestamp;
use contracts::holds::{Hold, HoldScope, HoldState, Release};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};
use store::{HoldFilter, HoldPage, Holds, NewAuditRow, Placed, Released, StoreError, placed_again};

use crate::SqlStore;
use crate::audit::append_audit;
use crate::rows::{self, get, has_more, inconsistent, json_text, micros, read_error, sound};
use crate::writer::{Fault, Operation};

/// Of a hold that is not released, whether its time is not up at the moment `$2`, or is up within the same microsecond.
const HOLDS_AT: &str = "released_at IS NULL AND (held_until IS NULL OR held_until >= $2)";

#[async_trait]
impl Holds for SqlStore {
    async fn place(&self, hold: &Hold, audit: NewAuditRow) -> Result<Placed, StoreError> {
        self.writer.write_first(Place { hold: hold.clone(), audit, most: self.most_holds }).await
    }

    async fn hold(&self, tenant_id: &str, hold_id: &str) -> Result<Option<Hold>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let query = sqlx::query(ONE).bind(tenant_id).bind(hold_id);
        let found = query.fetch_optional(&mut *reader).await.map_err(read_error)?;
        found.as_ref().map(hold).transpose()
    }

    async fn holds(
        &self,
        tenant_id: &str,
        filter: &HoldFilter,
        now: Timestamp,
        before: Option<&str>,
        limit: u32,
    ) -> Result<HoldPage, StoreError> {
        let (placed_at, hold_id) = place(before)?;
        let mut reader = self.readers.of(tenant_id).await?;
        let query = sqlx::query(AssertSqlSafe(select(filter))).bind(tenant_id).bind(micros(now));
        let query = query.bind(placed_at).bind(hold_id).bind(i64::from(limit) + 1);
        let query = filter.subject_user_id.iter().fold(query, |query, subject| query.bind(subject));
        let mut found = query.fetch_all(&mut *reader).await.map_err(read_error)?;
        let next = match has_more(&mut found, limit) {
            true => found.last().map(next_of).transpose()?,
            false => None,
        };
        Ok(HoldPage { holds: sound(&found, hold), next })
    }

    async fn active(&self, tenant_id: &str, now: Timestamp) -> Result<Vec<Hold>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let query = sqlx::query(AssertSqlSafe(select_active())).bind(tenant_id).bind(micros(now));
        let found = query.fetch_all(&mut *reader).await.map_err(read_error)?;
        let mut active = found.iter().map(hold).collect::<Result<Vec<_>, _>>()?;
        active.retain(|hold| hold.state(now) == HoldState::Active);
        Ok(active)
    }

    async fn release(&self, hold_id: &str, release: &Release, audit: NewAuditRow) -> Result<Released, StoreError> {
        let release = LetGo { hold_id: hold_id.to_owned(), release: release.clone(), audit };
        self.writer.write_first(release).await
    }
}

const ONE: &str = "SELECT hold FROM holds WHERE tenant_id = $1 AND hold_id = $2";

fn select_active() -> String {
    format!("SELECT hold FROM holds WHERE tenant_id = $1 AND {HOLDS_AT} ORDER BY hold_id")
}

/// A page of the holds that fit. Whose time is up is compared by microseconds, as all moments of a list are.
fn select(filter: &HoldFilter) -> String {
    let state = match filter.state {
        None => "$2 = $2",
        Some(HoldState::Active) => "released_at IS NULL AND (held_until IS NULL OR held_until > $2)",
        Some(HoldState::Released) => "released_at IS NOT NULL AND $2 = $2",
        Some(HoldState::Expired) => "released_at IS NULL AND held_until <= $2",
    };
    let subject = if filter.subject_user_id.is_some() { " AND subject = $6" } else { "" };
    format!(
        "SELECT placed_at, hold_id, hold FROM holds \
         WHERE tenant_id = $1 AND (placed_at, hold_id) < ($3, $4) AND {state}{subject} \
         ORDER BY placed_at DESC, hold_id DESC LIMIT $5"
    )
}

fn hold(row: &AnyRow) -> Result<Hold, StoreError> {
    rows::json(row, "hold")
}

/// Where a page ends, for the next one.
fn next_of(row: &AnyRow) -> Result<String, StoreError> {
    Ok(format!("{}#{}", get::<i64>(row, "placed_at")?, rows::text(row, "hold_id")?))
}

/// What comes before which a page begins.
fn place(before: Option<&str>) -> Result<(i64, &str), StoreError> {
    let Some(before) = before else { return Ok((i64::MAX, "")) };
    let (placed_at, hold_id) = before.split_once('#').ok_or_else(|| inconsistent("no place among holds"))?;
    Ok((placed_at.parse().map_err(inconsistent)?, hold_id))
}

/// A hold that is there already.
async fn existing(connection: &mut AnyConnection, tenant_id: &str, hold_id: &str) -> Result<Option<Hold>, Fault> {
    let found = sqlx::query(ONE).bind(tenant_id.to_owned()).bind(hold_id.to_owned()).fetch_optional(connection).await?;
    found.as_ref().map(hold).transpose().map_err(|error| Fault::Inconsistent(error.to_string()))
}

struct Place {
    hold: Hold,
    audit: NewAuditRow,
    most: usize,
}

#[async_trait]
impl Operation for Place {
    type Output = Placed;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Placed, Fault> {
        let Hold { hold_id, tenant_id, scope, until, placed_at, .. } = &self.hold;
        if let Some(placed) = existing(connection, tenant_id, hold_id).await? {
            return Ok(placed_again(&self.hold, placed));
        }
        let count = format!("SELECT COUNT(*) AS holds FROM holds WHERE tenant_id = $1 AND {HOLDS_AT}");
        let count = sqlx::query(AssertSqlSafe(count)).bind(tenant_id).bind(micros(*placed_at));
        let count = rows::count(&count.fetch_one(&mut *connection).await?, "holds");
        let count = count.map_err(|error| Fault::Inconsistent(error.to_string()))?;
        if count >= self.most as u64 {
            return Ok(Placed::Full);
        }
        let subject = match scope {
            HoldScope::Subject { subject_user_id, .. } => Some(subject_user_id.as_str()),
            HoldScope::Categories { .. } | HoldScope::Record { .. } => None,
        };
        sqlx::query(
            "INSERT INTO holds (tenant_id, hold_id, placed_at, held_until, subject, hold) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(tenant_id)
        .bind(hold_id)
        .bind(micros(*placed_at))
        .bind(until.map(micros))
        .bind(subject)
        .bind(json_text(&self.hold))
        .execute(&mut *connection)
        .await?;
        append_audit(connection, Some(&self.audit)).await?;
        Ok(Placed::New)
    }

    fn rows(&self) -> usize {
        2
    }
}

struct LetGo {
    hold_id: String,
    release: Release,
    audit: NewAuditRow,
}

#[async_trait]
impl Operation for LetGo {
    type Output = Released;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Released, Fault> {
        let tenant_id = &self.audit.tenant_id;
        let Some(mut hold) = existing(connection, tenant_id, &self.hold_id).await? else {
            return Ok(Released::Missing);
        };
        match hold.state(self.release.at) {
            HoldState::Released => return Ok(Released::Before(hold)),
            HoldState::Expired => return Ok(Released::Expired(hold)),
            HoldState::Active => {}
        }
        hold.released = Some(self.release.clone());
        sqlx::query("UPDATE holds SET released_at = $3, hold = $4 WHERE tenant_id = $1 AND hold_id = $2")
            .bind(tenant_id)
            .bind(&self.hold_id)
            .bind(micros(self.release.at))
            .bind(json_text(&hold))
            .execute(&mut *connection)
            .await?;
        append_audit(connection, Some(&self.audit)).await?;
        Ok(Released::Now(hold))
    }

    fn rows(&self) -> usize {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;

    #[tokio::test]
    async fn holds_are_read_from_ranges_of_an_index() {
        let of_subject = HoldFilter { subject_user_id: Some("u".to_owned()), ..HoldFilter::default() };
        for (statement, index) in [
            (select(&HoldFilter::default()), "holds_of_tenant (tenant_id=? AND (placed_at,hold_id)<(?,?))"),
            (select(&of_subject), "holds_of_subject (tenant_id=? AND subject=? AND (placed_at,hold_id)<(?,?))"),
            (select_active(), "holds_not_released (tenant_id=?)"),
        ] {
            let steps = plan(&statement).await;
            assert!(steps.len() == 1 && steps[0].ends_with(index), "{statement}: {steps:?}");
        }
    }
}

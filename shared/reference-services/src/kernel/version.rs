//! Versions of things, and the changes of a service in their order. Triggers count them, so that no way to change a row
//! can forget it, nor what the database does by itself.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::{EntityType, Problem, Reader, Service};

/// Tells the triggers when it is.
pub(super) async fn set_moment(connection: &mut SqliteConnection, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query("UPDATE moment SET at = ?").bind(now.to_string()).execute(connection).await?;
    Ok(())
}

/// Begins to count the changes of a type. What is there already has its first version.
pub(super) async fn count(connection: &mut SqliteConnection, entity: &EntityType) -> sqlx::Result<()> {
    let (table, id) = (entity.table.name, entity.id_field);
    let counted = sqlx::query_scalar::<_, i64>("SELECT 1 FROM sqlite_schema WHERE name = ?")
        .bind(format!("{table}_inserted"))
        .fetch_optional(&mut *connection)
        .await?;
    if counted.is_some() {
        return Ok(());
    }
    let first = format!(
        "INSERT INTO versions SELECT '{table}', tenant_id, {id}, 1, 0, (SELECT at FROM moment), 0 FROM {table} WHERE true \
         ON CONFLICT DO NOTHING;"
    );
    sqlx::raw_sql(AssertSqlSafe(first)).execute(&mut *connection).await?;
    for (event, row, is_deleted) in [("INSERT", "NEW", 0), ("UPDATE", "NEW", 0), ("DELETE", "OLD", 1)] {
        let past = if event.ends_with('E') { "d" } else { "ed" };
        let name = format!("{table}_{}{past}", event.to_lowercase());
        let trigger = format!(
            "CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN \
                 UPDATE moment SET last_change = last_change + 1; \
                 INSERT INTO versions \
                     SELECT '{table}', {row}.tenant_id, {row}.{id}, 1, last_change, at, {is_deleted} FROM moment WHERE true \
                     ON CONFLICT DO UPDATE SET version = version + 1, change = excluded.change, \
                         updated_at = excluded.updated_at, is_deleted = excluded.is_deleted; \
             END"
        );
        sqlx::raw_sql(AssertSqlSafe(trigger)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// A point in the order of a service's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermark(pub(super) i64);

impl Watermark {
    /// After the last change.
    pub(super) async fn current(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        sqlx::query_scalar("SELECT last_change FROM moment").fetch_one(connection).await.map(Self)
    }

    /// As callers know it.
    pub(super) fn text(self, service: &Service) -> String {
        format!("{}-{}", service.kind().name(), self.0)
    }

    /// One that this service has given before.
    pub(super) async fn read(reader: &mut Reader<'_>, text: &str) -> Result<Self, Problem> {
        let service = reader.service.kind().name();
        let number = text.strip_prefix(service).and_then(|rest| rest.strip_prefix('-'));
        let number = number.and_then(|number| number.parse().ok());
        let Self(current) = Self::current(reader.connection).await?;
        number
            .filter(|number| (0..=current).contains(number))
            .map(Self)
            .ok_or_else(|| Problem::bad_request("changed_since is no watermark of this service"))
    }
}

impl EntityType {
    /// Refuses unless the thing has this version.
    pub(super) async fn check_version(
        &self,
        reader: &mut Reader<'_>,
        id: &str,
        expected: Option<i64>,
    ) -> Result<(), Problem> {
        let Some(expected) = expected else { return Ok(()) };
        let select =
            "SELECT version FROM versions WHERE table_name = ? AND tenant_id = ? AND id = ? AND is_deleted = 0";
        let version: Option<i64> = sqlx::query_scalar(select)
            .bind(self.table.name)
            .bind(&reader.call.tenant_id)
            .bind(id)
            .fetch_optional(&mut *reader.connection)
            .await?;
        if version == Some(expected) { Ok(()) } else { Err(Problem::other_version()) }
    }
}

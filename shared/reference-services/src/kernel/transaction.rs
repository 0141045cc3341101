//! What a handler may do inside the transaction that its request runs in.

use std::ops::{Deref, DerefMut};

use axum::http::StatusCode;
use clock::SharedClock;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

use super::log::{LogKind, Occasion};
use super::{Call, Problem, Row, Service, Table, fence};

/// Reads of one call.
pub(crate) struct Reader<'c> {
    pub(super) connection: &'c mut SqliteConnection,
    /// The call.
    pub(crate) call: &'c Call,
    pub(super) service: &'c Service,
    /// The Tenant service.
    pub(crate) tenants: &'c Service,
}

impl Reader<'_> {
    /// The tenant's row with this rest of the key.
    pub(crate) async fn find(&mut self, table: &Table, key: &[&str]) -> Result<Option<Row>, Problem> {
        let key: Vec<_> =
            std::iter::once(self.call.tenant_id.as_str()).chain(key.iter().copied()).map(str::to_owned).collect();
        Ok(table.find(self.connection, &key).await?)
    }

    /// The tenant's row with this rest of the key; a problem if there is none.
    pub(crate) async fn get(&mut self, table: &Table, key: &[&str]) -> Result<Row, Problem> {
        self.find(table, key).await?.ok_or_else(Problem::not_found)
    }

    /// The tenant's rows whose columns have these values, newest first, at most 1,000.
    pub(crate) async fn list(&mut self, table: &Table, filter: &[(&'static str, &str)]) -> Result<Vec<Row>, Problem> {
        let mut columns = vec![("tenant_id", self.call.tenant_id.as_str())];
        columns.extend_from_slice(filter);
        Ok(table.list(self.connection, &columns).await?)
    }

    /// Rows of whichever tenant; the caller answers for what becomes visible.
    pub(crate) async fn list_of_all_tenants(
        &mut self,
        table: &Table,
        filter: &[(&'static str, &str)],
    ) -> Result<Vec<Row>, Problem> {
        Ok(table.list(self.connection, filter).await?)
    }
}

/// A mutation under way: reads, and writes that can be undone by its key.
pub(crate) struct Tx<'c> {
    pub(super) reader: Reader<'c>,
    pub(super) key: &'c str,
    /// The key that ledger and logs list it under.
    pub(super) listed_key: &'c str,
    /// What the logs call it.
    pub(super) action: &'c str,
}

impl<'c> Deref for Tx<'c> {
    type Target = Reader<'c>;

    fn deref(&self) -> &Reader<'c> {
        &self.reader
    }
}

impl<'c> DerefMut for Tx<'c> {
    fn deref_mut(&mut self) -> &mut Reader<'c> {
        &mut self.reader
    }
}

impl Tx<'_> {
    /// Lets the call write things of this type, unless it has lost its lease.
    pub(crate) async fn pass_fence(&mut self, entity_type: &str) -> Result<(), Problem> {
        fence::pass(self.reader.connection, self.reader.call, entity_type).await
    }

    /// Now, as it is stored and answered.
    pub(crate) fn now(&self) -> String {
        self.service.clock().now().to_string()
    }

    /// A new id.
    pub(crate) fn new_id(&self) -> String {
        new_id(self.service.clock())
    }

    /// Creates a row; undone by deleting it, whatever became of it. A collision is a conflict.
    pub(crate) async fn create(&mut self, table: &'static Table, mut row: Row) -> Result<(), Problem> {
        self.own(&mut row);
        table.insert(self.reader.connection, &row).await.map_err(|error| refusal(table, error))?;
        self.remember(table, &table.key_of(&row), "create", None).await?;
        self.log_change(LogKind::Modification, table, &row).await
    }

    /// Creates or changes a row; undone by restoring what was there before, unless somebody has changed it since.
    pub(crate) async fn put(&mut self, table: &'static Table, mut row: Row) -> Result<(), Problem> {
        self.own(&mut row);
        let key = table.key_of(&row);
        let before = table.find(self.reader.connection, &key).await?;
        table.upsert(self.reader.connection, &row).await.map_err(|error| refusal(table, error))?;
        self.remember(table, &key, "put", before).await?;
        self.log_change(LogKind::Modification, table, &row).await
    }

    /// Deletes a row and what goes with it; undone by bringing all of it back.
    pub(crate) async fn delete(&mut self, table: &'static Table, row: Row) -> Result<(), Problem> {
        let doomed = self.with_dependents(table, row).await?;
        // What goes with a row goes before it, so that an undo, which begins with the last, finds it there again.
        for (table, row) in doomed.into_iter().rev() {
            let key = table.key_of(&row);
            table.delete(self.reader.connection, &key).await?;
            self.log_change(LogKind::Deletion, table, &row).await?;
            self.remember(table, &key, "delete", Some(row)).await?;
        }
        Ok(())
    }

    /// A row and what goes with it, each after what it belongs to.
    pub(super) async fn with_dependents(
        &mut self,
        table: &'static Table,
        row: Row,
    ) -> sqlx::Result<Vec<(&'static Table, Row)>> {
        let mut all = vec![(table, row)];
        let mut next = 0;
        while let Some(&(table, ref row)) = all.get(next) {
            let key = table.key_of(row);
            for dependent in table.dependents {
                let rows = Table::dependents_of(self.reader.connection, dependent, &key).await?;
                all.extend(rows.into_iter().map(|row| (dependent.table, row)));
            }
            next += 1;
        }
        Ok(all)
    }

    /// Writes down what happened to a row.
    pub(super) async fn log_change(&mut self, kind: LogKind, table: &Table, row: &Row) -> Result<(), Problem> {
        let occasion = Occasion { kind, action: self.action, key: Some(self.listed_key) };
        Ok(self.reader.log_row(occasion, table, row).await?)
    }

    /// Whatever a call writes is its tenant's.
    fn own(&self, row: &mut Row) {
        row.insert("tenant_id".to_owned(), self.call.tenant_id.as_str().into());
    }

    async fn remember(
        &mut self,
        table: &Table,
        key: &[String],
        kind: &str,
        before: Option<Row>,
    ) -> Result<(), Problem> {
        sqlx::query(
            "INSERT INTO effects (tenant_id, key, table_name, row_key, kind, before_image) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.reader.call.tenant_id)
        .bind(self.key)
        .bind(table.name)
        .bind(Value::from(key).to_string())
        .bind(kind)
        .bind(before.map(|row| Value::Object(row).to_string()))
        .execute(&mut *self.reader.connection)
        .await?;
        Ok(())
    }
}

/// What a caller is told whose row cannot be written.
fn refusal(table: &Table, error: sqlx::Error) -> Problem {
    match error.as_database_error() {
        // Who wants to know what comes of many things must tell this from a thing that is in the way.
        Some(error) if error.is_foreign_key_violation() => Problem::new(StatusCode::NOT_FOUND, OWNER_IS_AWAY),
        _ => collision(table, error),
    }
}

const OWNER_IS_AWAY: &str = "what it belongs to is not there";

/// What a caller is told whose row cannot come back.
pub(super) fn collision(table: &Table, error: sqlx::Error) -> Problem {
    match error.as_database_error() {
        Some(error) if error.is_unique_violation() => Problem::conflict(table.taken),
        Some(error) if error.is_foreign_key_violation() => Problem::conflict(OWNER_IS_AWAY),
        _ => error.into(),
    }
}

/// A UUID of version 7 from the clock's now.
pub(super) fn new_id(clock: &SharedClock) -> String {
    let now = clock.now();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    let timestamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds);
    uuid::Uuid::new_v7(timestamp).to_string()
}

//! What a handler may do inside the transaction that its request runs in.

use std::ops::{Deref, DerefMut};

use clock::SharedClock;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

use super::{Call, Problem, Row, Service, Table};

/// Reads of one call.
pub(crate) struct Reader<'c> {
    pub(super) connection: &'c mut SqliteConnection,
    /// The call.
    pub(crate) call: &'c Call,
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
    pub(super) clock: &'c SharedClock,
    pub(super) key: &'c str,
    pub(super) tables: &'static [&'static Table],
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
    /// Now, as it is stored and answered.
    pub(crate) fn now(&self) -> String {
        self.clock.now().to_string()
    }

    /// A new id.
    pub(crate) fn new_id(&self) -> String {
        new_id(self.clock)
    }

    /// Creates a row; undone by deleting it, whatever became of it. A collision is a conflict.
    pub(crate) async fn create(&mut self, table: &'static Table, mut row: Row) -> Result<(), Problem> {
        self.own(&mut row);
        table.insert(self.reader.connection, &row).await.map_err(|error| {
            if error.as_database_error().is_some_and(|error| error.is_unique_violation()) {
                Problem::conflict(table.taken)
            } else {
                error.into()
            }
        })?;
        self.remember(table, &table.key_of(&row), "create", None).await
    }

    /// Creates or changes a row; undone by restoring what was there before, unless somebody has changed it since.
    pub(crate) async fn put(&mut self, table: &'static Table, mut row: Row) -> Result<(), Problem> {
        self.own(&mut row);
        let key = table.key_of(&row);
        let before = table.find(self.reader.connection, &key).await?;
        table.upsert(self.reader.connection, &row).await?;
        self.remember(table, &key, "put", before).await
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

/// A UUID of version 7 from the clock's now.
pub(super) fn new_id(clock: &SharedClock) -> String {
    let now = clock.now();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    let timestamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds);
    uuid::Uuid::new_v7(timestamp).to_string()
}

//! Rows as JSON objects, so that before-images, snapshots and answers need no code per table.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column as _, Row as _, Sqlite, TypeInfo as _, ValueRef as _};

/// A row by column name.
pub(crate) type Row = Map<String, Value>;

/// The most rows that a list holds.
const LIST_LIMIT: u32 = 1_000;

/// A business table. Each row has a `tenant_id`, and unless it can only be in one tenant at a time its key begins with
/// it; key columns are texts.
pub(crate) struct Table {
    /// The table's name.
    pub(crate) name: &'static str,
    /// The columns of its primary key.
    pub(crate) key: &'static [&'static str],
    /// The columns that hold JSON as text.
    pub(crate) json: &'static [&'static str],
    /// The columns that hold a boolean as 0 or 1.
    pub(crate) booleans: &'static [&'static str],
    /// The columns that hold bytes; base64 in a [`Row`].
    pub(crate) bytes: &'static [&'static str],
    /// The columns that follow from others, and that no [`Row`] has.
    pub(crate) derived: &'static [Derived],
    /// The rows of other tables that go with a row of this one.
    pub(crate) dependents: &'static [Dependent],
    /// What a caller is told whose row collides with one that exists.
    pub(crate) taken: &'static str,
}

/// A column that follows from another one, for an index that SQL alone cannot have.
pub(crate) struct Derived {
    /// Its name.
    pub(crate) column: &'static str,
    /// The column that it follows from, a text.
    pub(crate) from: &'static str,
    /// How.
    pub(crate) derive: fn(&str) -> String,
}

/// Rows that go when another one goes.
pub(crate) struct Dependent {
    /// Their table.
    pub(crate) table: &'static Table,
    /// Their columns that hold the other row's key.
    pub(crate) columns: &'static [&'static str],
    /// Further ones, as a condition in which `?1` is the first part of the other row's key, and so on.
    pub(crate) or: Option<&'static str>,
}

/// A row from `json!({...})`.
pub(crate) fn row(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        other => unreachable!("a row is an object, not {other}"),
    }
}

impl Table {
    /// A table without columns of special kinds.
    pub(crate) const fn new(name: &'static str, key: &'static [&'static str], taken: &'static str) -> Self {
        Self { name, key, json: &[], booleans: &[], bytes: &[], derived: &[], dependents: &[], taken }
    }

    /// The key of a row.
    pub(super) fn key_of(&self, row: &Row) -> Vec<String> {
        values(self.key, row)
    }

    pub(super) async fn find(&self, connection: &mut SqliteConnection, key: &[String]) -> sqlx::Result<Option<Row>> {
        let sql = format!("SELECT * FROM {} WHERE {}", self.name, self.where_key());
        let query = key.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, part| query.bind(part));
        let found = query.fetch_optional(connection).await?;
        found.map(|row| self.decode(&row)).transpose()
    }

    /// The rows whose columns have these values, newest first.
    pub(super) async fn list(
        &self,
        connection: &mut SqliteConnection,
        filter: &[(&'static str, &str)],
    ) -> sqlx::Result<Vec<Row>> {
        let columns: Vec<_> = filter.iter().map(|(column, _)| format!("{column} = ?")).collect();
        let sql = format!(
            "SELECT * FROM {} WHERE {} ORDER BY rowid DESC LIMIT {LIST_LIMIT}",
            self.name,
            columns.join(" AND ")
        );
        let query = sqlx::query(AssertSqlSafe(sql));
        let query = filter.iter().fold(query, |query, (_, value)| query.bind(*value));
        let rows = query.fetch_all(connection).await?;
        rows.iter().map(|row| self.decode(row)).collect()
    }

    /// The rows, with whatever else the statement selects, that it finds for these values.
    pub(super) async fn select(
        &self,
        connection: &mut SqliteConnection,
        sql: &str,
        values: &[String],
    ) -> sqlx::Result<Vec<Row>> {
        let query = values.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value));
        let rows = query.fetch_all(connection).await?;
        rows.iter().map(|row| self.decode(row)).collect()
    }

    /// The rows of the dependent's table that go with the row of this key.
    pub(super) async fn dependents_of(
        connection: &mut SqliteConnection,
        dependent: &Dependent,
        key: &[String],
    ) -> sqlx::Result<Vec<Row>> {
        let Dependent { table, columns, or } = dependent;
        let columns: Vec<_> = columns.iter().zip(1..).map(|(column, part)| format!("{column} = ?{part}")).collect();
        let condition = columns.join(" AND ");
        let or = or.map(|or| format!(" OR ({or})")).unwrap_or_default();
        let sql = format!("SELECT * FROM {} WHERE {condition}{or} ORDER BY rowid", table.name);
        table.select(connection, &sql, key).await
    }

    /// The key of the row of `parent` that a row belongs to, if rows of this table belong to any of it.
    pub(super) fn parent_key(&self, parent: &Table, row: &Row) -> Option<Vec<String>> {
        let dependent = parent.dependents.iter().find(|dependent| dependent.table.name == self.name)?;
        Some(values(dependent.columns, row))
    }

    /// All rows, or all of a tenant, by key.
    pub(super) async fn dump(&self, connection: &mut SqliteConnection, tenant: Option<&str>) -> sqlx::Result<Vec<Row>> {
        let sql =
            format!("SELECT * FROM {} WHERE ?1 IS NULL OR tenant_id = ?1 ORDER BY {}", self.name, self.key.join(", "));
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(tenant).fetch_all(connection).await?;
        rows.iter().map(|row| self.decode(row)).collect()
    }

    pub(super) async fn insert(&self, connection: &mut SqliteConnection, row: &Row) -> sqlx::Result<()> {
        let row = &*self.complete(row);
        self.write(self.insert_sql(row), connection, row).await
    }

    /// Leaves what is there as it is.
    pub(super) async fn insert_if_absent(&self, connection: &mut SqliteConnection, row: &Row) -> sqlx::Result<()> {
        let row = &*self.complete(row);
        self.write(format!("{} ON CONFLICT DO NOTHING", self.insert_sql(row)), connection, row).await
    }

    pub(super) async fn upsert(&self, connection: &mut SqliteConnection, row: &Row) -> sqlx::Result<()> {
        let row = &*self.complete(row);
        let assignments: Vec<_> = row.keys().map(|column| format!("{column} = excluded.{column}")).collect();
        // Not REPLACE, which would delete the old row and with it what hangs on it.
        let sql = format!(
            "{} ON CONFLICT ({}) DO UPDATE SET {}",
            self.insert_sql(row),
            self.key.join(", "),
            assignments.join(", ")
        );
        self.write(sql, connection, row).await
    }

    /// Fills the derived columns of rows from before there were any. Where that makes two rows collide, the older one has
    /// the value.
    pub(super) async fn derive_missing(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        for Derived { column, from, derive } in self.derived {
            let name = self.name;
            let missing = format!("SELECT rowid, {from} FROM {name} WHERE {column} IS NULL ORDER BY rowid");
            let missing: Vec<(i64, String)> =
                sqlx::query_as(AssertSqlSafe(missing)).fetch_all(&mut *connection).await?;
            for (rowid, source) in missing {
                let update = format!("UPDATE OR IGNORE {name} SET {column} = ? WHERE rowid = ?");
                let update = sqlx::query(AssertSqlSafe(update)).bind(derive(&source)).bind(rowid);
                update.execute(&mut *connection).await?;
            }
        }
        Ok(())
    }

    /// The row with its derived columns.
    pub(super) fn complete<'r>(&self, row: &'r Row) -> Cow<'r, Row> {
        let mut row = Cow::Borrowed(row);
        for Derived { column, from, derive } in self.derived {
            let derived = row.get(*from).and_then(Value::as_str).map(derive);
            row.to_mut().insert((*column).to_owned(), derived.into());
        }
        row
    }

    pub(super) async fn delete(&self, connection: &mut SqliteConnection, key: &[String]) -> sqlx::Result<()> {
        let sql = format!("DELETE FROM {} WHERE {}", self.name, self.where_key());
        let query = key.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, part| query.bind(part));
        query.execute(connection).await?;
        Ok(())
    }

    fn where_key(&self) -> String {
        let columns: Vec<_> = self.key.iter().map(|column| format!("{column} = ?")).collect();
        columns.join(" AND ")
    }

    fn insert_sql(&self, row: &Row) -> String {
        let columns: Vec<_> = row.keys().map(String::as_str).collect();
        let values = vec!["?"; columns.len()].join(", ");
        format!("INSERT INTO {} ({}) VALUES ({values})", self.name, columns.join(", "))
    }

    async fn write(&self, sql: String, connection: &mut SqliteConnection, row: &Row) -> sqlx::Result<()> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (column, value) in row {
            query = self.bind(query, column, value)?;
        }
        query.execute(connection).await?;
        Ok(())
    }

    fn bind<'q>(
        &self,
        query: Query<'q, Sqlite, SqliteArguments>,
        column: &str,
        value: &Value,
    ) -> sqlx::Result<Query<'q, Sqlite, SqliteArguments>> {
        Ok(match value {
            value if self.json.contains(&column) => query.bind(value.to_string()),
            Value::String(text) if self.bytes.contains(&column) => query.bind(BASE64.decode(text).map_err(encode)?),
            Value::String(text) => query.bind(text.clone()),
            Value::Bool(flag) => query.bind(*flag),
            Value::Number(number) => query.bind(number.as_i64()),
            _ => query.bind(None::<String>),
        })
    }

    pub(super) fn decode(&self, row: &SqliteRow) -> sqlx::Result<Row> {
        let mut decoded = Row::new();
        for column in row.columns() {
            let name = column.name();
            if self.derived.iter().any(|derived| derived.column == name) {
                continue;
            }
            let raw = row.try_get_raw(column.ordinal())?;
            let value = if raw.is_null() {
                Value::Null
            } else if self.json.contains(&name) {
                serde_json::from_str(row.try_get(name)?).map_err(decode)?
            } else if self.bytes.contains(&name) {
                BASE64.encode(row.try_get::<&[u8], _>(name)?).into()
            } else if self.booleans.contains(&name) {
                row.try_get::<bool, _>(name)?.into()
            } else if raw.type_info().name() == "INTEGER" {
                row.try_get::<i64, _>(name)?.into()
            } else {
                row.try_get::<String, _>(name)?.into()
            };
            decoded.insert(name.to_owned(), value);
        }
        Ok(decoded)
    }
}

/// The texts that a row holds in these columns.
fn values(columns: &[&str], row: &Row) -> Vec<String> {
    let text = |column: &&str| row.get(*column).and_then(Value::as_str).unwrap_or_default().to_owned();
    columns.iter().map(text).collect()
}

pub(super) fn encode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Encode(Box::new(error))
}

pub(super) fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

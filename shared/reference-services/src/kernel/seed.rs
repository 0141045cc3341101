//! Rows that are there from the start.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::table::encode;
use super::{OpenError, Row, Service, Table};

/// Rows with their tables.
pub(crate) type Rows = Vec<(&'static Table, Row)>;

/// How many rows of many are written at once.
const BATCH_ROWS: u64 = 10_000;

/// Makes a row of a tenant, of this id, for the current time.
pub(crate) type Seeded = fn(&str, &str, &str) -> (&'static Table, Row);

impl Service {
    /// Writes the rows that `rows` makes for the current time, unless a seed of this name has been written before. What
    /// is there already stays as it is.
    pub(crate) async fn seed(&self, name: &str, rows: impl FnOnce(&str) -> Rows) -> Result<bool, OpenError> {
        let rows = rows(&self.clock().now().to_string());
        self.write_seed(name, rows).await.map_err(|source| self.storage(source))
    }

    async fn write_seed(&self, name: &str, rows: Rows) -> sqlx::Result<bool> {
        let mut connection = self.connection().await;
        let mut transaction = self.begin(&mut connection).await?;
        let marked = sqlx::query("INSERT INTO seeds (name) VALUES (?) ON CONFLICT DO NOTHING")
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        if marked.rows_affected() == 0 {
            return Ok(false);
        }
        for (table, row) in rows {
            table.insert_if_absent(&mut transaction, &row).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Writes rows of the ids `seed-0000001` to that of this number, from the first one on that is not there. `progress` is
    /// told how many are there.
    pub(crate) async fn seed_many(
        &self,
        tenant_id: &str,
        count: u64,
        seeded: Seeded,
        mut progress: impl FnMut(u64),
    ) -> Result<(), OpenError> {
        let id = |number: u64| format!("seed-{number:07}");
        let now = self.clock().now().to_string();
        let (table, _) = seeded(tenant_id, &id(1), &now);
        let last = table.last_id(&mut *self.connection().await, tenant_id, "seed-").await;
        let last = last.map_err(|source| self.storage(source))?;
        let mut done = last.and_then(|id| id.strip_prefix("seed-")?.parse::<u64>().ok()).unwrap_or_default().min(count);
        progress(done);
        while done < count {
            let end = count.min(done + BATCH_ROWS);
            let rows: Vec<_> = (done + 1..=end).map(|number| seeded(tenant_id, &id(number), &now).1).collect();
            self.write_many(table, &rows).await.map_err(|source| self.storage(source))?;
            done = end;
            progress(done);
        }
        Ok(())
    }

    async fn write_many(&self, table: &Table, rows: &[Row]) -> sqlx::Result<()> {
        let mut connection = self.connection().await;
        let mut transaction = self.begin(&mut connection).await?;
        table.insert_many(&mut transaction, rows).await?;
        transaction.commit().await
    }
}

impl Table {
    /// Inserts rows that all have the same columns, in one statement. Leaves what is there as it is.
    async fn insert_many(&self, connection: &mut SqliteConnection, rows: &[Row]) -> sqlx::Result<()> {
        let rows: Vec<_> = rows.iter().map(|row| self.complete(row)).collect();
        let Some(first) = rows.first() else { return Ok(()) };
        let columns: Vec<_> = first.keys().map(String::as_str).collect();
        let values = columns.iter().map(|column| {
            let arrow = if self.json.contains(column) { "->" } else { "->>" };
            format!("value {arrow} '$.{column}'")
        });
        let sql = format!(
            "INSERT INTO {} ({}) SELECT {} FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
            self.name,
            columns.join(", "),
            values.collect::<Vec<_>>().join(", ")
        );
        let rows = serde_json::to_string(&rows).map_err(encode)?;
        sqlx::query(AssertSqlSafe(sql)).bind(rows).execute(connection).await?;
        Ok(())
    }

    /// The last one of a tenant's ids that begin like this; the beginning ends in `-`.
    async fn last_id(
        &self,
        connection: &mut SqliteConnection,
        tenant_id: &str,
        beginning: &str,
    ) -> sqlx::Result<Option<String>> {
        let id = self.key.last().copied().unwrap_or_default();
        let name = self.name;
        // The character after `-` is `.`.
        let sql =
            format!("SELECT MAX({id}) FROM {name} WHERE tenant_id = ?1 AND {id} > ?2 AND {id} < rtrim(?2, '-') || '.'");
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(tenant_id).bind(beginning);
        query.fetch_one(connection).await
    }
}

//! The logs: who saw, changed, deleted or took away what, written in the transaction in which it happens.

use axum::response::{IntoResponse, Json, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::cursor::Cursor;
use super::{Doc, EntityType, Member, Problem, Query, Reader, Row, Shape, Table};

/// What happened to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogKind {
    Access,
    Modification,
    Deletion,
    Export,
}

impl LogKind {
    pub(super) const ALL: [Self; 4] = [Self::Access, Self::Modification, Self::Deletion, Self::Export];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Modification => "modification",
            Self::Deletion => "deletion",
            Self::Export => "export",
        }
    }
}

/// What the entries of one request have in common.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'o> {
    pub(super) kind: LogKind,
    pub(super) action: &'o str,
    pub(super) key: Option<&'o str>,
}

impl Reader<'_> {
    /// Writes down that somebody has seen the thing.
    pub(crate) async fn log_access(&mut self, entity: &EntityType, row: &Row) -> Result<(), Problem> {
        let occasion = Occasion { kind: LogKind::Access, action: "read", key: None };
        Ok(self.log_row(occasion, entity.table, row).await?)
    }

    /// Writes down what happened to a row.
    pub(super) async fn log_row(&mut self, occasion: Occasion<'_>, table: &Table, row: &Row) -> sqlx::Result<()> {
        let entity = self.service.definition().entity_types.iter().find(|entity| entity.table.name == table.name);
        let name = entity.map_or(table.name, |entity| entity.name);
        let subject = subject_of(entity.copied(), row);
        // It is the log of whose row it is.
        let tenant_id = row.get("tenant_id").and_then(Value::as_str).unwrap_or(&self.call.tenant_id);
        self.log(tenant_id, occasion, &[(name, id_of(table, row), subject)]).await
    }

    /// Writes down what happened to a tenant's things of which type, id and subject are given.
    pub(super) async fn log(
        &mut self,
        tenant_id: &str,
        occasion: Occasion<'_>,
        things: &[(&str, &str, Option<&str>)],
    ) -> sqlx::Result<()> {
        let now = self.service.clock().now();
        sqlx::query(
            "INSERT INTO logs (tenant_id, kind, at, at_us, entity_type, entity_id, subject, action, actor, key) \
             SELECT ?, ?, ?, ?, value ->> 0, value ->> 1, value ->> 2, ?, ?, ? FROM json_each(?)",
        )
        .bind(tenant_id)
        .bind(occasion.kind.as_str())
        .bind(now.to_string())
        .bind(now.as_microsecond())
        .bind(occasion.action)
        .bind(self.call.user_id.as_deref())
        .bind(occasion.key)
        .bind(json!(things).to_string())
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}

fn id_of<'r>(table: &Table, row: &'r Row) -> &'r str {
    let column = table.key.last().copied().unwrap_or_default();
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

/// Whom the thing is about.
pub(super) fn subject_of<'r>(entity: Option<&EntityType>, row: &'r Row) -> Option<&'r str> {
    let column = entity.map_or(Some("user_id"), |entity| entity.subject_field)?;
    row.get(column)?.as_str()
}

/// `GET /api/v1/logs?kind&from&to&subject&cursor&limit`: in the order of the entries, from `from` on and before `to`.
pub(super) struct Logs;

impl Query for Logs {
    const ROUTE: &'static str = "/api/v1/logs";
    const DOC: Doc = Doc {
        query: &[
            Member::optional("kind", Shape::Words(&["access", "modification", "deletion", "export"]), ""),
            Member::optional("from", Shape::Time, "only entries from then on"),
            Member::optional("to", Shape::Time, "only entries before then"),
            Member::optional("subject", Shape::Text, ""),
            Member::optional("cursor", Shape::Text, ""),
            Member::optional("limit", Shape::Count, "1 to 1000; 100 unless given"),
        ],
        ..Doc::new(
            "Who saw, changed, deleted or took away what, in the order in which it happened.",
            "Exports read the kinds that are asked for (collect_data_set), audit log generation and compliance reports all four; an erasure proves itself by the \
             entries of the kind deletion.",
            Shape::Object(&[
                Member::required(
                    "entries",
                    Shape::List(&[
                        Member::required("seq", Shape::Count, ""),
                        Member::required("kind", Shape::Words(&["access", "modification", "deletion", "export"]), ""),
                        Member::required("at", Shape::Time, ""),
                        Member::required("entity_type", Shape::Text, ""),
                        Member::required("entity_id", Shape::AnyText, ""),
                        Member::nullable("subject", Shape::Text, "the user whom it is about"),
                        Member::required("action", Shape::Text, "what was done"),
                        Member::nullable("actor", Shape::Text, "X-User-ID of the request"),
                        Member::nullable("key", Shape::Text, "the key that it was done by"),
                    ]),
                    "",
                ),
                Member::nullable("next_cursor", Shape::Text, "null on the last page"),
            ]),
        )
    };

    async fn answer(reader: Reader<'_>) -> Result<Response, Problem> {
        let call = reader.call;
        let kind = call.query("kind")?;
        if let Some(unknown) = &kind
            && LogKind::ALL.iter().all(|known| known.as_str() != unknown)
        {
            return Err(Problem::bad_request("kind is access, modification, deletion or export"));
        }
        let (from, to, subject) = (time(&reader, "from")?, time(&reader, "to")?, call.query("subject")?);
        let limit = call.limit()?;
        let asked = json!(["logs", kind, from, to, subject]);
        let cursor = Cursor::read(call, &asked)?.unwrap_or_default();
        let rows = sqlx::query(
            "SELECT * FROM logs WHERE tenant_id = ?1 AND seq > ?2 AND (?3 IS NULL OR kind = ?3) \
             AND (?4 IS NULL OR at_us >= ?4) AND (?5 IS NULL OR at_us < ?5) AND (?6 IS NULL OR subject = ?6) \
             ORDER BY seq LIMIT ?7",
        )
        .bind(&call.tenant_id)
        .bind(cursor.number)
        .bind(kind)
        .bind(from)
        .bind(to)
        .bind(subject)
        .bind(limit + 1)
        .fetch_all(&mut *reader.connection)
        .await?;
        let is_more = rows.len() > limit_of(limit);
        let entries = rows.iter().take(limit_of(limit)).map(entry).collect::<sqlx::Result<Vec<_>>>()?;
        let last = entries.last().and_then(|entry| entry["seq"].as_i64()).unwrap_or_default();
        let next = is_more.then(|| Cursor { number: last, ..Cursor::default() }.text(call, &asked));
        Ok(Json(json!({ "entries": entries, "next_cursor": next })).into_response())
    }
}

fn limit_of(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or_default()
}

/// A point in time, in microseconds.
fn time(reader: &Reader<'_>, name: &'static str) -> Result<Option<i64>, Problem> {
    let Some(text) = reader.call.query(name)? else { return Ok(None) };
    let time: Timestamp = text
        .parse()
        .map_err(|_| Problem::bad_request(format!("{name} is no point in time such as 2026-03-01T08:00:00Z")))?;
    Ok(Some(time.as_microsecond()))
}

fn entry(row: &SqliteRow) -> sqlx::Result<Value> {
    let text = |column| row.try_get::<Option<String>, _>(column);
    Ok(json!({
        "seq": row.try_get::<i64, _>("seq")?, "kind": text("kind")?, "at": text("at")?,
        "entity_type": text("entity_type")?, "entity_id": text("entity_id")?, "subject": text("subject")?,
        "action": text("action")?, "actor": text("actor")?, "key": text("key")?,
    }))
}

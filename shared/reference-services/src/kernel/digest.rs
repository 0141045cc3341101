//! `GET /api/v1/data/{type}/digest`: one number for many things, to compare what two services hold.

use axum::response::{IntoResponse, Json, Response};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;

use super::request::{hex, write_canonical};
use super::selection::Selection;
use super::version::Watermark;
use super::{Problem, Query, Reader};

pub(super) struct Digest;

impl Query for Digest {
    const ROUTE: &'static str = "/api/v1/data/{type}/digest";

    async fn answer(reader: Reader<'_>) -> Result<Response, Problem> {
        let call = reader.call;
        let entity = reader.service.definition().entity_type(call.param("type"))?;
        let selection = Selection::read(call, entity)?;
        let watermark = Watermark::current(reader.connection).await?.text(reader.service);
        let id = entity.id_field;
        let (ids, bounds) = selection.ids(&format!("e.{id}"));
        let sql = format!(
            "SELECT e.* FROM {} e WHERE e.tenant_id = ?{ids} AND {} ORDER BY e.{id}",
            entity.table.name, selection.fields
        );
        let values = std::iter::once(call.tenant_id.clone()).chain(bounds).chain(selection.values.iter().cloned());
        let query = values.fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value));
        let mut rows = query.fetch(&mut *reader.connection);
        let (mut count, mut hash, mut line) = (0_u64, Sha256::new(), String::new());
        while let Some(row) = rows.try_next().await? {
            let record = entity.record(entity.table.decode(&row)?);
            let (id, references) = (record[id].clone(), entity.references_of(&record));
            let thing = [("data", record.into()), ("id", id), ("references", references)];
            let thing = thing.map(|(name, value)| (name.to_owned(), value));
            line.clear();
            write_canonical(&Value::Object(thing.into_iter().collect()), &mut line);
            line.push('\n');
            hash.update(line.as_bytes());
            count += 1;
        }
        let body = json!({ "count": count, "sha256": hex(&hash.finalize()), "watermark": watermark });
        Ok(Json(body).into_response())
    }
}

//! `GET /api/v1/data/{type}/digest`: one number for many things, to compare what two services hold.

use axum::response::{IntoResponse, Json, Response};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;

use super::request::{hex, write_canonical};
use super::selection::Selection;
use super::version::Watermark;
use super::{Doc, Member, Problem, Query, Reader, Shape};

pub(super) struct Digest;

impl Query for Digest {
    const ROUTE: &'static str = "/api/v1/data/{type}/digest";
    const DOC: Doc = Doc {
        query: &[
            Member::optional("subject", Shape::Text, "only things about this user"),
            Member::optional("from_id", Shape::Text, "only ids from this one on"),
            Member::optional("to_id", Shape::Text, "only ids before this one"),
        ],
        refuses: &[(404, "the service holds no such type")],
        ..Doc::new(
            "One number for many things, to compare what two services hold.",
            "`filter.<field>=<value>` leaves only things with this value; an entry of an object is \
             `filter.<field>.<entry>`. All conditions hold together. The verification of a migration and of a \
             restore compares digests, and halves the range of ids until it has found what differs. The hash is \
             SHA-256 over one line for each thing, by id: `{\"data\":..,\"id\":..,\"references\":..}` as JSON with \
             its keys in order and without spaces. Neither version nor times of change count.",
            Shape::Object(&[
                Member::required("count", Shape::Count, ""),
                Member::required("sha256", Shape::Text, "64 hexadecimal digits"),
                Member::required("watermark", Shape::Text, ""),
            ]),
        )
    };

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

//! `GET /api/v1/data/{type}/digest`: one number for many things, to compare what two services hold.

use axum::response::{IntoResponse, Json, Response};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;

use super::request::{hex, write_canonical};
use super::selection::Selection;
use super::version::Watermark;
use super::{Call, Doc, Member, Problem, Query, Reader, Shape};

/// The most things of a digest that has a limit.
const MAX_LIMIT: u32 = 100_000;

pub(super) struct Digest;

impl Query for Digest {
    const ROUTE: &'static str = "/api/v1/data/{type}/digest";
    const DOC: Doc = Doc {
        query: &[
            Member::optional("subject", Shape::Text, "only things about this user"),
            Member::optional("from_id", Shape::Text, "only ids from this one on"),
            Member::optional("to_id", Shape::Text, "only ids before this one"),
            Member::optional("limit", Shape::Count, "at most so many things, the first ones; 1 to 100000"),
        ],
        refuses: &[(404, "the service holds no such type")],
        ..Doc::new(
            "One number for many things, to compare what two services hold.",
            "`filter.<field>=<value>` leaves only things with this value; an entry of an object is \
             `filter.<field>.<entry>`. All conditions hold together. The hash is \
             SHA-256 over one line for each thing, by id: `{\"data\":..,\"id\":..,\"references\":..}` as JSON with \
             its keys in order and without spaces. Neither version nor times of change count. With `as.<name>=<path>`, \
             once or more often, the line is `{\"data\":{\"<name>\":..},\"id\":..}`, with what is at these paths, or \
             null: so a thing and a copy of some of its fields have the same digest. A synchronisation (plan_migration) \
             compares them range by range, each as long as `limit` says, and narrows those that differ.",
            Shape::Object(&[
                Member::required("count", Shape::Count, ""),
                Member::required("sha256", Shape::Text, "64 hexadecimal digits"),
                Member::nullable("last_id", Shape::Text, "of the last thing in it"),
                Member::required("watermark", Shape::Text, ""),
            ]),
        )
    };

    async fn answer(reader: Reader<'_>) -> Result<Response, Problem> {
        let call = reader.call;
        let entity = reader.service.definition().entity_type(call.param("type"))?;
        let selection = Selection::read(call, entity)?;
        let (names, limit) = (names(call)?, limit(call)?);
        let watermark = Watermark::current(reader.connection).await?.text(reader.service);
        let id = entity.id_field;
        let (ids, bounds) = selection.ids(&format!("e.{id}"));
        let sql = format!(
            "SELECT e.* FROM {} e WHERE e.tenant_id = ?{ids} AND {} ORDER BY e.{id} LIMIT {limit}",
            entity.table.name, selection.fields
        );
        let values = std::iter::once(call.tenant_id.clone()).chain(bounds).chain(selection.values.iter().cloned());
        let query = values.fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value));
        let mut rows = query.fetch(&mut *reader.connection);
        let (mut count, mut hash, mut line, mut last_id) = (0_u64, Sha256::new(), String::new(), Value::Null);
        while let Some(row) = rows.try_next().await? {
            let record = entity.record(entity.table.decode(&row)?);
            last_id = record[id].clone();
            let thing = match names.is_empty() {
                true => {
                    let references = entity.references_of(&record);
                    json!({ "data": record, "id": last_id, "references": references })
                }
                false => json!({ "data": renamed(&names, &record.into()), "id": last_id }),
            };
            line.clear();
            write_canonical(&thing, &mut line);
            line.push('\n');
            hash.update(line.as_bytes());
            count += 1;
        }
        let sha256 = hex(&hash.finalize());
        let body = json!({ "count": count, "sha256": sha256, "last_id": last_id, "watermark": watermark });
        Ok(Json(body).into_response())
    }
}

/// The names under which values are hashed, each with the path to the value; none if all of a thing is.
fn names(call: &Call) -> Result<Vec<(String, String)>, Problem> {
    let parameters = call.parameters()?.into_iter();
    Ok(parameters.filter_map(|(name, path)| Some((name.strip_prefix("as.")?.to_owned(), path))).collect())
}

fn limit(call: &Call) -> Result<u32, Problem> {
    let Some(limit) = call.query("limit")? else { return Ok(u32::MAX) };
    let limit = limit.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Problem::bad_request(format!("limit is no number from 1 to {MAX_LIMIT}")))
}

fn renamed(names: &[(String, String)], record: &Value) -> Value {
    let at = |path: &str| path.split('.').fold(record, |value, name| value.get(name).unwrap_or(&Value::Null)).clone();
    names.iter().map(|(name, path)| (name.clone(), at(path))).collect::<serde_json::Map<_, _>>().into()
}

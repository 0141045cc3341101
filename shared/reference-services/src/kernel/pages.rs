//! `GET /api/v1/data/{type}`: things of a type, page by page.

use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use super::cursor::Cursor;
use super::log::{LogKind, Occasion};
use super::selection::Selection;
use super::version::Watermark;
use super::{Call, Doc, EntityType, Member, Problem, Query, Reader, Row, Shape};

pub(super) struct Pages;

impl Query for Pages {
    const ROUTE: &'static str = "/api/v1/data/{type}";
    const DOC: Doc = Doc {
        query: &[
            Member::optional("cursor", Shape::Text, "`next_cursor` of the page before, for the same question"),
            Member::optional("limit", Shape::Count, "1 to 1000; 100 unless given"),
            Member::optional(
                "changed_since",
                Shape::Text,
                "a watermark: only what has changed since, in the order of changes, deletions too",
            ),
            Member::optional("subject", Shape::Text, "only things about this user"),
            Member::optional("from_id", Shape::Text, "only ids from this one on"),
            Member::optional("to_id", Shape::Text, "only ids before this one"),
            Member::optional("purpose", Shape::Words(&["export"]), "whether the page leaves the house"),
        ],
        refuses: &[(404, "the service holds no such type")],
        ..Doc::new(
            "Things of a type, page by page, by id.",
            "`filter.<field>=<value>` leaves only things with this value; an entry of an object is \
             `filter.<field>.<entry>`. All conditions hold together. Exports, backups, migrations, retention and \
             bulk operations by filter read their data so, erasures their selection: back_up_data_set, \
             complete_backup for what has changed meanwhile, verify_restore to compare, end_drill to see whether anything is left; plan_migration, \
             migrate_batch with a range of ids, complete_migration for what has changed meanwhile; plan_export to see whether there is such a person, collect_data_set, erase_data_set and verify_erasure with `subject` or with a filter for mentions. With `purpose=export` each \
             thing shown gets an entry in the logs.",
            Shape::Object(&[
                Member::required(
                    "items",
                    Shape::List(&[
                        Member::required("id", Shape::Text, ""),
                        Member::required("version", Shape::Count, ""),
                        Member::required("updated_at", Shape::Time, ""),
                        Member::required("data", Shape::Record, ""),
                        Member::required(
                            "references",
                            Shape::List(&[
                                Member::required("field", Shape::Text, ""),
                                Member::required("service", Shape::Text, ""),
                                Member::required("type", Shape::Text, ""),
                                Member::required("id", Shape::Text, ""),
                            ]),
                            "",
                        ),
                    ]),
                    "",
                ),
                Member::required(
                    "deletions",
                    Shape::List(&[
                        Member::required("id", Shape::Text, ""),
                        Member::required("deleted_at", Shape::Time, ""),
                    ]),
                    "with changed_since: what is gone",
                ),
                Member::nullable("next_cursor", Shape::Text, "null on the last page"),
                Member::required(
                    "watermark",
                    Shape::Text,
                    "what has changed after it is not on these pages; for changed_since",
                ),
            ]),
        )
    };

    fn is_logged(call: &Call) -> bool {
        is_export(call).unwrap_or_default()
    }

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let call = reader.call;
        let entity = reader.service.definition().entity_type(call.param("type"))?;
        let selection = Selection::read(call, entity)?;
        let is_export = is_export(call)?;
        let changed_since = call.query("changed_since")?;
        let since = match &changed_since {
            Some(text) => Some(Watermark::read(&mut reader, text).await?),
            None => None,
        };
        let asked = json!([entity.name, changed_since, is_export, selection.asked()]);
        let limit = call.limit()?;
        let cursor = Cursor::read(call, &asked)?;
        let watermark = match &cursor {
            // Whoever continues from the first page's misses nothing that changed while the others were read.
            Some(cursor) => cursor.watermark,
            None => Watermark::current(reader.connection).await?.0,
        };
        let cursor = cursor.unwrap_or_default();
        let (sql, values) = match since {
            None => by_id(entity, &selection, call, &cursor, limit + 1),
            Some(since) => by_change(entity, &selection, call, since.0.max(cursor.number), limit + 1),
        };
        let mut rows = entity.table.select(reader.connection, &sql, &values).await?;
        let is_more = rows.len() as i64 > limit;
        rows.truncate(usize::try_from(limit).unwrap_or_default());
        let next_cursor = rows.last().filter(|_| is_more).map(|last| {
            let number = last["@change"].as_i64().unwrap_or_default();
            let id = last["@id"].as_str().unwrap_or_default().to_owned();
            Cursor { id, number, watermark }.text(call, &asked)
        });
        let (deleted, held): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row["@is_deleted"] == 1);
        if is_export {
            log_export(&mut reader, entity, &held).await?;
        }
        let deletions = deleted.iter().map(|row| json!({ "id": row["@id"], "deleted_at": row["@updated_at"] }));
        let deletions: Value = deletions.collect();
        let items: Value = held.into_iter().map(|row| item(entity, row)).collect();
        let watermark = Watermark(watermark).text(reader.service);
        let body =
            json!({ "items": items, "deletions": deletions, "next_cursor": next_cursor, "watermark": watermark });
        Ok(Json(body).into_response())
    }
}

/// Whether the page leaves the house.
fn is_export(call: &Call) -> Result<bool, Problem> {
    match call.query("purpose")?.as_deref() {
        None => Ok(false),
        Some("export") => Ok(true),
        Some(_) => Err(Problem::bad_request("purpose is export, or left out")),
    }
}

async fn log_export(reader: &mut Reader<'_>, entity: &EntityType, rows: &[Row]) -> Result<(), Problem> {
    let occasion = Occasion { kind: LogKind::Export, action: "export", key: None };
    let things: Vec<_> = rows
        .iter()
        .map(|row| (entity.name, row["@id"].as_str().unwrap_or_default(), super::log::subject_of(Some(entity), row)))
        .collect();
    Ok(reader.log(&reader.call.tenant_id.clone(), occasion, &things).await?)
}

/// A thing as pages show it.
fn item(entity: &EntityType, row: Row) -> Value {
    let [id, version, updated_at] = ["@id", "@version", "@updated_at"].map(|column| row[column].clone());
    let record = entity.record(row);
    let references = entity.references_of(&record);
    json!({ "id": id, "version": version, "updated_at": updated_at, "data": record, "references": references })
}

/// What a page needs to know of each thing beside its row.
const COLUMNS: &str = "v.id AS \"@id\", v.version AS \"@version\", v.updated_at AS \"@updated_at\", \
     v.change AS \"@change\", v.is_deleted AS \"@is_deleted\"";

fn by_id(
    entity: &EntityType,
    selection: &Selection,
    call: &Call,
    cursor: &Cursor,
    limit: i64,
) -> (String, Vec<String>) {
    let (table, id) = (entity.table.name, entity.id_field);
    let (ids, bounds) = selection.ids(&format!("e.{id}"));
    let sql = format!(
        "SELECT e.*, {COLUMNS} FROM {table} e \
         JOIN versions v ON v.table_name = '{table}' AND v.tenant_id = e.tenant_id AND v.id = e.{id} \
         WHERE e.tenant_id = ? AND e.{id} > ?{ids} AND {} ORDER BY e.{id} LIMIT {limit}",
        selection.fields
    );
    let first = [call.tenant_id.clone(), cursor.id.clone()];
    (sql, first.into_iter().chain(bounds).chain(selection.values.iter().cloned()).collect())
}

fn by_change(entity: &EntityType, selection: &Selection, call: &Call, since: i64, limit: i64) -> (String, Vec<String>) {
    let (table, id) = (entity.table.name, entity.id_field);
    let (ids, bounds) = selection.ids("v.id");
    // What is gone has no fields any more that a filter could look at.
    let sql = format!(
        "SELECT e.*, {COLUMNS} FROM versions v \
         LEFT JOIN {table} e ON e.tenant_id = v.tenant_id AND e.{id} = v.id \
         WHERE v.table_name = '{table}' AND v.tenant_id = ? AND v.change > ?{ids} \
         AND (v.is_deleted = 1 OR ({})) ORDER BY v.change LIMIT {limit}",
        selection.fields
    );
    let first = [call.tenant_id.clone(), since.to_string()];
    (sql, first.into_iter().chain(bounds).chain(selection.values.iter().cloned()).collect())
}

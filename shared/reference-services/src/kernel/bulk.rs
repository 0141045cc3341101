//! `POST /api/v1/data/{type}/import`, `/delete` and `/mask`: many things by the keys of their items.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{MethodFilter, post};
use serde_json::{Value, json};

use super::batch::{Batch, ItemResult, MAX_ITEMS, Step};
use super::item::Run;
use super::request::MAX_KEY_CHARACTERS;
use super::{
    Call, Described, Doc, EntityType, Fields, Item, Keys, Member, OperationOf, Problem, Routes, Row, Service, Shape,
    exchange, mask, request, row,
};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.bulk::<Import>().bulk::<Delete>().bulk::<Mask>()
}

/// What is done to many things of one type.
trait Bulk: 'static {
    const ROUTE: &'static str;
    /// What the logs call it.
    const ACTION: &'static str;
    const RUN: Run;
    /// What it takes and answers.
    const DOC: Doc;

    /// Reads what holds for all items. It becomes part of each.
    fn read(body: &mut Fields<'_>, entity: &EntityType) -> Row;

    /// Reads what an item says beside its id and key.
    fn read_item(_: &mut Fields<'_>) -> Row {
        Row::new()
    }
}

impl Routes {
    fn bulk<B: Bulk>(self) -> Self {
        self.add(Described::new(MethodFilter::POST, B::ROUTE, Keys::Items, &B::DOC), post(handle::<B>))
    }
}

struct Import;

impl Bulk for Import {
    const ROUTE: &'static str = "/api/v1/data/{type}/import";
    const DOC: Doc = Doc {
        query: &[Member::optional("dry_run", Shape::Flag, "whether everything is taken back in the end")],
        takes: &[
            Member::optional(
                "on_conflict",
                Shape::Words(exchange::ON_CONFLICT),
                "what becomes of a thing that is there; fail unless given",
            ),
            Member::optional("before_images", Shape::Flag, ""),
            Member::required(
                "items",
                Shape::List(&[
                    Member::required("id", Shape::Text, ""),
                    Member::required(
                        "key",
                        Shape::Text,
                        "at most 255 characters; one effect, and what it is undone by",
                    ),
                    Member::required("data", Shape::Import, ""),
                    Member::optional("if_version", Shape::Count, "the version that the thing must have"),
                ]),
                "",
            ),
        ],
        refuses: &[(404, "the service holds no such type")],
        ..Doc::new(
            "Takes in things under their ids.",
            "Restores (restore_part) and migrations (plan_migration, migrate_batch, complete_migration) write so, batch by batch; the undo of a \
             migration undoes the items' keys. 1 to 1,000 items; each is done by itself.",
            Shape::Object(&[Member::required(
                "results",
                Shape::List(&[
                    Member::required("id", Shape::Text, ""),
                    Member::required("key", Shape::Text, ""),
                    Member::required(
                        "status",
                        Shape::Words(&["created", "updated", "deleted", "skipped", "failed"]),
                        "",
                    ),
                    Member::nullable(
                        "code",
                        Shape::Words(&[
                            "NotFound",
                            "Conflict",
                            "Forbidden",
                            "VersionMismatch",
                            "InvalidInput",
                            "KeyReused",
                            "Undone",
                        ]),
                        "why it failed",
                    ),
                    Member::nullable("message", Shape::Text, ""),
                    Member::nullable("before", Shape::Record, "the thing as it was, if before_images is true"),
                ]),
                "one for each item, in their order",
            )]),
        )
    };
    const ACTION: &'static str = "import";
    const RUN: Run = OperationOf::new::<exchange::Import>().run;

    fn read(body: &mut Fields<'_>, _: &EntityType) -> Row {
        let on_conflict = body.optional_one_of("on_conflict", exchange::ON_CONFLICT).unwrap_or("fail");
        row(json!({ "on_conflict": on_conflict }))
    }

    fn read_item(item: &mut Fields<'_>) -> Row {
        row(json!({ "data": item.object("data") }))
    }
}

struct Delete;

impl Bulk for Delete {
    const ROUTE: &'static str = "/api/v1/data/{type}/delete";
    const DOC: Doc = Doc {
        query: &[Member::optional("dry_run", Shape::Flag, "whether everything is taken back in the end")],
        takes: &[
            Member::optional("before_images", Shape::Flag, ""),
            Member::required(
                "items",
                Shape::List(&[
                    Member::required("id", Shape::Text, ""),
                    Member::required(
                        "key",
                        Shape::Text,
                        "at most 255 characters; one effect, and what it is undone by",
                    ),
                    Member::optional("if_version", Shape::Count, "the version that the thing must have"),
                ]),
                "",
            ),
        ],
        refuses: &[(404, "the service holds no such type")],
        ..Doc::new(
            "Deletes things and what belongs to them.",
            "Erasures (erase_data_set), retention and archival delete so, in the order of references. 1 to 1,000 items; each \
             is done by itself.",
            Shape::Object(&[Member::required(
                "results",
                Shape::List(&[
                    Member::required("id", Shape::Text, ""),
                    Member::required("key", Shape::Text, ""),
                    Member::required(
                        "status",
                        Shape::Words(&["created", "updated", "deleted", "skipped", "failed"]),
                        "",
                    ),
                    Member::nullable(
                        "code",
                        Shape::Words(&[
                            "NotFound",
                            "Conflict",
                            "Forbidden",
                            "VersionMismatch",
                            "InvalidInput",
                            "KeyReused",
                            "Undone",
                        ]),
                        "why it failed",
                    ),
                    Member::nullable("message", Shape::Text, ""),
                    Member::nullable("before", Shape::Record, "the thing as it was, if before_images is true"),
                ]),
                "one for each item, in their order",
            )]),
        )
    };
    const ACTION: &'static str = "delete";
    const RUN: Run = OperationOf::new::<exchange::Delete>().run;

    fn read(_: &mut Fields<'_>, _: &EntityType) -> Row {
        Row::new()
    }
}

struct Mask;

impl Bulk for Mask {
    const ROUTE: &'static str = "/api/v1/data/{type}/mask";
    const DOC: Doc = Doc {
        query: &[Member::optional("dry_run", Shape::Flag, "whether everything is taken back in the end")],
        takes: &[
            Member::optional("before_images", Shape::Flag, ""),
            Member::required("fields", Shape::AnyObject, "e.g. {\"name\": \"redact\"}"),
            Member::required(
                "items",
                Shape::List(&[
                    Member::required("id", Shape::Text, ""),
                    Member::required(
                        "key",
                        Shape::Text,
                        "at most 255 characters; one effect, and what it is undone by",
                    ),
                    Member::optional("if_version", Shape::Count, "the version that the thing must have"),
                ]),
                "",
            ),
        ],
        refuses: &[(404, "the service holds no such type")],
        ..Doc::new(
            "Makes fields of things unreadable.",
            "Erasures mask what the law keeps from being deleted. `fields` names paths with their strategies: \
             redact, hash (the same value stays the same one within the tenant), pseudonym (a made-up value, another one for \
             each thing, that keeps the rules of the field) or null. 1 to 1,000 items; each is done by itself.",
            Shape::Object(&[Member::required(
                "results",
                Shape::List(&[
                    Member::required("id", Shape::Text, ""),
                    Member::required("key", Shape::Text, ""),
                    Member::required(
                        "status",
                        Shape::Words(&["created", "updated", "deleted", "skipped", "failed"]),
                        "",
                    ),
                    Member::nullable(
                        "code",
                        Shape::Words(&[
                            "NotFound",
                            "Conflict",
                            "Forbidden",
                            "VersionMismatch",
                            "InvalidInput",
                            "KeyReused",
                            "Undone",
                        ]),
                        "why it failed",
                    ),
                    Member::nullable("message", Shape::Text, ""),
                    Member::nullable("before", Shape::Record, "the thing as it was, if before_images is true"),
                ]),
                "one for each item, in their order",
            )]),
        )
    };
    const ACTION: &'static str = "mask";
    const RUN: Run = OperationOf::new::<mask::Mask>().run;

    fn read(body: &mut Fields<'_>, entity: &EntityType) -> Row {
        let fields = body.object("fields");
        if fields.is_empty() {
            body.refuse("fields", "must name a field");
        }
        for (path, strategy) in &fields {
            if let Some(error) = mask::error(entity, path, strategy) {
                body.refuse(&format!("fields/{path}"), error);
            }
        }
        row(json!({ "fields": fields }))
    }
}

async fn handle<B: Bulk>(
    State(service): State<Service>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let call = Call::new(&parts, params)?;
    let entity = service.definition().entity_type(call.param("type"))?;
    let dry_run = call.flag("dry_run")?;
    let body = request::read_body(&**service.clock(), body, request::MAX_BATCH_BYTES).await?;
    let body = request::parse(&body)?;
    let mut fields = Fields::new(&body);
    let before_images = fields.optional_flag("before_images");
    let mut common = B::read(&mut fields, entity);
    common.insert("before_images".to_owned(), before_images.into());
    let items = fields.items("items", MAX_ITEMS, |item| {
        let mut data = B::read_item(item);
        data.insert("if_version".to_owned(), item.optional_count("if_version").into());
        (item.short_text("id", MAX_KEY_CHARACTERS), item.short_text("key", MAX_KEY_CHARACTERS), data)
    });
    fields.finish()?;

    let names: Vec<_> = items.iter().map(|(id, key, _)| (id.clone(), key.clone())).collect();
    let step = |(id, key, mut data): (String, String, Row)| {
        data.extend(common.clone());
        let data = Value::Object(data);
        let request = json!({ "id": id, "data": data });
        Ok(Step { item: Item { entity, id, key, data, place: "" }, run: B::RUN, request })
    };
    let steps = items.into_iter().map(step).collect();
    let method = parts.method.as_str();
    let batch = Batch { service: &service, call: &call, method, route: B::ROUTE, action: B::ACTION, dry_run };
    let results = batch.run(steps).await?;
    let results: Vec<_> = names.iter().zip(results).map(|((id, key), result)| answer(id, key, result)).collect();
    Ok(Json(json!({ "results": results })).into_response())
}

fn answer(id: &str, key: &str, result: ItemResult) -> Value {
    match result {
        Ok(done) => {
            let is_skipped = done["outcome"] == "unchanged";
            let status = if is_skipped { json!("skipped") } else { done["outcome"].clone() };
            json!({
                "id": id, "key": key, "status": status, "code": null, "message": done["why"], "before": done["before"],
            })
        }
        Err(refusal) => json!({
            "id": id, "key": key, "status": "failed", "code": refusal.code, "message": refusal.message, "before": null,
        }),
    }
}

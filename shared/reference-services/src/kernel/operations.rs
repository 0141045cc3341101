//! `POST /api/v1/operations/{operation}`: the same done to many things, each of them by a key of its own.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{MethodFilter, post};
use serde_json::{Value, json};

use super::batch::{Batch, ItemResult, MAX_ITEMS, Refusal, Step};
use super::request::MAX_KEY_CHARACTERS;
use super::{Call, Definition, Described, Doc, Fields, Item, Keys, Member, Problem, Routes, Service, Shape, request};

const ROUTE: &str = "/api/v1/operations/{operation}";

const DOC: Doc = Doc {
    query: &[Member::optional("dry_run", Shape::Flag, "whether everything is taken back in the end")],
    takes: &[Member::required(
        "items",
        Shape::List(&[
            Member::required("entity_type", Shape::Text, ""),
            Member::required("entity_id", Shape::Text, ""),
            Member::required("key", Shape::Text, "at most 255 characters; one effect, and what it is undone by"),
            Member::optional("data", Shape::OperationData, ""),
        ]),
        "",
    )],
    refuses: &[(404, "none of the service's types has such an operation")],
    ..Doc::new(
        "Does one operation to many things.",
        "process_bulk_batch (bulk operation), one call for each batch. Which operations there are for which type GET \
         /api/v1/data lists; what each needs are the schemas `<type>.<operation>`. 1 to 1,000 items; each is done by \
         itself.",
        Shape::Object(&[Member::required(
            "results",
            Shape::List(&[
                Member::required("key", Shape::Text, ""),
                Member::required("entity_id", Shape::Text, ""),
                Member::required("status", Shape::Words(&["succeeded", "failed"]), ""),
                Member::nullable(
                    "outcome",
                    Shape::Words(&["created", "updated", "unchanged", "sent", "exported", "processed", "deleted"]),
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
                        "UnknownEntityType",
                    ]),
                    "why it failed",
                ),
                Member::nullable("message", Shape::Text, ""),
                Member::required("retryable", Shape::Flag, "whether it may be done later"),
                Member::nullable("data", Shape::Anything, "what the operation answers"),
            ]),
            "one for each item, in their order",
        )]),
    )
};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.add(Described::new(MethodFilter::POST, ROUTE, Keys::Items, &DOC), post(operate))
}

/// An item as the caller names it.
struct Named {
    entity_type: String,
    id: String,
    key: String,
    data: Value,
}

async fn operate(
    State(service): State<Service>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let call = Call::new(&parts, params)?;
    let operation = call.param("operation");
    let definition = service.definition();
    if definition.entity_types.iter().all(|entity| entity.operation(operation).is_none()) {
        return Err(Problem::not_found());
    }
    let dry_run = call.flag("dry_run")?;
    let body = request::read_body(&**service.clock(), body, request::MAX_BATCH_BYTES).await?;
    let body = request::parse(&body)?;
    let mut fields = Fields::new(&body);
    let items = fields.items("items", MAX_ITEMS, named);
    fields.finish()?;

    let names: Vec<_> = items.iter().map(|item| (item.key.clone(), item.id.clone())).collect();
    let steps = items.into_iter().map(|item| step(definition, operation, item)).collect();
    let batch = Batch {
        service: &service,
        call: &call,
        method: parts.method.as_str(),
        route: ROUTE,
        action: operation,
        dry_run,
    };
    let results = batch.run(steps).await?;
    let results: Vec<_> = names.iter().zip(results).map(|((key, id), result)| answer(key, id, result)).collect();
    Ok(Json(json!({ "results": results })).into_response())
}

fn named(item: &mut Fields<'_>) -> Named {
    Named {
        entity_type: item.text("entity_type"),
        id: item.short_text("entity_id", MAX_KEY_CHARACTERS),
        key: item.short_text("key", MAX_KEY_CHARACTERS),
        data: Value::Object(item.optional_object("data")),
    }
}

fn step(definition: &Definition, operation: &str, named: Named) -> Result<Step, Refusal> {
    let Named { entity_type, id, key, data } = named;
    let entity = definition.entity_type(&entity_type).ok();
    let found = entity.and_then(|entity| Some((entity, entity.operation(operation)?)));
    let (entity, run) = found.ok_or_else(|| {
        Refusal::new("UnknownEntityType", "the service has no such operation for things of this type")
    })?;
    let request = json!({ "entity_type": entity_type, "entity_id": id, "data": data });
    Ok(Step { item: Item { entity, id, key, data, place: "/data" }, run, request })
}

fn answer(key: &str, id: &str, result: ItemResult) -> Value {
    let (status, code, message, done) = match result {
        Ok(done) => ("succeeded", None, None, done),
        Err(refusal) => ("failed", Some(refusal.code), Some(refusal.message), Value::Null),
    };
    json!({
        "key": key, "entity_id": id, "status": status, "outcome": done["outcome"], "code": code, "message": message,
        "retryable": false, "data": done["data"],
    })
}

//! `GET /api/v1/data`: what the service holds.

use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use super::log::LogKind;
use super::version::Watermark;
use super::{Doc, EntityType, Member, Problem, Query, Reader, Reference, Replica, Shape};

pub(super) struct Catalog;

impl Query for Catalog {
    const ROUTE: &'static str = "/api/v1/data";
    const DOC: Doc = Doc::new(
        "What the service holds.",
        "Everything that works on all data of a person or a tenant (export, deletion, retention, backup, migration, \
         bulk operations, classification) reads it first, e.g. plan_backup, plan_restore, plan_migration, plan_erasure. It asks for no more than what is listed here.",
        Shape::Object(&[
            Member::required("service", Shape::Text, "its name"),
            Member::required("watermark", Shape::Text, "the last change of the service"),
            Member::required(
                "entity_types",
                Shape::List(&[
                    Member::required("type", Shape::Text, ""),
                    Member::required("schema_version", Shape::Count, "raised by a change that a reader must know of"),
                    Member::required("id_field", Shape::Text, "the field of a thing that holds its id"),
                    Member::nullable(
                        "subject_field",
                        Shape::Text,
                        "the field that holds the id of the user whom it is about",
                    ),
                    Member::required(
                        "references",
                        Shape::List(&[
                            Member::required("field", Shape::Text, ""),
                            Member::required("service", Shape::Text, ""),
                            Member::required("type", Shape::Text, ""),
                        ]),
                        "the fields that hold ids of other things",
                    ),
                    Member::nullable(
                        "replica_of",
                        Shape::Object(&[
                            Member::required("service", Shape::Text, ""),
                            Member::required("type", Shape::Text, ""),
                            Member::required(
                                "fields",
                                Shape::TextMap,
                                "each field of the copy with the path to the original's",
                            ),
                        ]),
                        "what it is a copy of",
                    ),
                    Member::required(
                        "personal_fields",
                        Shape::List(&[
                            Member::required("field", Shape::Text, "a path"),
                            Member::required("category", Shape::Text, ""),
                        ]),
                        "the fields that hold something of a person",
                    ),
                    Member::nullable(
                        "retention_days",
                        Shape::Count,
                        "how long it is kept; null: until somebody deletes it",
                    ),
                    Member::required("operations", Shape::Texts, "what can be done to many of them"),
                ]),
                "",
            ),
            Member::required("operations", Shape::Texts, "all of them"),
            Member::required("logs", Shape::Texts, "the kinds of its logs"),
        ]),
    );

    async fn answer(reader: Reader<'_>) -> Result<Response, Problem> {
        let service = reader.service;
        let types = service.definition().entity_types;
        let mut operations: Vec<_> = types.iter().flat_map(|entity| entity.operation_names()).collect();
        operations.sort_unstable();
        operations.dedup();
        let body = json!({
            "service": service.kind().name(),
            "watermark": Watermark::current(reader.connection).await?.text(service),
            "entity_types": types.iter().map(|entity| described(entity)).collect::<Value>(),
            "operations": operations,
            "logs": LogKind::ALL.map(LogKind::as_str),
        });
        Ok(Json(body).into_response())
    }
}

fn described(entity: &EntityType) -> Value {
    let reference = |reference: &Reference| {
        let Reference { field, service, entity_type } = reference;
        json!({ "field": field, "service": service, "type": entity_type })
    };
    let replica = |Replica { service, entity_type, fields }: &Replica| {
        let fields: serde_json::Map<_, _> =
            fields.iter().map(|(copy, original)| ((*copy).to_owned(), (*original).into())).collect();
        json!({ "service": service, "type": entity_type, "fields": fields })
    };
    json!({
        "type": entity.name,
        "schema_version": entity.schema_version,
        "id_field": entity.id_field,
        "subject_field": entity.subject_field,
        "references": entity.references.iter().map(reference).collect::<Value>(),
        "replica_of": entity.replica_of.as_ref().map(replica),
        "personal_fields": entity
            .personal
            .iter()
            .map(|(field, category)| json!({ "field": field, "category": category }))
            .collect::<Value>(),
        "retention_days": entity.retention_days,
        "operations": entity.operation_names().collect::<Vec<_>>(),
    })
}

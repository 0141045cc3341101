//! `GET /api/v1/data`: what the service holds.

use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use super::log::LogKind;
use super::version::Watermark;
use super::{EntityType, Problem, Query, Reader, Reference, Replica};

/// The version of the shape of the things; a change that a reader must know of raises it.
const SCHEMA_VERSION: u32 = 1;

pub(super) struct Catalog;

impl Query for Catalog {
    const ROUTE: &'static str = "/api/v1/data";

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
    let reference = |Reference { field, service, entity_type }: &Reference| json!({ "field": field, "service": service, "type": entity_type });
    let replica = |Replica { service, entity_type, fields }: &Replica| {
        let fields: serde_json::Map<_, _> =
            fields.iter().map(|(copy, original)| ((*copy).to_owned(), (*original).into())).collect();
        json!({ "service": service, "type": entity_type, "fields": fields })
    };
    json!({
        "type": entity.name,
        "schema_version": SCHEMA_VERSION,
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

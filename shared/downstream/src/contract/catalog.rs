//! Whether the service says what it holds.

use serde_json::Value;

use super::probe::Probe;
use super::request::Request;
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "catalog.lists-what-there-is",
    proves: "GET /api/v1/data lists every type with its id, references, personal fields and operations",
    change: "list each type with 'type', 'schema_version', 'id_field', 'subject_field', 'references', \
             'personal_fields' and 'operations': exports and erasures take from it what there is of a person",
    run: |probe| Box::pin(lists_what_there_is(probe)),
}];

async fn lists_what_there_is(probe: &mut Probe) -> Result<(), Stop> {
    let answer = probe.send(Request::get("/data")).await?;
    let name = probe.example.entity_type;
    answer.require(answer.done()?["service"].is_string(), "the service's name as 'service'")?;
    answer.require(answer.body["watermark"].is_string(), "the last change as 'watermark'")?;
    let types = answer.list("entity_types")?;
    for held in types {
        for (field, is_right) in [
            ("type", Value::is_string as fn(&Value) -> bool),
            ("schema_version", Value::is_u64),
            ("id_field", Value::is_string),
            ("references", Value::is_array),
            ("personal_fields", Value::is_array),
            ("operations", Value::is_array),
        ] {
            answer.require(is_right(&held[field]), format!("'{field}' of the contract's type in each entry"))?;
        }
    }
    let known = types.iter().find(|held| held["type"] == name);
    let known = known.ok_or_else(|| answer.broken(format!("the type '{name}' among 'entity_types'")))?;
    for step in (probe.example.operations)("") {
        let is_listed = step.entity_type != name
            || known["operations"].as_array().is_some_and(|all| all.contains(&step.operation.into()));
        answer.require(is_listed, format!("the operation {} of '{name}'", step.operation))?;
    }
    Ok(())
}

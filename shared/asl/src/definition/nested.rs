//! Parallel and Map states: those with states inside.

use serde_json::Value;

use super::Machine;
use super::parse::{States, has_states, read_states};
use super::reader::Reader;
use crate::expression::expression_text;
use crate::states::{MAX_ITEMS, Map, Parallel, percentage};
use crate::template::{Field, Template};

pub(super) fn parallel(reader: &mut Reader<'_, '_>, states: &mut States<'_>) -> Option<Parallel> {
    let arguments = reader.template("Arguments");
    let Some(branches) = reader.array("Branches").filter(|branches| !branches.is_empty()) else {
        reader.bad("Branches", "Expected a non-empty array of branches");
        return None;
    };
    let read = |(index, branch)| machine(branch, &format!("{}/Branches/{index}", reader.at), reader, states, |_| {});
    let read: Vec<Option<Machine>> = branches.iter().enumerate().map(read).collect();
    Some(Parallel { arguments, branches: read.into_iter().collect::<Option<_>>()? })
}

/// States inside of a state; `more` reads what else there may be.
fn machine(
    value: &Value,
    at: &str,
    outer: &mut Reader<'_, '_>,
    states: &mut States<'_>,
    more: impl FnOnce(&mut Reader<'_, '_>),
) -> Option<Machine> {
    let Some(object) = value.as_object() else {
        outer.diagnostics.schema(at, "Expected an object");
        return None;
    };
    if !has_states(object, at, outer.diagnostics) {
        return None;
    }
    let mut reader = Reader::new(object, at.to_owned(), outer.diagnostics);
    reader.text("QueryLanguage");
    more(&mut reader);
    let machine = read_states(&mut reader, states);
    reader.finish();
    machine
}

pub(super) fn map(reader: &mut Reader<'_, '_>, states: &mut States<'_>) -> Option<Map> {
    let at = reader.at.clone();
    for field in ["ItemReader", "ItemBatcher", "ResultWriter", "Label"] {
        if reader.get(field).is_some() {
            let at = reader.pointer(field);
            let message = "Maps whose iterations are executions of their own are not available yet";
            reader.diagnostics.not_supported(&at, message);
        }
    }
    let Some(processor) = reader.get("ItemProcessor").or_else(|| reader.get("Iterator")) else {
        reader.diagnostics.schema(&at, "The field 'ItemProcessor' is required but was missing");
        return None;
    };
    let processor_at = reader.pointer("ItemProcessor");
    let processor = machine(processor, &processor_at, reader, states, processor_config);
    Some(Map {
        items: items(reader),
        selector: reader.template("ItemSelector"),
        max_concurrency: reader.integer_field("MaxConcurrency", 0, MAX_ITEMS),
        tolerated_count: reader.integer_field("ToleratedFailureCount", 0, MAX_ITEMS),
        tolerated_percentage: tolerated_percentage(reader),
        processor: processor?,
    })
}

fn processor_config(reader: &mut Reader<'_, '_>) {
    let config = match reader.get("ProcessorConfig") {
        None => return,
        Some(Value::Object(config)) => config,
        Some(_) => return reader.bad("ProcessorConfig", "Expected an object"),
    };
    let at = reader.pointer("ProcessorConfig");
    let mut reader = Reader::new(config, at, reader.diagnostics);
    let has_type = reader.text("ExecutionType").is_some();
    match reader.text("Mode") {
        None | Some("INLINE") if has_type => {
            reader.bad("ExecutionType", "Only a Map whose Mode is DISTRIBUTED has one");
        }
        None | Some("INLINE") => {}
        Some("DISTRIBUTED") => {
            let at = reader.pointer("Mode");
            reader
                .diagnostics
                .not_supported(&at, "Maps whose iterations are executions of their own are not available yet");
        }
        Some(_) => reader.bad("Mode", "Expected 'INLINE' or 'DISTRIBUTED'"),
    }
    reader.finish();
}

/// An array, in which expressions may be, or an expression for one.
fn items(reader: &mut Reader<'_, '_>) -> Option<Template> {
    let is_good = match reader.get("Items")? {
        Value::Array(_) => true,
        Value::String(text) => expression_text(text).is_some(),
        _ => false,
    };
    if !is_good {
        reader.bad("Items", "Expected an array or a JSONata expression");
        return None;
    }
    reader.template("Items")
}

fn tolerated_percentage(reader: &mut Reader<'_, '_>) -> Option<Field<f64>> {
    const NAME: &str = "ToleratedFailurePercentage";
    match reader.get(NAME)? {
        Value::String(_) => reader.expression(NAME).map(Field::Expression),
        value => {
            let number = percentage(value);
            if number.is_none() {
                reader.bad(NAME, "Expected a number from 0 to 100");
            }
            number.map(Field::Literal)
        }
    }
}

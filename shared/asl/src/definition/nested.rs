//! Parallel and Map states: those with states inside.

use serde_json::Value;

use super::parse::{States, has_states, read_states};
use super::reader::Reader;
use crate::expression::expression_text;
use crate::items::ItemFormat;
use crate::numbers::percentage;
use crate::states::{Distributed, ItemReader, MAX_ITEMS, Machine, Map, Parallel, ResultWriter};
use crate::template::{Field, Template};

/// How a Map reads its items, and writes its results.
const READER: &str = "arn:aws:states:::s3:getObject";
const WRITER: &str = "arn:aws:states:::s3:putObject";

/// AWS's limit on a `Label`.
const MAX_LABEL_CHARS: usize = 40;

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
    let mut reader = outer.within(object, at.to_owned());
    if reader.text("QueryLanguage").is_some_and(|language| language != "JSONata") {
        let at = reader.pointer("QueryLanguage");
        reader.diagnostics.not_supported(&at, "Only the JSONata dialect is supported");
    }
    more(&mut reader);
    let machine = read_states(&mut reader, states);
    reader.finish();
    machine
}

pub(super) fn map(reader: &mut Reader<'_, '_>, states: &mut States<'_>) -> Option<Map> {
    let at = reader.at.clone();
    if reader.get("ItemBatcher").is_some() {
        let at = reader.pointer("ItemBatcher");
        reader.diagnostics.not_supported(&at, "Items are not batched here: let the array that is read hold batches");
    }
    let found = ["ItemProcessor", "Iterator"].into_iter().find_map(|name| Some((name, reader.get(name)?)));
    let Some((name, processor)) = found else {
        reader.diagnostics.schema(&at, "The field 'ItemProcessor' is required but was missing");
        return None;
    };
    let mut mode = Mode::Inline;
    let processor_at = reader.pointer(name);
    let processor = machine(processor, &processor_at, reader, states, |reader| mode = processor_config(reader));
    let items = items(reader);
    let selector = reader.template("ItemSelector");
    let max_concurrency = reader.integer_field("MaxConcurrency", 0, MAX_ITEMS);
    let tolerated_count = reader.integer_field("ToleratedFailureCount", 0, MAX_ITEMS);
    let tolerated_percentage = tolerated_percentage(reader);
    let distributed = distributed(reader, &mode);
    if items.is_some() && distributed.as_ref().is_some_and(|distributed| distributed.reader.is_some()) {
        reader.bad("Items", "A Map has 'Items' or an 'ItemReader', not both");
    }
    let processor = processor?;
    Some(Map {
        items,
        selector,
        max_concurrency,
        tolerated_count,
        tolerated_percentage,
        processor,
        processor_field: name,
        distributed,
    })
}

enum Mode {
    Inline,
    Distributed,
}

fn processor_config(reader: &mut Reader<'_, '_>) -> Mode {
    let Some(config) = object(reader, "ProcessorConfig") else { return Mode::Inline };
    let at = reader.pointer("ProcessorConfig");
    let mut reader = reader.within(config, at);
    let execution_type = reader.text("ExecutionType");
    let mode = match reader.text("Mode") {
        None | Some("INLINE") => Mode::Inline,
        Some("DISTRIBUTED") => Mode::Distributed,
        Some(_) => {
            reader.bad("Mode", "Expected 'INLINE' or 'DISTRIBUTED'");
            Mode::Inline
        }
    };
    match (&mode, execution_type) {
        (Mode::Inline, None) | (Mode::Distributed, Some("STANDARD")) => {}
        (Mode::Distributed, Some("EXPRESS")) => {
            let at = reader.pointer("ExecutionType");
            reader.diagnostics.not_supported(&at, "Children of type EXPRESS are not supported: they cannot be resumed");
        }
        (Mode::Distributed, None) => {
            let at = reader.at.clone();
            reader.diagnostics.schema(&at, "The field 'ExecutionType' is required but was missing");
        }
        (Mode::Distributed, Some(_)) => reader.bad("ExecutionType", "Expected 'STANDARD' or 'EXPRESS'"),
        (Mode::Inline, Some(_)) => reader.bad("ExecutionType", "Only a Map whose Mode is DISTRIBUTED has one"),
    }
    reader.finish();
    mode
}

/// What only a Map whose iterations are executions of their own may have.
fn distributed(reader: &mut Reader<'_, '_>, mode: &Mode) -> Option<Distributed> {
    match mode {
        Mode::Distributed => {
            let label = label(reader);
            let (item_reader, result_writer) = (item_reader(reader), result_writer(reader));
            Some(Distributed { label, reader: item_reader, writer: result_writer })
        }
        Mode::Inline => {
            for field in ["ItemReader", "ResultWriter", "Label"] {
                if reader.get(field).is_some() {
                    reader.bad(field, format!("Field '{field}' is supported only by a Map whose Mode is DISTRIBUTED"));
                }
            }
            None
        }
    }
}

fn label(reader: &mut Reader<'_, '_>) -> Option<String> {
    let label = reader.text("Label")?;
    if label.is_empty() || label.chars().count() > MAX_LABEL_CHARS {
        reader.bad("Label", format!("Expected 1 to {MAX_LABEL_CHARS} characters"));
    }
    Some(label.to_owned())
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

fn item_reader(reader: &mut Reader<'_, '_>) -> Option<ItemReader> {
    let object = object(reader, "ItemReader")?;
    let at = reader.pointer("ItemReader");
    let mut reader = reader.within(object, at);
    let resource = resource(&mut reader, READER);
    let arguments = reader.template("Arguments");
    let config = config(&mut reader);
    reader.finish();
    let (format, max_items) = config?;
    Some(ItemReader { resource: resource?, arguments, format, max_items })
}

fn config(reader: &mut Reader<'_, '_>) -> Option<(ItemFormat, Option<Field<u64>>)> {
    let Some(config) = object(reader, "ReaderConfig") else {
        let at = reader.at.clone();
        reader.diagnostics.schema(&at, "The field 'ReaderConfig' is required but was missing");
        return None;
    };
    let at = reader.pointer("ReaderConfig");
    let mut reader = reader.within(config, at);
    let format = match reader.required_text("InputType") {
        Some("JSON") => Some(ItemFormat::Json),
        Some("JSONL") => Some(ItemFormat::JsonLines),
        Some("CSV") => csv(&mut reader),
        Some("MANIFEST" | "PARQUET") => {
            let at = reader.pointer("InputType");
            reader.diagnostics.not_supported(&at, "Only JSON, JSONL and CSV are read");
            None
        }
        Some(_) => {
            reader.bad("InputType", "Expected 'JSON', 'JSONL' or 'CSV'");
            None
        }
        None => None,
    };
    let max_items = reader.integer_field("MaxItems", 0, MAX_ITEMS);
    reader.finish();
    Some((format?, max_items))
}

fn csv(reader: &mut Reader<'_, '_>) -> Option<ItemFormat> {
    let delimiter = match reader.text("CSVDelimiter") {
        None | Some("COMMA") => b',',
        Some("PIPE") => b'|',
        Some("SEMICOLON") => b';',
        Some("SPACE") => b' ',
        Some("TAB") => b'\t',
        Some(_) => {
            reader.bad("CSVDelimiter", "Expected 'COMMA', 'PIPE', 'SEMICOLON', 'SPACE' or 'TAB'");
            b','
        }
    };
    let headers = reader.array("CSVHeaders").map(|headers| {
        headers.iter().map(|header| header.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
    });
    match (reader.required_text("CSVHeaderLocation"), headers) {
        (Some("FIRST_ROW"), None) => Some(ItemFormat::Csv { headers: None, delimiter }),
        (Some("FIRST_ROW"), Some(_)) => {
            reader.bad("CSVHeaders", "The headers are in the first row already");
            None
        }
        (Some("GIVEN"), Some(Some(headers))) => Some(ItemFormat::Csv { headers: Some(headers), delimiter }),
        (Some("GIVEN"), _) => {
            reader.bad("CSVHeaders", "Expected an array of names");
            None
        }
        (Some(_), _) => {
            reader.bad("CSVHeaderLocation", "Expected 'FIRST_ROW' or 'GIVEN'");
            None
        }
        (None, _) => None,
    }
}

fn result_writer(reader: &mut Reader<'_, '_>) -> Option<ResultWriter> {
    let object = object(reader, "ResultWriter")?;
    let at = reader.pointer("ResultWriter");
    let mut reader = reader.within(object, at);
    if reader.get("WriterConfig").is_some() {
        let at = reader.pointer("WriterConfig");
        reader.diagnostics.not_supported(&at, "Results are written one way: a JSON array of what children came to");
    }
    let resource = resource(&mut reader, WRITER);
    let arguments = reader.template("Arguments");
    reader.finish();
    Some(ResultWriter { resource: resource?, arguments })
}

fn resource(reader: &mut Reader<'_, '_>, known: &str) -> Option<String> {
    let resource = reader.required_text("Resource")?;
    if resource != known {
        let at = reader.pointer("Resource");
        reader.diagnostics.not_supported(&at, format!("Only '{known}' is supported"));
        return None;
    }
    Some(resource.to_owned())
}

fn object<'a>(reader: &mut Reader<'a, '_>, name: &'static str) -> Option<&'a serde_json::Map<String, Value>> {
    let value = reader.get(name)?;
    if value.as_object().is_none() {
        reader.bad(name, "Expected an object");
    }
    value.as_object()
}

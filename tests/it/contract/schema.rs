//! Whether JSON is what a schema of OpenAPI 3.1 says, in the words that our descriptions use. Fields that no schema names are
//! refused: a description is complete.

use serde_json::Value;

/// What a schema refers to, or the schema itself.
pub(super) fn resolve<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// Checks the value, or says where it is something else.
pub(super) fn validate(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    at(document, schema, value, "")
}

fn at(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let schema = resolve(document, schema);
    let wrong = |what: &str| Err(format!("{place} {what}: {value}"));
    if let Some(choices) = schema["anyOf"].as_array() {
        let mut errors = Vec::new();
        for choice in choices {
            match at(document, choice, value, place) {
                Ok(()) => return Ok(()),
                Err(error) => errors.push(error),
            }
        }
        return Err(errors.join("; "));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return wrong("is none of the words");
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let is_typed = types.iter().any(|kind| match *kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("{other} is no type that our descriptions use"),
    });
    if !types.is_empty() && !is_typed {
        return wrong("is of another type");
    }
    if schema["minLength"] == 1 && value == "" {
        return wrong("is empty");
    }
    if schema["format"] == "date-time" && value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_err()) {
        return wrong("is no time");
    }
    if schema["minimum"] == 0 && value.as_i64().is_some_and(|number| number < 0) {
        return wrong("is below 0");
    }
    for (index, entry) in value.as_array().into_iter().flatten().enumerate() {
        at(document, &schema["items"], entry, &format!("{place}/{index}"))?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return wrong(&format!("has no {required}"));
        }
    }
    for (name, field) in fields {
        let place = format!("{place}/{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) if schema["properties"].is_object() => {
                return Err(format!("{place} is not described"));
            }
            (Value::Null, Value::Null) => {}
            (Value::Null, others) => at(document, others, field, &place)?,
            (described, _) => at(document, described, field, &place)?,
        }
    }
    Ok(())
}

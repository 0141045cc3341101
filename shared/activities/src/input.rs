//! The activity's input: what the state machine says, with fields of the request in the place of their pointers.
//!
//! `{"recipient": {"$request": "/user_email"}}` in a payload becomes `{"recipient": "user@example.com"}` here, behind every
//! engine. What the request does not have becomes null.

use serde_json::Value;

const POINTER: &str = "$request";

/// Whether the input has pointers, so that the request must be read.
pub(crate) fn needs_request(input: &Value) -> bool {
    match input {
        Value::Object(object) => object.contains_key(POINTER) || object.values().any(needs_request),
        Value::Array(items) => items.iter().any(needs_request),
        _ => false,
    }
}

/// Puts the request's fields in the place of their pointers.
pub(crate) fn resolve(input: &Value, request: &Value) -> Value {
    match input {
        Value::Object(object) => match object.get(POINTER).and_then(Value::as_str) {
            Some(pointer) => request.pointer(pointer).cloned().unwrap_or_default(),
            None => object.iter().map(|(name, value)| (name.clone(), resolve(value, request))).collect(),
        },
        Value::Array(items) => items.iter().map(|item| resolve(item, request)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_the_request_take_the_place_of_pointers() {
        let request = json!({ "user_email": "u@example.com", "list": [{ "a": 1 }] });
        let input = json!({
            "user_id": "u", "recipient": { "$request": "/user_email" },
            "deep": [{ "x": { "$request": "/list/0/a" } }], "missing": { "$request": "/nothing" },
        });
        assert!(needs_request(&input) && !needs_request(&json!({ "user_id": "u", "n": [1] })));
        let expected = json!({ "user_id": "u", "recipient": "u@example.com", "deep": [{ "x": 1 }], "missing": null });
        assert_eq!(resolve(&input, &request), expected);
    }
}

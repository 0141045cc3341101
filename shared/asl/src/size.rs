//! How large a value is, as JSON.

use serde_json::Value;

use crate::MAX_PAYLOAD_BYTES;

/// How deep a value may nest. JSON is read 128 deep, and a snapshot holds values a few levels down.
const MAX_NESTING: usize = 100;

/// Whether a value is more than a state may take or hand on.
pub(crate) fn is_too_large(value: &Value) -> bool {
    let mut budget = MAX_PAYLOAD_BYTES;
    spend(value, MAX_NESTING, &mut budget).is_none()
}

/// Bytes of the compact JSON text; of one that is far more than a state may take, so many.
pub fn bytes(value: &Value) -> usize {
    const FAR_MORE: usize = 2 * MAX_PAYLOAD_BYTES;
    let mut budget = FAR_MORE;
    match spend(value, MAX_NESTING, &mut budget) {
        Some(()) => FAR_MORE - budget,
        None => FAR_MORE,
    }
}

/// Whether the compact JSON text is within the budget, from which it is taken.
pub(crate) fn fits(value: &Value, budget: &mut usize) -> bool {
    spend(value, MAX_NESTING, budget).is_some()
}

/// Takes the length of the compact JSON text from the budget; none if it is used up.
fn spend(value: &Value, nesting: usize, budget: &mut usize) -> Option<()> {
    let nesting = nesting.checked_sub(1)?;
    let length = match value {
        Value::Null => 4,
        Value::Bool(value) => 5 - usize::from(*value),
        Value::Number(number) => number_length(number),
        Value::String(text) => text_length(text),
        // Brackets, and commas between.
        Value::Array(items) => 1 + items.len().max(1),
        Value::Object(object) => 1 + object.len().max(1),
    };
    *budget = budget.checked_sub(length)?;
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| spend(item, nesting, budget)),
        Value::Object(object) => object.iter().try_for_each(|(name, item)| {
            *budget = budget.checked_sub(text_length(name) + 1)?;
            spend(item, nesting, budget)
        }),
        _ => Some(()),
    }
}

fn number_length(number: &serde_json::Number) -> usize {
    match number.as_u64() {
        Some(0) => 1,
        Some(number) => number.ilog10() as usize + 1,
        None => number.to_string().len(),
    }
}

/// What JSON puts before or in place of a byte. A table, as values are measured with every state that they go through.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escapes[byte] = 5;
        byte += 1;
    }
    let short = b"\"\\\n\r\t\x08\x0c";
    let mut at = 0;
    while at < short.len() {
        escapes[short[at] as usize] = 1;
        at += 1;
    }
    escapes
};

/// With quotes.
fn text_length(text: &str) -> usize {
    text.len() + 2 + text.bytes().map(|byte| usize::from(ESCAPES[usize::from(byte)])).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_length_is_that_of_the_text() {
        for value in [
            json!(null),
            json!([true, false, [], {}, [[]], [1], {"a": {}}]),
            json!([0, 9, 10, 99, 100, u64::MAX, i64::MIN, -1, 1.5, 1e300]),
            json!({"a\"b\\\n\r\t\u{8}\u{c}\u{1f}\u{7f}ü€😀": "\u{0}/", "": [1, {"x": "y", "z": null}]}),
        ] {
            let mut budget = 10_000;
            spend(&value, MAX_NESTING, &mut budget);
            assert_eq!(10_000 - budget, value.to_string().len(), "{value}");
        }
    }

    #[test]
    fn what_is_far_too_large_counts_as_that() {
        assert_eq!(bytes(&json!("xyz")), 5);
        let long = "x".repeat(3 * MAX_PAYLOAD_BYTES);
        for value in [json!(long), json!({"a": [1, long]}), json!({"a": long, "b": 1})] {
            assert_eq!(bytes(&value), 2 * MAX_PAYLOAD_BYTES);
        }
    }

    #[test]
    fn the_limit_is_exact() {
        assert!(!is_too_large(&json!("x".repeat(MAX_PAYLOAD_BYTES - 2))));
        assert!(is_too_large(&json!("x".repeat(MAX_PAYLOAD_BYTES - 1))));
        let nested = |levels| (1..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(!is_too_large(&nested(MAX_NESTING)));
        assert!(is_too_large(&nested(MAX_NESTING + 1)));
    }
}

//! JSON in its one canonical form, which is what signatures are over (RFC 8785).

use serde_json::{Number, Value};

/// The largest integer that every reader of JSON knows exactly, 2^53 - 1 (RFC 8785, section 3.2.2.3, and RFC 7493).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// A document is not deeper than this. The parser of JSON refuses more than twice as much.
const MAX_DEPTH: usize = 50;

/// The canonical form: names in the order of their UTF-16 code units, no white space, the shortest escapes.
///
/// # Errors
/// Fractions, integers beyond 2^53 - 1, and what is nested too deep are refused. No document needs them, and languages
/// write them differently.
pub(crate) fn canonical(value: &Value) -> Result<String, String> {
    let mut text = String::new();
    write(value, &mut text, MAX_DEPTH)?;
    Ok(text)
}

fn write(value: &Value, text: &mut String, depth: usize) -> Result<(), String> {
    let deeper = || depth.checked_sub(1).ok_or_else(|| format!("it is nested more than {MAX_DEPTH} deep"));
    match value {
        Value::Object(members) => {
            let depth = deeper()?;
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
            text.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_string(name, text);
                text.push(':');
                write(member, text, depth)?;
            }
            text.push('}');
        }
        Value::Array(items) => {
            let depth = deeper()?;
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text, depth)?;
            }
            text.push(']');
        }
        Value::String(string) => write_string(string, text),
        Value::Number(number) => text.push_str(&integer(number)?),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Null => text.push_str("null"),
    }
    Ok(())
}

fn integer(number: &Number) -> Result<String, String> {
    let unsigned = number.as_u64().filter(|value| *value <= MAX_INTEGER).map(|value| value.to_string());
    let signed = || number.as_i64().filter(|value| value.unsigned_abs() <= MAX_INTEGER).map(|value| value.to_string());
    unsigned.or_else(signed).ok_or_else(|| format!("it has the number {number}, which is no integer within 2^53 - 1"))
}

/// serde_json writes strings as RFC 8785, section 3.2.2.2, asks: `\b`, `\t`, `\n`, `\f`, `\r`, `\"`, `\\`, and `\u00xx`
/// in lower case for other control characters; all else as it is.
fn write_string(string: &str, text: &mut String) {
    text.push_str(&Value::from(string).to_string());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_as_in_the_rfc() {
        // RFC 8785, section 3.2.2, without its fractions.
        let value: Value = serde_json::from_str(
            r#"{"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false], "n": [0]}"#,
        )
        .unwrap();
        let expected = "{\"literals\":[null,true,false],\"n\":[0],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(canonical(&value).unwrap(), expected);
    }

    #[test]
    fn names_in_the_order_of_utf_16() {
        // RFC 8785, section 3.2.3: U+1F600 begins with the code unit D83D and comes before U+FB33.
        let value = json!({ "\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7 });
        let expected = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
        assert_eq!(canonical(&value).unwrap(), expected);
        assert_eq!(canonical(&json!({ "b": {}, "a": [[], {}] })).unwrap(), r#"{"a":[[],{}],"b":{}}"#);
    }

    #[test]
    fn what_has_no_form_is_refused() {
        for bad in ["1.5", "1.0", "1e2", "-0", "9007199254740992", "-9007199254740992", "18446744073709551616"] {
            let value: Value = serde_json::from_str(bad).unwrap();
            assert!(canonical(&value).unwrap_err().contains("2^53"), "{bad}");
        }
        for good in ["9007199254740991", "-9007199254740991"] {
            assert_eq!(canonical(&serde_json::from_str(good).unwrap()).unwrap(), good);
        }
        let nested = |depth| (0..depth).fold(json!(1), |value, _| json!([value]));
        assert!(canonical(&nested(MAX_DEPTH)).is_ok());
        assert!(canonical(&nested(MAX_DEPTH + 1)).unwrap_err().contains("deep"));
    }
}

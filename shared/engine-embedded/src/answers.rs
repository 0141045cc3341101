//! What the journal takes of an activity's answer: what it holds must be readable again.

use std::io;

use asl::MAX_PAYLOAD_BYTES;
use serde_json::Value;

/// How deep a value may nest: as deep as a state may hand on. JSON is read 128 deep, and a record holds it a few levels
/// down.
const MAX_NESTING: usize = 100;

/// What is wrong with an answer that is too much: the error and the cause that the interpreter would find, as AWS words
/// them. `resource` is the Task's.
pub(crate) fn refusal(answer: &Value, resource: &str) -> Option<(String, String)> {
    if !nests_deeper(answer, MAX_NESTING) && is_within(answer, MAX_PAYLOAD_BYTES) {
        return None;
    }
    let resource = if resource.starts_with("arn:aws:states:::lambda:invoke") { "lambda" } else { resource };
    let cause = format!(
        "The state/task '{resource}' returned a result with a size exceeding the maximum number of bytes service limit."
    );
    Some(("States.DataLimitExceeded".to_owned(), cause))
}

/// Whether the value nests deeper than anything that the journal takes.
pub(crate) fn is_too_deep(value: &Value) -> bool {
    nests_deeper(value, MAX_NESTING)
}

fn nests_deeper(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| nests_deeper(item, below)),
        Value::Object(fields) => fields.values().any(|field| nests_deeper(field, below)),
        _ => false,
    }
}

fn is_within(value: &Value, bytes: usize) -> bool {
    /// Bytes that may still be written.
    struct Left(usize);
    impl io::Write for Left {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(buffer.len()).ok_or(io::ErrorKind::FileTooLarge)?;
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Left(bytes), value).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INVOKE: &str = "arn:aws:states:::lambda:invoke";

    #[test]
    fn the_limits_are_exact() {
        assert_eq!(refusal(&json!("x".repeat(MAX_PAYLOAD_BYTES - 2)), INVOKE), None);
        assert!(refusal(&json!("x".repeat(MAX_PAYLOAD_BYTES - 1)), INVOKE).is_some());
        let nested = |levels| (1..levels).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(refusal(&nested(MAX_NESTING), INVOKE), None);
        let (error, cause) = refusal(&nested(MAX_NESTING + 1), INVOKE).unwrap();
        assert_eq!(error, "States.DataLimitExceeded");
        assert!(cause.starts_with("The state/task 'lambda' returned"), "{cause}");
    }
}

//! Reads a JSON body within its limits.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use contracts::limits::{MAX_BODY_BYTES, MAX_JSON_DEPTH};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use crate::Problem;

/// The body as JSON, if there is one: whatever the content type is, no bytes are none.
pub(crate) async fn optional_json(headers: &HeaderMap, body: Body) -> Result<Option<Value>, Problem> {
    use axum::body::HttpBody as _;
    if body.is_end_stream() {
        return Ok(None);
    }
    json(headers, body).await.map(Some)
}

/// The body as JSON.
pub(crate) async fn json(headers: &HeaderMap, body: Body) -> Result<Value, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media_type != "application/json" && !(media_type.starts_with("application/") && media_type.ends_with("+json")) {
        return Err(Problem::unsupported_media_type());
    }
    let bytes = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(Problem::too_large(format!("The body is larger than {MAX_BODY_BYTES} bytes.")));
        }
        Err(_) => return Err(Problem::malformed("The body did not arrive whole.")),
    };
    if depth(&bytes) > MAX_JSON_DEPTH {
        return Err(Problem::malformed(format!("The body is nested deeper than {MAX_JSON_DEPTH} levels.")));
    }
    serde_json::from_slice(&bytes).map_err(|error| Problem::malformed(format!("The body is not JSON: {error}.")))
}

/// How deep the brackets outside of strings are nested.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_but_not_those_in_strings() {
        for (json, expected) in [("1", 0), ("{}", 1), (r#"{"a":[{"b":"]}\"{["}]}"#, 3), ("[[],[[]]]", 3)] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }
}

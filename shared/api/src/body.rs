//! Reads a JSON body within its limits.

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, header};
use contracts::document::Document;
use contracts::fields::BadField;
use contracts::limits::{MAX_BODY_BYTES, MAX_JSON_DEPTH, MAX_REASON_CHARS, UNCOUNTED_BODY_BYTES};
use http_body_util::BodyExt as _;

use crate::Problem;
use crate::arriving::NotTaken;
use crate::headers::{Quotes, members, pair, parts, single};

/// The body as JSON.
pub(crate) async fn json(headers: &HeaderMap, body: Body) -> Result<Document, Problem> {
    expect_json(headers)?;
    parse(&collect(body).await?)
}

/// The body as JSON, none if there is no body, whatever the content type says. `null` is none as well: clients send it that
/// have nothing to say and write it as JSON.
pub(crate) async fn optional_json(headers: &HeaderMap, body: Body) -> Result<Option<Document>, Problem> {
    let bytes = collect(body).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    expect_json(headers)?;
    let document = parse(&bytes)?;
    Ok(Some(document).filter(|document| !document.value().is_null()))
}

/// What an operator gives as the `reason` of what they ask for, in a body that may be left out.
pub(crate) async fn reason(headers: &HeaderMap, body: Body) -> Result<Option<String>, Problem> {
    let Some(body) = optional_json(headers, body).await? else { return Ok(None) };
    let mut fields = body.fields();
    let reason = fields.optional_remark("reason", MAX_REASON_CHARS).map(str::to_owned);
    fields.finish().map(|()| reason).map_err(Problem::invalid)
}

/// The same where it must be said.
pub(crate) async fn required_reason(headers: &HeaderMap, body: Body) -> Result<String, Problem> {
    let Some(body) = optional_json(headers, body).await? else {
        let missing = BadField { pointer: "/reason".to_owned(), detail: "is missing".to_owned() };
        return Err(Problem::invalid(vec![missing]));
    };
    let mut fields = body.fields();
    let reason = fields.remark("reason", MAX_REASON_CHARS);
    fields.finish().map(|()| reason).map_err(Problem::invalid)
}

/// Whether the body is declared as JSON, in UTF-8 and not compressed.
fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let is_ascii = headers.get_all(header::CONTENT_ENCODING).iter().all(|value| value.to_str().is_ok());
    let mut codings = members(headers, "content-encoding", Quotes::Escaping);
    if !is_ascii || codings.any(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(Problem::unsupported_coding());
    }
    let content_type = single(headers, "content-type").map_err(Problem::malformed)?.unwrap_or_default();
    let mut parts = parts(content_type, ';', Quotes::Escaping);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    if media_type != "application/json" && !(media_type.starts_with("application/") && media_type.ends_with("+json")) {
        return Err(Problem::unsupported_media_type("The body must be JSON: send Content-Type: application/json."));
    }
    for parameter in parts {
        let is_good = match pair(parameter) {
            Some((name, charset)) if name == "charset" => {
                charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
            }
            parameter => parameter.is_some(),
        };
        if !is_good {
            let detail = "The body must be JSON in UTF-8: send Content-Type: application/json.";
            return Err(Problem::unsupported_media_type(detail));
        }
    }
    Ok(())
}

async fn collect(body: Body) -> Result<Bytes, Problem> {
    let mut body = body;
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let too_large = || Problem::too_large(format!("The body is larger than {MAX_BODY_BYTES} bytes."));
    if declared > MAX_BODY_BYTES {
        return Err(too_large());
    }
    // Copied, as each frame would keep the buffer alive that it was read into, however small it is.
    let mut bytes = Vec::with_capacity(declared.min(UNCOUNTED_BODY_BYTES));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(not_taken)?.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// Why a body could not be read.
fn not_taken(error: axum::Error) -> Problem {
    match error.into_inner().downcast::<NotTaken>() {
        Ok(not_taken) => (*not_taken).into(),
        Err(_) => Problem::malformed("The body did not arrive whole."),
    }
}

fn parse(bytes: &[u8]) -> Result<Document, Problem> {
    if depth(bytes) > MAX_JSON_DEPTH {
        return Err(Problem::malformed(format!("The body is nested deeper than {MAX_JSON_DEPTH} levels.")));
    }
    Document::parse(bytes).map_err(|error| Problem::malformed(format!("The body is not JSON: {error}.")))
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
    use axum::http::{HeaderValue, StatusCode};
    use axum::response::IntoResponse as _;

    use super::*;

    async fn reason_of(content_type: Option<&'static str>, body: &str) -> Result<Option<String>, StatusCode> {
        let content_type =
            content_type.map(|content_type| (header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
        let headers = content_type.into_iter().collect();
        reason(&headers, Body::from(body.to_owned())).await.map_err(|problem| problem.into_response().status())
    }

    #[tokio::test]
    async fn a_reason_may_come_in_a_body_that_may_be_left_out() {
        let json = Some("application/json");
        for content_type in [None, json, Some("text/plain")] {
            assert_eq!(reason_of(content_type, "").await, Ok(None), "{content_type:?}");
        }
        for (body, expected) in [
            ("null", None),
            ("{}", None),
            (r#"{"reason":null}"#, None),
            (r#"{"reason":" "}"#, None),
            (r#"{"reason":"a mistake","by":7}"#, Some("a mistake")),
        ] {
            assert_eq!(reason_of(json, body).await, Ok(expected.map(str::to_owned)), "{body}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_there_is_a_json_object() {
        let json = Some("application/json");
        let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(MAX_REASON_CHARS + 1));
        for (content_type, body, status) in [
            (None, "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (Some("text/plain"), "a mistake", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (json, "{", StatusCode::BAD_REQUEST),
            (json, "[]", StatusCode::UNPROCESSABLE_ENTITY),
            (json, r#""a mistake""#, StatusCode::UNPROCESSABLE_ENTITY),
            (json, r#"{"reason":1}"#, StatusCode::UNPROCESSABLE_ENTITY),
            (json, r#"{"reason":"a","reason":"b"}"#, StatusCode::UNPROCESSABLE_ENTITY),
            (json, r#"{"reason":"a","by":{"x":1,"x":2}}"#, StatusCode::UNPROCESSABLE_ENTITY),
            (json, r#"{"reason":"a\u202eb"}"#, StatusCode::UNPROCESSABLE_ENTITY),
            (json, &long, StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            assert_eq!(reason_of(content_type, body).await, Err(status), "{body}");
        }
    }

    fn declared(fields: &[(&'static str, &'static str)]) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        expect_json(&headers).map_or_else(|problem| problem.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn content_types() {
        for (content_type, expected) in [
            ("application/json", 200),
            ("Application/JSON; charset=\"utf-8\"", 200),
            ("application/json;charset=UTF-8", 200),
            ("application/json ; Charset=utf8 ;", 200),
            ("application/json; profile=\"a;charset=latin1\"", 200),
            ("application/merge-patch+json", 200),
            ("application/vnd.example+JSON; version=1", 200),
            ("application/json; charset=iso-8859-1", 415),
            ("application/json; charset=utf-8; charset=utf-16", 415),
            ("application/json; charset=\"utf-8", 415),
            ("application/json; charset", 415),
            ("application/json; =utf-8", 415),
            ("application/json, application/json", 415),
            ("; charset=utf-8", 415),
            ("text/json", 415),
            ("application/jsonp", 415),
            ("text/x+json", 415),
            ("", 415),
            ("application/json\u{e9}", 415),
        ] {
            assert_eq!(declared(&[("content-type", content_type)]), expected, "{content_type}");
        }
        assert_eq!(declared(&[]), 415);
        assert_eq!(declared(&[("content-type", "application/json"), ("content-type", "application/json")]), 400);
    }

    #[test]
    fn content_codings() {
        for (codings, expected) in [
            (&["identity"][..], 200),
            (&["Identity, identity", ""], 200),
            (&["gzip"], 415),
            (&["identity", "br"], 415),
            (&["identity,GZIP"], 415),
            (&["\u{e9}"], 415),
        ] {
            let fields: Vec<_> = codings.iter().map(|coding| ("content-encoding", *coding)).collect();
            let fields = [&[("content-type", "application/json")][..], &fields].concat();
            assert_eq!(declared(&fields), expected, "{codings:?}");
        }
    }

    #[test]
    fn depth_counts_brackets_but_not_those_in_strings() {
        for (json, expected) in [("1", 0), ("{}", 1), (r#"{"a":[{"b":"]}\"{["}]}"#, 3), ("[[],[[]]]", 3)] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }
}

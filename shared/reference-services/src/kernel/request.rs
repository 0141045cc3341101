//! What a request says: its headers, its path and the fields of its body.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams};
use axum::http::{HeaderMap, StatusCode, Uri, request};
use bytes::Bytes;
use clock::Clock;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Page, Problem};

/// The largest body of a request about one thing.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The largest body of a request about many things.
pub(super) const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long a body may take to arrive.
pub(super) const BODY_TIME: Duration = Duration::from_secs(15);
pub(super) const MAX_KEY_CHARACTERS: usize = 255;
const MAX_ID_CHARACTERS: usize = 128;

/// One call of a known tenant.
#[derive(Debug)]
pub(crate) struct Call {
    /// Whose data it is about.
    pub(crate) tenant_id: String,
    /// The acting user, if the caller says.
    pub(crate) user_id: Option<String>,
    /// The number of the lease under which the caller writes, if it says.
    pub(super) fence: Option<i64>,
    uri: Uri,
    params: Vec<(String, String)>,
}

impl Call {
    pub(super) fn new(
        parts: &request::Parts,
        params: Result<RawPathParams, RawPathParamsRejection>,
    ) -> Result<Self, Problem> {
        let params = params.map_err(|_| Problem::bad_request("the path is not UTF-8"))?;
        let tenant_id = header(&parts.headers, "x-tenant-id")?
            .ok_or_else(|| Problem::bad_request("the header X-Tenant-ID is missing"))?;
        if !is_id(tenant_id) {
            return Err(Problem::bad_request("the header X-Tenant-ID holds no tenant id"));
        }
        Ok(Self {
            tenant_id: tenant_id.to_owned(),
            user_id: header(&parts.headers, "x-user-id")?.map(str::to_owned),
            fence: header(&parts.headers, "x-fence")?.map(fence).transpose()?,
            uri: parts.uri.clone(),
            params: params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
    }

    /// A parameter of the route.
    pub(crate) fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The page of a list that the query asks for.
    pub(crate) fn page(&self) -> Result<Page, Problem> {
        let page = Query::<Page>::try_from_uri(&self.uri).ok().filter(|Query(page)| page.is_valid());
        page.map(|Query(page)| page).ok_or_else(|| {
            let max = Page::MAX_SIZE;
            Problem::bad_request(format!("page is a number from 1 on, page_size one from 1 to {max}"))
        })
    }

    /// A parameter of the query that is `true` or `false`, and `false` unless given.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.query(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad_request(format!("{name} is true or false"))),
        }
    }

    /// A parameter of the query.
    pub(super) fn query(&self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.parameters()?.into_iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value);
        if values.next().is_some() {
            return Err(Problem::bad_request(format!("the parameter {name} is there twice")));
        }
        Ok(value)
    }

    /// How many entries a page has.
    pub(super) fn limit(&self) -> Result<i64, Problem> {
        let Some(limit) = self.query("limit")? else { return Ok(100) };
        let limit = limit.parse().ok().filter(|limit| (1..=1_000).contains(limit));
        limit.ok_or_else(|| Problem::bad_request("limit is a number from 1 to 1000"))
    }

    /// The parameters of the query.
    pub(super) fn parameters(&self) -> Result<Vec<(String, String)>, Problem> {
        let query =
            Query::try_from_uri(&self.uri).map_err(|_| Problem::bad_request("the query is no list of parameters"))?;
        Ok(query.0)
    }

    /// What distinguishes this request from others under the same key.
    pub(super) fn hash(&self, method: &str, body: &Value) -> String {
        let mut text = format!("{method}\n{}\n{}\n", self.uri.path(), self.tenant_id);
        write_canonical(body, &mut text);
        hex(&Sha256::digest(text.as_bytes()))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The one value of a header.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad_request(format!("the header {name} is there twice")));
    }
    let text = value.to_str().ok().filter(|text| !text.is_empty());
    text.map(Some).ok_or_else(|| Problem::bad_request(format!("the header {name} is empty or not ASCII")))
}

fn fence(text: &str) -> Result<i64, Problem> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| Problem::bad_request("the header X-Fence holds no number from 0 on"))
}

/// The `Idempotency-Key`, which every mutation carries.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let key = header(headers, "idempotency-key")?
        .ok_or_else(|| Problem::bad_request("the header Idempotency-Key is missing"))?;
    if key.len() > MAX_KEY_CHARACTERS {
        return Err(Problem::bad_request("the header Idempotency-Key is longer than 255 characters"));
    }
    Ok(key.to_owned())
}

/// Whether this can be an id: `[A-Za-z0-9._-]`, 1 to 128 of them.
pub(super) fn is_id(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_ID_CHARACTERS).contains(&text.len()) && text.bytes().all(known)
}

pub(super) async fn read_body(clock: &dyn Clock, body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    let collected = clock::timeout(clock, BODY_TIME, Limited::new(body, max_bytes).collect()).await;
    let collected = collected.ok_or_else(|| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {BODY_TIME:?}"))
    })?;
    collected.map(|body| body.to_bytes()).map_err(|error| {
        if error.is::<LengthLimitError>() {
            let mebibytes = max_bytes / (1024 * 1024);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {mebibytes} MiB"))
        } else {
            Problem::bad_request("the body ended early")
        }
    })
}

/// The body as JSON; `null` if there is none.
pub(super) fn parse(body: &[u8]) -> Result<Value, Problem> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    // The parser's words would quote the body.
    serde_json::from_slice(body).map_err(|_| Problem::bad_request("the body is not JSON"))
}

/// JSON with the keys of objects in order and without spaces.
pub(super) fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let mut separator = '{';
            for (name, value) in &fields {
                text.push(separator);
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(value, text);
                separator = ',';
            }
            text.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        Value::Array(items) => {
            let mut separator = '[';
            for item in items {
                text.push(separator);
                write_canonical(item, text);
                separator = ',';
            }
            text.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_json_has_its_keys_in_order() {
        let mut text = String::new();
        write_canonical(&json!({ "b": [1, {}, []], "a": { "d": null, "c": "\"" } }), &mut text);
        assert_eq!(text, r#"{"a":{"c":"\"","d":null},"b":[1,{},[]]}"#);
    }
}

//! What a request says: its headers, its path and the fields of its body.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams};
use axum::http::{HeaderMap, StatusCode, Uri, request};
use bytes::Bytes;
use clock::Clock;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::problem::FieldError;
use super::{Page, Problem};

/// The largest body that is read.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(15);
const MAX_KEY_CHARACTERS: usize = 255;
const MAX_ID_CHARACTERS: usize = 128;

/// One call of a known tenant.
#[derive(Debug)]
pub(crate) struct Call {
    /// Whose data it is about.
    pub(crate) tenant_id: String,
    /// The acting user, if the caller says.
    pub(crate) user_id: Option<String>,
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

    /// What distinguishes this request from others under the same key.
    pub(super) fn hash(&self, method: &str, body: &Value) -> String {
        let mut text = format!("{method}\n{}\n{}\n", self.uri.path(), self.tenant_id);
        write_canonical(body, &mut text);
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
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
fn is_id(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_ID_CHARACTERS).contains(&text.len()) && text.bytes().all(known)
}

pub(super) async fn read_body(clock: &dyn Clock, body: Body) -> Result<Bytes, Problem> {
    let collected = clock::timeout(clock, BODY_TIME, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    let collected = collected.ok_or_else(|| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {BODY_TIME:?}"))
    })?;
    collected.map(|body| body.to_bytes()).map_err(|error| {
        if error.is::<LengthLimitError>() {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB")
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
fn write_canonical(value: &Value, text: &mut String) {
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

/// Reads the fields of a body and remembers everything that is wrong with them, so that all of it is answered at once.
pub(crate) struct Fields<'b> {
    body: Option<&'b Map<String, Value>>,
    errors: Vec<FieldError>,
}

impl<'b> Fields<'b> {
    pub(super) fn new(body: &'b Value) -> Self {
        Self { body: body.as_object(), errors: Vec::new() }
    }

    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else if self.body.is_none() {
            Err(Problem::unprocessable("the body is not a JSON object"))
        } else {
            Err(Problem::fields(self.errors))
        }
    }

    /// A required string that is not empty.
    pub(crate) fn text(&mut self, name: &'static str) -> String {
        let text = self.required(name, "must be a string that is not empty", |value| {
            value.as_str().filter(|text| !text.trim().is_empty())
        });
        text.unwrap_or_default().to_owned()
    }

    /// An id that the caller may choose.
    pub(crate) fn chosen_id(&mut self, name: &'static str) -> Option<String> {
        let id = self.optional(name, "must be an id: 1 to 128 of A-Z a-z 0-9 . _ -", |value| {
            value.as_str().filter(|id| is_id(id))
        });
        id.map(str::to_owned)
    }

    /// A required boolean.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        self.required(name, "must be a boolean", Value::as_bool).unwrap_or_default()
    }

    /// A boolean, `false` unless given.
    pub(crate) fn optional_flag(&mut self, name: &'static str) -> bool {
        self.optional(name, "must be a boolean", Value::as_bool).unwrap_or_default()
    }

    /// A required list of strings.
    pub(crate) fn texts(&mut self, name: &'static str) -> Value {
        let list = self.required(name, "must be a list of strings", |value| {
            let items = value.as_array()?;
            items.iter().all(Value::is_string).then_some(value)
        });
        list.cloned().unwrap_or_default()
    }

    /// A required object whose values are strings.
    pub(crate) fn text_map(&mut self, name: &'static str) -> Value {
        let map = self.required(name, "must be an object of strings", |value| {
            let fields = value.as_object()?;
            fields.values().all(Value::is_string).then_some(value)
        });
        map.cloned().unwrap_or_default()
    }

    fn required<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'b Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.body.and_then(|body| body.get(name));
        let found = value.and_then(read);
        if found.is_none() {
            let detail = if value.is_none() { "is missing" } else { expected };
            self.refuse(name, detail);
        }
        found
    }

    fn optional<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'b Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.body?.get(name).filter(|value| !value.is_null())?;
        let found = read(value);
        if found.is_none() {
            self.refuse(name, expected);
        }
        found
    }

    fn refuse(&mut self, name: &str, detail: &'static str) {
        self.errors.push(FieldError { pointer: format!("/{name}"), detail: Cow::Borrowed(detail) });
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

    #[test]
    fn all_bad_fields_are_reported() {
        let body = json!({ "name": 3, "permissions": [1], "id": "a b" });
        let mut fields = Fields::new(&body);
        let _ = (fields.text("name"), fields.text("email"), fields.texts("permissions"));
        let _ = (fields.chosen_id("id"), fields.flag("active"), fields.optional_flag("absent"));
        let pointers: Vec<_> = fields.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/name", "/email", "/permissions", "/id", "/active"]);
    }
}

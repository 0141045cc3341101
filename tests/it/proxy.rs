//! Stands between the functions and an AWS service: counts what is asked, and answers as AWS does when it is short of
//! something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A request that passed.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// E.g. `DynamoDB_20120810.UpdateItem`, `S3.GetObject`.
    pub(crate) target: String,
    /// What a transaction is made of, e.g. `Update`.
    pub(crate) writes: Vec<String>,
    /// The index that a query asks, or the table by an empty name.
    pub(crate) index: String,
    /// Whose key signed it.
    pub(crate) key: String,
    /// Bytes of its body.
    pub(crate) bytes: usize,
    /// Capacity units that it took, as DynamoDB tells.
    pub(crate) units: f64,
    number: u64,
}

/// What happens to some of the requests.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// The end of the target, e.g. `UpdateItem`.
    pub(crate) operation: &'static str,
    /// Requests that pass before.
    pub(crate) skip: u32,
    /// Requests that do not pass then.
    pub(crate) times: u32,
    pub(crate) answer: Answer,
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// An error of this name, and nothing happens.
    Error(&'static str, u16),
    /// A transaction that met another one: nothing happens.
    Conflict,
    /// A batch of reads of which nothing is done, for want of capacity.
    Unprocessed,
    /// It happens, and the answer says that something else went wrong on the way.
    Lost,
    /// It happens, and the answer is an error of this name.
    After(&'static str, u16),
}

/// The proxy.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<Inner>);

struct Inner {
    target: String,
    http: reqwest::Client,
    seen: Mutex<Vec<Seen>>,
    rules: Mutex<Vec<Rule>>,
    count: AtomicU64,
    port: u16,
}

impl Proxy {
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (target, seen, rules, count) = (target.to_owned(), Mutex::default(), Mutex::default(), AtomicU64::new(0));
        let proxy = Self(Arc::new(Inner { target, http, seen, rules, count, port }));
        let routes = Router::new().fallback(forward).layer(DefaultBodyLimit::disable()).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        proxy
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    pub(crate) fn script(&self, rules: Vec<Rule>) {
        *self.0.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Requests that rules are still waiting for: all have happened where it is 0.
    pub(crate) fn unused(&self) -> u32 {
        let rules = self.0.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.iter().map(|rule| rule.skip + rule.times).sum()
    }

    /// What passed since the last time this was asked.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ruled(&self, target: &str) -> Option<Answer> {
        let mut rules = self.0.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = rules.iter_mut().find(|rule| target.ends_with(rule.operation) && rule.skip + rule.times > 0)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.answer.clone())
    }
}

async fn forward(State(proxy): State<Proxy>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let target = target.unwrap_or_else(|| format!("S3.{}", s3_operation(&method, &uri)));
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    // What is presigned has it in the query.
    let signed = if authorization.is_empty() { uri.query().unwrap_or_default() } else { authorization };
    let key =
        signed.split("Credential=").nth(1).and_then(|rest| rest.split(['/', '%', '&']).next()).unwrap_or_default();
    let number = proxy.0.count.fetch_add(1, Ordering::Relaxed);
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let index = request["IndexName"].as_str().unwrap_or_default().to_owned();
    let (writes, bytes) = (writes(&request), body.len());
    let seen = Seen { target: target.clone(), writes, index, key: key.to_owned(), bytes, units: 0.0, number };
    proxy.0.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    let ruled = proxy.ruled(&target);
    match ruled {
        Some(Answer::Error(name, status)) if target.starts_with("S3.") => return s3_error(name, status),
        Some(Answer::Error(name, status)) => return error(name, status),
        Some(Answer::Conflict) => return conflict(),
        Some(Answer::Unprocessed) => return unprocessed(&body),
        Some(Answer::Lost | Answer::After(..)) | None => {}
    }
    // The signature covers the host, so it stays as it was. It covers the body as well, but DynamoDB Local does not look.
    let mut headers = headers;
    let body = match target.starts_with("DynamoDB") {
        true => {
            headers.remove("content-length");
            with_units_told(&body)
        }
        false => body,
    };
    let request = proxy.0.http.request(method, format!("{}{uri}", proxy.0.target)).headers(headers).body(body);
    let answer = request.send().await.unwrap();
    match ruled {
        Some(Answer::Lost) if target.starts_with("S3.") => return s3_error("InternalError", 500),
        Some(Answer::Lost) => return error("InternalServerError", 500),
        Some(Answer::After(name, status)) => return error(name, status),
        _ => {}
    }
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.unwrap();
    let mut seen = proxy.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(seen) = seen.iter_mut().find(|seen| seen.number == number) {
        seen.units = units(&body);
    }
    drop(seen);
    (status, headers, body).into_response()
}

/// The same request, which asks what it takes.
fn with_units_told(body: &Bytes) -> Bytes {
    let Ok(Value::Object(mut request)) = serde_json::from_slice(body) else { return body.clone() };
    request.insert("ReturnConsumedCapacity".to_owned(), "TOTAL".into());
    Value::Object(request).to_string().into()
}

/// What it took, of one table or of each.
fn units(body: &[u8]) -> f64 {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let told = &body["ConsumedCapacity"];
    let each = told.as_array().map_or(std::slice::from_ref(told), Vec::as_slice);
    each.iter().filter_map(|told| told["CapacityUnits"].as_f64()).sum()
}

/// A batch of reads that comes back as it was asked.
fn unprocessed(body: &[u8]) -> Response {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let body = json!({ "Responses": {}, "UnprocessedKeys": asked["RequestItems"] });
    ([("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
}

/// What a transaction is made of.
fn writes(request: &Value) -> Vec<String> {
    let items = request["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
    items.flat_map(|item| item.keys().cloned()).collect()
}

/// S3's requests have no target: what they are is in method and query.
fn s3_operation(method: &Method, uri: &Uri) -> &'static str {
    let query = uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    match (method.as_str(), has("uploadId")) {
        ("GET", _) if has("list-type") => "ListObjectsV2",
        ("GET", _) => "GetObject",
        ("HEAD", _) => "HeadObject",
        ("POST", _) if has("delete") => "DeleteObjects",
        ("PUT", true) => "UploadPart",
        ("PUT", false) => "PutObject",
        ("POST", true) => "CompleteMultipartUpload",
        ("POST", false) => "CreateMultipartUpload",
        ("DELETE", true) => "AbortMultipartUpload",
        other => panic!("{other:?} has no name"),
    }
}

fn s3_error(name: &str, status: u16) -> Response {
    let body = format!("<Error><Code>{name}</Code><Message>as scripted</Message></Error>");
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/xml")], body).into_response()
}

fn conflict() -> Response {
    let name = "TransactionCanceledException";
    let reasons = json!([{ "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" }]);
    answer(name, 400, json!({ "__type": name, "message": "as scripted", "CancellationReasons": reasons }))
}

fn error(name: &str, status: u16) -> Response {
    answer(name, status, json!({ "__type": name, "message": "as scripted" }))
}

fn answer(name: &str, status: u16, body: Value) -> Response {
    let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amzn-errortype", name)];
    (StatusCode::from_u16(status).unwrap(), headers, body.to_string()).into_response()
}

//! Stands between the functions and an AWS service: counts what is asked, and answers as AWS does when it is short of
//! something.

use std::collections::BTreeMap;
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
    /// Whose key signed it.
    pub(crate) key: String,
    /// Bytes of its body.
    pub(crate) bytes: usize,
}

/// Request units of DynamoDB by operation, as it counts them itself.
pub(crate) type Units = BTreeMap<String, f64>;

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
    /// It happens, and the answer says that something else went wrong on the way.
    Lost,
}

/// The proxy.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<Inner>);

struct Inner {
    target: String,
    http: reqwest::Client,
    seen: Mutex<Vec<Seen>>,
    rules: Mutex<Vec<Rule>>,
    units: Mutex<Units>,
    port: u16,
}

impl Proxy {
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (seen, rules, units) = (Mutex::default(), Mutex::default(), Mutex::default());
        let proxy = Self(Arc::new(Inner { target: target.to_owned(), http, seen, rules, units, port }));
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

    /// What passed since the last time this was asked.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What DynamoDB counted since the last time this was asked.
    pub(crate) fn take_units(&self) -> Units {
        std::mem::take(&mut *self.0.units.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, target: &str, answer: &[u8]) {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let consumed = match &answer["ConsumedCapacity"] {
            Value::Array(tables) => tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum(),
            table => table["CapacityUnits"].as_f64().unwrap_or_default(),
        };
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        *self.0.units.lock().unwrap_or_else(PoisonError::into_inner).entry(operation).or_default() += consumed;
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
    let key = authorization.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let seen = Seen { target: target.clone(), writes: writes(&body), key: key.to_owned(), bytes: body.len() };
    proxy.0.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    let ruled = proxy.ruled(&target);
    match ruled {
        Some(Answer::Error(name, status)) if target.starts_with("S3.") => return s3_error(name, status),
        Some(Answer::Error(name, status)) => return error(name, status),
        Some(Answer::Conflict) => return conflict(),
        Some(Answer::Lost) | None => {}
    }
    // The signature covers the host, so it stays as it was.
    let (headers, body) = counting(headers, body, &target);
    let request = proxy.0.http.request(method, format!("{}{uri}", proxy.0.target)).headers(headers).body(body);
    let answer = request.send().await.unwrap();
    match ruled {
        Some(Answer::Lost) if target.starts_with("S3.") => return s3_error("InternalError", 500),
        Some(Answer::Lost) => return error("InternalServerError", 500),
        _ => {}
    }
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.unwrap();
    proxy.count(&target, &body);
    (status, headers, body).into_response()
}

/// Asks DynamoDB to say what it counted; DynamoDB Local does not mind that the signature is another body's.
fn counting(mut headers: HeaderMap, body: Bytes, target: &str) -> (HeaderMap, Bytes) {
    match serde_json::from_slice(&body) {
        Ok(Value::Object(mut request)) if target.starts_with("DynamoDB_") => {
            request.insert("ReturnConsumedCapacity".to_owned(), "TOTAL".into());
            headers.remove("content-length");
            (headers, Value::from(request).to_string().into())
        }
        _ => (headers, body),
    }
}

/// What a transaction is made of.
fn writes(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let items = body["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
    items.flat_map(|item| item.keys().cloned()).collect()
}

/// S3's requests have no target: what they are is in method and query.
fn s3_operation(method: &Method, uri: &Uri) -> &'static str {
    let query = uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    match (method.as_str(), has("uploadId")) {
        ("GET", _) => "GetObject",
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

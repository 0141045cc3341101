//! From spawning a function to the answer to its first request: an onboarding that is started, against stand-ins for
//! Lambda's Runtime API, DynamoDB and Step Functions that answer at once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};

/// What stands around the function.
struct Surroundings {
    /// One for the invocation that there is.
    invocation: Notify,
    answered: mpsc::UnboundedSender<(Instant, Value)>,
}

/// How long it took, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "what is measured is the machine's own time")]
pub(crate) fn first_request(binary: &Path, environment: &[(&str, &str)]) -> anyhow::Result<f64> {
    Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (answered, mut answer) = mpsc::unbounded_channel();
        let surroundings = Arc::new(Surroundings { invocation: Notify::new(), answered });
        surroundings.invocation.notify_one();
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .fallback(aws)
            .with_state(surroundings);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let began = Instant::now();
        let mut child = Command::new(binary)
            .env_clear()
            .envs(environment.iter().copied())
            .envs(["AWS_LAMBDA_RUNTIME_API", "AWS_ENDPOINT_URL"].map(|name| (name, &endpoint)))
            .envs([("STAGE", "local"), ("WORKFLOW__AUTH__MODE", "off")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let answer = tokio::time::timeout(Duration::from_secs(10), answer.recv()).await;
        child.kill()?;
        child.wait()?;
        let Some((at, answer)) = answer? else { anyhow::bail!("nobody listens any more") };
        ensure!(answer["statusCode"] == 202, "{}: {answer}", binary.display());
        Ok((at - began).as_secs_f64() * 1e3)
    })
}

async fn next(State(surroundings): State<Arc<Surroundings>>) -> Response {
    surroundings.invocation.notified().await;
    let body = json!({
        "user_email": "user@example.com", "user_name": "John Doe", "tenant_id": "tenant-123", "role": "user",
    });
    let path = "/api/v1/workflows/user-onboarding";
    let event = json!({
        "version": "2.0", "routeKey": format!("POST {path}"), "rawPath": path, "rawQueryString": "",
        "headers": { "content-type": "application/json", "x-tenant-id": "tenant-123", "host": "api.example.com" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
            "http": { "method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "bench" },
            "requestId": "id", "routeKey": format!("POST {path}"), "stage": "$default",
            "time": "23/Nov/2026:12:00:00 +0000", "timeEpoch": 1_795_435_200_000_u64,
        },
        "body": body.to_string(), "isBase64Encoded": false,
    });
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:function"),
    ];
    (headers, event.to_string()).into_response()
}

#[expect(clippy::disallowed_methods, reason = "what is measured is the machine's own time")]
async fn response(State(surroundings): State<Arc<Surroundings>>, body: String) -> StatusCode {
    let at = Instant::now();
    let _ = surroundings.answered.send((at, serde_json::from_str(&body).unwrap_or_default()));
    StatusCode::ACCEPTED
}

async fn aws(headers: HeaderMap) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let answer = match target.rsplit('.').next() {
        Some("TransactWriteItems") => json!({}),
        Some("StartExecution") => json!({ "executionArn": "arn", "startDate": 1_795_435_200 }),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([("content-type", "application/x-amz-json-1.0")], answer.to_string()).into_response()
}

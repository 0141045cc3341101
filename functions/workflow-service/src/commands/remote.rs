//! Calls to a running server.

use anyhow::{Context as _, bail};
use clap::Args;
use contracts::responses::{HistoryResponse, StatusResponse};
use reqwest::{RequestBuilder, Url};
use serde_json::Value;

/// Which server, and for whom.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// The server.
    #[arg(long, default_value = "http://localhost:8084")]
    url: Url,
    /// The tenant (`X-Tenant-ID`).
    #[arg(long)]
    pub(crate) tenant: String,
    /// The acting user (`X-User-ID`).
    #[arg(long)]
    user: Option<String>,
}

impl Remote {
    pub(crate) async fn start(&self, workflow: &str, request: &Value, key: Option<&str>) -> anyhow::Result<Value> {
        let mut call = self.prepare(reqwest::Method::POST, &format!("api/v1/workflows/{workflow}"))?.json(request);
        if let Some(key) = key {
            call = call.header("idempotency-key", key);
        }
        send(call).await
    }

    pub(crate) async fn status(&self, id: &str) -> anyhow::Result<StatusResponse> {
        let status = send(self.prepare(reqwest::Method::GET, &format!("api/v1/workflows/{id}/status"))?).await?;
        Ok(serde_json::from_value(status)?)
    }

    pub(crate) async fn history(&self, id: &str) -> anyhow::Result<Vec<contracts::Event>> {
        let mut events = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut call = self.prepare(reqwest::Method::GET, "api/v1/workflows/history")?;
            call = call.query(&[("workflow_id", id), ("page_size", "200")]);
            if let Some(token) = &token {
                call = call.query(&[("page_token", token)]);
            }
            let page: HistoryResponse = serde_json::from_value(send(call).await?)?;
            events.extend(page.events.into_iter().map(|event| event.event));
            token = page.next_page_token;
            if token.is_none() {
                return Ok(events);
            }
        }
    }

    fn prepare(&self, method: reqwest::Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut call = client.request(method, self.url.join(path)?).header("x-tenant-id", &self.tenant);
        if let Some(user) = &self.user {
            call = call.header("x-user-id", user);
        }
        Ok(call)
    }
}

/// The answer's JSON; a problem document becomes an error that names every bad field.
async fn send(call: RequestBuilder) -> anyhow::Result<Value> {
    let answer = call.send().await.context("the server cannot be reached")?;
    let status = answer.status();
    let body: Value = answer.json().await.context("the server answered with something else than JSON")?;
    if status.is_success() {
        return Ok(body);
    }
    let mut text = format!("{status}: {}", body["detail"].as_str().unwrap_or("no details"));
    for error in body["errors"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "\n  {} {}",
            error["pointer"].as_str().unwrap_or(""),
            error["detail"].as_str().unwrap_or("")
        ));
    }
    bail!(text)
}

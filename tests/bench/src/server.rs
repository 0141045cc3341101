//! The server as people run it, in a process of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clock::SystemClock;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::now;

/// Longer than anything takes that is measured.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// A running server, killed when this is dropped.
pub struct Server {
    process: Child,
    client: reqwest::Client,
    url: String,
}

impl Server {
    /// Starts it in this folder, with its services on this port; `settings` are variables besides.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(
        program: &str,
        directory: &Path,
        services: u16,
        settings: &[(&str, &Path)],
    ) -> anyhow::Result<Self> {
        // Nobody else's.
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["server", "--data-dir"]).arg(directory).env("WORKFLOW__SERVER__PORT", port.to_string());
        for service in ["AUTH_SERVICE", "USER_SERVICE", "TENANT_SERVICE", "FILE_SERVICE", "API_GATEWAY"] {
            command.env(format!("WORKFLOW__SERVICES__{service}"), format!("http://127.0.0.1:{services}"));
        }
        command.env("RUST_LOG", "warn").envs(settings.iter().copied());
        let log = std::fs::File::create(directory.with_extension("log"))?;
        let process = command.stdout(Stdio::null()).stderr(log).spawn().context("the server does not start")?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let server = Self { process, client, url: format!("http://127.0.0.1:{port}") };
        for _ in 0..300 {
            if server.client.get(format!("{}/health", server.url)).send().await.is_ok() {
                return Ok(server);
            }
            clock::sleep(&SystemClock, Duration::from_millis(100)).await;
        }
        bail!("the server does not come up")
    }

    /// Its process.
    pub fn pid(&self) -> String {
        self.process.id().to_string()
    }

    /// The most memory that it ever had.
    pub fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse::<f64>().ok());
        kib.map_or(f64::NAN, |kib| kib / 1024.0)
    }

    /// Sends JSON for a tenant; the answer.
    ///
    /// # Errors
    /// It is refused.
    pub async fn post(&self, tenant: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let call = self.client.post(format!("{}{path}", self.url)).header("x-tenant-id", tenant).json(body);
        let answer = call.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{path}: {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// Uploads so many bytes.
    ///
    /// # Errors
    /// They are refused.
    pub async fn put(&self, path: &str, bytes: usize, body: reqwest::Body) -> anyhow::Result<()> {
        let call = self.client.put(format!("{}{path}", self.url)).header("content-length", bytes);
        call.body(body).send().await?.error_for_status()?;
        Ok(())
    }

    /// Waits for the end of an execution; its status.
    ///
    /// # Errors
    /// It does not end.
    pub async fn until_ended(&self, tenant: &str, id: &str) -> anyhow::Result<Value> {
        let began = now();
        while began.elapsed() < PATIENCE {
            let url = format!("{}/api/v1/workflows/{id}/status?wait=25s", self.url);
            let answer = self.client.get(url).header("x-tenant-id", tenant).send().await?.error_for_status()?;
            let status: Value = serde_json::from_str(&answer.text().await?)?;
            if status["status"] != "Running" {
                return Ok(status);
            }
        }
        bail!("{id} does not end")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

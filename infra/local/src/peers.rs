//! The programs that stand in for AWS: installed when they are missing, started, and stopped with us.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clock::SystemClock;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long a peer may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program, killed when this is dropped.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    child: Mutex<Child>,
}

impl Peer {
    /// Starts it in a process group of its own, and waits until it listens.
    async fn start(name: &'static str, mut command: Command, port: u16) -> anyhow::Result<Self> {
        ensure!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "port {port}, for {name}, is in use");
        // Its own group: what it starts in turn is stopped with it.
        let spawned = command.process_group(0).stdin(Stdio::null()).spawn();
        let peer = Self { name, child: Mutex::new(spawned.with_context(|| format!("{name} does not start"))?) };
        let mut waited = Duration::ZERO;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if peer.has_ended() || waited > PATIENCE {
                bail!("{name} does not come up on port {port}");
            }
            clock::sleep(&SystemClock, Duration::from_millis(100)).await;
            waited += Duration::from_millis(100);
        }
        Ok(peer)
    }

    pub(crate) fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        !matches!(child.try_wait(), Ok(None))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(group) = child.id() {
            let _ = std::process::Command::new("kill").args(["--", &format!("-{group}")]).status();
        }
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../peers"))
}

/// Where the peer is; installs it if it is missing.
async fn installed(what: &str) -> anyhow::Result<PathBuf> {
    let output = Command::new(folder().join("install")).arg(what).stderr(Stdio::inherit()).output().await?;
    ensure!(output.status.success(), "infra/peers/install {what} failed");
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

pub(crate) async fn dynamodb(port: u16) -> anyhow::Result<Peer> {
    let folder = installed("dynamodb").await?;
    let mut command = Command::new("java");
    command.arg(format!("-Djava.library.path={}", folder.display())).arg("-cp").arg(folder.join("*"));
    command.args([
        "com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
        "-inMemory",
        "-sharedDb",
        "-disableTelemetry",
        "-port",
    ]);
    command.arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    Peer::start("DynamoDB Local", command, port).await
}

pub(crate) async fn moto(port: u16, functions: &str) -> anyhow::Result<Peer> {
    let mut command = Command::new(installed("runtime").await?.join("bin/python"));
    command.arg(folder().join("moto_server.py")).args(["--port", &port.to_string(), "--lambda-endpoint", functions]);
    command.args(["--status-events", "project-execution-status"]).stdout(Stdio::null()).stderr(Stdio::null());
    Peer::start("moto", command, port).await
}

/// Every function, compiled anew when it changes.
pub(crate) async fn functions(port: u16, environment: Vec<(&str, String)>) -> anyhow::Result<Peer> {
    let mut command = Command::new(installed("runtime").await?.join("bin/cargo-lambda"));
    command.args(["lambda", "watch", "--wait", "--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()]);
    command.args(["--concurrency", "4"]).current_dir(folder().join("../..")).envs(environment);
    Peer::start("cargo lambda watch", command, port).await
}

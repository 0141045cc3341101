//! The programs that stand in for AWS: installed when they are missing, started, and stopped with us, however we end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use clock::SystemClock;
use tokio::net::TcpStream;

/// How long a peer may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until nobody holds the pipe any more, ends a process group, and returns once it is gone.
const WATCHDOG: &str = r#"
cat > /dev/null
kill -s TERM -- "-$1" 2> /dev/null || exit 0
for _ in $(seq 50); do
    kill -s 0 -- "-$1" 2> /dev/null || exit 0
    sleep 0.1
done
kill -s KILL -- "-$1"
"#;

/// A running program with all that it has started, stopped when this is dropped, or when this process is gone.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    child: Mutex<Child>,
    watchdog: Child,
}

impl Peer {
    /// Starts it, and waits until it listens.
    async fn start(name: &'static str, mut command: Command, port: u16) -> anyhow::Result<Self> {
        ensure!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "port {port}, for {name}, is in use");
        let peer = Self::spawn(name, &mut command)?;
        let mut waited = Duration::ZERO;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if peer.ended().is_some() || waited > PATIENCE {
                bail!("{name} does not come up on port {port}");
            }
            clock::sleep(&SystemClock, Duration::from_millis(100)).await;
            waited += Duration::from_millis(100);
        }
        Ok(peer)
    }

    fn spawn(name: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        // A group of its own: what it starts in turn is stopped with it, and Ctrl-C is for us to hear.
        let spawned = in_group(command).stdin(Stdio::null()).spawn();
        let child = spawned.with_context(|| format!("{name} does not start"))?;
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", WATCHDOG, "sh", &child.id().to_string()]).stdin(Stdio::piped());
        Ok(Self { name, child: Mutex::new(child), watchdog: in_group(&mut watchdog).spawn()? })
    }

    /// Runs a program to its end: whether it succeeded.
    pub(crate) async fn run(name: &'static str, command: &mut Command) -> anyhow::Result<bool> {
        let peer = Self::spawn(name, command)?;
        loop {
            if let Some(succeeded) = peer.ended() {
                return Ok(succeeded);
            }
            clock::sleep(&SystemClock, Duration::from_millis(50)).await;
        }
    }

    /// Whether it succeeded, if it has ended.
    pub(crate) fn ended(&self) -> Option<bool> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().map(|status| status.map(|status| status.success())).unwrap_or(Some(false))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // To the watchdog, what nobody has waited for is not gone.
        while let Ok(None) = self.watchdog.try_wait() {
            self.ended();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn in_group(command: &mut Command) -> &mut Command {
    std::os::unix::process::CommandExt::process_group(command, 0)
}

/// What becomes of the event that says that an execution has ended: AWS promises neither that it comes nor that it comes
/// once.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StatusEvents {
    Keep,
    Drop,
    Double,
}

/// Where the programs are.
pub(crate) struct Installed {
    dynamodb: PathBuf,
    runtime: PathBuf,
}

/// The project.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn folder() -> PathBuf {
    root().join("infra/peers")
}

impl Installed {
    /// Installs what is missing.
    pub(crate) async fn all() -> anyhow::Result<Self> {
        Ok(Self { dynamodb: installed("dynamodb").await?, runtime: installed("runtime").await? })
    }

    pub(crate) async fn dynamodb(&self, port: u16) -> anyhow::Result<Peer> {
        let mut command = Command::new("java");
        command.arg(format!("-Djava.library.path={}", self.dynamodb.display())).arg("-cp").arg(self.dynamodb.join("*"));
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

    pub(crate) async fn moto(&self, port: u16, functions: &str, events: StatusEvents) -> anyhow::Result<Peer> {
        let events = events.to_possible_value().context("each has a name")?;
        let mut command = Command::new(self.runtime.join("bin/python"));
        command.arg(folder().join("moto_server.py")).args([
            "--port",
            &port.to_string(),
            "--lambda-endpoint",
            functions,
        ]);
        command.args(["--status-events", "project-execution-status", "--delivery", events.get_name()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Peer::start("moto", command, port).await
    }

    /// Every function, compiled anew when it changes.
    pub(crate) async fn functions(&self, port: u16, environment: Vec<(&str, String)>) -> anyhow::Result<Peer> {
        let mut command = Command::new(self.runtime.join("bin/cargo-lambda"));
        command.args(["lambda", "watch", "--wait", "--invoke-address", "127.0.0.1"]);
        command.args(["--invoke-port", &port.to_string(), "--concurrency", "4"]);
        command.current_dir(root()).envs(environment);
        Peer::start("cargo lambda watch", command, port).await
    }
}

/// Where the peer is; installs it if it is missing.
async fn installed(what: &str) -> anyhow::Result<PathBuf> {
    let mut install = tokio::process::Command::new(folder().join("install"));
    let output = install.arg(what).stderr(Stdio::inherit()).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "infra/peers/install {what} did not succeed, for the reason above");
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

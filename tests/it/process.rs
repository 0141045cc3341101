//! The real process, against reference services that this test process serves on sockets.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use clock::SystemClock;
use reference_services::{ServiceKind, Services};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::world::{self, Door};

/// The variables that name the services, in the order of [`ServiceKind::ALL`].
pub(crate) const SERVICE_VARIABLES: [&str; 5] = [
    "WORKFLOW__SERVICES__AUTH_SERVICE",
    "WORKFLOW__SERVICES__USER_SERVICE",
    "WORKFLOW__SERVICES__TENANT_SERVICE",
    "WORKFLOW__SERVICES__FILE_SERVICE",
    "WORKFLOW__SERVICES__API_GATEWAY",
];

/// The services on sockets, and where a server keeps its data.
pub(crate) struct Site {
    pub(crate) services: Services,
    pub(crate) http: reqwest::Client,
    environment: Vec<(&'static str, String)>,
    port: u16,
    binary: PathBuf,
    directory: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A site whose servers have these settings too.
    pub(crate) async fn with(settings: &[(&'static str, String)]) -> Self {
        let services = Services::in_memory(Arc::new(SystemClock)).await.unwrap();
        services.seed_demo().await.unwrap();
        let mut environment = settings.to_vec();
        for (kind, name) in ServiceKind::ALL.into_iter().zip(SERVICE_VARIABLES) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            environment.push((name, format!("http://{}", listener.local_addr().unwrap())));
            let router = services.router(kind);
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        let port = free_port().await;
        environment.push(("WORKFLOW__SERVER__PORT", port.to_string()));
        // A connection of its own for each request, and no wait without end: what the client pools belongs to servers
        // that are killed all the time.
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        let http = client.timeout(Duration::from_secs(20)).build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self { services, http, environment, port, binary: binary().await, directory }
    }

    /// The same as its users see it.
    pub(crate) fn seen(&self) -> world::Site {
        world::Site {
            door: Door::Http(self.http.clone(), self.url("")),
            services: self.services.clone(),
            clock: Arc::new(SystemClock),
            calls: Arc::default(),
            unreached: Arc::default(),
            settling_time: Duration::ZERO,
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The variables that its processes get.
    pub(crate) fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("stderr.log")
    }

    /// What the last server wrote to its standard error.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// This process, with more settings.
    pub(crate) fn spawn_as(&self, command: &str, settings: &[(&str, String)]) -> Child {
        let log = std::fs::File::create(self.directory.path().join(format!("{command}.log"))).unwrap();
        let mut process = Command::new(&self.binary);
        process.args([command, "--data-dir"]).arg(self.directory.path());
        process.envs(self.environment.iter().cloned()).envs(settings.iter().cloned());
        process.stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap()
    }

    /// A server, as soon as it runs; with this shell in front of it, if any (it ends in `exec "$@"`).
    pub(crate) fn spawn(&self, shell: Option<&str>) -> Child {
        let mut command = match shell {
            None => Command::new(&self.binary),
            Some(script) => {
                let mut command = Command::new("bash");
                command.args(["-c", script, "bash"]).arg(&self.binary);
                command
            }
        };
        command.args(["server", "--data-dir"]).arg(self.directory.path());
        // A file, not a pipe: a pipe that nobody reads would block the server in the middle of a log line.
        let log = std::fs::File::create(self.log()).unwrap();
        command.envs(self.environment.iter().cloned()).stdout(Stdio::null()).stderr(log);
        command.kill_on_drop(true).spawn().unwrap()
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.port)
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Waits until the server answers.
    pub(crate) async fn until_up(&self, child: &mut Child) {
        for _ in 0..2_000 {
            if self.http.get(self.url("/health")).send().await.is_ok() {
                return;
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the server ended with {status}: {}", self.stderr());
            }
            pause(Duration::from_millis(5)).await;
        }
        panic!("the server does not answer");
    }

    /// Starts an onboarding; none if the server went away or refused.
    pub(crate) async fn start(&self, tenant: &str, email: &str) -> Option<String> {
        let body = serde_json::json!({
            "user_email": email, "user_name": "Crash Test", "tenant_id": tenant, "role": "user",
            "send_welcome_email": true, "setup_default_workspace": true, "assign_default_permissions": true,
            "create_sample_data": true,
        });
        let call = self.http.post(self.url("/api/v1/workflows/user-onboarding")).header("x-tenant-id", tenant);
        let answer = call.header("idempotency-key", email).json(&body).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        answer["workflow_id"].as_str().filter(|_| answer["started_at"].is_string()).map(str::to_owned)
    }

    /// Posts a body; none if the server went away.
    pub(crate) async fn post(&self, tenant: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let call = self.http.post(self.url(path)).header("x-tenant-id", tenant).json(body);
        let answer = call.send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }

    /// All executions of a tenant, by id with status.
    pub(crate) async fn list(&self, tenant: &str) -> Vec<(String, String)> {
        let (mut all, mut token) = (Vec::new(), None::<String>);
        loop {
            let token_part = token.map(|token| format!("&page_token={token}")).unwrap_or_default();
            let url = self.url(&format!("/api/v1/workflows?page_size=200{token_part}"));
            let page: Value =
                self.http.get(url).header("x-tenant-id", tenant).send().await.unwrap().json().await.unwrap();
            for row in page["workflows"].as_array().unwrap() {
                all.push((row["workflow_id"].as_str().unwrap().to_owned(), row["status"].as_str().unwrap().to_owned()));
            }
            token = page["next_page_token"].as_str().map(str::to_owned);
            if token.is_none() {
                return all;
            }
        }
    }

    /// Waits until every execution of the tenant has ended.
    pub(crate) async fn until_all_ended(&self, tenant: &str) -> Vec<(String, String)> {
        for _ in 0..600 {
            let all = self.list(tenant).await;
            if all.iter().all(|(_, status)| status != "Running") {
                return all;
            }
            pause(Duration::from_millis(100)).await;
        }
        panic!("some executions of {tenant} do not end; {}", self.stderr());
    }
}

/// A port that is free now and stays so while the server is down: below those that the system hands to connections.
pub(crate) async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (spread + NEXT.fetch_add(2, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
}

pub(crate) async fn pause(duration: Duration) {
    clock::sleep(&SystemClock, duration).await;
}

/// The binary of this very tree, built if need be.
pub(crate) async fn binary() -> PathBuf {
    build(&["--bin", "workflow-service"]).await.join("workflow-service")
}

/// Builds programs of this very tree, if need be: the folder they are in.
///
/// Of the whole workspace and with the examples, because cargo then gives the dependencies the features that they have in
/// the tests. By package they would have others: all would be compiled once more, and kept beside the first ones.
pub(crate) async fn build(targets: &[&str]) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--examples"]).args(targets);
    let is_built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().await.unwrap().success();
    assert!(is_built, "{} do not build", targets.join(" "));
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/it-... -> target/debug
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

//! The deployed shape on this machine: DynamoDB Local, moto's Step Functions, the reference services, and every function
//! under `cargo lambda watch`, which compiles it anew when it changes. No AWS account, no Docker.

mod aws;
mod peers;

use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use clock::{Clock as _, SystemClock};
use reference_services::{ServiceKind, Services};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use peers::{Installed, Peer, StatusEvents, root};

/// The variables that name the services, in the order of [`ServiceKind::ALL`].
const SERVICE_VARIABLES: [&str; 5] = [
    "WORKFLOW__SERVICES__AUTH_SERVICE",
    "WORKFLOW__SERVICES__USER_SERVICE",
    "WORKFLOW__SERVICES__TENANT_SERVICE",
    "WORKFLOW__SERVICES__FILE_SERVICE",
    "WORKFLOW__SERVICES__API_GATEWAY",
];

const TABLE: &str = "workflow-service-local";

const BUCKET: &str = "workflow-service-local";

/// What AWS's scheduler does in the deployment.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);

/// Runs everything that `sam deploy` would put into AWS on this machine.
#[derive(Debug, Parser)]
struct Cli {
    /// Where the API and the functions are.
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Where DynamoDB is.
    #[arg(long, default_value_t = 9001)]
    dynamodb_port: u16,
    /// Where Step Functions is.
    #[arg(long, default_value_t = 9002)]
    moto_port: u16,
    /// What becomes of the events that say that an execution has ended.
    #[arg(long, value_enum, default_value = "keep")]
    status_events: StatusEvents,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    let stack = tokio::select! {
        started = start(&cli) => started?,
        () = stop.asked() => return Ok(()),
    };
    let reconciler = tokio::spawn(reconcile(cli.port));
    let ended = tokio::select! {
        ended = stack.ended() => Err(anyhow::anyhow!("{ended} has stopped")),
        () = stop.asked() => Ok(()),
    };
    reconciler.abort();
    // Who asked may be gone with the terminal.
    let _ = writeln!(std::io::stdout(), "stopping");
    ended
}

/// The signals that ask us to stop.
struct Stop {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// All programs; they stop when this is dropped.
struct Stack {
    peers: Vec<Peer>,
    /// What is in memory elsewhere is gone with the stack, and so are the keys of its backups.
    _keys: TempDir,
}

impl Stack {
    /// Waits until one of them stops by itself: its name.
    async fn ended(&self) -> String {
        loop {
            clock::sleep(&SystemClock, Duration::from_millis(500)).await;
            if let Some(peer) = self.peers.iter().find(|peer| peer.ended().is_some()) {
                return peer.name.to_owned();
            }
        }
    }
}

async fn start(cli: &Cli) -> anyhow::Result<Stack> {
    let functions = format!("http://127.0.0.1:{}", cli.port);
    let dynamodb = format!("http://127.0.0.1:{}", cli.dynamodb_port);
    let moto = format!("http://127.0.0.1:{}", cli.moto_port);
    let installed = Installed::all().await?;
    println!("building the functions");
    build().await?;
    let services = serve_services().await?;
    let peers = vec![
        installed.dynamodb(cli.dynamodb_port).await?,
        installed.moto(cli.moto_port, &functions, cli.status_events).await?,
    ];
    aws::create_table(&dynamodb, TABLE).await?;
    aws::create_bucket(&moto, BUCKET).await?;
    let machines = aws::create_state_machines(&moto, BUCKET).await?;
    let keys = TempDir::new()?;
    let key_file = keys.path().join("keys.json");
    vault::FileKeys::init(&key_file, SystemClock.now())?;
    let mut environment = vec![
        ("STAGE", "local".to_owned()),
        ("AWS_REGION", aws::REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.clone()),
        ("AWS_ENDPOINT_URL_SFN", moto.clone()),
        ("AWS_ENDPOINT_URL_S3", moto.clone()),
        ("WORKFLOW__AUTH__MODE", "off".to_owned()),
        ("WORKFLOW__STORE__KIND", "dynamodb".to_owned()),
        ("WORKFLOW__STORE__TABLE", TABLE.to_owned()),
        ("WORKFLOW__STORE__BUCKET", BUCKET.to_owned()),
        ("WORKFLOW__STORE__RETENTION_DAYS", "90".to_owned()),
        // moto's KMS has no key that signs with Ed25519.
        ("WORKFLOW__KEYS__FILE", key_file.display().to_string()),
        ("WORKFLOW__ENGINE__KIND", "stepfunctions".to_owned()),
        ("WORKFLOW__ENGINE__STATE_MACHINE_PREFIX", machines),
        // `cargo lambda watch` knows functions by the names of their binaries.
        ("WORKFLOW__ENGINE__FUNCTION_PREFIX", String::new()),
        ("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "300".to_owned()),
        ("WORKFLOW__LIMITS__OPEN_EXECUTIONS_PER_TENANT", "5000".to_owned()),
        ("WORKFLOW__LIMITS__LONGEST_WAIT", "25".to_owned()),
    ];
    environment.extend(SERVICE_VARIABLES.into_iter().zip(&services).map(|(name, url)| (name, url.clone())));
    let mut stack = Stack { peers, _keys: keys };
    stack.peers.push(installed.functions(cli.port, environment).await?);
    announce(cli, &services, &dynamodb, &moto);
    Ok(stack)
}

/// So that the first request does not wait for the compiler. By their names, as the watcher does it: by package they
/// would have other features of their dependencies.
async fn build() -> anyhow::Result<()> {
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(root()).arg("build");
    for package in ["endpoint-lambdas", "activity-lambdas", "event-lambdas"] {
        for source in std::fs::read_dir(root().join("functions").join(package).join("src/bin"))? {
            let source = source?.path();
            build.arg("--bin").args(source.file_stem());
        }
    }
    anyhow::ensure!(Peer::run("cargo", &mut build).await?, "the functions do not build");
    Ok(())
}

/// The reference services on their ports, with demo data: their URLs.
async fn serve_services() -> anyhow::Result<Vec<String>> {
    let services = Services::in_memory(Arc::new(SystemClock)).await?;
    services.seed_demo().await?;
    let mut urls = Vec::new();
    for kind in ServiceKind::ALL {
        let port = kind.default_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
        let router = services.router(kind);
        tokio::spawn(async move { axum::serve(listener, router).await });
        urls.push(format!("http://127.0.0.1:{port}"));
    }
    Ok(urls)
}

async fn reconcile(port: u16) {
    let url = format!("http://127.0.0.1:{port}/2015-03-31/functions/reconcile-executions/invocations");
    let Ok(http) = reqwest::Client::builder().no_proxy().build() else { return };
    loop {
        clock::sleep(&SystemClock, RECONCILE_EVERY).await;
        if let Err(error) = http.post(&url).body("{}").send().await {
            eprintln!("the reconciler cannot be invoked: {error}");
        }
    }
}

fn announce(cli: &Cli, services: &[String], dynamodb: &str, moto: &str) {
    println!();
    println!(
        "  {:<15} http://localhost:{}   (cargo lambda watch: a change is live after a recompile)",
        "API", cli.port
    );
    println!("  {:<15} {dynamodb}   (table {TABLE}, in memory)", "DynamoDB");
    println!("  {:<15} {moto}   (state machines local-user-onboarding, ...)", "Step Functions");
    println!("  {:<15} {moto}   (bucket {BUCKET}, in memory)", "S3");
    for (kind, url) in ServiceKind::ALL.into_iter().zip(services) {
        println!("  {:<15} {url}", kind.name());
    }
    println!();
    println!("try:");
    println!(
        "  curl -X POST http://localhost:{}/api/v1/workflows/user-onboarding -H \"Content-Type: application/json\" \
         -H \"X-Tenant-ID: tenant-123\" -d '{{\"user_email\":\"user@example.com\",\"user_name\":\"John Doe\",\
         \"tenant_id\":\"tenant-123\",\"role\":\"user\",\"send_welcome_email\":true,\"setup_default_workspace\":true,\
         \"assign_default_permissions\":true,\"create_sample_data\":false}}'",
        cli.port
    );
    println!();
    println!("Ctrl-C stops everything");
}

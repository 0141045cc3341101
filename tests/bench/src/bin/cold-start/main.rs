//! How fast and how small the functions are: from spawning one to its first poll for work, its CPU time and memory by
//! then, and the size of its zip, each against a hello-world in the same workspace and profile. And how long the first
//! request takes, against a handler that takes AWS's configuration and clients as they come.
//!
//! `cargo xtask bench cold-start` builds all of them and runs this. Writes `target/bench/cold-start.json` and fails when
//! a goal is missed. The argument is the second yardstick's binary; or `--in FOLDER`, to compare the one function that is
//! there with the hello-world beside it, and to print the row.

mod first_request;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::{Value, json};

/// Runs of each function, each beside one of hello-world.
const PAIRS: usize = 15;

/// What a function may take: ratios to hello-world, and bytes.
struct Limits {
    wall: f64,
    cpu: f64,
    rss: f64,
    zip_bytes: usize,
}

/// Goals of functions that use AWS.
const GOALS: Limits = Limits { wall: 1.25, cpu: 1.5, rss: 1.75, zip_bytes: 3_500_000 };
/// Of hello-world's zip.
const MAX_ZIP_RATIO_WITHOUT_AWS: f64 = 1.3;
/// Of the stock handler's time.
const MAX_FIRST_REQUEST: f64 = 0.6;

/// Temporal's client is larger than everything else, which is why it is in functions of its own.
const MAX_GATEWAY_ZIP_BYTES: usize = 4_500_000;
/// Temporal's worker, and the interpreter: nobody waits for its start, as it runs for minutes once it has begun.
const WORKER: Limits = Limits { wall: 1.5, cpu: 1.5, rss: 2.75, zip_bytes: 8_500_000 };

fn limits(function: &str, hello_zip: usize) -> Limits {
    match function {
        "health" => Limits { zip_bytes: (MAX_ZIP_RATIO_WITHOUT_AWS * hello_zip as f64) as usize, ..GOALS },
        "temporal-gateway" => Limits { zip_bytes: MAX_GATEWAY_ZIP_BYTES, ..GOALS },
        "temporal-worker" => WORKER,
        _ => GOALS,
    }
}

/// The function that the second yardstick is another one of.
const STARTING: &str = "start-user-onboarding";

/// The yardstick beside it.
const HELLO: &str = "hello";

/// What one start took.
#[derive(Clone, Copy)]
struct Start {
    wall_us: f64,
    cpu_us: f64,
    rss_kib: f64,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--in", folder] => {
            println!("{}", compare(Path::new(folder), STARTING)?.json());
            Ok(ExitCode::SUCCESS)
        }
        [stock] => all(Path::new(stock)),
        _ => bail!("say where the stock yardstick's binary is, or --in FOLDER"),
    }
}

fn all(stock: &Path) -> anyhow::Result<ExitCode> {
    let folder = std::env::current_exe()?.parent().context("the binary is in a folder")?.to_owned();
    let hello_zip = zip_bytes(&folder.join(HELLO))?;
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    println!("{:<32} {:>8} {:>8} {:>8} {:>12} {:>10}", "function", "wall", "CPU", "RSS", "first poll", "zip");
    for function in functions()? {
        let row = compare(&folder, &function)?;
        println!("{row}");
        if row.exceeds(&limits(&function, hello_zip)) {
            missed.push(function);
        } else if row.exceeds(&GOALS) {
            println!("{function} misses the goals, within limits of its own");
        }
        rows.push(row.json());
    }
    let mut pairs = Vec::new();
    for _ in 0..=PAIRS {
        let own = first_request::first_request(&folder.join(STARTING), &environment())?;
        pairs.push((own, first_request::first_request(stock, &environment())?));
    }
    // The first pair reads the disk.
    pairs.remove(0);
    let first_request_ms = median(pairs.iter().map(|(own, _)| *own));
    let first_request_ratio = median(pairs.iter().map(|(own, stock)| own / stock));
    println!("first request of {STARTING}: {first_request_ms:.1} ms, {first_request_ratio:.2} of the stock handler's");
    if first_request_ratio > MAX_FIRST_REQUEST {
        missed.push("the first request".to_owned());
    }
    let load = bench::load_average();
    let report = json!({
        "pairs": PAIRS, "hello_zip_bytes": hello_zip, "load": load, "functions": rows,
        "first_request_ms": first_request_ms, "first_request_ratio": first_request_ratio,
        "stock_zip_bytes": zip_bytes(stock)?,
    });
    write(&report)?;
    println!("n = {PAIRS} alternating pairs, hello-world's zip {:.2} MB, load {}", hello_zip as f64 / 1e6, load);
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("goals missed by {}", missed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// One function against hello-world.
struct Row {
    function: String,
    wall: f64,
    cpu: f64,
    rss: f64,
    first_poll_ms: f64,
    zip_bytes: usize,
}

impl Row {
    fn exceeds(&self, limits: &Limits) -> bool {
        self.wall > limits.wall || self.cpu > limits.cpu || self.rss > limits.rss || self.zip_bytes > limits.zip_bytes
    }

    fn json(&self) -> Value {
        json!({
            "function": self.function, "wall_ratio": self.wall, "cpu_ratio": self.cpu, "rss_ratio": self.rss,
            "first_poll_ms": self.first_poll_ms, "zip_bytes": self.zip_bytes,
        })
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { function, wall, cpu, rss, first_poll_ms, zip_bytes } = self;
        let zip_mb = *zip_bytes as f64 / 1e6;
        write!(f, "{function:<32} {wall:>8.2} {cpu:>8.2} {rss:>8.2} {first_poll_ms:>9.1} ms {zip_mb:>7.2} MB")
    }
}

/// Starts the function and hello-world in turn.
fn compare(folder: &Path, function: &str) -> anyhow::Result<Row> {
    let (hello, own) = (folder.join(HELLO), folder.join(function));
    ensure!(own.exists(), "{} is not built", own.display());
    // Both warm, so that neither pays for reading the disk.
    start(&hello)?;
    start(&own)?;
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        pairs.push((start(&hello)?, start(&own)?));
    }
    let ratio = |of: fn(&Start) -> f64| median(pairs.iter().map(|(hello, own)| of(own) / of(hello)));
    Ok(Row {
        function: function.to_owned(),
        wall: ratio(|start| start.wall_us),
        cpu: ratio(|start| start.cpu_us),
        rss: ratio(|start| start.rss_kib),
        first_poll_ms: median(pairs.iter().map(|(_, own)| own.wall_us)) / 1_000.0,
        zip_bytes: zip_bytes(&own)?,
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every function that is deployed.
fn functions() -> anyhow::Result<Vec<String>> {
    let mut functions = Vec::new();
    for package in ["endpoint-lambdas", "activity-lambdas", "event-lambdas"] {
        for file in std::fs::read_dir(root().join("functions").join(package).join("src/bin"))? {
            let file = file?.path();
            functions.push(file.file_stem().context("a source has a name")?.to_string_lossy().into_owned());
        }
    }
    functions.sort();
    Ok(functions)
}

/// Starts a function before a Runtime API of our own, until it asks for work.
#[expect(clippy::disallowed_methods, reason = "what is measured is the machine's own time")]
fn start(binary: &Path) -> anyhow::Result<Start> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let began = Instant::now();
    let mut child = Command::new(binary)
        .env_clear()
        .envs(environment())
        .env("AWS_LAMBDA_RUNTIME_API", format!("http://{}", listener.local_addr()?))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let (stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let wall_us = began.elapsed().as_secs_f64() * 1e6;
    ensure!(line.starts_with("GET /2018-06-01/runtime/invocation/next"), "{}: {line}", binary.display());
    let (cpu_us, rss_kib) = (cpu_us(child.id())?, rss_kib(child.id())?);
    child.kill()?;
    child.wait()?;
    Ok(Start { wall_us, cpu_us, rss_kib })
}

/// What the template sets; nothing of it is reached.
fn environment() -> Vec<(&'static str, &'static str)> {
    let service = "https://service.example.com";
    vec![
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_LAMBDA_FUNCTION_NAME", "function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
        ("STAGE", "dev"),
        ("WORKFLOW__STORE__KIND", "dynamodb"),
        ("WORKFLOW__STORE__TABLE", "table"),
        ("WORKFLOW__STORE__BUCKET", "bucket"),
        ("WORKFLOW__STORE__RETENTION_DAYS", "90"),
        ("WORKFLOW__AUTH__MODE", "gateway"),
        ("WORKFLOW__AUTH__TENANTS_CLAIM", "tenants"),
        ("WORKFLOW__AUTH__ROLES_CLAIM", "roles"),
        ("WORKFLOW__ENGINE__KIND", "stepfunctions"),
        ("WORKFLOW__ENGINE__STATE_MACHINE_PREFIX", "arn:aws:states:us-east-1:123456789012:stateMachine:stack-"),
        ("WORKFLOW__ENGINE__FUNCTION_PREFIX", "stack-"),
        ("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "300"),
        ("WORKFLOW__LIMITS__LONGEST_WAIT", "3"),
        ("WORKFLOW__SERVICES__AUTH_SERVICE", service),
        ("WORKFLOW__SERVICES__USER_SERVICE", service),
        ("WORKFLOW__SERVICES__TENANT_SERVICE", service),
        ("WORKFLOW__SERVICES__FILE_SERVICE", service),
        ("WORKFLOW__SERVICES__API_GATEWAY", service),
        ("WORKFLOW__TEMPORAL__SERVER_URL", "https://temporal.example.com:7233"),
        ("WORKFLOW__TEMPORAL__NAMESPACE", "namespace"),
        ("WORKFLOW__TEMPORAL__TASK_QUEUE", "queue"),
    ]
}

/// CPU time of all threads so far.
fn cpu_us(pid: u32) -> anyhow::Result<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += schedstat.split(' ').next().context("schedstat has fields")?.parse::<f64>()?;
    }
    Ok(nanoseconds / 1_000.0)
}

/// The most memory that was resident so far.
fn rss_kib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel says VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn zip_bytes(binary: &Path) -> anyhow::Result<usize> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&std::fs::read(binary)?)?;
    Ok(encoder.finish()?.len())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn write(report: &Value) -> anyhow::Result<()> {
    let folder = root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("cold-start.json"), format!("{report:#}\n"))?;
    Ok(())
}

//! The embedded engine: how many executions a second, how many commits, how fast after a crash, how flat in memory, how
//! fair. `cargo xtask bench embedded`; writes `target/bench/embedded.json` and fails when a goal is missed.
//!
//! With a directory and the name of a part it runs that part alone, in a process that can be counted, measured and killed.

mod subject;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clock::SystemClock;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Row as _};
use store::{BlobKey, Blobs as _};
use subject::{STEPS, Subject, Work, bulk, chain};

const TENANT: &str = "tenant-a";
const OTHER_TENANT: &str = "tenant-b";

/// How many at once, and of how many executions.
const LOADS: [(usize, usize); 3] = [(1, 300), (16, 2_000), (200, 4_000)];
/// Executions in flight when the process is killed.
const IN_FLIGHT: usize = 10_000;
/// Batches of the Maps whose memory is compared; both have as many under way at the same time.
const BATCHES: [usize; 2] = [1_000, 10_000];
/// Starts that are timed, for a p99.
const STARTS: usize = 500;

/// One for its start and one for each step; the store's own when it is opened are spread over all executions.
const MAX_SYNCS_ALONE: f64 = (STEPS + 1) as f64 + 0.05;
const MAX_SYNCS_PER_EVENT: f64 = 0.05;
const MIN_OF_BARE_INSERTS: f64 = 0.5;
const MAX_RECOVERY_SECONDS: f64 = 10.0;
const MAX_FIRST_SECONDS: f64 = 1.0;
/// What a batch that has ended may leave behind: its place among the results of the Map.
const MAX_KIB_PER_BATCH: f64 = 1.0;
const MAX_MEMORY_MIB: f64 = 64.0;
const MAX_FAIRNESS_RATIO: f64 = 4.0;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |index: usize| -> anyhow::Result<usize> { Ok(arguments.get(index).context("a number is missing")?.parse()?) };
    let directory = arguments.get(1).map(PathBuf::from).unwrap_or_default();
    let report = match arguments.first().map(String::as_str) {
        None => return all().await,
        Some("load") => load(&directory, number(2)?, number(3)?).await?,
        Some("fill") => fill(&directory).await?,
        Some("recover") => recover(&directory).await?,
        Some("bulk") => bulk_job(&directory, number(2)?).await?,
        Some("fairness") => fairness(&directory).await?,
        Some(other) => bail!("there is no part '{other}'"),
    };
    println!("{report}");
    Ok(ExitCode::SUCCESS)
}

/// All parts, and what the goals say of them.
async fn all() -> anyhow::Result<ExitCode> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    let scratch = home.join("embedded");
    let fresh = |name: &str| -> anyhow::Result<PathBuf> {
        let directory = scratch.join(name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        std::fs::create_dir_all(&directory)?;
        Ok(directory)
    };
    let mut missed = Vec::new();
    let mut check = |what: &str, is_met: bool| {
        if !is_met {
            missed.push(what.to_owned());
        }
    };
    let mut report = json!({});

    for (at_once, executions) in LOADS {
        let numbers = [at_once, executions].map(|number| number.to_string());
        let counted = counted("load", &fresh("counted")?, &numbers)?;
        let timed = part("load", &fresh("timed")?, &numbers)?;
        let events = number(&counted, "events");
        let syncs = number(&counted, "syncs");
        let per_second = executions as f64 / number(&timed, "seconds");
        let cpu_ms = number(&timed, "cpu_seconds") * 1e3 / executions as f64;
        println!(
            "{at_once:>4} at once: {per_second:>6.0} executions/s, {cpu_ms:.2} ms CPU each, {:.2} syncs each, {:.3} per event",
            syncs / executions as f64,
            syncs / events
        );
        if at_once == 1 {
            check("syncs of an execution alone", syncs / executions as f64 <= MAX_SYNCS_ALONE);
        }
        if at_once == 200 {
            check("syncs per event", syncs / events <= MAX_SYNCS_PER_EVENT);
            let rows = number(&timed, "rows") / number(&timed, "seconds");
            let bare = bare_inserts(&fresh("bare")?, (number(&timed, "rows") / syncs) as usize).await?;
            println!("     {rows:.0} rows/s, {:.2} of a bare loop of inserts with as many a commit", rows / bare);
            check("rows per second", rows / bare >= MIN_OF_BARE_INSERTS);
            report["of_bare_inserts"] = json!(rows / bare);
        }
        report[format!("at_once_{at_once}")] = json!({ "counted": counted, "timed": timed });
    }

    let directory = fresh("recovery")?;
    kill_when_filled(&directory)?;
    let recovered = part("recover", &directory, &[])?;
    let (first, all) = (number(&recovered, "first_seconds"), number(&recovered, "all_seconds"));
    println!("killed with {IN_FLIGHT} in flight: the first goes on after {first:.2} s, all after {all:.2} s");
    check("first after a crash", first <= MAX_FIRST_SECONDS);
    check("all after a crash", all <= MAX_RECOVERY_SECONDS);
    report["recovery"] = recovered;

    let mut memory = Vec::new();
    for batches in BATCHES {
        let done = part("bulk", &fresh("bulk")?, &[batches.to_string()])?;
        let (mib, seconds) = (number(&done, "peak_mib"), number(&done, "seconds"));
        println!("a Map of {batches:>6} batches: {:.0} batches/s, {mib:.1} MiB at most", batches as f64 / seconds);
        memory.push(mib);
        report[format!("bulk_{batches}")] = done;
    }
    let kib_per_batch = (memory[1] - memory[0]) * 1024.0 / (BATCHES[1] - BATCHES[0]) as f64;
    check("memory of a Map", kib_per_batch <= MAX_KIB_PER_BATCH && memory[1] <= MAX_MEMORY_MIB);

    let fair = part("fairness", &fresh("fairness")?, &[])?;
    let ratio = number(&fair, "busy_p99_ms") / number(&fair, "idle_p99_ms");
    println!(
        "p99 of a start: {:.1} ms idle, {:.1} ms while another tenant's Map runs, ratio {ratio:.2}",
        number(&fair, "idle_p99_ms"),
        number(&fair, "busy_p99_ms")
    );
    check("fairness", ratio <= MAX_FAIRNESS_RATIO);
    report["fairness"] = fair;

    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}", load.trim());
    report["load"] = json!(load.trim());
    report["missed"] = json!(missed);
    std::fs::write(home.join("embedded.json"), format!("{report:#}\n"))?;
    for missed in &missed {
        println!("missed: {missed}");
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a part in a process of its own.
fn part(name: &str, directory: &Path, numbers: &[String]) -> anyhow::Result<Value> {
    report_of(Command::new(std::env::current_exe()?).arg(name).arg(directory).args(numbers))
}

/// The same, with the syncs of its commits counted; slower.
fn counted(name: &str, directory: &Path, numbers: &[String]) -> anyhow::Result<Value> {
    let trace = directory.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=fsync,fdatasync", "-o"]).arg(&trace).arg(std::env::current_exe()?);
    let mut report = report_of(strace.arg(name).arg(directory).args(numbers)).context("strace is needed to count")?;
    let trace = std::fs::read_to_string(&trace)?;
    let syncs_of = |file: &str| trace.lines().filter(|line| line.contains("sync(") && line.contains(file)).count();
    // A checkpoint is a sync of the database, and two more of the log: before it, and when the log begins anew.
    let checkpoints = syncs_of("workflow-service.db>");
    report["checkpoints"] = json!(checkpoints);
    report["syncs"] = json!(syncs_of("workflow-service.db-wal>").saturating_sub(2 * checkpoints));
    Ok(report)
}

fn report_of(command: &mut Command) -> anyhow::Result<Value> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or(f64::NAN)
}

/// Executions of steps that do nothing, so many at once.
async fn load(directory: &Path, at_once: usize, executions: usize) -> anyhow::Result<Value> {
    let subject = Arc::new(Subject::open(directory, Work::Nothing, 1_000).await?);
    let left = Arc::new(AtomicUsize::new(executions));
    let (began, cpu) = (now(), cpu_seconds());
    let one_after_the_other = |_| {
        let (subject, left) = (Arc::clone(&subject), Arc::clone(&left));
        tokio::spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                subject.run(TENANT).await?;
            }
            anyhow::Ok(())
        })
    };
    for task in futures::future::join_all((0..at_once).map(one_after_the_other)).await {
        task??;
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let count = async |table: &str| count_rows(directory, table).await;
    let (events, records) = (count("history").await?, count("journal").await?);
    Ok(
        json!({ "seconds": seconds, "cpu_seconds": cpu, "events": events, "rows": events + records + executions as i64 }),
    )
}

async fn count_rows(directory: &Path, table: &str) -> anyhow::Result<i64> {
    let mut connection = connection(&directory.join("workflow-service.db"), "").await?;
    let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS count FROM {table}"));
    Ok(sqlx::query(count).fetch_one(&mut connection).await?.try_get("count")?)
}

async fn connection(file: &Path, mode: &str) -> anyhow::Result<sqlx::AnyConnection> {
    sqlx::any::install_default_drivers();
    let options: sqlx::any::AnyConnectOptions = format!("sqlite://{}{mode}", file.display()).parse()?;
    Ok(options.connect().await?)
}

/// Rows a second of a loop that does nothing but insert, so many in each durable commit.
async fn bare_inserts(directory: &Path, batch: usize) -> anyhow::Result<f64> {
    const ROWS: usize = 40_000;
    let mut connection = connection(&directory.join("bare.db"), "?mode=rwc").await?;
    for statement in [
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE journal (execution_id TEXT NOT NULL, number BIGINT NOT NULL, record TEXT NOT NULL, \
         PRIMARY KEY (execution_id, number))",
    ] {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    let record = "x".repeat(250);
    let began = now();
    for first in (0..ROWS).step_by(batch.max(1)) {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        for row in first..(first + batch).min(ROWS) {
            sqlx::query("INSERT INTO journal (execution_id, number, record) VALUES ($1, $2, $3)")
                .bind(format!("user_onboarding_{:026}", row % 200))
                .bind(row as i64)
                .bind(&record)
                .execute(&mut connection)
                .await?;
        }
        sqlx::query("COMMIT").execute(&mut connection).await?;
    }
    Ok(ROWS as f64 / began.elapsed().as_secs_f64())
}

/// Starts executions whose first step never ends, and says so once all are under way.
async fn fill(directory: &Path) -> anyhow::Result<Value> {
    let subject = Subject::open(directory, Work::Hang, IN_FLIGHT).await?;
    let started = stream::iter(0..IN_FLIGHT).map(|_| subject.start(TENANT)).buffer_unordered(200);
    let started: Vec<anyhow::Result<String>> = started.collect().await;
    started.into_iter().collect::<anyhow::Result<Vec<String>>>()?;
    wait_for_calls(&subject, IN_FLIGHT as u64).await;
    println!("{{\"filled\": {IN_FLIGHT}}}");
    std::future::pending().await
}

fn kill_when_filled(directory: &Path) -> anyhow::Result<()> {
    let mut child = Command::new(std::env::current_exe()?).arg("fill").arg(directory).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("it has an output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    child.kill()?;
    child.wait()?;
    if line.contains("filled") { Ok(()) } else { bail!("it did not fill") }
}

/// Goes on with what a killed process left; seconds from opening the store to activities that run again.
async fn recover(directory: &Path) -> anyhow::Result<Value> {
    let began = now();
    let subject = Subject::open(directory, Work::Hang, IN_FLIGHT).await?;
    let recovered = subject.engine.recover().await?;
    wait_for_calls(&subject, IN_FLIGHT as u64).await;
    let all = began.elapsed().as_secs_f64();
    let first = subject.activities.first.lock().map_or(None, |first| *first).context("none was called")?;
    let first = first.duration_since(began).as_secs_f64();
    Ok(json!({ "recovered": recovered, "first_seconds": first, "all_seconds": all }))
}

async fn wait_for_calls(subject: &Subject, calls: u64) {
    while subject.activities.calls.load(Ordering::Relaxed) < calls {
        subject.activities.called.notified().await;
    }
}

/// A Map over a file of batches.
async fn bulk_job(directory: &Path, batches: usize) -> anyhow::Result<Value> {
    let subject = Subject::open(directory, Work::Nothing, 100).await?;
    let began = now();
    let id = start_bulk(&subject, batches).await?;
    let counted = subject.ended(TENANT, &id).await?;
    if counted != json!(batches) {
        bail!("{counted} of {batches} batches");
    }
    let seconds = began.elapsed().as_secs_f64();
    let records = count_rows(directory, "journal").await?;
    Ok(json!({ "seconds": seconds, "peak_mib": peak_mib()?, "records": records }))
}

async fn start_bulk(subject: &Subject, batches: usize) -> anyhow::Result<String> {
    let key = BlobKey::new(TENANT, &["batches.json"]).context("a key")?;
    let batch = |number: usize| {
        let ids: Vec<String> = (0..100).map(|id| format!("{number:08x}-{id:04x}-7000-8000-000000000000")).collect();
        let before = if number == 0 { "[" } else { "," };
        Ok(Bytes::from(format!("{before}{}", json!(ids))))
    };
    let body = stream::iter(0..batches).map(batch).chain(stream::iter([Ok(Bytes::from_static(b"]"))]));
    subject.blobs.put(&key, body.boxed()).await?;
    subject.use_definition(&bulk(TENANT));
    subject.start(TENANT).await
}

/// Starts of one tenant, with the other idle and with it running a Map whose batches take a while.
async fn fairness(directory: &Path) -> anyhow::Result<Value> {
    let subject = Arc::new(Subject::open(directory, Work::Take(Duration::from_millis(2)), 100).await?);
    let idle = p99_of_starts(&subject).await?;
    start_bulk(&subject, 100_000).await?;
    subject.use_definition(&chain());
    clock::sleep(&SystemClock, Duration::from_secs(1)).await;
    let before = subject.activities.calls.load(Ordering::Relaxed);
    let busy = p99_of_starts(&subject).await?;
    let meanwhile = subject.activities.calls.load(Ordering::Relaxed) - before;
    if meanwhile < 1_000 {
        bail!("the Map was over: {meanwhile} calls meanwhile");
    }
    Ok(json!({ "idle_p99_ms": idle, "busy_p99_ms": busy, "calls_meanwhile": meanwhile }))
}

/// Milliseconds; one start every 10 ms.
async fn p99_of_starts(subject: &Subject) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let began = now();
        subject.start(OTHER_TENANT).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        clock::sleep(&SystemClock, Duration::from_millis(10)).await;
    }
    times.sort_by(f64::total_cmp);
    Ok(times[STARTS * 99 / 100])
}

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// Of this process, in user and system mode.
fn cpu_seconds() -> f64 {
    // Clock ticks are hundredths of a second on every Linux that matters.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The most memory that this process ever had.
fn peak_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("Linux tells it")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse::<f64>()? / 1024.0)
}

//! The embedded engine: how many executions a second, how many commits, how fast after a crash, how flat in memory, how
//! fair. `cargo xtask bench embedded`; writes `target/bench/embedded.json` and fails when a goal is missed.
//!
//! With a directory and the name of a part it runs that part alone, in a process that can be counted, measured and killed.

mod subject;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bench::{Measured, STEPS, chain, cpu_seconds, fresh, load_average, now, number, report_of};
use bytes::Bytes;
use clock::SystemClock;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Row as _};
use store::{BlobKey, Blobs as _};
use subject::{Subject, Work, bulk};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TENANT: &str = "tenant-a";
const OTHER_TENANT: &str = "tenant-b";

/// Each part is measured so often, in turns with the others; medians count.
const ROUNDS: usize = 3;
/// How many at once, and of how many executions.
const LOADS: [(usize, usize); 3] = [(1, 300), (16, 2_000), (200, 4_000)];
/// Executions in flight when the process is killed.
const IN_FLIGHT: usize = 10_000;
/// Batches of the Maps whose memory is compared, a hundred items each, ten at once, and how much more they may take than the
/// first.
const BATCHES: [(usize, f64); 3] = [(10, 1.0), (1_000, 1.1), (10_000, 1.15)];
const BATCHES_AT_ONCE: usize = 10;
/// And of one that keeps the engine busy.
const BUSY: (usize, usize) = (10_000, 100);
/// Activities at once, unless the settings say otherwise.
const DEFAULT_LIMIT: usize = 100;
/// Starts that are timed, for a p99.
const STARTS: usize = 1_000;

/// One for its start and one for each step; the store's own when it is opened are spread over all executions.
const MAX_SYNCS_ALONE: f64 = (STEPS + 1) as f64 + 0.05;
const MAX_SYNCS_PER_EVENT: f64 = 0.05;
const MIN_OF_BARE_INSERTS: f64 = 0.5;
const MAX_RECOVERY_SECONDS: f64 = 10.0;
const MAX_FIRST_SECONDS: f64 = 1.0;
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
        Some("bulk") => {
            let job = Bulk { batches: number(2)?, at_once: number(3)?, has_writer: number(4)? == 1 };
            bulk_job(&directory, job).await?
        }
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
    let load_before = load_average();
    let mut measured = Measured::default();
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}, load {}", load_average());
        for (at_once, executions) in LOADS {
            measure_load(&scratch, at_once, executions, &mut measured).await?;
        }
        measure_recovery(&scratch, &mut measured)?;
        for has_writer in [false, true] {
            for job in jobs(has_writer) {
                measure_bulk(&scratch, job, &mut measured)?;
            }
        }
        measure_fairness(&scratch, &mut measured)?;
    }
    let missed = judge(&measured);
    measured.report(&home.join("embedded.json"), ROUNDS, [load_before, load_average()], &missed)
}

/// Syncs are those of one run, which counting makes three times slower; rates are those of another one, which nobody counts.
async fn measure_load(
    scratch: &Path,
    at_once: usize,
    executions: usize,
    measured: &mut Measured,
) -> anyhow::Result<()> {
    let numbers = [at_once, executions].map(|number| number.to_string());
    let counted = counted("load", &fresh(scratch, "counted")?, &numbers)?;
    let timed = part("load", &fresh(scratch, "timed")?, &numbers)?;
    let (executions, syncs, rows) = (executions as f64, number(&counted, "syncs"), number(&counted, "rows"));
    measured.add(format!("executions/s, {at_once} at once"), executions / number(&timed, "seconds"));
    measured.add(format!("ms CPU each, {at_once} at once"), number(&timed, "cpu_seconds") * 1e3 / executions);
    measured.add(format!("syncs each, {at_once} at once"), syncs / executions);
    measured.add(format!("syncs per event, {at_once} at once"), syncs / number(&counted, "events"));
    if at_once == 200 {
        // The slower one has the larger commits, which makes the bare loop faster.
        let rows_per_second = number(&timed, "rows") / number(&timed, "seconds");
        let bare = bare_inserts(&fresh(scratch, "bare")?, (rows / syncs) as usize).await?;
        measured.add("rows per commit", rows / syncs);
        measured.add("rows/s", rows_per_second);
        measured.add("of a bare loop of inserts with as many a commit", rows_per_second / bare);
    }
    Ok(())
}

fn measure_recovery(scratch: &Path, measured: &mut Measured) -> anyhow::Result<()> {
    let directory = fresh(scratch, "recovery")?;
    kill_when_filled(&directory)?;
    let recovered = part("recover", &directory, &[])?;
    measured.add("s to the first after a crash", number(&recovered, "first_seconds"));
    measured.add("s to all after a crash", number(&recovered, "all_seconds"));
    Ok(())
}

/// A Map.
#[derive(Clone, Copy)]
struct Bulk {
    batches: usize,
    at_once: usize,
    has_writer: bool,
}

fn jobs(has_writer: bool) -> impl Iterator<Item = Bulk> {
    let sizes = BATCHES.map(|(batches, _)| (batches, BATCHES_AT_ONCE)).into_iter().chain([BUSY]);
    sizes.map(move |(batches, at_once)| Bulk { batches, at_once, has_writer })
}

impl Bulk {
    fn name(self) -> String {
        let Self { batches, at_once, has_writer } = self;
        format!(
            "a Map of {batches} batches, {at_once} at once, results {}",
            if has_writer { "written" } else { "counted" }
        )
    }
}

fn measure_bulk(scratch: &Path, job: Bulk, measured: &mut Measured) -> anyhow::Result<()> {
    let numbers = [job.batches, job.at_once, usize::from(job.has_writer)].map(|number| number.to_string());
    let done = part("bulk", &fresh(scratch, "bulk")?, &numbers)?;
    measured.add(format!("batches/s of {}", job.name()), job.batches as f64 / number(&done, "seconds"));
    measured.add(format!("MiB of {}", job.name()), number(&done, "peak_mib"));
    Ok(())
}

fn measure_fairness(scratch: &Path, measured: &mut Measured) -> anyhow::Result<()> {
    let fair = part("fairness", &fresh(scratch, "fairness")?, &[])?;
    let (idle, busy) = (number(&fair, "idle_p99_ms"), number(&fair, "busy_p99_ms"));
    measured.add("ms p99 of a start, idle", idle);
    measured.add("ms p99 of a start, while another tenant's Map runs", busy);
    measured.add("p99 of a start, busy to idle", busy / idle);
    Ok(())
}

/// Prints the medians; the goals that are missed.
fn judge(measured: &Measured) -> Vec<String> {
    measured.print();
    let mut missed = Vec::new();
    let mut check = |what: &str, value: f64, is_met: bool| {
        if !is_met {
            missed.push(format!("{what}: {value:.3}"));
        }
    };
    for (what, limit) in [
        ("syncs each, 1 at once", MAX_SYNCS_ALONE),
        ("syncs per event, 200 at once", MAX_SYNCS_PER_EVENT),
        ("s to the first after a crash", MAX_FIRST_SECONDS),
        ("s to all after a crash", MAX_RECOVERY_SECONDS),
        ("p99 of a start, busy to idle", MAX_FAIRNESS_RATIO),
    ] {
        check(what, measured.median(what), measured.median(what) <= limit);
    }
    let bare = "of a bare loop of inserts with as many a commit";
    check(bare, measured.median(bare), measured.median(bare) >= MIN_OF_BARE_INSERTS);
    for has_writer in [false, true] {
        let mut first = None;
        for (job, limit) in jobs(has_writer).zip(BATCHES.map(|(_, limit)| Some(limit)).into_iter().chain([None])) {
            let mib = measured.median(&format!("MiB of {}", job.name()));
            check(&format!("MiB of {}", job.name()), mib, mib <= MAX_MEMORY_MIB);
            if let Some(limit) = limit {
                let ratio = mib / *first.get_or_insert(mib);
                println!("{ratio:>10.3} times the memory for {}", job.name());
                check(&format!("memory of {}", job.name()), ratio, ratio <= limit);
            }
        }
    }
    missed
}

/// Runs a part in a process of its own.
fn part(name: &str, directory: &Path, numbers: &[String]) -> anyhow::Result<Value> {
    let mut part = Command::new(std::env::current_exe()?);
    report_of(as_in_the_image(&mut part)?.arg(name).arg(directory).args(numbers))
}

/// Sets the allocator as the image does.
fn as_in_the_image(part: &mut Command) -> anyhow::Result<&mut Command> {
    const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";
    let image = include_str!("../../../../../Dockerfile");
    let delay = image.lines().find_map(|line| line.strip_prefix("ENV ")?.strip_prefix(VARIABLE)?.strip_prefix('='));
    Ok(part.env(VARIABLE, delay.context("the image sets the allocator")?))
}

/// The same, with the syncs of its commits counted; slower.
fn counted(name: &str, directory: &Path, numbers: &[String]) -> anyhow::Result<Value> {
    let trace = directory.join("trace");
    let mut strace = Command::new("strace");
    as_in_the_image(&mut strace)?
        .args(["-f", "--seccomp-bpf", "-y", "-e", "trace=fsync,fdatasync", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe()?);
    let mut report = report_of(strace.arg(name).arg(directory).args(numbers)).context("strace is needed to count")?;
    let trace = std::fs::read_to_string(&trace)?;
    let syncs_of = |file: &str| trace.lines().filter(|line| line.contains("sync(") && line.contains(file)).count();
    // A checkpoint is a sync of the database, and two more of the log: before it, and when the log begins anew.
    let checkpoints = syncs_of("workflow-service.db>");
    report["checkpoints"] = json!(checkpoints);
    report["syncs"] = json!(syncs_of("workflow-service.db-wal>").saturating_sub(2 * checkpoints));
    Ok(report)
}

/// Executions of steps that do nothing, so many at once.
async fn load(directory: &Path, at_once: usize, executions: usize) -> anyhow::Result<Value> {
    let subject = Arc::new(Subject::open(directory, Work::Nothing, 1_000).await?);
    let left = Arc::new(AtomicUsize::new(executions));
    let (began, cpu) = (now(), cpu_seconds("self"));
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
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds("self") - cpu);
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
    let subject = Subject::open(directory, Work::Hang, DEFAULT_LIMIT).await?;
    let started = stream::iter(0..IN_FLIGHT).map(|_| subject.start(TENANT)).buffer_unordered(200);
    let started: Vec<anyhow::Result<String>> = started.collect().await;
    started.into_iter().collect::<anyhow::Result<Vec<String>>>()?;
    until_in_flight(&subject).await;
    println!("{{\"filled\": {IN_FLIGHT}}}");
    std::future::pending().await
}

fn kill_when_filled(directory: &Path) -> anyhow::Result<()> {
    let mut fill = Command::new(std::env::current_exe()?);
    let mut child = as_in_the_image(&mut fill)?.arg("fill").arg(directory).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("it has an output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    child.kill()?;
    child.wait()?;
    if line.contains("filled") { Ok(()) } else { bail!("it did not fill") }
}

/// Goes on with what a killed process left; seconds from opening the store to the first activity that runs again, and to
/// all that run or wait for their turn.
async fn recover(directory: &Path) -> anyhow::Result<Value> {
    let began = now();
    let subject = Subject::open(directory, Work::Hang, DEFAULT_LIMIT).await?;
    let recovered = subject.engine.recover().await?;
    until_in_flight(&subject).await;
    let all = began.elapsed().as_secs_f64();
    let first = subject.activities.first.lock().map_or(None, |first| *first).context("none was called")?;
    let first = first.duration_since(began).as_secs_f64();
    Ok(json!({ "recovered": recovered, "first_seconds": first, "all_seconds": all }))
}

async fn until_in_flight(subject: &Subject) {
    while subject.engine.attempts() < IN_FLIGHT {
        clock::sleep(&SystemClock, Duration::from_millis(1)).await;
    }
}

/// A Map over a file of batches.
async fn bulk_job(directory: &Path, job: Bulk) -> anyhow::Result<Value> {
    let Bulk { batches, has_writer, .. } = job;
    let subject = Subject::open(directory, Work::Nothing, DEFAULT_LIMIT).await?;
    let began = now();
    let id = start_bulk(&subject, job).await?;
    let result = subject.ended(TENANT, &id).await?;
    let calls = subject.activities.calls.load(Ordering::Relaxed);
    let is_told = if has_writer { result.is_string() } else { result == json!(batches) };
    if !is_told || calls != batches as u64 {
        bail!("{result}, {calls} calls, of {batches} batches");
    }
    let seconds = began.elapsed().as_secs_f64();
    let records = count_rows(directory, "journal").await?;
    Ok(json!({ "seconds": seconds, "peak_mib": peak_mib()?, "records": records }))
}

async fn start_bulk(subject: &Subject, job: Bulk) -> anyhow::Result<String> {
    let key = BlobKey::new(TENANT, &["batches.json"]).context("a key")?;
    let batch = |number: usize| {
        let ids: Vec<String> = (0..100).map(|id| format!("{number:08x}-{id:04x}-7000-8000-000000000000")).collect();
        let before = if number == 0 { "[" } else { "," };
        Ok(Bytes::from(format!("{before}{}", json!(ids))))
    };
    let body = stream::iter(0..job.batches).map(batch).chain(stream::iter([Ok(Bytes::from_static(b"]"))]));
    subject.blobs.put(&key, body.boxed()).await?;
    subject.use_definition(&bulk(TENANT, job.at_once, job.has_writer));
    subject.start(TENANT).await
}

/// Starts of one tenant, with the other idle and with it running a Map whose batches take a while.
async fn fairness(directory: &Path) -> anyhow::Result<Value> {
    let subject = Arc::new(Subject::open(directory, Work::Take(Duration::from_millis(2)), DEFAULT_LIMIT).await?);
    let idle = p99_of_starts(&subject).await?;
    start_bulk(&subject, Bulk { batches: 100_000, at_once: 100, has_writer: false }).await?;
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

/// The most memory that this process ever had.
fn peak_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("Linux tells it")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse::<f64>()? / 1024.0)
}

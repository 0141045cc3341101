//! Backups and restores in the real server: how flat its memory is, and how fast a backup is beside a bare loop that does the
//! same to the same bytes. `cargo xtask bench backups`; writes `target/bench/backups.json` and fails when a goal is missed. Its
//! first argument is the server's program.

mod bare;
mod service;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bench::{Measured, Server, cpu_seconds, fresh, load_average, now};
use clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use vault::FileKeys;

use service::Services;

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// MiB of the tenants whose memory is compared, half of it the bytes of files, and how much more the large one may take.
const SMALL_MIB: usize = 20;
const LARGE_MIB: usize = 2_048;
const MAX_MORE: f64 = 1.25;
/// MiB of the tenants whose rate is compared, and how often.
const RATED_MIB: usize = 128;
const ROUNDS: usize = 3;
const MIN_OF_BARE_LOOP: f64 = 0.7;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let program = std::env::args().nth(1).context("the server's program is missing")?;
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    let services = Services::serve().await?;
    let load_before = load_average();
    let mut measured = Measured::default();
    let server = start(&program, &home, &services).await?;
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}, load {}", load_average());
        measure_rate(&server, &home, round, &mut measured).await?;
    }
    // Another process, as the largest one before counts for all after it.
    drop(server);
    let server = start(&program, &home, &services).await?;
    for mib in [SMALL_MIB, LARGE_MIB] {
        let tenant = service::tenant("sized", mib);
        let began = now();
        back_up(&server, &tenant).await?;
        measured.add(format!("s of a backup of {mib} MiB"), began.elapsed().as_secs_f64());
        measured.add(format!("MiB after a backup of {mib} MiB"), server.peak_mib());
        services.lose(&tenant);
        let began = now();
        restore(&server, &tenant).await?;
        measured.add(format!("s of a restore of {mib} MiB"), began.elapsed().as_secs_f64());
        measured.add(format!("MiB after a restore of {mib} MiB"), server.peak_mib());
    }
    let missed = judge(&measured);
    measured.report(&home.join("backups.json"), ROUNDS, [load_before, load_average()], &missed)
}

/// Starts the server in an empty folder, with keys of its own.
async fn start(program: &str, home: &Path, services: &Services) -> anyhow::Result<Server> {
    let directory = fresh(home, "backups")?;
    FileKeys::init(&directory.join("keys.json"), SystemClock.now())?;
    Server::start(program, &directory, services.port).await
}

fn judge(measured: &Measured) -> Vec<String> {
    measured.print();
    let mut missed = Vec::new();
    for what in ["backup", "restore"] {
        let of = |mib: usize| measured.median(&format!("MiB after a {what} of {mib} MiB"));
        let more = of(LARGE_MIB) / of(SMALL_MIB);
        println!("{more:>10.3} of the memory of a {what} of {SMALL_MIB} MiB with one of {LARGE_MIB} MiB");
        if more.is_nan() || more > MAX_MORE {
            missed.push(format!("a {what} of {LARGE_MIB} MiB takes {more:.3} of the memory, at most {MAX_MORE}"));
        }
    }
    let rate = measured.median(OF_BARE_LOOP);
    if rate.is_nan() || rate < MIN_OF_BARE_LOOP {
        missed.push(format!("{OF_BARE_LOOP}: {rate:.3}, at least {MIN_OF_BARE_LOOP}"));
    }
    missed
}

const OF_BARE_LOOP: &str = "of a bare loop's MiB a second";

/// A backup, and a loop that makes parts of the same bytes and does nothing else.
async fn measure_rate(server: &Server, home: &Path, round: usize, measured: &mut Measured) -> anyhow::Result<()> {
    let tenant = service::tenant(&format!("rated{round}"), RATED_MIB);
    let (began, cpu) = (now(), cpu_seconds(&server.pid()));
    back_up(server, &tenant).await?;
    let of_backup = RATED_MIB as f64 / began.elapsed().as_secs_f64();
    measured.add("ms CPU of a backup's MiB", (cpu_seconds(&server.pid()) - cpu) * 1e3 / RATED_MIB as f64);
    let began = now();
    bare::write(&fresh(home, "bare")?, RATED_MIB).await?;
    let bare = RATED_MIB as f64 / began.elapsed().as_secs_f64();
    measured.add("MiB/s of a backup", of_backup);
    measured.add("MiB/s of a bare loop", bare);
    measured.add(OF_BARE_LOOP, of_backup / bare);
    Ok(())
}

/// Backs up what the tenant has, and waits for the end.
async fn back_up(server: &Server, tenant: &str) -> anyhow::Result<()> {
    let request = json!({ "backup_id": "backup", "tenant_id": tenant, "services": ["file"] });
    run(server, tenant, "/api/v1/coordination/backup", &request).await.map(drop)
}

/// Restores the tenant's backup, and waits for the end.
async fn restore(server: &Server, tenant: &str) -> anyhow::Result<()> {
    let request = json!({ "backup_id": "backup", "tenant_id": tenant });
    let result = run(server, tenant, "/api/v1/coordination/restore", &request).await?;
    if result["file_contents_restored"] == 0 || result["records_restored"] == 0 {
        bail!("{tenant}: nothing was restored: {result}");
    }
    Ok(())
}

async fn run(server: &Server, tenant: &str, path: &str, request: &Value) -> anyhow::Result<Value> {
    let started = server.post(tenant, path, request).await?;
    let id = started["workflow_id"].as_str().with_context(|| format!("{tenant}: {started}"))?;
    let status = server.until_ended(tenant, id).await?;
    if status["status"] != "Completed" {
        bail!("{tenant}: {status}");
    }
    Ok(status["result"].clone())
}

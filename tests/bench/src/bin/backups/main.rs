//! Backups, restores, exports and migrations in the real server: how flat its memory is, and how fast a backup and an export are
//! beside a bare loop that serialises, compresses, hashes and encrypts the same bytes. `cargo xtask bench backups`; writes
//! `target/bench/backups.json` and fails when a goal is missed. Its first argument is the server's program.

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
/// What is compared in memory, and in rate.
const WORK: [&str; 4] = ["backup", "restore", "export", "migration"];
const RATED: [&str; 2] = ["backup", "export"];
const MIN_OF_BARE_LOOP: f64 = 0.7;

/// What is whose.
const DATASET: &str = r#"
version = 1
[file.record]
subject = "user_id"
[file.record.fields]
record_id = { category = "usage", strategy = "delete" }
user_id = { category = "identity", strategy = "delete" }
email = { category = "contact", strategy = "delete" }
name = { category = "identity", strategy = "delete" }
active = { category = "usage", strategy = "delete" }
text = { category = "content", strategy = "delete" }
[file.file]
subject = "user_id"
bytes = "content"
[file.file.fields]
file_id = { category = "content", strategy = "delete" }
user_id = { category = "identity", strategy = "delete" }
name = { category = "content", strategy = "delete" }
size_bytes = { category = "usage", strategy = "delete" }
"#;

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
    drop(server);
    for what in WORK {
        // Another process each time, as the largest one before counts for all after it.
        let server = start(&program, &home, &services).await?;
        for mib in [SMALL_MIB, LARGE_MIB] {
            let tenant = service::tenant(&format!("sized{what}"), mib);
            if what == "restore" {
                back_up(&server, &tenant).await?;
                services.lose(&tenant);
            }
            let began = now();
            match what {
                "backup" => back_up(&server, &tenant).await?,
                "restore" => restore(&server, &tenant).await?,
                "export" => export(&server, &tenant).await?,
                _ => migrate(&server, &tenant).await?,
            }
            measured.add(format!("s of one {what} of {mib} MiB"), began.elapsed().as_secs_f64());
            measured.add(format!("MiB after one {what} of {mib} MiB"), server.peak_mib());
        }
    }
    let missed = judge(&measured);
    measured.report(&home.join("backups.json"), ROUNDS, [load_before, load_average()], &missed)
}

/// Starts the server in an empty folder, with keys and a dataset map of its own.
async fn start(program: &str, home: &Path, services: &Services) -> anyhow::Result<Server> {
    let directory = fresh(home, "backups")?;
    FileKeys::init(&directory.join("keys.json"), SystemClock.now())?;
    let dataset = directory.join("dataset.toml");
    std::fs::write(&dataset, DATASET)?;
    Server::start(program, &directory, services.port, &[("WORKFLOW__COMPLIANCE__DATASET", &dataset)]).await
}

fn judge(measured: &Measured) -> Vec<String> {
    measured.print();
    let mut missed = Vec::new();
    for what in WORK {
        let of = |mib: usize| measured.median(&format!("MiB after one {what} of {mib} MiB"));
        let more = of(LARGE_MIB) / of(SMALL_MIB);
        println!("{more:>10.3} of the memory of one {what} of {SMALL_MIB} MiB with one of {LARGE_MIB} MiB");
        if more.is_nan() || more > MAX_MORE {
            missed.push(format!("one {what} of {LARGE_MIB} MiB takes {more:.3} of the memory, at most {MAX_MORE}"));
        }
    }
    for what in RATED {
        let rate = measured.median(&of_bare_loop(what));
        if rate.is_nan() || rate < MIN_OF_BARE_LOOP {
            missed.push(format!("{}: {rate:.3}, at least {MIN_OF_BARE_LOOP}", of_bare_loop(what)));
        }
    }
    missed
}

fn of_bare_loop(what: &str) -> String {
    format!("{what}: of a bare loop's MiB a second")
}

/// A backup and an export, and a loop that makes parts of the same bytes and does nothing else.
async fn measure_rate(server: &Server, home: &Path, round: usize, measured: &mut Measured) -> anyhow::Result<()> {
    let tenant = service::tenant(&format!("rated{round}"), RATED_MIB);
    let mut rates = Vec::new();
    for what in RATED {
        let (began, cpu) = (now(), cpu_seconds(&server.pid()));
        match what {
            "backup" => back_up(server, &tenant).await?,
            _ => export(server, &tenant).await?,
        }
        let rate = RATED_MIB as f64 / began.elapsed().as_secs_f64();
        measured.add(format!("{what}: ms CPU of a MiB"), (cpu_seconds(&server.pid()) - cpu) * 1e3 / RATED_MIB as f64);
        measured.add(format!("{what}: MiB/s"), rate);
        rates.push((what, rate));
    }
    let began = now();
    bare::write(&fresh(home, "bare")?, RATED_MIB).await?;
    let bare = RATED_MIB as f64 / began.elapsed().as_secs_f64();
    measured.add("bare loop: MiB/s", bare);
    rates.into_iter().for_each(|(what, rate)| measured.add(of_bare_loop(what), rate / bare));
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

/// Exports everything that is the person's, and waits for the end.
async fn export(server: &Server, tenant: &str) -> anyhow::Result<()> {
    let request = json!({
        "compliance_id": "export", "tenant_id": tenant, "compliance_type": "GdprDataExport",
        "subject_user_id": service::PERSON,
    });
    let result = run(server, tenant, "/api/v1/workflows/compliance", &request).await?;
    if result["data_exported"]["total_records"] == 0 {
        bail!("{tenant}: nothing was exported: {result}");
    }
    Ok(())
}

/// Copies everything into a tenant that has nothing, and waits for the end.
async fn migrate(server: &Server, tenant: &str) -> anyhow::Result<()> {
    let target = service::tenant(&format!("copy-of-{tenant}"), 0);
    let selectors = ["record", "file"].map(|name| json!({ "service": "file", "entity_type": name }));
    let request = json!({
        "migration_id": tenant, "source_tenant_id": tenant, "target_tenant_id": target,
        "migration_type": "TenantToTenant", "data_selectors": selectors,
        "migration_options": { "batch_size": 1_000, "create_backup": false },
    });
    let result = run(server, &target, "/api/v1/workflows/data-migration", &request).await?;
    if result["created"] == 0 || result["verified"] != result["created"] {
        bail!("{tenant}: it is not migrated: {result}");
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

//! Bulk operations in the real server, whose services answer at once: how flat its memory is, how fast it is beside a bare
//! client that makes the same calls, and how much it slows another tenant's starts. `cargo xtask bench jobs`; writes
//! `target/bench/jobs.json` and fails when a goal is missed. Its first argument is the server's program.

mod service;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bench::{Measured, Server, cpu_seconds, fresh, load_average, now};
use clock::SystemClock;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Who has the large jobs, and who starts beside them.
const TENANT: &str = "tenant-a";
const OTHER_TENANT: &str = "tenant-b";

/// Executions before anything is measured.
const BEFORE: usize = 500;
/// Entities of the jobs whose memory is compared, and how much more they may take than the first.
const SIZES: [(usize, f64); 3] = [(10_000, 1.0), (100_000, 1.1), (1_000_000, 1.25)];
const MAX_MIB: f64 = 96.0;
/// Entities of the jobs whose rate is compared, and how often.
const RATED: usize = 100_000;
const ROUNDS: usize = 3;
const MIN_OF_BARE_CLIENT: f64 = 0.6;
const BATCH_SIZE: usize = 100;
const PARALLEL_BATCHES: usize = 4;
/// Starts that are timed.
const STARTS: usize = 300;
const MAX_FAIRNESS_RATIO: f64 = 4.0;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let program = std::env::args().nth(1).context("the server's program is missing")?;
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    let services = service::serve().await?;
    let load_before = load_average();
    let mut measured = Measured::default();
    let mut server = Server::start(&program, &fresh(&home, "jobs")?, services, &[]).await?;
    for number in 0..BEFORE {
        run_job(&server, TENANT, &format!("before-{number}"), 1).await?;
    }
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}, load {}", load_average());
        measure_rate(&server, services, round, &mut measured).await?;
        measure_fairness(&server, round, &mut measured).await?;
    }
    // Another process, as the largest one before counts for all after it.
    drop(server);
    server = Server::start(&program, &fresh(&home, "jobs")?, services, &[]).await?;
    for number in 0..BEFORE {
        run_job(&server, TENANT, &format!("before-{number}"), 1).await?;
    }
    measured.add(format!("MiB after {BEFORE} executions"), server.peak_mib());
    for (entities, _) in SIZES {
        let began = now();
        run_job(&server, TENANT, &format!("sized-{entities}"), entities).await?;
        measured.add(format!("s of {entities} entities"), began.elapsed().as_secs_f64());
        measured.add(format!("MiB with {entities} entities"), server.peak_mib());
    }
    let missed = judge(&measured);
    measured.report(&home.join("jobs.json"), ROUNDS, [load_before, load_average()], &missed)
}

fn judge(measured: &Measured) -> Vec<String> {
    measured.print();
    let mut missed = Vec::new();
    let mut at_most = |what: String, limit: f64| {
        let value = measured.median(&what);
        if value.is_nan() || value > limit {
            missed.push(format!("{what}: {value:.3}, at most {limit:.3}"));
        }
    };
    let first = measured.median(&format!("MiB with {} entities", SIZES[0].0));
    for (entities, more) in SIZES {
        at_most(format!("MiB with {entities} entities"), (first * more).min(MAX_MIB));
    }
    at_most("p99 of a start, busy to idle".to_owned(), MAX_FAIRNESS_RATIO);
    let rate = "of a bare client's entities a second";
    if measured.median(rate).is_nan() || measured.median(rate) < MIN_OF_BARE_CLIENT {
        missed.push(format!("{rate}: {:.3}, at least {MIN_OF_BARE_CLIENT}", measured.median(rate)));
    }
    missed
}

/// The line of an entity in a file, as spreadsheets and programs would have it.
fn line(job: &str, number: usize) -> String {
    let id = format!("{job}-{number}");
    let data = json!({ "email": format!("{id}@example.com"), "name": "Nadja Example", "role": "user" });
    let entity = json!({ "service": "auth", "entity_type": "account", "entity_id": id, "operation_data": data });
    format!("{entity}\n")
}

/// Uploads the entities, starts the job, and waits for its end.
async fn run_job(server: &Server, tenant: &str, job: &str, entities: usize) -> anyhow::Result<()> {
    let id = start_job(server, tenant, job, entities).await?;
    let status = server.until_ended(tenant, &id).await?;
    if status["result"]["successful_operations"] != entities {
        bail!("{job}: {status}");
    }
    Ok(())
}

async fn start_job(server: &Server, tenant: &str, job: &str, entities: usize) -> anyhow::Result<String> {
    let lines = || (0..entities).map(|number| line(job, number));
    let bytes: usize = lines().map(|line| line.len()).sum();
    let upload =
        server.post(tenant, "/api/v1/workflows/bulk-operation/uploads", &json!({ "size_bytes": bytes })).await?;
    let parts: Vec<(usize, usize)> =
        (0..entities).step_by(1_000).map(|begin| (begin, entities.min(begin + 1_000))).collect();
    let job_name = job.to_owned();
    let body = stream::iter(parts).map(move |(begin, end)| {
        let part: String = (begin..end).map(|number| line(&job_name, number)).collect();
        Ok::<_, std::io::Error>(part)
    });
    let url = upload["upload_url"].as_str().context("an upload has a link")?;
    server.put(url, bytes, reqwest::Body::wrap_stream(body)).await?;
    let request = json!({
        "operation_id": job, "tenant_id": tenant, "operation_type": "UserCreation",
        "input": { "upload_id": upload["upload_id"] },
        "batch_options": { "batch_size": BATCH_SIZE, "parallel_batches": PARALLEL_BATCHES },
    });
    let started = server.post(tenant, "/api/v1/workflows/bulk-operation", &request).await?;
    Ok(started["workflow_id"].as_str().with_context(|| format!("{job}: {started}"))?.to_owned())
}

/// A job, and a client that makes the same calls and does nothing else.
async fn measure_rate(server: &Server, services: u16, round: usize, measured: &mut Measured) -> anyhow::Result<()> {
    let name = format!("rated-{round}");
    let (began, cpu) = (now(), cpu_seconds(&server.pid()));
    run_job(server, TENANT, &name, RATED).await?;
    let of_job = RATED as f64 / began.elapsed().as_secs_f64();
    measured.add("us CPU of an entity", (cpu_seconds(&server.pid()) - cpu) * 1e6 / RATED as f64);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let began = now();
    let batches = stream::iter((0..RATED).step_by(BATCH_SIZE)).map(|begin| {
        let (client, name) = (client.clone(), name.clone());
        async move {
            let item = |number: usize| -> anyhow::Result<Value> {
                let mut item: Value = serde_json::from_str(&line(&name, number))?;
                let data = item["operation_data"].take();
                Ok(json!({ "entity_type": "account", "entity_id": item["entity_id"], "key": format!("key-{number}"), "data": data }))
            };
            let items = (begin..begin + BATCH_SIZE).map(item).collect::<anyhow::Result<Vec<_>>>()?;
            let call = client.post(format!("http://127.0.0.1:{services}/api/v1/operations/UserCreation"));
            let answer = call.header("x-tenant-id", TENANT).json(&json!({ "items": items })).send().await?;
            let answer: Value = answer.error_for_status()?.json().await?;
            let done = answer["results"].as_array().map_or(0, Vec::len);
            anyhow::ensure!(done == BATCH_SIZE, "{done} of {BATCH_SIZE}");
            Ok(())
        }
    });
    batches.buffer_unordered(PARALLEL_BATCHES).try_collect::<Vec<()>>().await?;
    let bare = RATED as f64 / began.elapsed().as_secs_f64();
    measured.add("entities/s of a job", of_job);
    measured.add("entities/s of a bare client", bare);
    measured.add("of a bare client's entities a second", of_job / bare);
    Ok(())
}

/// Starts of another tenant, by themselves and beside a large job.
async fn measure_fairness(server: &Server, round: usize, measured: &mut Measured) -> anyhow::Result<()> {
    let idle = p99_of_starts(server, &format!("idle-{round}")).await?;
    let id = start_job(server, TENANT, &format!("busy-{round}"), SIZES[2].0 / 2).await?;
    // It reads the file first.
    clock::sleep(&SystemClock, Duration::from_secs(5)).await;
    let busy = p99_of_starts(server, &format!("beside-{round}")).await?;
    server.post(TENANT, &format!("/api/v1/workflows/{id}/cancel"), &json!({})).await.context("it was still running")?;
    server.until_ended(TENANT, &id).await?;
    measured.add("ms p99 of a start, idle", idle);
    measured.add("ms p99 of a start, beside a job", busy);
    measured.add("p99 of a start, busy to idle", busy / idle);
    Ok(())
}

async fn p99_of_starts(server: &Server, name: &str) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for number in 0..STARTS {
        let request = json!({
            "user_email": format!("{name}-{number}@example.com"), "user_name": "Nadja Example",
            "tenant_id": OTHER_TENANT, "role": "user",
        });
        let began = now();
        server.post(OTHER_TENANT, "/api/v1/workflows/user-onboarding", &request).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        clock::sleep(&SystemClock, Duration::from_millis(10)).await;
    }
    times.sort_by(f64::total_cmp);
    Ok(times[STARTS * 99 / 100])
}

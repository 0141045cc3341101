//! Whether a page of a list costs the same however long the list is: 20 rows of 100 executions against 20 of 100,000, in
//! DynamoDB.
//!
//! `cargo xtask bench list-page` starts DynamoDB Local and runs this; the argument is its address. Writes `target/bench/list-page.json` and fails when the goal is missed.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use aws_clients::Clients;
use clock::{Clock as _, SystemClock};
use contracts::{EngineKind, EventType, Status, WorkflowKind};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use settings::Aws;
use store::{Executions as _, Inherited, ListFilter, NewEvent, NewExecution, Progress, StoredRequest};
use store_aws::DynamoStore;

const SHORT: usize = 100;
const LONG: usize = 100_000;
const PAGE: u32 = 20;
const PAIRS: usize = 100;
const MAX_RATIO: f64 = 1.2;
const TENANT: &str = "tenant-a";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let endpoint = std::env::args().nth(1).context("the argument is DynamoDB's address")?;
    let (short, long) = (filled(&endpoint, SHORT).await?, filled(&endpoint, LONG).await?);
    let mut ratios = Vec::new();
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let pair = (page_us(&short).await?, page_us(&long).await?);
        ratios.push(pair.1 / pair.0);
        times.0.push(pair.0);
        times.1.push(pair.1);
    }
    let (ratio, short_us, long_us) = (median(ratios), median(times.0), median(times.1));
    let load = bench::load_average();
    println!("a page of {PAGE}: {short_us:.0} us of {SHORT}, {long_us:.0} us of {LONG}, ratio {ratio:.2}");
    println!("n = {PAIRS} alternating pairs, load {}", load);
    let report = json!({
        "short": SHORT, "long": LONG, "page": PAGE, "pairs": PAIRS, "short_us": short_us, "long_us": long_us,
        "ratio": ratio, "load": load,
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("list-page.json"), format!("{report:#}\n"))?;
    Ok(if ratio <= MAX_RATIO { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A table with so many executions.
async fn filled(endpoint: &str, executions: usize) -> anyhow::Result<DynamoStore> {
    let aws = Aws {
        region: "us-east-1".to_owned(),
        access_key_id: "bench".to_owned(),
        secret_access_key: "bench".to_owned(),
        endpoint_urls: [("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned())].into(),
        ..Aws::default()
    };
    let dynamodb = Clients::of_function(aws).dynamodb();
    let table = format!("list-page-{executions}-{}", SystemClock.now().as_millisecond());
    store_aws::create_table(&dynamodb, &table).await?;
    let store = DynamoStore::new(|| dynamodb, table, Arc::new(SystemClock));
    let created = stream::iter(0..executions).map(|_| store.create(new())).buffer_unordered(64);
    created.try_for_each(|_| async { Ok(()) }).await?;
    Ok(store)
}

fn new() -> NewExecution {
    let (kind, now) = (WorkflowKind::UserOnboarding, SystemClock.now());
    let id = kind.new_execution_id(now);
    NewExecution {
        tenant_id: TENANT.to_owned(),
        effect_scope: id.clone(),
        id,
        kind,
        engine: EngineKind::StepFunctions,
        user_id: None,
        started_at: now,
        deadline_at: None,
        status: Status::Pending,
        input: json!({ "workflow": { "tenant_id": TENANT } }),
        request: StoredRequest::Inline(
            json!({ "user_email": "user@example.com", "user_name": "John Doe", "tenant_id": TENANT, "role": "user" }),
        ),
        idempotency: None,
        progress: Progress {
            current_step: "GetTenantContext".to_owned(),
            total_steps: 7,
            completed_steps: 0,
            status_message: None,
        },
        history: vec![NewEvent { event_type: EventType::WorkflowExecutionStarted, at: now, details: Value::Null }],
        journal: None,
        begins_pivot: false,
        upload_id: None,
        retry_of: None,
        inherited: Inherited::default(),
        cancel_requested_at: None,
        audit: None,
    }
}

/// How long the first page takes.
#[expect(clippy::disallowed_methods, reason = "what is measured is the machine's own time")]
async fn page_us(store: &DynamoStore) -> anyhow::Result<f64> {
    let began = Instant::now();
    let page = store.list(TENANT, &ListFilter::default(), None, 0, PAGE).await?;
    anyhow::ensure!(page.executions.len() == PAGE as usize, "the page is full");
    Ok(began.elapsed().as_secs_f64() * 1e6)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

//! Puts together what came of all batches: files for people and programs, and the result.

use bytes::Bytes;
use contracts::{ActivityError, ErrorName};
use futures::channel::mpsc::{Receiver, Sender, channel};
use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::StoreError;

use super::cell::row;
use super::dry_run::DryRun;
use super::{BatchPart, Entity, EntityStatus, Outcome, Plan, batch};
use crate::Context;
use crate::files::{Files, lost, push_line};
use crate::harness::store_failed;

/// Batches that are read at the same time; those of a dry run are larger.
const READ_AT_ONCE: usize = 16;
const READ_AT_ONCE_OF_DRY_RUN: usize = 2;
/// Files are written in parts of about so many bytes.
const PART_BYTES: usize = 64 * 1024;
/// Most failures that the result itself tells; the files tell all.
const MAX_TOLD: usize = 100;

/// The columns of the CSV files, which are also what an upload is read by.
const COLUMNS: [&str; 8] =
    ["index", "service", "entity_type", "entity_id", "operation_data", "code", "message", "attempts"];

/// A line of a file of results.
#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    service: &'a str,
    entity_type: &'a str,
    entity_id: &'a str,
    operation_data: &'a Map<String, Value>,
    code: &'a str,
    message: &'a str,
    attempts: u32,
}

/// The columns of the CSV file of rows that are no entities.
const COLUMNS_OF_MALFORMED: [&str; 3] = ["index", "message", "row"];

/// A line of the files of rows that are no entities.
#[derive(Serialize)]
struct MalformedLine<'a> {
    index: u64,
    message: &'a str,
    /// As it was in the input.
    row: &'a str,
}

/// A line of the file of what was exported.
#[derive(Serialize)]
struct Exported<'a> {
    service: &'a str,
    entity_type: &'a str,
    entity_id: &'a str,
    data: &'a Value,
}

/// A failure, as the result tells it.
#[derive(Serialize)]
struct ErrorDetail {
    entity_id: String,
    error_message: String,
    retry_count: u32,
}

/// The files of results, each of which is there only if it has a line. What a pair of them lists has a place in
/// [`Counts::lines`]: first the statuses of entities, in their order.
const FILES: [&str; 9] = [
    "succeeded.csv",
    "succeeded.jsonl",
    "failed.csv",
    "failed.jsonl",
    "unprocessed.csv",
    "unprocessed.jsonl",
    "malformed.csv",
    "malformed.jsonl",
    "exported.jsonl",
];
const MALFORMED: usize = 3;
const EXPORTED: usize = 4;

#[derive(Default)]
struct Counts {
    /// What the files list.
    lines: [u64; 5],
    batches: u64,
    details: Vec<ErrorDetail>,
}

/// Writes the files of results and reports the result. Its error is that of the job: more entities have failed than may.
pub(crate) async fn complete(context: &Context<'_>) -> Result<Value, ActivityError> {
    let is_interrupted = context.is_interrupted()?;
    let files = context.files();
    let plan = files.read_plan().await?;
    let parts = files.read_manifest().await?;
    let counts = write_all(context, &files, &plan, parts).await?;
    let [completed, tried, unprocessed, malformed, _] = counts.lines;
    let failed = tried + malformed;
    let links: Map<String, Value> = FILES
        .iter()
        .enumerate()
        .filter(|(file, _)| counts.lines[file / 2] > 0)
        .map(|(_, name)| ((*name).to_owned(), context.result_link(name).into()))
        .collect();
    let Value::Object(report) = json!({
        "operation_id": plan.operation_id,
        "operation_type": plan.operation,
        "dry_run": plan.options.dry_run,
        "total_entities": plan.total,
        "successful_operations": completed,
        "failed_operations": failed,
        "unprocessed_entities": unprocessed,
        "batches_processed": counts.batches,
        "batch_size": plan.batch_size,
        "error_details": counts.details,
        "files": links,
        "completed_at": context.clock.now(),
    }) else {
        return Err(lost("the result"));
    };
    context.report(report)?;
    // The file of entities has all of it from now on.
    if let Some(upload_id) = &plan.upload_id {
        files.empty_upload(upload_id).await?;
    }
    let stops_at = plan.options.stops_at(plan.total);
    if !is_interrupted && unprocessed > 0 && stops_at.is_some_and(|stops_at| failed >= stops_at) {
        let message = format!("{failed} of {} entities failed, and {unprocessed} were not tried", plan.total);
        return Err(ActivityError::new(ErrorName::BatchesStopped, message));
    }
    Ok(json!({ "completed": completed, "failed": failed, "unprocessed": unprocessed }))
}

/// Writes all files at once, reading what came of the batches once.
async fn write_all(
    context: &Context<'_>,
    files: &Files<'_>,
    plan: &Plan,
    parts: Vec<BatchPart>,
) -> Result<Counts, ActivityError> {
    let mut puts = Vec::new();
    let mut outs = Vec::new();
    for name in FILES {
        let (sender, receiver) = channel(2);
        outs.push(Out { sender, part: Vec::new(), is_wanted: true });
        puts.push((context.result_key(name)?, receiver));
    }
    let puts = puts.into_iter().map(|(key, receiver)| put(context, key, receiver));
    let puts = futures::future::join_all(puts);
    let (stored, counts) = futures::join!(puts, read_all(files, plan, parts, outs));
    let counts = counts?;
    stored.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(counts)
}

/// Writes a file, unless nothing comes.
async fn put(
    context: &Context<'_>,
    key: store::BlobKey,
    mut parts: Receiver<Result<Bytes, StoreError>>,
) -> Result<(), ActivityError> {
    match parts.next().await {
        None => Ok(()),
        Some(first) => {
            let body = stream::iter([first]).chain(parts).boxed();
            context.blobs.put(&key, body).await.map_err(store_failed)
        }
    }
}

/// A file that is being written.
struct Out {
    sender: Sender<Result<Bytes, StoreError>>,
    part: Vec<u8>,
    /// Whether somebody still writes it.
    is_wanted: bool,
}

impl Out {
    async fn hand_on(&mut self) {
        if !self.part.is_empty() && self.is_wanted {
            let part = std::mem::take(&mut self.part);
            self.is_wanted = self.sender.send(Ok(part.into())).await.is_ok();
        }
    }

    async fn tear(&mut self) {
        let _ = self.sender.send(Err(StoreError::Unavailable("the results cannot be read".to_owned()))).await;
    }
}

async fn read_all(
    files: &Files<'_>,
    plan: &Plan,
    parts: Vec<BatchPart>,
    mut outs: Vec<Out>,
) -> Result<Counts, ActivityError> {
    let batches = stream::iter(parts).map(async |part| {
        let entities = files.read_entities(&part).await?;
        let outcomes = match files.read_outcomes(part.batch).await? {
            None => batch::conclude(files, &part, &entities).await?,
            outcomes => outcomes,
        };
        Ok((entities, outcomes))
    });
    let at_once = if plan.options.dry_run { READ_AT_ONCE_OF_DRY_RUN } else { READ_AT_ONCE };
    let mut batches = batches.buffered(at_once);
    let (mut counts, mut dry_run) = (Counts::default(), DryRun::of(plan));
    loop {
        match batches.try_next().await {
            Ok(Some((entities, outcomes))) => {
                add((plan, &mut dry_run), &mut counts, &mut outs, &entities, outcomes)?;
                for out in &mut outs {
                    if out.part.len() >= PART_BYTES {
                        out.hand_on().await;
                    }
                }
            }
            Ok(None) => break,
            Err(error) => {
                for out in &mut outs {
                    out.tear().await;
                }
                return Err(error);
            }
        }
    }
    for out in &mut outs {
        out.hand_on().await;
    }
    if let Some(dry_run) = dry_run {
        counts.batches = dry_run.batches;
    }
    Ok(counts)
}

/// Adds what came of a batch.
fn add(
    (plan, dry_run): (&Plan, &mut Option<DryRun<'_>>),
    counts: &mut Counts,
    outs: &mut [Out],
    entities: &[Entity],
    outcomes: Option<Vec<Outcome>>,
) -> Result<(), ActivityError> {
    counts.batches += u64::from(outcomes.is_some());
    let mut outcomes = outcomes.unwrap_or_default().into_iter().peekable();
    for entity in entities {
        let outcome = outcomes.next_if(|outcome| outcome.index == entity.index);
        // A row that is no entity has failed, whether or not its batch began.
        let outcome = outcome.filter(|_| entity.problem.is_none()).or_else(|| Outcome::malformed(entity));
        let mut outcome = outcome.unwrap_or_else(|| Outcome::unprocessed(entity.index));
        if let Some(dry_run) = dry_run {
            dry_run.check(entity, &mut outcome);
        }
        let Outcome { index, code, message, attempts, .. } = &outcome;
        if outcome.status == EntityStatus::Failed && counts.details.len() < MAX_TOLD {
            let error_message = if message.is_empty() { code.clone() } else { format!("{code}: {message}") };
            let (entity_id, retry_count) = (entity.entity_id.clone(), attempts.saturating_sub(1));
            counts.details.push(ErrorDetail { entity_id, error_message, retry_count });
        }
        if entity.problem.is_some() {
            let line = MalformedLine { index: *index, message, row: &entity.row };
            let cells = row(&[&line.index.to_string(), line.message, line.row]);
            write(MALFORMED, counts, outs, &COLUMNS_OF_MALFORMED, &cells, &line)?;
            continue;
        }
        let line = Line {
            index: *index,
            service: &entity.service,
            entity_type: &entity.entity_type,
            entity_id: &entity.entity_id,
            operation_data: &entity.operation_data,
            code,
            message,
            attempts: *attempts,
        };
        write(outcome.status as usize, counts, outs, &COLUMNS, &line.row(), &line)?;
        if let Some(data) = outcome.data.as_ref().filter(|_| is_exported(plan)) {
            counts.lines[EXPORTED] += 1;
            let Entity { service, entity_type, entity_id, .. } = entity;
            push_line(&mut outs[EXPORTED * 2].part, &Exported { service, entity_type, entity_id, data })?;
        }
    }
    Ok(())
}

/// Writes a line into a pair of files: into the one of CSV, which begins with the names of its columns, and into the other.
fn write(
    pair: usize,
    counts: &mut Counts,
    outs: &mut [Out],
    columns: &[&str],
    cells: &[u8],
    line: &impl Serialize,
) -> Result<(), ActivityError> {
    if counts.lines[pair] == 0 {
        outs[pair * 2].part.extend(row(columns));
    }
    counts.lines[pair] += 1;
    outs[pair * 2].part.extend(cells);
    push_line(&mut outs[pair * 2 + 1].part, line)
}

/// Whether what the services answer is what was asked for. A dry run hands nothing out: the services do not log it.
fn is_exported(plan: &Plan) -> bool {
    use contracts::bulk_operation::BulkOperationType::{DataExport, FileProcessing};
    [DataExport, FileProcessing].contains(&plan.operation) && !plan.options.dry_run
}

impl Line<'_> {
    fn row(&self) -> Vec<u8> {
        let data = match self.operation_data.is_empty() {
            true => String::new(),
            false => Value::Object(self.operation_data.clone()).to_string(),
        };
        row(&[
            &self.index.to_string(),
            self.service,
            self.entity_type,
            self.entity_id,
            &data,
            self.code,
            self.message,
            &self.attempts.to_string(),
        ])
    }
}

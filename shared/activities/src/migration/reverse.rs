//! Takes back what an earlier execution has migrated: services put back what was there before, batch by batch, the last one
//! first. What somebody else has changed since stays.

use std::collections::HashSet;

use contracts::data_migration::DataMigrationRequest;
use contracts::{ActivityError, ErrorName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::batch::Working;
use super::catch_up::{CAUGHT_UP, CaughtUp};
use super::plan::{new_plan, store};
use super::undo::{done_again, done_in_batch};
use super::{CONTENT, Counts, Part, Plan, State, Way, type_name};
use crate::Context;
use crate::backup::FILE_CONTENT;
use crate::leases::hold;
use crate::restore::undo::done_by;
use crate::things::{self, Done};

/// What a batch takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TakesBack {
    /// What was written again because it had changed meanwhile.
    WrittenAgain,
    /// A batch.
    Batch(usize),
}

/// Things that are undone before it is noted.
const NOTED_AFTER: usize = 100;

/// Plans to take a migration back.
pub(super) async fn plan(
    context: &Context<'_>,
    request: &DataMigrationRequest,
    execution_id: String,
) -> Result<Value, ActivityError> {
    let files = context.files_of(&execution_id);
    let Some(old) = files.plan_if_written::<Plan>().await? else {
        let message = format!("what {execution_id} has written down is not kept any more");
        return Err(ActivityError::new(ErrorName::NotFound, message));
    };
    let fence = hold(context, &old.target, old.held.clone()).await?;
    let mut parts = parts_of(&old, 0, None);
    // What those have left that it retried, the last one first. What they took back themselves is not there any more.
    let mut earlier = old.earlier.clone();
    while let Some(execution_id) = earlier {
        let Some(older) = context.files_of(&execution_id).plan_if_written::<Plan>().await? else { break };
        let turn = parts.last().map_or(0, |last| last.turn) + 1;
        parts.extend(parts_of(&older, turn, Some(execution_id)));
        earlier = older.earlier;
    }
    let plan = Plan {
        reverses: Some(execution_id.clone()),
        expected: Counts { read: old.expected.read, ..Counts::default() },
        fence: Some(fence),
        backup_id: None,
        archive_id: None,
        held: old.held,
        parts,
        ..new_plan(request)
    };
    context.report(Map::from_iter([
        ("migration_id".to_owned(), json!(plan.migration_id)),
        ("reverses".to_owned(), json!(execution_id)),
    ]))?;
    store(context, &plan).await
}

/// Batches that take back what an execution did, from a turn on.
fn parts_of(old: &Plan, first_turn: u32, of_execution: Option<String>) -> Vec<Part> {
    let part = |turn: u32, takes_back, things| Part {
        things,
        takes_back: Some(takes_back),
        of_execution: of_execution.clone(),
        ..Part::empty(0, first_turn + turn)
    };
    let last_turn = old.parts.last().map_or(0, |last| last.turn);
    let batches = (0..old.parts.len()).rev().zip(1..).map(|(number, place)| {
        // Parts of a restore come one after the other.
        let turn = if matches!(old.way(), Way::Restore) { place } else { last_turn - old.parts[number].turn + 1 };
        part(turn, TakesBack::Batch(number), old.parts[number].things)
    });
    std::iter::once(part(0, TakesBack::WrittenAgain, 0)).chain(batches).collect()
}

/// Undoes what is in a batch.
pub(super) async fn migrate(working: &Working<'_>, state: &mut State) -> Result<(), ActivityError> {
    let Working { context, plan, part, .. } = *working;
    let execution_id = part.of_execution.as_ref().or(plan.reverses.as_ref());
    let (Some(execution_id), Some(takes_back)) = (execution_id, part.takes_back) else { return Ok(()) };
    let done = done_before(context, execution_id, takes_back).await?;
    // Things that were written again, and those of executions before, are in the batches too.
    let again = takes_back == TakesBack::WrittenAgain || part.of_execution.is_some();
    let mut late = match takes_back {
        TakesBack::WrittenAgain if part.of_execution.is_none() => late(context, execution_id).await?,
        TakesBack::WrittenAgain | TakesBack::Batch(_) => HashSet::new(),
    };
    done[..state.done.min(done.len())].iter().filter(|done| is_thing(done)).for_each(|done| {
        late.remove(&named(done));
    });
    while state.done < done.len() {
        let left_before = state.left.count();
        let rest = &done[state.done..done.len().min(state.done + NOTED_AFTER)];
        let some = rest.chunk_by(|one, next| type_of(one) == type_of(next)).next().unwrap_or_default();
        things::undo(context, execution_id, some, &mut state.left).await?;
        state.done += some.len();
        let counts = Counts {
            read: match again {
                true => some.iter().filter(|done| is_thing(done) && late.remove(&named(done))).count() as u64,
                false => some.iter().filter(|done| is_thing(done)).count() as u64,
            },
            left: state.left.count() - left_before,
            ..Counts::default()
        };
        state.counts.add(counts);
        if let Some(first) = some.first() {
            state.types.entry(type_of(first)).or_default().add(counts);
        }
        working.note(state).await?;
        working.check_time()?;
    }
    Ok(())
}

/// What came while the execution copied: it is in no batch.
async fn late(context: &Context<'_>, execution_id: &str) -> Result<HashSet<(String, String)>, ActivityError> {
    let files = context.files_of(execution_id);
    let (old, again): (Plan, Option<CaughtUp>) = (files.read_plan().await?, files.read(&files.key(CAUGHT_UP)?).await?);
    let late = again.unwrap_or_default().late.into_iter();
    Ok(late.filter_map(|late| Some((old.sets.get(late.set)?.types().1, late.to))).collect())
}

fn named(done: &Done) -> (String, String) {
    (type_of(done), done.id.clone())
}

fn is_thing(done: &Done) -> bool {
    done.step.name != CONTENT && done.entity_type != FILE_CONTENT
}

/// The type of a thing; the bytes of a file are a part of it.
fn type_of(done: &Done) -> String {
    let entity_type = if done.entity_type == FILE_CONTENT { "file" } else { &done.entity_type };
    type_name(done.service.as_str(), entity_type)
}

async fn done_before(
    context: &Context<'_>,
    execution_id: &str,
    takes_back: TakesBack,
) -> Result<Vec<Done>, ActivityError> {
    let files = context.files_of(execution_id);
    let old: Plan = files.read_plan().await?;
    match (takes_back, old.way()) {
        (TakesBack::WrittenAgain, _) => done_again(&old, &files).await,
        (TakesBack::Batch(number), Way::Restore) => done_by(context, execution_id, number).await,
        (TakesBack::Batch(number), _) => done_in_batch(&old, &files, number).await,
    }
}

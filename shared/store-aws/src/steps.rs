//! The record of attempts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use contracts::Timestamp;
use contracts::step::{StepKind, StepPath};
use serde_json::Value;
use store::events::{self, AttemptEvents, TIMEOUT, status_message};
use store::{
    Admission, AttemptOutcome, Begin, BegunAttempt, Finish, NewEvent, Refusal, StepFlags, StepRecorder, StepRef,
    StoreError, admit,
};

use crate::DynamoStore;
use crate::change::{Change, put_new};
use crate::executions::{Updated, touched};
use crate::item::{
    Item, OpenAttempt, event_row, execution_flags, has_begun, inherited, json, moment, number, of_report, of_step,
    request, steps, text, under_way,
};
use crate::keys::{self, ALONE};
use crate::transaction::Transacted;

/// How often a begin or a finish is tried against others that change the execution meanwhile.
const MAX_TRIES: u32 = 10;

/// What a start takes at most that finds its engine at work: it is not worth a write of its own when the first step is
/// tried again.
const USUAL_WAIT: Duration = Duration::from_secs(10);

#[async_trait]
impl StepRecorder for DynamoStore {
    async fn begin_step(&self, step: &StepRef) -> Result<Begin, StoreError> {
        if step.is_batch {
            return self.begin_batch(step).await;
        }
        let pk = keys::execution(&step.tenant_id, &step.execution_id);
        let mut way = Way::Open;
        for _ in 0..MAX_TRIES {
            let now = self.clock.now();
            let nonce = contracts::ids::new_request_id(now);
            let item = match self.update(&pk, begin(step, now, &nonce, way)).await? {
                Updated::Done(item) => {
                    if way == Way::Open {
                        self.give_back_waiting(step, &item, now).await;
                    }
                    return proceed(step, &item, way);
                }
                Updated::Refused(None) => return Ok(Begin::Closed),
                Updated::Refused(Some(item)) => item,
            };
            // The client repeats what got no answer: then it is this very begin that stands against itself.
            let open: Option<OpenAttempt> = item.optional_json(&of_step("open", &step.path))?;
            if open.is_some_and(|open| open.nonce == nonce) {
                return proceed(step, &item, way);
            }
            let done = item.optional_json::<Value>(&of_step("done", &step.path))?;
            let flags = StepFlags {
                done: done.as_ref(),
                is_closed: item.has(&of_step("closed", &step.path)),
                passes: inherited(&item)?.passes(&step.path, step.closes),
                is_stopped: false,
            };
            let is_untouched = item.has("deadline_at") && !has_begun(&item);
            if matches!(way, Way::Waited(_)) && !is_untouched {
                way = Way::Open;
                continue;
            }
            way = Way::Open;
            let refusal = match admit(&execution_flags(&item)?, flags, step.kind, now) {
                Admission::AlreadyDone(result) => return Ok(Begin::AlreadyDone(result.clone())),
                Admission::Closed => return Ok(Begin::Closed),
                Admission::Proceed => None,
                Admission::Pass => {
                    way = Way::Passing;
                    None
                }
                Admission::Refused(refusal) => Some(refusal),
            };
            if let Some(lost) = lost_attempt(step, &item) {
                self.close_lost(step, &item, lost, now).await?;
                continue;
            }
            match refusal {
                // What stood against it has gone.
                None => {}
                Some(Refusal::TimedOut) if is_untouched && step.waited(now).is_some() => {
                    way = step.waited(now).map_or(Way::Open, Way::Waited);
                }
                Some(Refusal::Paused) => return Ok(Begin::Refused(Refusal::Paused)),
                Some(refusal) if self.record_refusal(step, &item, refusal, now).await? => {
                    return Ok(Begin::Refused(refusal));
                }
                // The execution has changed meanwhile.
                Some(_) => {}
            }
        }
        Err(kept_changing(step))
    }

    async fn finish_step(
        &self,
        step: &StepRef,
        attempt: &BegunAttempt,
        ended: &AttemptOutcome,
    ) -> Result<Finish, StoreError> {
        if step.is_batch {
            return self.finish_batch(step, attempt, ended).await;
        }
        let pk = keys::execution(&step.tenant_id, &step.execution_id);
        let mut history_len = attempt.history_len;
        for _ in 0..MAX_TRIES {
            let now = self.clock.now();
            let events = AttemptEvents::of(step, attempt.number);
            // The ids of what the begin reserved end where the history did then.
            let begun: Vec<NewEvent> = [Some(events.scheduled(attempt.began_at)), events.started(attempt.began_at)]
                .into_iter()
                .flatten()
                .collect();
            let first_event_id = attempt.history_len + 1 - begun.len() as u64;
            let happened = match &ended.outcome {
                Ok(result) => events.succeeded(result, now),
                Err(error) => events.failed(&error.error, &error.cause_text(), now),
            };
            let mut change = finish(step, ended, history_len, now);
            change.only_if_equal(&of_step("attempts", &step.path), number(attempt.number));
            change.only_if_equal(&of_step("open_after", &step.path), number(first_event_id - 1));
            let mut writes = vec![change.into_write(&self.table, &pk, ALONE)];
            let rows = (first_event_id..).zip(begun).chain([(history_len + 1, happened)]);
            writes.extend(
                rows.map(|(id, event)| {
                    put_new(&self.table, event_row(&step.tenant_id, &step.execution_id, id, &event))
                }),
            );
            let Transacted::Refused(reasons) = self.transact(writes).await? else {
                return Ok(Finish::Recorded);
            };
            let Some(item) = reasons.into_iter().flatten().next().filter(|item| item.has("version")) else {
                return Ok(Finish::Closed);
            };
            if item.has("ended_at") || item.has(&of_step("closed", &step.path)) {
                return Ok(Finish::Closed);
            }
            let number: Option<u32> = item.optional_number(&of_step("attempts", &step.path));
            if number != Some(attempt.number) || !item.has(&of_step("open", &step.path)) {
                return Ok(Finish::Superseded);
            }
            history_len = item.number("history_len")?;
        }
        Err(kept_changing(step))
    }
}

fn kept_changing(step: &StepRef) -> StoreError {
    StoreError::Unavailable(format!("{} kept changing", step.execution_id))
}

/// An attempt that never said how it ended: of the step itself, or of the one that it undoes.
fn lost_attempt<'a>(step: &'a StepRef, item: &Item) -> Option<&'a StepPath> {
    let paths = [Some(&step.path), step.undoes.as_ref()];
    paths.into_iter().flatten().find(|path| item.has(&of_step("open", path)))
}

/// The way in which a begin is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nobody cancelled or paused it, and its deadline is not over.
    Open,
    /// The same, and what the execution has waited for its first step is given to it.
    Waited(Duration),
    /// Whatever holds it back but a pause: it is answered from the record of an earlier execution.
    Passing,
}

fn proceed(step: &StepRef, item: &Item, way: Way) -> Result<Begin, StoreError> {
    let open: OpenAttempt = item.json(&of_step("open", &step.path))?;
    let attempt = BegunAttempt {
        number: item.number(&of_step("attempts", &step.path))?,
        began_at: open.began_at,
        history_len: item.number("history_len")?,
    };
    let (effect_scope, inherited) = (item.text("effect_scope")?, inherited(item)?);
    let effects = match &step.undoes {
        Some(undoes) => {
            let done = item.optional_json::<Value>(&of_step("done", undoes))?;
            inherited.undoing(undoes, effect_scope, done.as_ref().is_some_and(store::is_answered))
        }
        None => inherited.effects(&step.path, way == Way::Passing, attempt.number == 1),
    };
    Ok(Begin::Proceed { attempt, request: Arc::new(request(item)?), effect_scope: effect_scope.into(), effects })
}

/// The change that begins an attempt, under the conditions that let it.
fn begin(step: &StepRef, now: Timestamp, nonce: &str, way: Way) -> Change {
    let mut change = touched(now);
    let open = OpenAttempt {
        activity: step.activity.clone(),
        kind: step.kind,
        undoes: step.undoes.clone(),
        began_at: now,
        nonce: nonce.to_owned(),
    };
    change.only_if_present("pk");
    change.only_if_absent("ended_at");
    change.only_if_absent(&of_step("open", &step.path));
    change.set(&of_step("open", &step.path), json(&open));
    change.set_to_old(&of_step("open_after", &step.path), "history_len");
    change.increase(&of_step("attempts", &step.path), 1);
    change.set("status_message", text(status_message(step.title.as_deref(), step.kind)));
    change.set("due_pk", text(keys::open_shard(&step.execution_id)));
    match step.kind {
        StepKind::Forward => {
            change.increase("history_len", 2);
            change.only_if_absent(&of_step("done", &step.path));
            change.only_if_absent(&of_step("closed", &step.path));
            only_if_let(&mut change, now, way);
            change.set("status", text(contracts::Status::Running.as_str()));
            change.set("current_step", text(&step.path.name));
            change.set_to_old("forward_at", "history_len");
            // One that only passes is not done here.
            if step.is_final && way != Way::Passing {
                change.set("pivot_begun", AttributeValue::Bool(true));
                change.set("cancel_window_open", AttributeValue::Bool(false));
            }
        }
        StepKind::Compensation => {
            change.increase("history_len", 1);
            change.set("cancel_window_open", AttributeValue::Bool(false));
            // It has begun, even if this is the first that happens to it.
            let (forward_at, zero) = (change.name("forward_at"), change.value(number(0)));
            change.set_raw(format!("{forward_at} = if_not_exists({forward_at}, {zero})"));
            if let Some(undoes) = &step.undoes {
                change.only_if_absent(&of_step("open", undoes));
                let (closed, before) = (change.name(&of_step("closed", undoes)), change.name("history_len"));
                change.set_raw(format!("{closed} = if_not_exists({closed}, {before})"));
            }
        }
    }
    change
}

/// The conditions of a way; the deadline moves by what was waited. Nothing holds back what follows a pivot.
fn only_if_let(change: &mut Change, now: Timestamp, way: Way) {
    if way == Way::Passing {
        return change.only_if_absent("paused_at");
    }
    let [cancelled, paused, deadline] =
        ["cancel_requested_at", "paused_at", "deadline_at"].map(|name| change.name(name));
    if let Way::Waited(waited) = way {
        change.only_if_absent("forward_at");
        let by = change.value(number(waited.as_micros()));
        change.set_raw(format!("{deadline} = {deadline} + {by}"));
        change.only_if(format!(
            "attribute_not_exists({cancelled}) AND attribute_not_exists({paused}) AND attribute_exists({deadline})"
        ));
        return;
    }
    let pivot = change.name("pivot_begun");
    let (yes, now) = (change.value(AttributeValue::Bool(true)), change.value(moment(now)));
    change.only_if(format!(
        "({pivot} = {yes} OR (attribute_not_exists({cancelled}) AND attribute_not_exists({paused}) \
         AND (attribute_not_exists({deadline}) OR {deadline} >= {now})))"
    ));
}

/// Whether the begin that this item is the answer to was the first one of its execution.
fn is_first_begin(item: &Item) -> bool {
    let tried = steps(item, "attempts").unwrap_or_default();
    matches!(&tried[..], [only] if item.optional_number(&of_step("attempts", only)) == Some(1))
}

/// The change that ends an attempt.
fn finish(step: &StepRef, ended: &AttemptOutcome, history_len: u64, now: Timestamp) -> Change {
    let mut change = touched(now);
    change.only_if_absent("ended_at");
    change.only_if_equal("history_len", number(history_len));
    change.set("history_len", number(history_len + 1));
    change.remove(&of_step("open", &step.path));
    change.remove(&of_step("open_after", &step.path));
    for (name, part) in ended.report.iter().flatten() {
        change.set(&of_report(name), json(part));
    }
    if ended.report.is_some() && step.closes {
        change.set("report_is_final", AttributeValue::Bool(true));
    }
    match (&ended.outcome, step.kind) {
        (Ok(result), StepKind::Forward) => change.set(&of_step("done", &step.path), json(result)),
        (Ok(result), StepKind::Compensation) if result["undone"] == true => {
            let undone = of_step("undone_at", step.undoes.as_ref().unwrap_or(&step.path));
            let (name, at) = (change.name(&undone), change.value(number(history_len + 1)));
            change.set_raw(format!("{name} = if_not_exists({name}, {at})"));
        }
        (Ok(_) | Err(_), _) => {}
    }
    change
}

impl DynamoStore {
    /// What an execution has waited for its engine is not in its time limit. A begin does not know whether it is the first;
    /// its answer says so, and the deadline is moved by a write of its own if it was worth it. One that is lost shortens
    /// the limit by the wait.
    async fn give_back_waiting(&self, step: &StepRef, item: &Item, now: Timestamp) {
        let is_first = is_first_begin(item);
        let waited = step.waited(now).filter(|waited| is_first && *waited > USUAL_WAIT);
        let (Some(waited), Ok(Some(deadline))) = (waited, item.optional_moment("deadline_at")) else { return };
        let mut change = touched(now);
        change.only_if_equal("deadline_at", moment(deadline));
        change.set("deadline_at", moment(deadline.checked_add(waited).unwrap_or(Timestamp::MAX)));
        if let Err(error) = self.update(&keys::execution(&step.tenant_id, &step.execution_id), change).await {
            tracing::warn!(workflow_id = step.execution_id, %error, "the time limit counts from the acceptance");
        }
    }

    /// Closes an attempt that never said how it ended; whatever it says later counts for nothing.
    async fn close_lost(&self, step: &StepRef, item: &Item, lost: &StepPath, now: Timestamp) -> Result<(), StoreError> {
        let Some(attempt) = under_way(item, lost)? else { return Ok(()) };
        let history_len: u64 = item.number("history_len")?;
        let mut change = touched(now);
        change.only_if_absent("ended_at");
        change.only_if_equal("history_len", number(history_len));
        change.only_if_equal(&of_step("open_after", lost), number(attempt.first_event_id - 1));
        change.set("history_len", number(history_len + 1));
        change.remove(&of_step("open", lost));
        change.remove(&of_step("open_after", lost));
        let timed_out = (history_len + 1, attempt.events.failed(TIMEOUT, "", now));
        self.write_events(step, change, attempt.begun().into_iter().chain([timed_out])).await.map(drop)
    }

    /// Writes down that the step may not begin; false if the execution has changed meanwhile.
    async fn record_refusal(
        &self,
        step: &StepRef,
        item: &Item,
        refusal: Refusal,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let attempts = of_step("attempts", &step.path);
        let number_now = item.optional_number::<u32>(&attempts).unwrap_or_default() + 1;
        let history_len: u64 = item.number("history_len")?;
        let mut change = touched(now);
        change.only_if_absent("ended_at");
        change.only_if_equal("history_len", number(history_len));
        change.set("history_len", number(history_len + 2));
        change.set(&attempts, number(number_now));
        change.set("due_pk", text(keys::open_shard(&step.execution_id)));
        change.set("current_step", text(&step.path.name));
        change.set("forward_at", number(history_len));
        let events = events::refused(&AttemptEvents::of(step, number_now), refusal, now);
        self.write_events(step, change, (history_len + 1..).zip(events)).await
    }

    /// Writes a change of the execution and events with it; false if a condition did not hold.
    async fn write_events(
        &self,
        step: &StepRef,
        change: Change,
        events: impl Iterator<Item = (u64, NewEvent)>,
    ) -> Result<bool, StoreError> {
        let pk = keys::execution(&step.tenant_id, &step.execution_id);
        let mut writes = vec![change.into_write(&self.table, &pk, ALONE)];
        writes.extend(
            events.map(|(id, event)| put_new(&self.table, event_row(&step.tenant_id, &step.execution_id, id, &event))),
        );
        Ok(matches!(self.transact(writes).await?, Transacted::Done))
    }
}

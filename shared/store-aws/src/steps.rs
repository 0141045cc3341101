//! The record of attempts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use contracts::step::StepKind;
use contracts::{ErrorName, Timestamp};
use serde_json::Value;
use store::events::{self, AttemptEvents, TIMEOUT, status_message};
use store::{ACCEPTED, Attempt, Begin, Finish, NewEvent, Refusal, StepOutcome, StepRecorder, StepRef, StoreError};
use workflows::Workflow;

use crate::DynamoStore;
use crate::change::{Change, put_new};
use crate::executions::{Updated, touched};
use crate::item::{Item, OpenAttempt, event_row, json, moment, number, of_step, request, text, under_way};
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
        let pk = keys::execution(&step.tenant_id, &step.execution_id);
        let mut waited = step.waited(self.clock.now()).filter(|waited| *waited > USUAL_WAIT);
        for _ in 0..MAX_TRIES {
            let now = self.clock.now();
            let nonce = contracts::ids::new_request_id(now);
            let item = match self.update(&pk, begin(step, now, &nonce, waited)).await? {
                Updated::Done(item) => return proceed(step, &item),
                Updated::Refused(None) => return Ok(Begin::Closed),
                Updated::Refused(Some(item)) => item,
            };
            // The client repeats what got no answer: then it is this very begin that stands against itself.
            let open: Option<OpenAttempt> = item.optional_json(&of_step("open", &step.step))?;
            if open.is_some_and(|open| open.nonce == nonce) {
                return proceed(step, &item);
            }
            if item.has("ended_at") {
                return Ok(Begin::Closed);
            }
            if step.kind == StepKind::Forward {
                if let Some(result) = item.optional_json::<Value>(&of_step("done", &step.step))? {
                    return Ok(Begin::AlreadyDone(result));
                }
                if item.has(&of_step("closed", &step.step)) {
                    return Ok(Begin::Closed);
                }
            }
            let is_untouched = item.has("deadline_at") && item.number::<u64>("history_len")? == ACCEPTED;
            if waited.is_some() && !is_untouched {
                waited = None;
                continue;
            }
            let refusal = match self.against(step, &item, now)? {
                Against::Refusal(Refusal::TimedOut) if is_untouched && step.waited(now).is_some() => {
                    waited = step.waited(now);
                    continue;
                }
                Against::Lost(lost) => {
                    self.close_lost(step, &item, &lost, now).await?;
                    continue;
                }
                Against::Nothing => continue,
                Against::Refusal(Refusal::Paused) => return Ok(Begin::Paused),
                Against::Refusal(refusal) => refusal,
            };
            if self.record_refusal(step, &item, refusal, now).await? {
                return Ok(match refusal {
                    Refusal::Cancelled => Begin::Cancelled,
                    Refusal::Paused => Begin::Paused,
                    Refusal::TimedOut => Begin::TimedOut,
                });
            }
        }
        Err(kept_changing(step))
    }

    async fn finish_step(
        &self,
        step: &StepRef,
        attempt: &Attempt,
        outcome: &StepOutcome,
    ) -> Result<Finish, StoreError> {
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
            let ended = match outcome {
                Ok(result) => events.succeeded(result, now),
                Err(error) => events.failed(&error.error, &error.cause_text(), now),
            };
            let mut change = finish(step, outcome, history_len, now);
            change.only_if_equal(&of_step("attempts", &step.step), number(attempt.number));
            change.only_if_equal(&of_step("open_after", &step.step), number(first_event_id - 1));
            let mut writes = vec![change.into_write(&self.table, &pk, ALONE)];
            let rows = (first_event_id..).zip(begun).chain([(history_len + 1, ended)]);
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
            if item.has("ended_at") || item.has(&of_step("closed", &step.step)) {
                return Ok(Finish::Closed);
            }
            let number: Option<u32> = item.optional_number(&of_step("attempts", &step.step));
            if number != Some(attempt.number) || !item.has(&of_step("open", &step.step)) {
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

fn workflow(step: &StepRef) -> Option<&'static Workflow> {
    workflows::workflow(step.workflow)
}

fn proceed(step: &StepRef, item: &Item) -> Result<Begin, StoreError> {
    let open: OpenAttempt = item.json(&of_step("open", &step.step))?;
    let attempt = Attempt {
        number: item.number(&of_step("attempts", &step.step))?,
        began_at: open.began_at,
        history_len: item.number("history_len")?,
    };
    Ok(Begin::Proceed { attempt, request: Arc::new(request(item)?), effect_scope: item.text("effect_scope")?.into() })
}

/// The change that begins an attempt, under the conditions that let it. What the execution has `waited` for its first
/// one is given to it.
fn begin(step: &StepRef, now: Timestamp, nonce: &str, waited: Option<Duration>) -> Change {
    let mut change = touched(now);
    let open = OpenAttempt { activity: step.activity.clone(), kind: step.kind, began_at: now, nonce: nonce.to_owned() };
    change.only_if_present("pk");
    change.only_if_absent("ended_at");
    change.only_if_absent(&of_step("open", &step.step));
    change.set(&of_step("open", &step.step), json(&open));
    change.set_to_old(&of_step("open_after", &step.step), "history_len");
    change.increase(&of_step("attempts", &step.step), 1);
    change.set("status_message", text(status_message(workflow(step), &step.step, step.kind)));
    change.set("due_pk", text(keys::open_shard(&step.execution_id)));
    match step.kind {
        StepKind::Forward => {
            change.increase("history_len", 2);
            change.only_if_absent(&of_step("done", &step.step));
            change.only_if_absent(&of_step("closed", &step.step));
            only_if_uninterrupted(&mut change, now, waited);
            change.set("status", text(contracts::Status::Running.as_str()));
            stand_at(&mut change, step);
            if workflow(step).is_some_and(|workflow| workflow.is_pivot_or_last(&step.step)) {
                change.set("pivot_begun", AttributeValue::Bool(true));
                change.set("cancel_window_open", AttributeValue::Bool(false));
            }
        }
        StepKind::Compensation => {
            change.increase("history_len", 1);
            change.set("cancel_window_open", AttributeValue::Bool(false));
            if let Some(undoes) = &step.undoes {
                change.only_if_absent(&of_step("open", undoes));
                change.set(&of_step("closed", undoes), AttributeValue::Bool(true));
            }
        }
    }
    change
}

/// Nobody cancelled or paused it and its deadline is not over, or nothing interrupts it any more. A deadline moves by
/// what was waited.
fn only_if_uninterrupted(change: &mut Change, now: Timestamp, waited: Option<Duration>) {
    let [cancelled, paused, deadline] =
        ["cancel_requested_at", "paused_at", "deadline_at"].map(|name| change.name(name));
    if let Some(waited) = waited {
        change.only_if_equal("history_len", number(ACCEPTED));
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

/// The step is where the execution stands: all steps before it are over.
fn stand_at(change: &mut Change, step: &StepRef) {
    change.set("current_step", text(&step.step));
    if let Some(before) = steps_before(step) {
        change.set("completed_steps", number(before));
    }
}

fn steps_before(step: &StepRef) -> Option<usize> {
    workflow(step)?.steps.iter().position(|known| known.state == step.step)
}

/// The change that ends an attempt.
fn finish(step: &StepRef, outcome: &StepOutcome, history_len: u64, now: Timestamp) -> Change {
    let mut change = touched(now);
    change.only_if_absent("ended_at");
    change.only_if_equal("history_len", number(history_len));
    change.set("history_len", number(history_len + 1));
    change.remove(&of_step("open", &step.step));
    change.remove(&of_step("open_after", &step.step));
    match (outcome, step.kind) {
        (Ok(result), StepKind::Forward) => {
            change.set(&of_step("done", &step.step), json(result));
            if let Some(before) = steps_before(step) {
                change.set("completed_steps", number(before + 1));
            }
        }
        (Ok(result), StepKind::Compensation) if result["undone"] == true => {
            let undone = of_step("undone_at", step.undoes.as_ref().unwrap_or(&step.step));
            let (name, at) = (change.name(&undone), change.value(number(history_len + 1)));
            change.set_raw(format!("{name} = if_not_exists({name}, {at})"));
        }
        (Ok(_) | Err(_), _) => {}
    }
    change
}

/// What stands against a begin.
enum Against {
    /// An attempt of this step that never said how it ended.
    Lost(String),
    /// Something that an operator or the clock asked for.
    Refusal(Refusal),
    /// Nothing any more.
    Nothing,
}

impl DynamoStore {
    fn against(&self, step: &StepRef, item: &Item, now: Timestamp) -> Result<Against, StoreError> {
        let of_interest = [Some(&step.step), step.undoes.as_ref()];
        let lost = of_interest.into_iter().flatten().find(|step| item.has(&of_step("open", step)));
        let interruptible = step.kind == StepKind::Forward && !item.flag("pivot_begun");
        let late = item.optional_moment("deadline_at")?.is_some_and(|deadline| deadline < now);
        Ok(match lost {
            Some(lost) => Against::Lost(lost.clone()),
            None if interruptible && item.has("cancel_requested_at") => Against::Refusal(Refusal::Cancelled),
            None if interruptible && item.has("paused_at") => Against::Refusal(Refusal::Paused),
            None if interruptible && late => Against::Refusal(Refusal::TimedOut),
            None => Against::Nothing,
        })
    }

    /// Closes an attempt that never said how it ended; whatever it says later counts for nothing.
    async fn close_lost(&self, step: &StepRef, item: &Item, lost: &str, now: Timestamp) -> Result<(), StoreError> {
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
        let name = match refusal {
            Refusal::Cancelled => ErrorName::WorkflowCancelled,
            Refusal::Paused => ErrorName::WorkflowPaused,
            Refusal::TimedOut => ErrorName::WorkflowTimedOut,
        };
        let attempts = of_step("attempts", &step.step);
        let number_now = item.optional_number::<u32>(&attempts).unwrap_or_default() + 1;
        let history_len: u64 = item.number("history_len")?;
        let mut change = touched(now);
        change.only_if_absent("ended_at");
        change.only_if_equal("history_len", number(history_len));
        change.set("history_len", number(history_len + 2));
        change.set(&attempts, number(number_now));
        change.set("due_pk", text(keys::open_shard(&step.execution_id)));
        stand_at(&mut change, step);
        let events = events::refused(&AttemptEvents::of(step, number_now), name, refusal.message(), now);
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

//! What must hold after every execution, however it went.

use std::collections::{BTreeMap, BTreeSet};

use contracts::effect::Effect;
use contracts::responses::StatusResponse;
use contracts::step::StepPath;
use contracts::{Event, Status};
use reference_services::{LedgerEntry, Outcome};
use serde_json::Value;

use crate::subjects::Subject;
use crate::world::{Site, TENANT};

/// Checks one execution, alone in its world, against the services' data from before it.
pub(crate) async fn check(world: &Site, id: &str, before: &Value) -> Result<StatusResponse, String> {
    let status = world.status(id).await;
    // Late deliveries and the like have their time.
    clock::sleep(&*world.clock, world.settling_time).await;
    let again = world.status(id).await;
    if status != again {
        return Err(format!("I3: {} became {}", status.status, again.status));
    }
    let ledger = world.ledger().await;
    one_effect(&ledger)?;
    history_is_true(world, &status, &ledger).await?;
    let ended = Ended::of(world, status).await;
    no_residue(std::slice::from_ref(&ended), before, &world.snapshot().await)?;
    calls_are_bounded(world, &[id])?;
    Ok(ended.status)
}

/// An execution that has ended.
pub(crate) struct Ended {
    pub(crate) status: StatusResponse,
    /// What it was asked for.
    request: Value,
}

impl Ended {
    pub(crate) async fn of(site: &Site, status: StatusResponse) -> Self {
        let history = site.history(&status.workflow_id).await;
        Self { status, request: history.events[0].event.details["input"].clone() }
    }
}

/// What the history says of one execution of maybe many.
pub(crate) async fn history_is_true(
    world: &Site,
    status: &StatusResponse,
    ledger: &[LedgerEntry],
) -> Result<(), String> {
    let history = world.history(&status.workflow_id).await;
    let events: Vec<Event> = history.events.into_iter().map(|event| event.event).collect();
    ends_once(&events, status)?;
    if let Some(check) = Subject::of(&status.workflow_id).counts {
        check(status, ledger)?;
    }
    effects_are_told(&events, &status.workflow_id, ledger)?;
    attempts_are_bounded(Subject::of(&status.workflow_id), &events)
}

/// I1: a key has at most one effect.
pub(crate) fn one_effect(ledger: &[LedgerEntry]) -> Result<(), String> {
    let mut applied = BTreeMap::<_, u32>::new();
    for entry in ledger.iter().filter(|entry| entry.outcome == Outcome::Applied) {
        *applied.entry((&entry.service, &entry.key)).or_default() += 1;
    }
    match applied.iter().find(|(_, count)| **count > 1) {
        Some(((service, key), count)) => Err(format!("I1: {service} has {count} effects of the key {key}")),
        None => Ok(()),
    }
}

/// I3: exactly one terminal event, the last one, and it agrees with the status.
fn ends_once(events: &[Event], status: &StatusResponse) -> Result<(), String> {
    let terminal: Vec<&str> = events
        .iter()
        .map(|event| event.event_type.as_str())
        .filter(|name| name.starts_with("WorkflowExecution"))
        .filter(|name| {
            !["WorkflowExecutionStarted", "WorkflowExecutionPaused", "WorkflowExecutionResumed"].contains(name)
        })
        .collect();
    let expected = match status.status {
        Status::Completed => "WorkflowExecutionCompleted",
        Status::Failed => "WorkflowExecutionFailed",
        Status::Cancelled => "WorkflowExecutionCanceled",
        Status::TimedOut => "WorkflowExecutionTimedOut",
        other => return Err(format!("I3: {other} is no end")),
    };
    let last = events.last().map(|event| event.event_type.as_str());
    if terminal != [expected] || last != Some(expected) {
        return Err(format!("I3: {} with the terminal events {terminal:?}, the last is {last:?}", status.status));
    }
    let numbered = events.iter().zip(1..).all(|(event, number)| event.event_id == number);
    if numbered { Ok(()) } else { Err("I3: the history has gaps".to_owned()) }
}

/// The key of a step's effect.
fn key_of(id: &str, step: &str) -> String {
    Effect { tenant_id: TENANT, scope: id, step: &StepPath::of_state(step) }.idempotency_key()
}

/// I4: no Completed without effect, no effect without Scheduled.
fn effects_are_told(events: &[Event], id: &str, ledger: &[LedgerEntry]) -> Result<(), String> {
    let with = |event_type: &str, step: &str| {
        events.iter().find(|event| event.event_type == event_type && event.details["activity_id"] == step)
    };
    for (step, service) in Subject::of(id).undoable {
        let key = key_of(id, step);
        let applied = ledger.iter().any(|e| e.service == *service && e.key == key && e.outcome == Outcome::Applied);
        if applied && with("ActivityTaskScheduled", step).is_none() {
            return Err(format!("I4: {step} had an effect and was never scheduled"));
        }
        let completed = with("ActivityTaskCompleted", step);
        if completed.is_some_and(|event| event.details["result"]["skipped"] != true) && !applied {
            return Err(format!("I4: {step} is completed and had no effect"));
        }
    }
    Ok(())
}

/// I2: what did not complete left nothing behind but the residue it lists.
pub(crate) fn no_residue(ended: &[Ended], before: &Value, after: &Value) -> Result<(), String> {
    // By service: what may be there, or be changed, by a text that it mentions.
    let mut allowed = BTreeMap::<&str, Vec<String>>::new();
    let mut mails_allowed = 0;
    for Ended { status, request } in ended {
        let subject = Subject::of(&status.workflow_id);
        let has_completed = status.status == Status::Completed;
        let residue = if has_completed { Vec::new() } else { residue(status)? };
        mails_allowed += if has_completed { subject.mails } else { 0 };
        let stands = subject.undoable.iter().filter(|(step, _)| has_completed || residue.contains(step));
        // What a job does to its entities is not undone; a restore that has completed has changed what it is about.
        let is_changed = subject.is_job() || has_completed && subject.undoable.is_empty();
        let jobs = subject.sites.iter().filter(|_| is_changed).map(|site| site.service);
        for service in stands.map(|(_, service)| *service).chain(jobs) {
            allowed.entry(service).or_default().extend((subject.marks)(subject, &status.workflow_id, request));
        }
    }
    let mails = |data: &Value| data["notifications"]["outbox"].as_array().map(Vec::len).unwrap_or_default();
    if mails(after) > mails(before) + mails_allowed {
        return Err(format!("I2: {} mails of {mails_allowed}", mails(after) - mails(before)));
    }
    for (service, data) in after.as_object().into_iter().flatten().filter(|(service, _)| *service != "notifications") {
        let allowed = allowed.get(service.as_str()).map(Vec::as_slice).unwrap_or_default();
        let [data, expected] = [data, &before[service]].map(|data| without_rows_of(data, allowed));
        if data != expected {
            return Err(format!("I2: {service} is not as before: {data}, it was {expected}"));
        }
    }
    Ok(())
}

/// The steps that an execution without success lists as not undone.
fn residue(status: &StatusResponse) -> Result<Vec<&str>, String> {
    let failure = status.failure.as_ref().ok_or("I2: no failure is given")?;
    if failure.residue.is_empty() == (failure.error == "CompensationFailed") {
        return Err(format!("I2: {} with the residue {:?}", failure.error, failure.residue));
    }
    Ok(failure.residue.iter().map(|residue| residue.step.as_str()).collect())
}

/// The tables of a service, without the rows that mention any of these texts, or a file of theirs.
fn without_rows_of(tables: &Value, ids: &[String]) -> Value {
    let mut tables = tables.clone();
    let mut ids = ids.to_vec();
    // A file's content mentions nothing but the file.
    for _ in 0..2 {
        for rows in tables.as_object_mut().into_iter().flat_map(|tables| tables.values_mut()) {
            let Value::Array(rows) = rows else { continue };
            rows.retain(|row| {
                let text = row.to_string();
                let is_theirs = ids.iter().any(|id| text.contains(id));
                if let (true, Some(file)) = (is_theirs, row["file_id"].as_str()) {
                    ids.push(file.to_owned());
                }
                !is_theirs
            });
        }
    }
    tables
}

/// How often something is tried: `answered` are the tries that a service answered, or did not answer in time.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    answered: u32,
    unreached: u32,
}

/// Tries of a forward step, and of an undo.
const FORWARD: Tries = Tries { answered: 3, unreached: 17 };
const UNDO: Tries = Tries { answered: 9, unreached: 21 };

impl Tries {
    fn times(self, factor: u32) -> Self {
        Self { answered: factor * self.answered, unreached: factor * self.unreached }
    }

    /// Each retrier has its own limit: who meets one kind of error is not tried longer for having met the other one.
    fn check(self, limit: Self, what: &str) -> Result<(), String> {
        let is_within = self.answered <= limit.answered && self.unreached <= limit.unreached;
        if is_within { Ok(()) } else { Err(format!("I11: {self:?} of {what}, the limit is {limit:?}")) }
    }
}

/// I11: attempts per step.
fn attempts_are_bounded(subject: &Subject, events: &[Event]) -> Result<(), String> {
    let mut attempts = BTreeMap::<&str, Tries>::new();
    let mut compensations = BTreeSet::new();
    for event in events {
        if event.event_type == "CompensationScheduled" {
            compensations.insert(event.details["activity_id"].as_str().unwrap_or_default());
        }
        let tries = attempts.entry(event.details["activity_id"].as_str().unwrap_or_default()).or_default();
        match event.event_type.as_str() {
            "ActivityTaskScheduled" | "CompensationScheduled" => tries.answered += 1,
            "ActivityTaskFailed" | "CompensationFailed" if event.details["error"] == "ServiceUnreachable" => {
                tries.answered -= 1;
                tries.unreached += 1;
            }
            _ => {}
        }
    }
    for (step, tries) in attempts {
        let limit = match step.strip_prefix("Undo") {
            Some(step) => UNDO.times(if subject.is_tolerated(step) { 2 } else { 1 }),
            None if compensations.contains(step) => UNDO,
            // Lambda's own faults have a retrier of their own, with six retries.
            None => Tries { answered: FORWARD.answered + 6, ..FORWARD },
        };
        tries.check(limit, step)?;
    }
    Ok(())
}

/// I11: attempts per call, over all layers; these are all executions there were.
pub(crate) fn calls_are_bounded(world: &Site, ids: &[&str]) -> Result<(), String> {
    let tolerated = |id: &&str| Subject::of(id).tolerated.iter().map(|step| key_of(id, step)).collect::<Vec<_>>();
    let undone_twice: Vec<String> = ids.iter().flat_map(tolerated).collect();
    let (calls, unreached) = (world.calls.lock().unwrap(), world.unreached.lock().unwrap());
    let names: BTreeSet<&String> = calls.keys().chain(unreached.keys()).collect();
    let count = |of: &BTreeMap<String, u32>, call: &String| of.get(call).copied().unwrap_or_default();
    // Calls for many entities have no key: results tell the attempts of each entity.
    let is_counted = |call: &&&String| !call.contains("/health") && !call.contains("/operations/");
    for call in names.into_iter().filter(|call| is_counted(&call)) {
        let limit = if call.contains("/effects/") {
            let is_twice = undone_twice.iter().any(|key| call.contains(&format!("/effects/{key}")));
            UNDO.times(if is_twice { 2 } else { 1 })
        } else if let Some((method, uri)) = read_of(call) {
            // Reads have no key: those of all executions count as one call.
            // What only some requests ask for is no site: it is asked once.
            let reads = ids.iter().map(|id| Subject::of(id).calls_of(method, uri.path())).sum::<u32>().max(1);
            let again =
                ids.iter().map(|id| repeated(Subject::of(id), uri.path(), &unreached)).max().unwrap_or_default();
            let limit = FORWARD.times(reads);
            Tries { answered: limit.answered + again, ..limit }
        } else {
            FORWARD
        };
        let unreached_there = count(&unreached, call);
        // A batch makes many calls, and those before one that does not reach its service are made again with it.
        let is_repeated = ids.iter().any(|id| Subject::of(id).about_everything.is_some());
        let repeated = if is_repeated { unreached.values().sum::<u32>() - unreached_there } else { 0 };
        let limit = Tries { answered: limit.answered + repeated, ..limit };
        Tries { answered: count(&calls, call), unreached: unreached_there }.check(limit, call)?;
    }
    Ok(())
}

/// The method and the address of a call that changes nothing.
fn read_of(call: &str) -> Option<(&str, http::Uri)> {
    let (method, rest) = call.split_once(' ')?;
    let uri: http::Uri = rest.split(' ').next()?.parse().ok()?;
    (method == "GET" || uri.query() == Some("dry_run=true")).then_some((method, uri))
}

/// How often a read at this path is made again because a later call of the same step did not reach its service.
fn repeated(subject: &Subject, path: &str, unreached: &BTreeMap<String, u32>) -> u32 {
    let later = subject.sites.iter().filter(|site| site.is_call("GET", path)).filter_map(|site| {
        let (step, _) = site.name.split_once('/')?;
        Some(subject.site(step))
    });
    let later: Vec<_> = later.collect();
    let is_later = |call: &str| {
        let (method, rest) = call.split_once(' ').unwrap();
        let uri: http::Uri = rest.split(' ').next().unwrap().parse().unwrap();
        later.iter().any(|site| site.is_call(method, uri.path()))
    };
    unreached.iter().filter(|(call, _)| is_later(call)).map(|(_, count)| count).sum()
}

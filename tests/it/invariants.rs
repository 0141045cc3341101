//! What must hold after every execution, however it went.

use std::collections::{BTreeMap, BTreeSet};

use contracts::Status;
use contracts::effect::EffectScope;
use contracts::responses::StatusResponse;
use reference_services::{LedgerEntry, Outcome};
use serde_json::Value;

use crate::world::{Site, TENANT};

/// Forward steps with an effect that can be undone, and the service that has it.
pub(crate) const UNDOABLE: [(&str, &str); 5] = [
    ("CreateUserAccount", "auth"),
    ("CreateUserProfile", "user"),
    ("UpdateTenantUserMembership", "tenant"),
    ("SetupUserFileWorkspace", "file"),
    ("CreateSampleData", "file"),
];

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
    ends_once(world, id, &status).await?;
    history_is_true(world, id, &ledger).await?;
    no_residue(&status, before, &world.snapshot().await)?;
    attempts_are_bounded(world, id).await?;
    Ok(status)
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
async fn ends_once(world: &Site, id: &str, status: &StatusResponse) -> Result<(), String> {
    let events = world.history(id).await.events;
    let terminal: Vec<&str> = events
        .iter()
        .map(|event| event.event.event_type.as_str())
        .filter(|name| name.starts_with("WorkflowExecution") && *name != "WorkflowExecutionStarted")
        .collect();
    let expected = match status.status {
        Status::Completed => "WorkflowExecutionCompleted",
        Status::Failed => "WorkflowExecutionFailed",
        Status::Cancelled => "WorkflowExecutionCanceled",
        Status::TimedOut => "WorkflowExecutionTimedOut",
        other => return Err(format!("I3: {other} is no end")),
    };
    let last = events.last().map(|event| event.event.event_type.as_str());
    if terminal != [expected] || last != Some(expected) {
        return Err(format!("I3: {} with the terminal events {terminal:?}, the last is {last:?}", status.status));
    }
    let numbered = events.iter().zip(1..).all(|(event, number)| event.event.event_id == number);
    if numbered { Ok(()) } else { Err("I3: the history has gaps".to_owned()) }
}

/// I4: no Completed without effect, no effect without Scheduled.
async fn history_is_true(world: &Site, id: &str, ledger: &[LedgerEntry]) -> Result<(), String> {
    let events = world.history(id).await.events;
    let with = |event_type: &str, step: &str| {
        events.iter().find(|event| event.event.event_type == event_type && event.event.details["activity_id"] == step)
    };
    for (step, service) in UNDOABLE {
        let key = EffectScope { tenant_id: TENANT, scope: id, step }.idempotency_key();
        let applied = ledger.iter().any(|e| e.service == service && e.key == key && e.outcome == Outcome::Applied);
        if applied && with("ActivityTaskScheduled", step).is_none() {
            return Err(format!("I4: {step} had an effect and was never scheduled"));
        }
        let completed = with("ActivityTaskCompleted", step);
        if completed.is_some_and(|event| event.event.details["result"]["skipped"] != true) && !applied {
            return Err(format!("I4: {step} is completed and had no effect"));
        }
    }
    Ok(())
}

/// I2: what did not complete left nothing behind but the residue it lists.
fn no_residue(status: &StatusResponse, before: &Value, after: &Value) -> Result<(), String> {
    if status.status == Status::Completed {
        return Ok(());
    }
    let failure = status.failure.as_ref().ok_or("I2: no failure is given")?;
    let listed: BTreeSet<&str> = failure
        .residue
        .iter()
        .filter_map(|residue| UNDOABLE.iter().find(|(step, _)| *step == residue.step).map(|(_, service)| *service))
        .collect();
    if listed.is_empty() == (failure.error == "CompensationFailed") {
        return Err(format!("I2: {} with the residue {:?}", failure.error, failure.residue));
    }
    for (service, data) in before.as_object().into_iter().flatten() {
        if after[service] != *data && !listed.contains(service.as_str()) {
            return Err(format!("I2: {service} is not as before: {}", after[service]));
        }
    }
    Ok(())
}

/// I11: attempts per step, over all layers.
async fn attempts_are_bounded(world: &Site, id: &str) -> Result<(), String> {
    const FORWARD: u32 = 3;
    const UNDO: u32 = 9;
    // Undone when its failure is tolerated, and once more when the execution is cancelled or late after that.
    const TOLERATED: &str = "CreateSampleData";
    let tolerated_key = EffectScope { tenant_id: TENANT, scope: id, step: TOLERATED }.idempotency_key();
    let mut attempts = BTreeMap::<String, u32>::new();
    for event in world.history(id).await.events {
        let name = event.event.event_type.as_str();
        if matches!(name, "ActivityTaskScheduled" | "CompensationScheduled") {
            *attempts.entry(event.event.details["activity_id"].as_str().unwrap_or_default().to_owned()).or_default() +=
                1;
        }
    }
    for (step, attempts) in &attempts {
        // Lambda's own faults have a retrier of their own, with six retries.
        let limit = match step.strip_prefix("Undo") {
            Some(TOLERATED) => 2 * UNDO,
            Some(_) => UNDO,
            None => FORWARD + 6,
        };
        if *attempts > limit {
            return Err(format!("I11: {attempts} attempts of {step}"));
        }
    }
    for (call, count) in world.calls.lock().unwrap().iter().filter(|(call, _)| !call.ends_with("/health")) {
        // The tenant is read by two steps.
        let limit = if call.ends_with(&tolerated_key) {
            2 * UNDO
        } else if call.contains("/effects/") {
            UNDO
        } else if call.ends_with("/context") {
            2 * FORWARD
        } else {
            FORWARD
        };
        if *count > limit {
            return Err(format!("I11: {count} calls of {call}"));
        }
    }
    Ok(())
}

//! What is asked of an execution that is in no state for it is refused with that state, by itself and as one of many, and
//! nothing changes.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::Status;
use http::StatusCode;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};

use crate::subjects::USER_ONBOARDING;
use crate::world::{Site, World, full_request, run};

/// States of an execution, as far as it matters for what may be asked of it.
#[derive(Debug, Clone, Copy)]
enum State {
    /// In a step that can be undone.
    Running,
    Paused,
    /// A cancel was accepted, and the step under way has not ended.
    Cancelling,
    /// In the last step, which nothing takes back.
    Ending,
    Completed,
    /// Everything is undone.
    Failed,
    Cancelled,
    /// What was done stands.
    Terminated,
    /// Terminated, and retried since.
    Retried,
}

/// What is refused in which state, and what the refusal says.
const REFUSED: [(State, &[&str], &str); 10] = [
    (State::Running, &["resume", "retry", "undo"], "Running"),
    (State::Paused, &["retry", "undo"], "Paused"),
    (State::Cancelling, &["pause", "resume", "retry", "undo"], "Running"),
    (State::Ending, &["cancel", "pause", "resume", "retry", "undo"], "Running"),
    (State::Completed, &["cancel", "pause", "resume", "terminate", "retry", "undo"], "completed"),
    (State::Failed, &["cancel", "pause", "resume", "terminate", "undo"], "Failed"),
    (State::Cancelled, &["cancel", "pause", "resume", "terminate", "undo"], "Cancelled"),
    (State::Terminated, &["cancel", "pause", "resume", "terminate"], "Terminated"),
    (State::Retried, &["cancel", "pause", "resume", "terminate"], "Terminated"),
    (State::Retried, &["undo"], "retried as"),
];

/// An execution in this state; time stands still for it until somebody waits.
async fn reach(world: &World, state: State) -> String {
    match state {
        State::Completed => {}
        State::Failed => slow_or_broken(world, Fault::Status { status: 400, retry_after_seconds: None }),
        State::Ending => {
            let last = USER_ONBOARDING.site(USER_ONBOARDING.final_steps[0]);
            world.faults(&last.faulty(Fault::Delay { delay_ms: 9_000 }, None));
        }
        _ => slow_or_broken(world, Fault::Delay { delay_ms: 9_000 }),
    }
    let id = world.start(&full_request()).await;
    clock::sleep(&*world.clock, Duration::from_secs(1)).await;
    let ask = async |asked: &str| {
        let (status, answer) = world.post(&format!("/api/v1/workflows/{id}/{asked}"), &Value::Null, &[]).await;
        assert!(status.is_success(), "{asked}: {answer}");
        answer
    };
    match state {
        State::Running | State::Ending => assert_eq!(world.status(&id).await.status, Status::Running),
        State::Paused => drop(ask("pause").await),
        State::Cancelling => drop(ask("cancel").await),
        State::Completed => assert_eq!(world.until_ended(&id).await.status, Status::Completed),
        State::Failed => assert_eq!(world.until_ended(&id).await.status, Status::Failed),
        State::Cancelled => {
            ask("cancel").await;
            assert_eq!(world.until_ended(&id).await.status, Status::Cancelled);
        }
        State::Terminated => drop(ask("terminate").await),
        State::Retried => {
            ask("terminate").await;
            world.faults(&BTreeMap::new());
            let retry = ask("retry").await["new_workflow_id"].as_str().unwrap().to_owned();
            assert_eq!(world.until_ended(&retry).await.status, Status::Completed);
        }
    }
    id
}

fn slow_or_broken(world: &World, fault: Fault) {
    world.services.set_faults(ServiceKind::User, vec![FaultRule::on("POST", "/api/v1/profiles", fault)]);
}

/// All that can be seen of an execution and its tenant.
async fn seen(site: &Site, id: &str) -> Vec<Value> {
    let mut seen = vec![site.snapshot().await];
    for path in [
        format!("/api/v1/workflows/{id}/status"),
        format!("/api/v1/workflows/history?workflow_id={id}&page_size=200"),
        "/api/v1/workflows".to_owned(),
        "/api/v1/audit".to_owned(),
    ] {
        let (status, answer) = site.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        seen.push(answer);
    }
    seen
}

/// Asks this of the execution by its own endpoint; the refusal's detail.
async fn refused(site: &Site, id: &str, asked: &str) -> String {
    let (name, body) = match asked {
        "undo" => ("retry", json!({ "undo": true, "reason": "a mistake" })),
        name => (name, json!({ "reason": "a mistake" })),
    };
    let (status, problem) = site.post(&format!("/api/v1/workflows/{id}/{name}"), &body, &[]).await;
    assert_eq!(status, StatusCode::CONFLICT, "{asked}: {problem}");
    assert_eq!((&problem["code"], &problem["workflow_id"]), (&json!("Conflict"), &json!(id)), "{asked}: {problem}");
    problem["detail"].as_str().unwrap().to_owned()
}

/// Asks this of the execution as of one of many; what became of it.
async fn act(site: &Site, id: &str, asked: &str, is_dry_run: bool) -> Value {
    let body = json!({ "action": asked, "ids": [id], "dry_run": is_dry_run, "reason": "a mistake" });
    let (status, mut answer) = site.post("/api/v1/workflows/actions", &body, &[]).await;
    assert_eq!(status, StatusCode::OK, "{asked}: {answer}");
    answer["results"][0].take()
}

#[test]
fn what_is_refused_says_why_and_changes_nothing() {
    for (state, refusals, says) in REFUSED {
        run(async {
            let world = World::new().await;
            let id = reach(&world, state).await;
            let before = seen(&world, &id).await;
            let status = &before[1]["status"];
            for asked in refusals {
                let detail = refused(&world, &id, asked).await;
                assert!(detail.to_lowercase().contains(&says.to_lowercase()), "{state:?}, {asked}: {detail}");
                let one_of_many = act(&world, &id, asked, false).await;
                let expected = (&json!("refused"), &json!(detail), status);
                let told = (&one_of_many["outcome"], &one_of_many["detail"], &one_of_many["status"]);
                assert_eq!(told, expected, "{state:?}, {asked}");
                let dry_run = act(&world, &id, asked, true).await;
                // Whether anything stands is in the history, which only an undo reads.
                let is_known = !(*asked == "undo" && matches!(state, State::Failed | State::Cancelled));
                assert_eq!(dry_run["outcome"] == "refused", is_known, "{state:?}, {asked}: {dry_run}");
                assert_eq!(seen(&world, &id).await, before, "{state:?}, {asked}: nothing changed");
            }
        });
    }
}

//! What is asked of a running execution reaches the engine that runs it.

use std::time::Duration;

use contracts::{EngineKind, ErrorName, Status};
use engine::{Engine as _, Standing};
use reference_services::Fault;
use serde_json::json;
use store::{Control as StoreControl, Controlled, EngineEnd, Executions as _};

use crate::subjects;
use crate::world::{Control, ControlAction, Script, TENANT, World, full_request, run};

/// A world whose executions are paused while the account is created.
async fn paused() -> (World, String) {
    let pause = Control { during: "CreateUserAccount".to_owned(), what: ControlAction::Pause, after_seconds: 0 };
    let world = World::with(Script { control: vec![pause], ..Script::default() }, &[]).await;
    let id = world.start(&full_request()).await;
    // By then the pause is looked at every five minutes.
    clock::sleep(&*world.clock, Duration::from_secs(1_000)).await;
    assert_eq!(world.status(&id).await.status, Status::Paused);
    (world, id)
}

#[test]
fn a_resume_wakes_the_embedded_engine() {
    run(async {
        let (world, id) = paused().await;
        let resumed =
            world.app.store.control(TENANT, &id, StoreControl::Resume, world.clock.now(), None).await.unwrap();
        let Controlled::Accepted(record) = resumed else { panic!("{resumed:?}") };
        world.app.engine.wake(&record).await.unwrap();
        clock::sleep(&*world.clock, Duration::from_millis(100)).await;
        assert_eq!(world.status(&id).await.status, Status::Completed);
        // After a restart the journal says the same.
        let edges = world.edges(&id).await;
        assert!(edges.iter().any(|edge| edge.to_string().contains("SendNotification")), "{edges:?}");
    });
}

#[test]
fn a_cancel_of_a_paused_execution_undoes_at_once() {
    run(async {
        let (world, id) = paused().await;
        world.cancel(&id).await.unwrap();
        clock::sleep(&*world.clock, Duration::from_millis(100)).await;
        let status = world.status(&id).await;
        assert_eq!(status.status, Status::Cancelled);
        assert_eq!(status.failure.unwrap().undone, ["CreateUserAccount"]);
    });
}

/// Nothing is undone, nothing begins any more, and the end is final.
#[test]
fn a_termination_stops_the_embedded_engine_where_it_is() {
    run(async {
        let (world, id) = paused().await;
        let record = world.app.store.get(TENANT, &id).await.unwrap().unwrap();
        assert_eq!(record.engine, EngineKind::Embedded);
        world.app.engine.terminate(&record, "as a test wants", None).await.unwrap();
        let ended = world.status(&id).await;
        assert_eq!((ended.status, ended.result.clone()), (Status::Terminated, None));
        let failure = ended.failure.clone().unwrap();
        assert_eq!((failure.error.as_str(), failure.undone.len()), ("Terminated", 0));
        clock::sleep(&*world.clock, Duration::from_secs(3_600)).await;
        assert_eq!(world.status(&id).await, ended, "it does not go on");
        let standing = world.app.engine.describe(&record).await.unwrap();
        assert!(matches!(standing, Standing::Ended { end: EngineEnd::Terminated, .. }), "{standing:?}");
        let events = world.history(&id).await.events;
        assert_eq!(events.last().unwrap().event.event_type, "WorkflowExecutionTerminated");
        let refused = |event: &contracts::Event| event.details["error"] == ErrorName::WorkflowCancelled.as_str();
        assert!(!events.iter().any(|event| refused(&event.event)));
    });
}

#[test]
fn a_termination_goes_to_its_end_though_the_client_hangs_up() {
    run(async {
        let world = World::new().await;
        let subject = subjects::ALL[0];
        world.faults(&subject.site("CreateUserAccount").faulty(Fault::Delay { delay_ms: 5_000 }, None));
        for steps in 1..=40 {
            let request = world.prepare(subject, steps).await;
            let id = world.start_of(subject, &request).await;
            clock::sleep(&*world.clock, Duration::from_secs(1)).await;
            let (path, body) = (format!("/api/v1/workflows/{id}/terminate"), json!({}));
            let mut request = Box::pin(world.post(&path, &body, &[]));
            for _ in 0..steps {
                if futures::poll!(request.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            // As the server drops it when the connection is gone.
            drop(request);
            clock::sleep(&*world.clock, Duration::from_secs(600)).await;
            let status = world.status(&id).await.status;
            assert!(!status.is_open(), "after {steps} steps it is {status}, and nobody drives it");
        }
    });
}

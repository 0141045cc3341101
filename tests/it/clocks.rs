//! A clock that somebody sets back, as an administrator or NTP does: what waits goes on as planned, and what readers see
//! does not go back.

use std::time::Duration;

use clock::{Instant, Timestamp};
use contracts::Status;
use contracts::responses::StatusResponse;
use reference_services::{Fault, FaultRule, ServiceKind};

use crate::invariants;
use crate::world::{BEGINNING, Script, World, full_request, run};

const STEP_SECONDS: i64 = 3_600;

/// The longest wait before the first retry.
const WAIT: Duration = Duration::from_secs(100);

fn settings() -> [(&'static str, String); 2] {
    let policy = |name: &'static str, duration: Duration| (name, duration.as_secs().to_string());
    [
        policy("WORKFLOWS__RETRY_POLICY__INITIAL_INTERVAL", WAIT),
        policy("WORKFLOWS__RETRY_POLICY__MAXIMUM_INTERVAL", WAIT * 2),
    ]
}

fn set_back(world: &World) {
    let earlier = Timestamp::from_second(world.clock.now().as_second() - STEP_SECONDS).unwrap();
    world.virtual_clock.jump_to(earlier);
}

/// Starts an onboarding whose first call fails once, and waits until it waits for its retry.
async fn waiting(world: &World) -> (String, Instant) {
    let unavailable = Fault::Status { status: 503, retry_after_seconds: None };
    let once = FaultRule { times: Some(1), ..FaultRule::on("POST", "/api/v1/users", unavailable) };
    world.services.set_faults(ServiceKind::Auth, vec![once]);
    let id = world.start(&full_request()).await;
    clock::sleep(&*world.clock, Duration::from_millis(1)).await;
    assert_eq!(world.services.faults_fired(ServiceKind::Auth), [1]);
    (id, world.clock.instant())
}

/// Waits for the end; it comes within the planned wait.
async fn ends_in_time(world: &World, id: &str, since: Instant) -> StatusResponse {
    let status = loop {
        let status = world.status(id).await;
        if !status.status.is_open() {
            break status;
        }
        let waited = world.clock.instant().since(since);
        assert!(waited <= WAIT + Duration::from_secs(1), "{id} still waits after {waited:?}");
        clock::sleep(&*world.clock, Duration::from_millis(200)).await;
    };
    let events = world.history(id).await.events;
    let times: Vec<Timestamp> = events.iter().map(|event| event.event.timestamp).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(times.last().is_some_and(|last| *last <= status.updated_at), "{status:?}");
    status
}

#[test]
fn a_retry_comes_on_time_although_the_clock_is_set_back() {
    run(async {
        let world = World::with(Script::default(), &settings()).await;
        let (id, since) = waiting(&world).await;
        set_back(&world);
        assert_eq!(ends_in_time(&world, &id, since).await.status, Status::Completed);
    });
}

#[test]
fn a_cancel_takes_effect_although_the_clock_is_set_back() {
    run(async {
        let world = World::with(Script::default(), &settings()).await;
        let before = world.snapshot().await;
        let (id, since) = waiting(&world).await;
        set_back(&world);
        world.cancel(&id).await.unwrap();
        assert_eq!(ends_in_time(&world, &id, since).await.status, Status::Cancelled);
        invariants::check(&world, &id, &before).await.unwrap();
    });
}

/// A pause holds the deadline, wherever in it the clock is set back.
#[test]
fn a_deadline_stands_still_in_a_pause_in_which_the_clock_is_set_back() {
    run(async {
        let world = World::with(Script::default(), &settings()).await;
        let (id, since) = waiting(&world).await;
        let ask = async |what: &str| world.post(&format!("/api/v1/workflows/{id}/{what}"), &().into(), &[]).await;
        assert_eq!(ask("pause").await.0, 200);
        set_back(&world);
        clock::sleep(&*world.clock, Duration::from_secs(10)).await;
        assert_eq!(ask("resume").await.0, 200);
        assert_eq!(ends_in_time(&world, &id, since).await.status, Status::Completed);
    });
}

#[test]
fn a_retry_comes_on_time_after_a_restart_although_the_clock_is_set_back() {
    let directory = tempfile::tempdir().unwrap();
    let beginning: Timestamp = BEGINNING.parse().unwrap();
    let id = run(async {
        let world = World::open(directory.path(), beginning, Script::default(), &settings()).await;
        waiting(&world).await.0
    });
    run(async {
        let earlier = Timestamp::from_second(beginning.as_second() - STEP_SECONDS).unwrap();
        let world = World::open(directory.path(), earlier, Script::default(), &settings()).await;
        assert_eq!(world.app.recovered, 1);
        let since = world.clock.instant();
        assert_eq!(ends_in_time(&world, &id, since).await.status, Status::Completed);
    });
}

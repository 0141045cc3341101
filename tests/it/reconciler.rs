//! The reconciler on the store in DynamoDB, before more open executions than it can look at in one go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Access, Api, Operating, Starting, Streaming};
use async_trait::async_trait;
use axum::body::Body;
use clock::{SharedClock, VirtualClock};
use contracts::{EngineKind, Status, Timestamp};
use engine::{Engine, EngineError, Engines, Reconciled, Standing, StartOutcome};
use futures::{StreamExt as _, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use store::{
    Audit, Backups, Control, Controlled, DueExecution, EndRecorder, EngineEnd, Erasures, ExecutionRecord, Executions,
    History, NewAuditRow, NewExecution, conformance,
};
use store_aws::DynamoStore;
use store_sql::{Durability, FileBlobs, SqlStore};
use tower::ServiceExt as _;

use crate::peers;
use crate::proxy::Proxy;
use crate::world::{TENANT, new_execution, run};

/// Open executions that run; the newest of them have ended, and nobody said so.
const RUNNING: i64 = 1_100;
const ENDED: u32 = 5;

/// Starts that never reached it: what a minute has time for, but two.
const PENDING: u32 = 898;

/// What is asked, and told, at the same moment.
const LOOKS_AT_ONCE: usize = 8;
const STARTS_AT_ONCE: usize = 25;

/// An engine whose executions stand as they are told to.
struct StandIn {
    clock: SharedClock,
    standings: Mutex<BTreeMap<String, Standing>>,
    asked: Mutex<Vec<(Timestamp, String)>>,
    started: Mutex<Vec<(Timestamp, String)>>,
}

#[async_trait]
impl Engine for StandIn {
    fn kind(&self) -> EngineKind {
        EngineKind::StepFunctions
    }

    async fn admit(&self, _: &mut NewExecution) -> Result<(), EngineError> {
        Ok(())
    }

    async fn start(&self, record: &ExecutionRecord) -> Result<StartOutcome, EngineError> {
        self.started.lock().unwrap().push((self.clock.now(), record.id.clone()));
        let mut standings = self.standings.lock().unwrap();
        if standings.contains_key(&record.id) {
            return Ok(StartOutcome::Known);
        }
        standings.insert(record.id.clone(), Standing::Running);
        Ok(StartOutcome::Begun)
    }

    async fn check(&self) -> Result<(), String> {
        Ok(())
    }

    async fn describe(&self, record: &ExecutionRecord) -> Result<Standing, EngineError> {
        self.asked.lock().unwrap().push((self.clock.now(), record.id.clone()));
        Ok(self.standings.lock().unwrap().get(&record.id).cloned().unwrap_or(Standing::Unknown))
    }

    async fn terminate(&self, _: &ExecutionRecord, _: &str, _: Option<NewAuditRow>) -> Result<(), EngineError> {
        Ok(())
    }

    async fn wake(&self, _: &ExecutionRecord) -> Result<(), EngineError> {
        Ok(())
    }
}

fn new(id: &str, status: Status, started_at: Timestamp) -> NewExecution {
    NewExecution { status, ..new_execution(id, EngineKind::StepFunctions, started_at) }
}

async fn create_all(store: &DynamoStore, all: impl Iterator<Item = NewExecution>) {
    stream::iter(all).for_each_concurrent(8, async |new| drop(store.create(new).await.unwrap())).await;
}

#[test]
fn however_many_are_open_each_has_its_turn_and_what_never_began_a_faster_one() {
    let Some(endpoint) = peers::dynamodb() else { return };
    run(async {
        let client = peers::dynamodb_client(endpoint);
        store_aws::create_table(&client, "reconciler").await.unwrap();
        let epoch = conformance::epoch();
        let clock: SharedClock = Arc::new(VirtualClock::new(epoch));
        let store = DynamoStore::new(|| client, "reconciler", Arc::clone(&clock));
        let at = |number: i64| epoch + Duration::from_millis(number.unsigned_abs());
        let running = (0..RUNNING).map(|number| (format!("running-{number:04}"), at(number + 1)));
        let running: Vec<_> = running.collect();
        create_all(&store, running.iter().map(|(id, at)| new(id, Status::Running, *at))).await;
        let pending = (0..PENDING).map(|number| new(&format!("late-{number:04}"), Status::Pending, at(2_000)));
        let pending = pending.chain(["paused", "known"].map(|id| new(id, Status::Pending, at(2_000))));
        // The oldest of all, which fails each time.
        create_all(&store, pending.chain([new("forgotten", Status::Running, at(0))])).await;
        let paused = store.control(TENANT, "paused", Control::Pause, at(3_000), None).await.unwrap();
        assert!(matches!(paused, Controlled::Accepted(_)));
        let ended = Standing::Ended { end: EngineEnd::Succeeded(Value::Null), at: at(4_000) };
        let mut standings: BTreeMap<String, Standing> =
            running.iter().map(|(id, _)| (id.clone(), Standing::Running)).collect();
        let newest = running.iter().rev().map(|(id, _)| id.clone()).take(ENDED as usize - 1);
        standings.extend(newest.chain(["known".to_owned()]).map(|id| (id, ended.clone())));
        let engine = Arc::new(StandIn {
            clock: Arc::clone(&clock),
            standings: Mutex::new(standings),
            asked: Mutex::default(),
            started: Mutex::default(),
        });
        let engines = Engines::new(vec![engine.clone()]);

        clock::sleep(&*clock, Duration::from_secs(120)).await;
        let mut all = Reconciled::default();
        let mut rounds = 0;
        while all.ended < ENDED {
            let began = clock.now();
            let found = engine::reconcile(&store, &store, &engines, &*clock).await.unwrap();
            rounds += 1;
            if rounds == 1 {
                let started: BTreeSet<String> =
                    engine.started.lock().unwrap().iter().map(|(_, id)| id.clone()).collect();
                assert_eq!(started.len(), PENDING as usize + 2, "each of them");
                assert!(started.contains("paused"), "whatever its status is");
                assert_eq!((found.started, found.failed), (PENDING + 1, 1), "what was forgotten is not started again");
                assert_eq!(engine.asked.lock().unwrap().len(), 288, "what runs has its turn all the same");
            }
            let took = clock.now().duration_since(began);
            assert!(took.as_secs() < 60, "{took}: the next one begins after a minute");
            all.started += found.started;
            all.ended += found.ended;
            assert!(rounds <= 5, "{all:?} after {rounds} rounds");
            clock::sleep(&*clock, clock::until(&*clock, began + Duration::from_secs(60))).await;
        }
        println!("{RUNNING} open executions took {rounds} rounds");
        assert_eq!(all.started, PENDING + 1, "once");
        assert_eq!(engine.started.lock().unwrap().len(), PENDING as usize + 2, "once");
        for (told, most) in [(&engine.asked, LOOKS_AT_ONCE), (&engine.started, STARTS_AT_ONCE)] {
            let mut at_once = BTreeMap::<Timestamp, usize>::new();
            for (at, _) in told.lock().unwrap().iter() {
                *at_once.entry(*at).or_default() += 1;
            }
            assert!(at_once.values().all(|told| *told <= most), "{at_once:?}");
        }
    });
}

/// Minutes in which an execution is looked at that its engine does not know, until it is terminated.
const FORGOTTEN_MINUTES: [i64; 8] = [1, 3, 7, 15, 31, 63, 124, 185];

/// Looks at such an execution once a minute, terminates it, and looks again.
async fn forget(
    store: impl Executions + History + Audit + EndRecorder + Backups + Erasures + Clone + 'static,
    clock: SharedClock,
) {
    let store = Arc::new(store);
    store.create(new("forgotten", Status::Pending, clock.now())).await.unwrap();
    let begun = DueExecution { tenant_id: TENANT.to_owned(), id: "forgotten".to_owned(), has_begun: true };
    store.put_off(&begun, clock.now()).await.unwrap();
    let engine = Arc::new(StandIn {
        clock: Arc::clone(&clock),
        standings: Mutex::default(),
        asked: Mutex::default(),
        started: Mutex::default(),
    });
    let engines = Engines::new(vec![engine.clone()]);
    let (began, first_instant) = (clock.now(), clock.instant());
    let look = async |minutes: std::ops::Range<i64>| {
        let mut failed = 0;
        for minute in minutes {
            let at = first_instant + Duration::from_secs(60 * minute.unsigned_abs() + 1);
            clock::sleep_until(&*clock, at).await;
            failed += engine::reconcile(&*store, &*store, &engines, &*clock).await.unwrap().failed;
        }
        let asked = std::mem::take(&mut *engine.asked.lock().unwrap()).into_iter();
        let minutes: Vec<i64> = asked.map(|(at, _)| at.duration_since(began).as_secs() / 60).collect();
        assert_eq!(failed as usize, minutes.len(), "each is told by the alarm");
        minutes
    };
    assert_eq!(look(1..200).await, FORGOTTEN_MINUTES);

    let folder = tempfile::tempdir().unwrap();
    let api = Api {
        executions: store.clone(),
        history: store.clone(),
        audit: store.clone(),
        engines: engines.clone(),
        clock: Arc::clone(&clock),
        access: Access::Open,
        request_timeout: Duration::from_secs(28),
        longest_wait: Duration::from_secs(3),
        streaming: Streaming::Unsupported,
    };
    let blobs = Arc::new(FileBlobs::open(folder.path()).await.unwrap());
    let starting = Starting {
        api,
        engine: EngineKind::StepFunctions,
        blobs,
        default_timeout: Duration::from_secs(300),
        durations: Arc::default(),
        backups: store.clone(),
        erasures: store.clone(),
    };
    let routes = api::terminate_workflow::route().with_state(Operating { starting, ends: store.clone() });
    let routes = api::complete(routes, Arc::clone(&clock), Duration::from_secs(28), None);
    let terminate = Request::post("/api/v1/workflows/forgotten/terminate").header("x-tenant-id", TENANT);
    let answer = routes.oneshot(terminate.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    assert_eq!(store.get(TENANT, "forgotten").await.unwrap().unwrap().status, Status::Terminated);
    assert_eq!(look(200..270).await, [] as [i64; 0], "it has ended");
}

/// Whatever became of it at its engine, looking for it costs little, until somebody terminates it.
#[test]
fn what_its_engine_does_not_know_is_looked_at_ever_more_seldom_until_it_is_terminated() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let clock: SharedClock = Arc::new(VirtualClock::new(conformance::epoch()));
        let file = folder.path().join("store.db");
        let store = SqlStore::open(&file, Durability::Process, Arc::clone(&clock)).await.unwrap();
        forget(store, clock).await;
    });
    let Some(endpoint) = peers::dynamodb() else { return };
    run(async {
        let client = peers::dynamodb_client(endpoint);
        store_aws::create_table(&client, "forgotten").await.unwrap();
        let clock: SharedClock = Arc::new(VirtualClock::new(conformance::epoch()));
        forget(DynamoStore::new(|| client, "forgotten", Arc::clone(&clock)), clock).await;
    });
}

/// What a tenant's feed asks for does not grow with what is open.
#[test]
fn a_feed_asks_little_however_many_are_open() {
    let Some(endpoint) = peers::dynamodb() else { return };
    run(async {
        let proxy = Proxy::start(endpoint).await;
        let client = peers::dynamodb_client(&proxy.endpoint());
        store_aws::create_table(&client, "feed").await.unwrap();
        let epoch = conformance::epoch();
        let store = DynamoStore::new(|| client, "feed", Arc::new(VirtualClock::new(epoch)));
        let create = async |numbers: std::ops::Range<i64>| {
            let at = |number: i64| epoch + Duration::from_millis(number.unsigned_abs());
            create_all(&store, numbers.map(|number| new(&format!("e-{number}"), Status::Pending, at(number)))).await;
            proxy.take();
            let page = store.tenant_events(TENANT, &[], None, 20).await.unwrap();
            let requests: Vec<String> =
                proxy.take().iter().map(|seen| seen.target.rsplit('.').next().unwrap().to_owned()).collect();
            let count = |operation: &str| requests.iter().filter(|request| *request == operation).count();
            (page.rows.len(), page.total, count("Query"), count("BatchGetItem"), requests.len())
        };
        assert_eq!(create(0..100).await, (20, 100, 6, 2, 8), "events in four shards, totals, and once the open ones");
        assert_eq!(create(100..140).await, (20, 140, 5, 1, 6), "too many to be asked for");
    });
}

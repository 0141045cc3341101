//! Executions side by side, and whatever may come in between, at random: faults of the services, cancels, pauses, starts
//! sent twice, a clock that is set. In virtual time; a seed repeats a world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::responses::StatusResponse;
use contracts::{Status, Timestamp};
use futures::future::join_all;
use http::StatusCode;
use reference_services::{Fault, FaultRule};
use serde_json::{Value, json};

use crate::fault_matrix::faults;
use crate::interpreter::dice::Dice;
use crate::invariants::{self, Ended};
use crate::subjects::{self, CallSite, Subject};
use crate::world::{ControlAction, Script, TENANT, World, in_parallel, run};

const SEED: u64 = 20_260_101;
/// How many, unless `SIMULATED` says otherwise, as `cargo xtask prove` does.
const EXECUTIONS: usize = 6_000;
const PER_WORLD: usize = 20;
/// Executions of a world start, and its clock is set, within so many seconds.
const SPAN: usize = 600;
/// Nothing may take longer.
const PATIENCE: Duration = Duration::from_secs(90 * 24 * 3_600);

/// What one user does with one execution.
struct User {
    number: usize,
    subject: &'static Subject,
    starts_after: Duration,
    request: Value,
    /// How often the start is sent, all at the same time.
    starts: usize,
    /// What is done then, each so long after the one before.
    actions: Vec<(Duration, ControlAction)>,
    /// Whether all reads of the history are compared.
    is_watched: bool,
}

pub(crate) fn seconds(dice: &mut Dice, below: usize) -> Duration {
    // Often hardly any time, or all would happen between the steps.
    let below = if dice.below(2) == 0 { 3 } else { below };
    Duration::from_millis(dice.below(below * 1_000) as u64)
}

async fn user(world: &World, dice: &mut Dice, number: usize) -> User {
    let subject = *dice.one_of(&subjects::SIDE_BY_SIDE);
    let mut request = world.prepare(subject, number).await;
    for option in request.as_object_mut().unwrap().values_mut().filter(|value| value.is_boolean()) {
        *option = json!(dice.below(4) > 0);
    }
    let mut actions = Vec::new();
    for _ in 0..*dice.one_of(&[0, 0, 0, 1, 1, 2]) {
        let after = seconds(dice, 120);
        match dice.below(3) {
            0 => {
                actions.push((after, ControlAction::Pause));
                actions.push((seconds(dice, 4_000), ControlAction::Resume));
            }
            _ => actions.push((after, ControlAction::Cancel)),
        }
    }
    User {
        number,
        subject,
        starts_after: seconds(dice, SPAN),
        request,
        starts: *dice.one_of(&[1, 1, 2, 5]),
        actions,
        is_watched: dice.below(4) == 0,
    }
}

/// The call sites of all workflows.
fn sites() -> Vec<CallSite> {
    subjects::SIDE_BY_SIDE.into_iter().flat_map(|subject| subject.sites).copied().collect()
}

/// Faults of some of these calls; all of them take some time.
pub(crate) fn rules(dice: &mut Dice, sites: &[CallSite]) -> BTreeMap<String, Vec<FaultRule>> {
    let mut rules = BTreeMap::<String, Vec<FaultRule>>::new();
    for _ in 0..dice.below(8) {
        let site = dice.one_of(sites);
        let (_, fault) = dice.one_of(&faults()).clone();
        let times = *dice.one_of(&[Some(1), Some(1), Some(2), Some(4), Some(20), None]);
        for (service, of_site) in site.faulty(fault, times) {
            let skip = dice.below(PER_WORLD) as u64;
            rules.entry(service).or_default().extend(of_site.into_iter().map(|rule| FaultRule { skip, ..rule }));
        }
    }
    // Otherwise calls take no time, and nothing would come in between.
    for site in sites {
        for (service, slow) in site.faulty(Fault::Delay { delay_ms: dice.below(8_000) as u64 }, None) {
            rules.entry(service).or_default().extend(slow);
        }
    }
    rules
}

impl User {
    /// Starts, interferes, and waits for the end.
    async fn act(self, world: &World) -> Result<StatusResponse, String> {
        clock::sleep(&*world.clock, self.starts_after).await;
        let key = format!("key-{}", self.number);
        let start =
            || async { world.post(self.subject.path, &self.request, &[("idempotency-key", key.as_str())]).await };
        let answers = join_all((0..self.starts).map(|_| start())).await;
        let ids: Vec<&Value> = answers.iter().map(|(_, body)| &body["workflow_id"]).collect();
        // A repetition may come when it has ended.
        let is_accepted = |status: &StatusCode| [StatusCode::ACCEPTED, StatusCode::OK].contains(status);
        if answers.iter().any(|(status, _)| !is_accepted(status)) || ids.iter().any(|id| *id != ids[0]) {
            return Err(format!("one start for all: {answers:?}"));
        }
        let id = ids[0].as_str().unwrap_or_default();
        let mut is_cancelled = false;
        for (after, action) in &self.actions {
            clock::sleep(&*world.clock, *after).await;
            match action {
                ControlAction::Cancel => is_cancelled |= world.cancel(id).await.is_ok(),
                action => action.carry_out(&world.app.store, TENANT, id, world.clock.now()).await,
            }
        }
        let status = match self.is_watched {
            true => world.until_ended(id).await,
            false => self.until_ended(world, id).await?,
        };
        // A failure may come first; success may not.
        if is_cancelled && status.status == Status::Completed {
            return Err(format!("{id}: the cancel was accepted, and it is {}", status.status));
        }
        Ok(status)
    }

    async fn until_ended(&self, world: &World, id: &str) -> Result<StatusResponse, String> {
        let (mut pause, mut waited) = (Duration::from_secs(1), Duration::ZERO);
        while waited < PATIENCE {
            let status = world.status(id).await;
            if !status.status.is_open() {
                return Ok(status);
            }
            clock::sleep(&*world.clock, pause).await;
            waited += pause;
            pause *= 2;
        }
        Err(format!("{id} does not end"))
    }
}

/// Sets the clock, forward or back.
async fn set_clock(world: &World, jumps: Vec<(Duration, i64)>) {
    for (after, seconds) in jumps {
        clock::sleep(&*world.clock, after).await;
        let micros = world.clock.now().as_microsecond() + seconds * 1_000_000;
        world.virtual_clock.jump_to(Timestamp::from_microsecond(micros).unwrap());
    }
}

/// One world; how its executions ended.
async fn simulate(seed: u64, executions: usize) -> Result<Vec<Status>, String> {
    let mut dice = Dice(seed);
    let world = Arc::new(World::with(Script::default(), &[]).await);
    let mut users = Vec::new();
    for number in 0..executions {
        users.push(user(&world, &mut dice, number).await);
    }
    let before = world.snapshot().await;
    world.faults(&rules(&mut dice, &sites()));

    let ended = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for user in users {
        let (world, ended) = (Arc::clone(&world), Arc::clone(&ended));
        tasks.push(clock::spawn(&Arc::clone(&world.clock), async move {
            let end = user.act(&world).await;
            ended.lock().unwrap().push(end);
        }));
    }
    let jump = |_| (seconds(&mut dice, SPAN), *dice.one_of(&[1, 30, 600, 7_200, -1, -30, -600]));
    let jumps: Vec<(Duration, i64)> = (0..3).map(jump).collect();
    let in_world = Arc::clone(&world);
    tasks.push(clock::spawn(&world.clock, async move { set_clock(&in_world, jumps).await }));
    for task in tasks {
        clock::park(&*world.clock, task).await.map_err(|panic| panic.to_string())?;
    }
    world.faults(&BTreeMap::new());
    clock::sleep(&*world.clock, world.settling_time).await;

    let ended = std::mem::take(&mut *ended.lock().unwrap()).into_iter().collect::<Result<Vec<StatusResponse>, _>>()?;
    let ledger = world.ledger().await;
    invariants::one_effect(&ledger)?;
    for status in &ended {
        let again = world.status(&status.workflow_id).await;
        if *status != again {
            return Err(format!("I3: {status:?} became {again:?}"));
        }
        invariants::history_is_true(&world, status, &ledger).await?;
    }
    let ids: Vec<&str> = ended.iter().map(|status| status.workflow_id.as_str()).collect();
    invariants::calls_are_bounded(&world, &ids)?;
    let statuses: Vec<Status> = ended.iter().map(|status| status.status).collect();
    let ended = join_all(ended.into_iter().map(|status| Ended::of(&world, status))).await;
    invariants::no_residue(&ended, &before, &world.snapshot().await)?;
    let total = world.get("/api/v1/workflows").await.1["total_count"].clone();
    if total != executions {
        return Err(format!("{total} executions for {executions} keys"));
    }
    Ok(statuses)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn whatever_comes_in_between_the_invariants_hold() {
    let executions = std::env::var("SIMULATED").ok().and_then(|count| count.parse().ok()).unwrap_or(EXECUTIONS);
    println!("seeds from {SEED}, {executions} executions");
    let (counts, wrong) = (Mutex::new(BTreeMap::<String, usize>::new()), Mutex::new(Vec::new()));
    in_parallel(executions.div_ceil(PER_WORLD), |number| {
        let seed = SEED + number as u64;
        match run(simulate(seed, PER_WORLD)) {
            Ok(ended) => {
                let mut counts = counts.lock().unwrap();
                ended.iter().for_each(|status| *counts.entry(status.to_string()).or_default() += 1);
            }
            Err(violation) => wrong.lock().unwrap().push(format!("seed {seed}: {violation}")),
        }
    });
    let (counts, wrong) = (counts.into_inner().unwrap(), wrong.into_inner().unwrap());
    println!("{counts:?}, {} violations", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let statuses = [Status::Completed, Status::Failed, Status::Cancelled, Status::TimedOut];
    let rare =
        statuses.iter().filter(|status| counts.get(status.as_str()).is_none_or(|count| *count < executions / 200));
    let rare: Vec<&Status> = rare.collect();
    assert!(rare.is_empty(), "hardly any ended {rare:?}");
}

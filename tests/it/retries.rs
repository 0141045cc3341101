//! Retries: of what was stopped, failed or was undone, at every step of every workflow, and of retries themselves.
//!
//! An execution ends in some way without completing. Then it is retried until it completes, or what it left is undone.
//! Completed means that everything is there once; undone means that everything is as it was before the first execution.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use contracts::Status;
use contracts::responses::{RetryResponse, StatusResponse, TerminateResponse};
use http::StatusCode;
use reference_services::Fault;
use serde_json::{Value, json};

use crate::fault_matrix::{self, Faulty};
use crate::invariants;
use crate::subjects::{self, CallSite, Subject};
use crate::world::{Script, Site, World, in_parallel, run};

/// How the first execution ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends {
    /// It is terminated while a service takes its time with this call, before or after the effect.
    Terminated { at: &'static str, after_effect: bool },
    /// This call is refused for good, and everything is undone.
    Refused { at: &'static str },
    /// The last step before the pivot fails, and this undoing is answered by 503 each time, before or after its effect.
    Residue { undo: &'static str, after_effect: bool },
}

/// What is done with it then.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    /// It is retried, and completes.
    Retry,
    /// What may stand is undone.
    Undo,
    /// It is retried; this call is refused for good, so that everything is undone. That is retried again, and completes.
    FailAt(&'static str),
    /// It is retried; that is terminated at this call. That is undone.
    TerminateAt(&'static str),
}

/// A story of executions that retry each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story {
    pub(crate) subject: &'static Subject,
    pub(crate) ends: Ends,
    pub(crate) then: Then,
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?}, then {:?}", self.subject.name(), self.ends, self.then)
    }
}

impl Story {
    /// What happens in it, but for where.
    fn kind(&self) -> String {
        let ends = match self.ends {
            Ends::Terminated { .. } => "terminated",
            Ends::Refused { .. } => "refused",
            Ends::Residue { .. } => "residue",
        };
        let then = match self.then {
            Then::Retry => "retried",
            Then::Undo => "undone",
            Then::FailAt(_) => "failed again",
            Then::TerminateAt(_) => "terminated again",
        };
        format!("{} {ends} {then}", self.subject.name())
    }
}

/// Every story: each way to end at each call, with each way to go on.
fn all() -> Vec<Story> {
    subjects::ALL.into_iter().flat_map(of_subject).collect()
}

/// A story of each kind for each workflow, at different calls; or all of them.
pub(crate) fn selected(is_full: bool) -> Vec<Story> {
    if is_full {
        return all();
    }
    let mut kinds = BTreeMap::<String, Vec<Story>>::new();
    for story in all() {
        kinds.entry(story.kind()).or_default().push(story);
    }
    // The first of each kind would always be at the first call.
    kinds.into_values().enumerate().map(|(number, stories)| stories[(3 * number + 2) % stories.len()]).collect()
}

fn of_subject(subject: &'static Subject) -> Vec<Story> {
    let forward = || subject.sites.iter().filter(|site| !site.is_undo).map(|site| site.name);
    let undos =
        || subject.sites.iter().filter(|site| site.is_undo && !is_of_pivot(subject, site)).map(|site| site.name);
    let both = [false, true];
    let terminated = forward().flat_map(|at| both.map(|after_effect| Ends::Terminated { at, after_effect }));
    let refused = failing_calls(subject).map(|at| Ends::Refused { at });
    let residue = undos().flat_map(|undo| both.map(|after_effect| Ends::Residue { undo, after_effect }));
    let ends: Vec<Ends> = terminated.chain(refused).chain(residue).collect();
    let last = failing_calls(subject).next_back().unwrap();
    let mut stories = Vec::new();
    for ends in ends {
        let mut thens = vec![Then::Retry];
        if !matches!(ends, Ends::Refused { .. }) {
            thens.push(Then::Undo);
        }
        thens.extend([Then::FailAt(last), Then::TerminateAt(last)]);
        stories.extend(thens.into_iter().map(|then| Story { subject, ends, then }));
    }
    stories
}

/// The calls whose failure fails the execution.
fn failing_calls(subject: &'static Subject) -> impl DoubleEndedIterator<Item = &'static str> {
    let failing = |site: &&CallSite| !site.is_undo && !subject.is_tolerated(step_of(site.name));
    subject.sites.iter().filter(failing).map(|site| site.name)
}

/// The step that makes a call.
fn step_of(site: &str) -> &str {
    site.split('/').next().unwrap_or(site)
}

/// Whether it undoes the last step, which a failure before it does not reach.
fn is_of_pivot(subject: &Subject, site: &CallSite) -> bool {
    let undone = site.name.strip_prefix("Undo").unwrap_or(site.name);
    subject.final_steps.contains(&undone)
}

const REFUSED: Fault = Fault::Status { status: 400, retry_after_seconds: None };

/// How long a call takes that is terminated meanwhile, and how long after the start that happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) slow: Duration,
    pub(crate) poll: Duration,
}

/// Plays a story. `completed` is what the services hold after an execution that completes at once, in rows.
pub(crate) async fn play(site: &Site, story: Story, completed: &Value, pace: Pace) -> Result<(), String> {
    let subject = story.subject;
    let request = site.prepare(subject, 0).await;
    let before = site.snapshot().await;
    let first = end(site, story, &request, pace).await?;
    let undone = |id: String| async move { as_before(site, &id, &before).await };
    match story.then {
        Then::Retry => completes(site, &first, completed).await,
        Then::Undo => match standing(site, &first).await {
            true => undone(undo(site, &first).await?).await,
            false => undone(first).await,
        },
        Then::FailAt(at) => {
            set(site, subject, at, REFUSED, None);
            let failed = retry(site, &first, false).await?;
            let status = site.until_ended(&failed).await;
            site.faults(&BTreeMap::new());
            match status.status {
                // The step was done before, so that the service was not asked.
                Status::Completed => rows_are(site, completed).await,
                Status::Failed => {
                    let left = status.failure.is_some_and(|failure| !failure.residue.is_empty());
                    if !left {
                        undone(failed.clone()).await?;
                    }
                    completes(site, &failed, completed).await
                }
                other => Err(format!("the retry is {other}")),
            }
        }
        Then::TerminateAt(at) => {
            set(site, subject, at, slow(true, pace), None);
            let stopped = retry(site, &first, false).await?;
            let ended = terminate_when_at(site, &stopped, step_of(at), pace).await?;
            site.faults(&BTreeMap::new());
            match ended.status {
                Status::Completed => rows_are(site, completed).await,
                _ if standing(site, &stopped).await => undone(undo(site, &stopped).await?).await,
                _ => undone(stopped).await,
            }
        }
    }
}

fn slow(after_effect: bool, pace: Pace) -> Fault {
    let delay_ms = pace.slow.as_millis() as u64;
    if after_effect { Fault::Delay { delay_ms } } else { Fault::DelayBeforeEffect { delay_ms } }
}

fn set(site: &Site, subject: &Subject, at: &str, fault: Fault, times: Option<u64>) {
    site.faults(&subject.site(at).faulty(fault, times));
}

/// Lets an execution end as the story says; its id.
async fn end(site: &Site, story: Story, request: &Value, pace: Pace) -> Result<String, String> {
    let subject = story.subject;
    match story.ends {
        Ends::Terminated { at, after_effect } => {
            set(site, subject, at, slow(after_effect, pace), None);
            let id = site.start_of(subject, request).await;
            let ended = terminate_when_at(site, &id, step_of(at), pace).await?;
            site.faults(&BTreeMap::new());
            if ended.status == Status::Terminated { Ok(id) } else { Err(format!("it is {}", ended.status)) }
        }
        Ends::Refused { at } => {
            set(site, subject, at, REFUSED, None);
            let id = site.start_of(subject, request).await;
            failed(site, id, false).await
        }
        Ends::Residue { undo, after_effect } => {
            let fault = match after_effect {
                true => Fault::StatusAfterEffect { status: 503 },
                false => Fault::Status { status: 503, retry_after_seconds: None },
            };
            let mut faults = subject.site(undo).faulty(fault, None);
            for (service, rules) in subject.site(subject.last_before_pivot).faulty(slow(true, pace), None) {
                faults.entry(service).or_default().extend(rules);
            }
            site.faults(&faults);
            let id = site.start_of(subject, request).await;
            until_at(site, &id, subject.last_before_pivot, pace).await;
            site.cancel(&id).await.map_err(|refused| refused.to_string())?;
            failed(site, id, true).await
        }
    }
}

/// Waits until an execution has failed, and has left something or not; its id.
async fn failed(site: &Site, id: String, is_left: bool) -> Result<String, String> {
    let status = site.until_ended(&id).await;
    site.faults(&BTreeMap::new());
    let left = status.failure.as_ref().map(|failure| failure.residue.len());
    match (status.status, left) {
        (Status::Failed, Some(left)) if (left > 0) == is_left => Ok(id),
        other => Err(format!("expected a failure that leaves something: {is_left}, got {other:?}")),
    }
}

/// Terminates an execution while this step is under way; how it ended. One that ends by itself is left alone.
async fn terminate_when_at(site: &Site, id: &str, step: &str, pace: Pace) -> Result<StatusResponse, String> {
    let status = until_at(site, id, step, pace).await;
    if !status.status.is_open() {
        return Ok(status);
    }
    let (status, body) = site.post(&format!("/api/v1/workflows/{id}/terminate"), &json!({}), &[]).await;
    match status {
        StatusCode::OK => drop(serde_json::from_value::<TerminateResponse>(body).map_err(|error| error.to_string())?),
        StatusCode::CONFLICT => {}
        other => return Err(format!("{other}: {body}")),
    }
    // What was on its way arrives, and counts for nothing.
    clock::sleep(&*site.clock, pace.slow + pace.poll).await;
    Ok(site.status(id).await)
}

/// Waits until this step is under way, or the execution has ended.
async fn until_at(site: &Site, id: &str, step: &str, pace: Pace) -> StatusResponse {
    loop {
        let status = site.status(id).await;
        let is_there = status.progress.as_ref().is_some_and(|progress| progress.current_step == step);
        // The call is on its way a moment later.
        clock::sleep(&*site.clock, pace.poll).await;
        if is_there || !status.status.is_open() {
            return status;
        }
    }
}

/// Whether anything of it may still stand, as the API says.
async fn standing(site: &Site, id: &str) -> bool {
    let (status, body) = site.post(&format!("/api/v1/workflows/{id}/retry"), &json!({ "undo": true }), &[]).await;
    assert!([StatusCode::ACCEPTED, StatusCode::CONFLICT].contains(&status), "{body}");
    status == StatusCode::ACCEPTED
}

/// Retries it, and once more at once, which is the same retry.
async fn retry(site: &Site, id: &str, undoes: bool) -> Result<String, String> {
    let path = format!("/api/v1/workflows/{id}/retry");
    let body = if undoes { json!({ "undo": true }) } else { json!({}) };
    let mut retries = Vec::new();
    for _ in 0..2 {
        let (status, answer) = site.post(&path, &body, &[]).await;
        if status != StatusCode::ACCEPTED {
            return Err(format!("{status}: {answer}"));
        }
        let answer: RetryResponse = serde_json::from_value(answer).map_err(|error| error.to_string())?;
        retries.push(answer.new_workflow_id);
    }
    let (other, _) = site.post(&path, &json!({ "undo": !undoes }), &[]).await;
    let linked = site.status(id).await.retried_as;
    match other == StatusCode::CONFLICT && retries[0] == retries[1] && linked.as_ref() == Some(&retries[0]) {
        true => Ok(retries.swap_remove(0)),
        false => Err(format!("it is retried twice: {retries:?}, {linked:?}, {other}")),
    }
}

async fn undo(site: &Site, id: &str) -> Result<String, String> {
    let undone = retry(site, id, true).await?;
    let status = site.until_ended(&undone).await;
    match status.status {
        Status::Cancelled if standing(site, &undone).await => Err("what was undone still stands".to_owned()),
        Status::Cancelled => Ok(undone),
        other => Err(format!("undoing it ended {other}: {:?}", status.error)),
    }
}

async fn completes(site: &Site, id: &str, completed: &Value) -> Result<(), String> {
    let retried = retry(site, id, false).await?;
    let status = site.until_ended(&retried).await;
    if status.status != Status::Completed || status.retried_from.as_deref() != Some(id) {
        return Err(format!("the retry is {}: {:?}", status.status, status.error));
    }
    rows_are(site, completed).await
}

async fn rows_are(site: &Site, completed: &Value) -> Result<(), String> {
    clock::sleep(&*site.clock, site.settling_time).await;
    invariants::one_effect(&site.ledger().await)?;
    let now = rows(&site.snapshot().await);
    if now == *completed { Ok(()) } else { Err(format!("there are {now}, not {completed}")) }
}

async fn as_before(site: &Site, id: &str, before: &Value) -> Result<(), String> {
    clock::sleep(&*site.clock, site.settling_time).await;
    invariants::one_effect(&site.ledger().await)?;
    let mut now = site.snapshot().await;
    // A mail cannot be taken back.
    now["notifications"] = before["notifications"].clone();
    if now == *before { Ok(()) } else { Err(format!("{id} left {now}, before it was {before}")) }
}

/// How many rows each table of each service has.
fn rows(snapshot: &Value) -> Value {
    let services = snapshot.as_object().into_iter().flatten();
    let count = |rows: &Value| json!(rows.as_array().map_or(0, Vec::len));
    let tables = |tables: &Value| -> Value {
        tables.as_object().into_iter().flatten().map(|(name, rows)| (name.clone(), count(rows))).collect()
    };
    services.map(|(service, of)| (service.clone(), tables(of))).collect()
}

/// What the services hold after an execution that completes at once.
async fn completed_at_once(site: &Site, subject: &Subject) -> Value {
    let request = site.prepare(subject, 0).await;
    let id = site.start_of(subject, &request).await;
    assert_eq!(site.until_ended(&id).await.status, Status::Completed);
    rows(&site.snapshot().await)
}

/// Where time is real.
pub(crate) const REAL_PACE: Pace = Pace { slow: Duration::from_secs(6), poll: Duration::from_millis(1_500) };

/// What the services hold after an execution of each workflow that completes at once.
pub(crate) fn completed() -> BTreeMap<String, Value> {
    let of = |subject: &'static Subject| run(async move { completed_at_once(&*World::new().await, subject).await });
    subjects::ALL.into_iter().map(|subject| (subject.name(), of(subject))).collect()
}

#[test]
fn whatever_did_not_complete_can_be_retried_or_undone() {
    let pace = Pace { slow: Duration::from_secs(5), poll: Duration::from_millis(100) };
    let completed = completed();
    let (stories, wrong) = (all(), Mutex::new(Vec::new()));
    in_parallel(stories.len(), |number| {
        let story = stories[number];
        let played = run(async { play(&*World::new().await, story, &completed[&story.subject.name()], pace).await });
        if let Err(why) = played {
            wrong.lock().unwrap().push(format!("{story}: {why}"));
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} of {} stories of retries end well", stories.len() - wrong.len(), stories.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An execution is undone, its retry meets a fault, and however that ended, the retry of the retry completes.
async fn meets(site: &Site, faulty: &Faulty, completed: &Value, pace: Pace) -> Result<(), String> {
    let subject = faulty.subject;
    let request = site.prepare(subject, 0).await;
    let last = failing_calls(subject).next_back().unwrap();
    let story = Story { subject, ends: Ends::Refused { at: last }, then: Then::Retry };
    let first = end(site, story, &request, pace).await?;
    let mut faults = faulty.site.faulty(faulty.fault.clone(), faulty.times);
    if faulty.site.is_undo {
        for (service, rules) in subject.site(last).faulty(REFUSED, None) {
            faults.entry(service).or_default().extend(rules);
        }
    }
    site.faults(&faults);
    let retried = retry(site, &first, false).await?;
    let status = site.until_ended(&retried).await;
    site.faults(&BTreeMap::new());
    match status.status {
        Status::Completed => rows_are(site, completed).await,
        Status::Failed => completes(site, &retried, completed).await,
        other => Err(format!("the retry is {other}: {:?}", status.error)),
    }
}

/// A sample of the faults at the call sites, which has each fault and each site; all of them with `RETRY_FAULTS=all`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn every_fault_that_a_retry_meets_is_got_over_by_the_next_one() {
    let pace = Pace { slow: Duration::from_secs(5), poll: Duration::from_millis(100) };
    let completed = completed();
    let all = std::env::var("RETRY_FAULTS").is_ok_and(|faults| faults == "all");
    // A step whose failure is tolerated may be missing at the end, and what a job does is not undone.
    let is_other = |cell: &Faulty| cell.subject.is_tolerated(step_of(cell.site.name)) || cell.subject.is_job();
    let cells = [Some(1), None].into_iter().flat_map(fault_matrix::every_fault).filter(|cell| !is_other(cell));
    let cells: Vec<Faulty> = cells.step_by(if all { 1 } else { 7 }).collect();
    let wrong = Mutex::new(Vec::new());
    in_parallel(cells.len(), |number| {
        let cell = &cells[number];
        let met = run(async {
            // Long enough that the deadline is not what ends them.
            let settings = [("WORKFLOWS__DEFAULT_TIMEOUT", "1h".to_owned())];
            let world = World::with(Script::default(), &settings).await;
            meets(&world, cell, &completed[&cell.subject.name()], pace).await
        });
        if let Err(why) = met {
            wrong.lock().unwrap().push(format!("{}: {cell}: {why}", cell.subject.name()));
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} of {} retries of retries complete", cells.len() - wrong.len(), cells.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Longer than anybody waits for an answer.
const NEVER: Fault = Fault::Delay { delay_ms: 60_000 };

#[test]
fn a_retry_that_is_cancelled_while_an_answer_is_lost_leaves_nothing() {
    let pace = Pace { slow: Duration::from_secs(5), poll: Duration::from_millis(100) };
    for subject in subjects::ALL {
        let sites: Vec<&str> = failing_calls(subject).collect();
        let last = sites[sites.len() - 1];
        for at in sites.iter().filter(|at| !subject.final_steps.contains(&step_of(at))) {
            run(async {
                let world = World::new().await;
                let site: &Site = &world;
                let request = site.prepare(subject, 0).await;
                let before = site.snapshot().await;
                let story = Story { subject, ends: Ends::Refused { at: last }, then: Then::Retry };
                let first = end(site, story, &request, pace).await.unwrap();
                set(site, subject, at, NEVER, None);
                let retried = retry(site, &first, false).await.unwrap();
                until_at(site, &retried, step_of(at), pace).await;
                site.cancel(&retried).await.unwrap();
                let status = site.until_ended(&retried).await;
                site.faults(&BTreeMap::new());
                assert_eq!(status.status, Status::Cancelled, "{at}: {:?}", status.error);
                as_before(site, &retried, &before).await.unwrap();
            });
        }
    }
}

/// Cancels an execution at its last step before the pivot while a fault holds up its undoing at one call, until that has
/// failed once; its id.
async fn undoing_fails(site: &Site, subject: &Subject, undo: &str, fault: Fault, pace: Pace) -> String {
    let request = site.prepare(subject, 0).await;
    let mut faults = subject.site(undo).faulty(fault, None);
    for (service, rules) in subject.site(subject.last_before_pivot).faulty(slow(true, pace), None) {
        faults.entry(service).or_default().extend(rules);
    }
    site.faults(&faults);
    let id = site.start_of(subject, &request).await;
    until_at(site, &id, subject.last_before_pivot, pace).await;
    site.cancel(&id).await.unwrap();
    loop {
        let events = site.history(&id).await.events;
        if events.iter().any(|row| row.event.event_type == "CompensationFailed") {
            return id;
        }
        clock::sleep(&*site.clock, pace.poll).await;
    }
}

/// The undoing of the first step, which is the last one.
fn last_undo(subject: &'static Subject) -> &'static str {
    subject.sites.iter().rev().find(|site| site.is_undo).map(|site| site.name).unwrap()
}

#[test]
fn an_undoing_that_arrives_late_takes_nothing_away_from_a_retry() {
    let pace = Pace { slow: Duration::from_secs(5), poll: Duration::from_millis(10) };
    for subject in subjects::ALL {
        let completed = run(async { completed_at_once(&*World::new().await, subject).await });
        let undos = subject.sites.iter().filter(|site| site.is_undo && !is_of_pivot(subject, site));
        for undo in undos.map(|site| site.name) {
            run(async {
                let world = World::new().await;
                let late = Fault::LateDelivery { delay_ms: 5_000 };
                let first = undoing_fails(&world, subject, undo, late, pace).await;
                let (status, body) = world.post(&format!("/api/v1/workflows/{first}/terminate"), &json!({}), &[]).await;
                assert_eq!(status, StatusCode::OK, "{body}");
                world.faults(&BTreeMap::new());
                completes(&world, &first, &completed).await.unwrap_or_else(|why| panic!("{undo}: {why}"));
                clock::sleep(&*world.clock, Duration::from_secs(10)).await;
                rows_are(&world, &completed).await.unwrap_or_else(|why| panic!("{undo}, later: {why}"));
            });
        }
    }
}

#[test]
fn what_a_service_refuses_to_undo_is_what_a_retry_goes_on_from() {
    let pace = Pace { slow: Duration::from_secs(5), poll: Duration::from_millis(10) };
    for subject in subjects::ALL {
        let completed = run(async { completed_at_once(&*World::new().await, subject).await });
        run(async {
            let (world, undo) = (World::new().await, last_undo(subject));
            let conflict = Fault::Status { status: 409, retry_after_seconds: None };
            let first = undoing_fails(&world, subject, undo, conflict.clone(), pace).await;
            let failure = world.until_ended(&first).await.failure.unwrap();
            assert_eq!(failure.residue.len(), 1, "{failure:?}");
            world.faults(&subject.site(undo).faulty(conflict, None));
            completes(&world, &first, &completed).await.unwrap_or_else(|why| panic!("{undo}: {why}"));
        });
    }
}

#[test]
fn a_retry_that_is_paused_past_its_deadline_still_does_every_step() {
    let pace = Pace { slow: Duration::from_secs(5), poll: Duration::from_millis(100) };
    for subject in subjects::ALL {
        let completed = run(async { completed_at_once(&*World::new().await, subject).await });
        let sites: Vec<&str> = failing_calls(subject).collect();
        let last = sites[sites.len() - 1];
        for at in sites.iter().filter(|at| !subject.final_steps.contains(&step_of(at))) {
            run(async {
                let world = World::new().await;
                let request = world.prepare(subject, 0).await;
                let story = Story { subject, ends: Ends::Refused { at: last }, then: Then::Retry };
                let first = end(&world, story, &request, pace).await.unwrap();
                set(&world, subject, at, slow(true, pace), Some(1));
                let retried = retry(&world, &first, false).await.unwrap();
                until_at(&world, &retried, step_of(at), pace).await;
                for (action, wait) in [("pause", 3_600), ("resume", 0)] {
                    let path = format!("/api/v1/workflows/{retried}/{action}");
                    let (status, body) = world.post(&path, &json!({}), &[]).await;
                    assert_eq!(status, StatusCode::OK, "{at}: {body}");
                    clock::sleep(&*world.clock, Duration::from_secs(wait)).await;
                }
                assert_eq!(world.until_ended(&retried).await.status, Status::Completed, "{at}");
                rows_are(&world, &completed).await.unwrap_or_else(|why| panic!("{at}: {why}"));
            });
        }
    }
}

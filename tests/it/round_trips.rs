//! Whatever a tenant has, and whatever becomes of it: what a restore brings back is what the backup was made of. In virtual
//! time; a seed repeats a round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use contracts::Status;
use contracts::responses::StatusResponse;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};

use crate::holdings::{CONTENT, Held, Maker, dangling, held};
use crate::interpreter::dice::Dice;
use crate::invariants;
use crate::simulation;
use crate::subjects::{CROSS_SERVICE_BACKUP, CROSS_SERVICE_RESTORE, CallSite, Subject};
use crate::world::{ControlAction, TENANT, World, in_parallel, run};

const SEED: u64 = 20_260_107;
/// How many, unless `ROUND_TRIPS` says otherwise.
const ROUNDS: usize = 30;

/// What becomes of things that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConflict {
    Overwrite,
    Skip,
    Fail,
}

/// A backup, and what it holds.
struct Backup {
    id: String,
    held: Held,
}

/// What the tenant has after a restore; none if it fails because of what is there.
pub(crate) fn restored(backup: &Held, there: &Held, on_conflict: OnConflict) -> Option<Held> {
    let (mut after, mut is_refused) = (there.clone(), false);
    for (place, saved) in backup {
        let file = ("file", "file", place.2.clone());
        // With a file that stays its bytes stay, or that it has none.
        let is_kept = place.1 == CONTENT && on_conflict == OnConflict::Skip && there.contains_key(&file);
        let is_there = is_kept || there.contains_key(place);
        is_refused |= there.get(place).is_some_and(|now| now != saved);
        if on_conflict == OnConflict::Overwrite || !is_there {
            after.insert(place.clone(), saved.clone());
        }
    }
    (on_conflict != OnConflict::Fail || !is_refused).then_some(after)
}

/// What a result counts: `[created, replaced, skipped]`.
fn counts(backup: &Held, there: &Held, on_conflict: OnConflict) -> [usize; 3] {
    let things = || backup.iter().filter(|((_, name, _), _)| *name != CONTENT);
    let created = things().filter(|(place, _)| !there.contains_key(*place)).count();
    let other = things().filter(|(place, saved)| there.get(*place).is_some_and(|now| now != *saved)).count();
    let replaced = if on_conflict == OnConflict::Overwrite { other } else { 0 };
    [created, replaced, things().count() - created - replaced]
}

fn is(what: &str, actual: &Value, expected: usize) -> Result<(), String> {
    if *actual == expected { Ok(()) } else { Err(format!("{what}: {actual}, not {expected}")) }
}

/// What is not as expected, in a line for each thing.
pub(crate) fn compare(what: &str, actual: &Held, expected: &Held) -> Result<(), String> {
    let places: BTreeSet<_> = actual.keys().chain(expected.keys()).collect();
    let differ = |place: &&&_| actual.get(**place) != expected.get(**place);
    let line = |place: &_| format!("{place:?}: {:?}, not {:?}", actual.get(place), expected.get(place));
    let wrong: Vec<String> = places.iter().filter(differ).map(|place| line(place)).take(5).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{what}: {}", wrong.join("\n"))) }
}

/// Starts it, and waits for the end.
async fn end_of(site: &World, subject: &Subject, request: &Value) -> StatusResponse {
    let id = site.start_of(subject, request).await;
    site.until_ended(&id).await
}

/// Starts it. Sometimes services are so slow that what is read or written takes more than one attempt and more than one part.
async fn start_slowly(world: &World, dice: &mut Dice, subject: &Subject, request: &Value) -> String {
    let (delay_ms, times) = (dice.below(9_000) as u64, Some(20));
    let slow = |(method, route)| FaultRule { times, ..FaultRule::on(method, route, Fault::Delay { delay_ms }) };
    let calls = [
        ("GET", "/api/v1/data/{type}"),
        ("POST", "/api/v1/data/{type}/import"),
        ("GET", "/api/v1/data/file/{file_id}/content"),
        ("PUT", "/api/v1/data/file/{file_id}/content"),
    ];
    let is_slow = dice.below(3) == 0;
    for kind in ServiceKind::ALL.into_iter().filter(|_| is_slow) {
        world.services.set_faults(kind, calls.map(slow).to_vec());
    }
    world.start_of(subject, request).await
}

/// Takes a backup of some services, while things may change; none if the tenant has nothing of these.
async fn back_up(world: &World, maker: &mut Maker<'_>) -> Result<Backup, String> {
    let mut names: Vec<&str> = ServiceKind::ALL.map(ServiceKind::name).to_vec();
    let is_changing = maker.dice().below(3) == 0;
    if !is_changing && maker.dice().below(3) == 0 {
        names.retain(|_| maker.dice().below(2) == 0);
    }
    let mut request = json!({ "backup_id": "backup-1", "tenant_id": TENANT });
    if names.is_empty() {
        names = ServiceKind::ALL.map(ServiceKind::name).to_vec();
    } else {
        request["services"] = json!(names);
    }
    let id = match is_changing {
        false => start_slowly(world, maker.dice(), &CROSS_SERVICE_BACKUP, &request).await,
        true => change_during(world, maker, &request).await,
    };
    let status = world.until_ended(&id).await;
    world.faults(&BTreeMap::new());
    let result = status.result.ok_or_else(|| format!("the backup: {:?}", status.error))?;
    let mut held = held(world).await;
    held.retain(|(service, ..), _| names.contains(service));
    let things = held.keys().filter(|(_, name, _)| *name != CONTENT).count();
    is("records_backed_up", &result["records_backed_up"], things)?;
    is("dangling_references", &result["dangling_references"], dangling(&held, &names.into_iter().collect()))?;
    if result["changed_during"] == true && !is_changing {
        return Err("nothing has changed during the backup".to_owned());
    }
    Ok(Backup { id: "backup-1".to_owned(), held })
}

/// Starts a backup, and changes things while accounts, which are read last, take their time.
async fn change_during(world: &World, maker: &mut Maker<'_>, request: &Value) -> String {
    let slow =
        FaultRule { times: Some(1), ..FaultRule::on("GET", "/api/v1/data/{type}", Fault::Delay { delay_ms: 8_000 }) };
    world.services.set_faults(ServiceKind::Auth, vec![slow]);
    let (_, answer) = world.post(CROSS_SERVICE_BACKUP.path, request, &[("prefer", "wait=0")]).await;
    clock::sleep(&*world.clock, Duration::from_secs(1)).await;
    for _ in 0..1 + maker.dice().below(12) {
        maker.touch().await;
        clock::sleep(&*world.clock, Duration::from_millis(100)).await;
    }
    answer["workflow_id"].as_str().unwrap().to_owned()
}

/// Restores a backup in this way: it does what it is to do, or nothing.
async fn restore(
    world: &World,
    dice: &mut Dice,
    backup: &Backup,
    on_conflict: OnConflict,
    is_dry: bool,
) -> Result<(), String> {
    let there = held(world).await;
    let request = json!({
        "backup_id": backup.id, "tenant_id": TENANT, "on_conflict": format!("{on_conflict:?}").to_lowercase(),
        "dry_run": is_dry,
    });
    let id = start_slowly(world, dice, &CROSS_SERVICE_RESTORE, &request).await;
    let status = world.until_ended(&id).await;
    world.faults(&BTreeMap::new());
    let (now, expected) = (held(world).await, restored(&backup.held, &there, on_conflict));
    let failure = status.failure.as_ref().map(|failure| failure.error.as_str());
    let Some(expected) = expected else {
        compare("a restore that fails changes nothing", &now, &there)?;
        return match failure {
            Some("Conflict") => Ok(()),
            other => Err(format!("it is to fail because of what is there, and it is {} {other:?}", status.status)),
        };
    };
    let result = status.result.filter(|_| failure.is_none());
    let result = result.ok_or_else(|| format!("the restore: {:?}", status.error))?;
    compare("after the restore", &now, if is_dry { &there } else { &expected })?;
    let [created, replaced, skipped] = counts(&backup.held, &there, on_conflict);
    is("created", &result["created"], created)?;
    is("replaced", &result["replaced"], replaced)?;
    is("skipped", &result["skipped"], skipped)?;
    let saved = backup.held.iter().filter(|((_, name, _), _)| *name != CONTENT);
    let same = saved.filter(|(place, saved)| now.get(*place) == Some(*saved)).count();
    is("verified", &result["verified"], if is_dry { 0 } else { same })
}

/// A tenant at random, a backup of it, and restores in every way after something has happened to it.
async fn round_trip(seed: u64) -> Result<usize, String> {
    let mut dice = Dice(seed);
    let world = World::new().await;
    let others = world.services.snapshot(Some("tenant-456")).await.unwrap();
    let most = *dice.one_of(&[0, 3, 3, 8, 8, 20, 20, 40, 230]);
    let mut maker = Maker::new(&world, &mut dice);
    maker.populate(most).await;
    let backup = back_up(&world, &mut maker).await?;
    for on_conflict in [OnConflict::Fail, OnConflict::Skip, OnConflict::Overwrite] {
        maker.damage().await;
        for is_dry in [true, false] {
            let restored = restore(&world, maker.dice(), &backup, on_conflict, is_dry).await;
            restored.map_err(|why| format!("{on_conflict:?}, dry {is_dry}: {why}"))?;
        }
    }
    match world.services.snapshot(Some("tenant-456")).await.unwrap() == others {
        true => Ok(backup.held.len()),
        false => Err("another tenant's things have changed".to_owned()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
pub(crate) fn rounds() -> usize {
    std::env::var("ROUND_TRIPS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

/// Does this with a seed for each of so many rounds, on all cores; the sum of what comes out.
pub(crate) fn each_seed(rounds: usize, round: impl AsyncFn(u64) -> Result<usize, String> + Sync) -> usize {
    println!("{rounds} seeds from {SEED}");
    let (sum, wrong) = (Mutex::new(0), Mutex::new(Vec::new()));
    in_parallel(rounds, |number| {
        let seed = SEED + number as u64;
        match run(round(seed)) {
            Ok(count) => *sum.lock().unwrap() += count,
            Err(why) => wrong.lock().unwrap().push(format!("seed {seed}: {why}")),
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    sum.into_inner().unwrap()
}

#[test]
fn what_is_restored_is_what_was_backed_up() {
    let rounds = rounds();
    let things = each_seed(rounds, round_trip);
    println!("{rounds} rounds, {things} things backed up");
}

/// An address that somebody else has got meanwhile cannot be given back: nothing is.
#[test]
fn what_cannot_be_restored_beside_what_is_there_changes_nothing() {
    each_seed(rounds().div_ceil(6), async |seed| {
        let mut dice = Dice(seed);
        let world = World::new().await;
        let mut maker = Maker::new(&world, &mut dice);
        maker.populate(10).await;
        let request = json!({ "backup_id": "backup-1", "tenant_id": TENANT });
        end_of(&world, &CROSS_SERVICE_BACKUP, &request).await;
        let saved = held(&world).await;
        maker.damage().await;
        maker.take_an_address(&saved).await;
        let there = held(&world).await;
        let status = end_of(&world, &CROSS_SERVICE_RESTORE, &request).await;
        let now = held(&world).await;
        if status.status == Status::Completed {
            let expected = restored(&saved, &there, OnConflict::Overwrite).unwrap();
            return compare("it completed", &now, &expected).map(|()| 0);
        }
        compare("it failed", &now, &there)?;
        match status.failure.unwrap().error.as_str() {
            "Conflict" => Ok(1),
            other => Err(other.to_owned()),
        }
    });
}

/// Executions of each history below.
const EXECUTIONS: usize = 8;

/// Cancels it or holds it for a while, or not; whether a cancel was accepted.
async fn interfere(world: &World, dice: &mut Dice, id: &str) -> bool {
    clock::sleep(&*world.clock, simulation::seconds(dice, 60)).await;
    match dice.below(4) {
        0 => world.cancel(id).await.is_ok(),
        1 => {
            for action in [ControlAction::Pause, ControlAction::Resume] {
                action.carry_out(&world.app.store, TENANT, id, world.clock.now()).await;
                clock::sleep(&*world.clock, simulation::seconds(dice, 600)).await;
            }
            false
        }
        _ => false,
    }
}

/// An execution that services and users interfere with; services at some of these calls.
pub(crate) async fn interfered(
    world: &World,
    dice: &mut Dice,
    subject: &Subject,
    sites: &[CallSite],
    request: &Value,
) -> Result<StatusResponse, String> {
    world.faults(&simulation::rules(dice, sites));
    let id = world.start_of(subject, request).await;
    let is_cancelled = interfere(world, dice, &id).await;
    let status = world.until_ended(&id).await;
    world.faults(&BTreeMap::new());
    clock::sleep(&*world.clock, world.settling_time).await;
    let ledger = world.ledger().await;
    invariants::one_effect(&ledger)?;
    invariants::history_is_true(world, &status, &ledger).await?;
    match is_cancelled && status.status == Status::Completed {
        true => Err(format!("{id}: the cancel was accepted, and it completed")),
        false => Ok(status),
    }
}

/// Backups and restores one after the other: a backup is whole or gone, and a restore does all or nothing.
async fn history(seed: u64, ended: &Mutex<BTreeMap<String, usize>>) -> Result<usize, String> {
    let (mut dice, mut of_things) = (Dice(seed), Dice(seed + 1));
    let world = World::new().await;
    let mut maker = Maker::new(&world, &mut of_things);
    maker.populate(*dice.one_of(&[0, 2, 8])).await;
    let mut backups: Vec<Backup> = Vec::new();
    for number in 0..EXECUTIONS {
        for _ in 0..dice.below(6) {
            maker.touch().await;
        }
        let there = held(&world).await;
        let is_backup = backups.is_empty() || dice.below(3) == 0;
        let (subject, id) = match is_backup {
            true => (&CROSS_SERVICE_BACKUP, format!("backup-{number}")),
            false => (&CROSS_SERVICE_RESTORE, dice.one_of(&backups).id.clone()),
        };
        let mut request = json!({ "backup_id": id, "tenant_id": TENANT });
        let on_conflict =
            *dice.one_of(&[OnConflict::Overwrite, OnConflict::Overwrite, OnConflict::Skip, OnConflict::Fail]);
        if !is_backup {
            request["on_conflict"] = json!(format!("{on_conflict:?}").to_lowercase());
        }
        let status = interfered(&world, &mut dice, subject, subject.sites, &request).await?;
        let name = format!("{} {}", subject.name(), status.status);
        *ended.lock().unwrap().entry(name.clone()).or_default() += 1;
        let (now, is_whole) = (held(&world).await, status.status == Status::Completed);
        if is_backup {
            compare(&name, &now, &there)?;
            subject.about_everything.unwrap()(&world, &status, &request, &Value::Null).await?;
            backups.extend(is_whole.then_some(Backup { id, held: there }));
            continue;
        }
        let saved = &backups.iter().find(|backup| backup.id == id).unwrap().held;
        match status.failure {
            None => {
                let expected = restored(saved, &there, on_conflict).ok_or("it is to fail because of what is there")?;
                compare(&name, &now, &expected)?;
            }
            // It says that something is left.
            Some(failure) if failure.error == "CompensationFailed" => {}
            Some(_) => compare(&name, &now, &there)?,
        }
    }
    Ok(EXECUTIONS)
}

#[test]
fn whatever_comes_in_between_a_backup_is_whole_and_a_restore_does_all_or_nothing() {
    let ended = Mutex::default();
    let executions = each_seed(rounds(), async |seed| history(seed, &ended).await);
    let ended = ended.into_inner().unwrap();
    println!("{executions} executions: {ended:?}");
    for (subject, status) in [
        ("cross-service-backup", Status::Completed),
        ("cross-service-backup", Status::Failed),
        ("cross-service-backup", Status::Cancelled),
        ("cross-service-restore", Status::Completed),
        ("cross-service-restore", Status::Failed),
        ("cross-service-restore", Status::Cancelled),
    ] {
        let name = format!("{subject} {status}");
        assert!(ended.get(&name).is_some_and(|count| *count > executions / 200), "hardly any ended so: {name}");
    }
}

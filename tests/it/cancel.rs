//! Cancels: at every state, twice, during compensation, and racing the end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use contracts::Status;
use reference_services::Fault;
use serde_json::json;

use crate::holdings::{Maker, held};
use crate::interpreter::dice::Dice;
use crate::invariants;
use crate::round_trips::{OnConflict, compare, restored};
use crate::subjects::{self, CROSS_SERVICE_BACKUP, CROSS_SERVICE_RESTORE, Subject, USER_ONBOARDING};
use crate::world::{Control, ControlAction, Script, Site, TENANT, World, full_request, in_parallel, run};

fn script(step: &str) -> Script {
    let cancel = Control { during: step.to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
    Script { control: vec![cancel], ..Script::default() }
}

/// What a cancel during a step of a workflow leads to: from the begin of the steps that cannot be taken back it is refused.
pub(crate) fn expected(subject: &Subject, step: &str) -> Status {
    let (step, _) = step.split_once('[').unwrap_or((step, ""));
    if subject.final_steps.contains(&step) { Status::Completed } else { Status::Cancelled }
}

/// What a cancel at this moment leads to; what else may be wrong then, everything is checked.
async fn cancel_during(subject: &Subject, moment: &str) -> Result<(), String> {
    let world = World::new().await;
    let first = subjects::held(&world).await;
    let request = world.prepare(subject, 0).await;
    *world.script.lock().unwrap() = script(moment);
    let before = world.snapshot().await;
    let id = world.start_of(subject, &request).await;
    world.until_ended(&id).await;
    let status = invariants::check(&world, &id, &before).await?;
    if let Some(check) = subject.about_everything {
        check(&world, &status, &request, &first).await?;
    }
    let expected = expected(subject, moment);
    let is_cancelled = expected == Status::Cancelled;
    let is_asked = world.script.lock().unwrap().control.is_empty();
    match is_asked && status.status == expected && status.cancelled_at.is_some() == is_cancelled {
        true => Ok(()),
        false => Err(format!("{}, cancelled at {:?}, asked {is_asked}", status.status, status.cancelled_at)),
    }
}

#[test]
fn a_cancel_during_any_step_undoes_everything_or_comes_too_late() {
    let of = |subject: &'static Subject| subject.moments().into_iter().map(move |moment| (subject, moment));
    let moments: Vec<_> = subjects::EVERY.into_iter().flat_map(of).collect();
    let wrong = Mutex::new(Vec::new());
    in_parallel(moments.len(), |number| {
        let (subject, moment) = &moments[number];
        if let Err(why) = run(cancel_during(subject, moment)) {
            wrong.lock().unwrap().push(format!("{}, {moment}: {why}", subject.name()));
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} moments", moments.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_repeated_cancel_is_answered_like_the_first() {
    for (subject, held_up) in [
        (&USER_ONBOARDING, "CreateUserProfile"),
        (&CROSS_SERVICE_BACKUP, "BackUpDataSet"),
        (&CROSS_SERVICE_RESTORE, "RestorePart/file"),
    ] {
        run(async {
            let world = World::new().await;
            let request = world.prepare(subject, 0).await;
            let before = world.snapshot().await;
            world.faults(&subject.site(held_up).faulty(Fault::Delay { delay_ms: 5_000 }, Some(1)));
            let id = world.start_of(subject, &request).await;
            clock::sleep(&*world.clock, Duration::from_secs(1)).await;
            let first = world.cancel(&id).await.unwrap();
            clock::sleep(&*world.clock, Duration::from_secs(1)).await;
            let second = world.cancel(&id).await.unwrap();
            assert_eq!(first, second);
            assert_eq!(world.status(&id).await.status, Status::Running);
            assert_eq!(world.until_ended(&id).await.status, Status::Cancelled);
            invariants::check(&world, &id, &before).await.unwrap();
            let ended = world.cancel(&id).await.unwrap_err();
            assert!(ended["detail"].as_str().unwrap().contains("Cancelled"), "{ended}");
        });
    }
}

#[test]
fn a_cancel_during_compensation_comes_too_late() {
    run(async {
        let (world, other) = (World::new().await, World::new().await);
        is_refused_during_compensation(&world).await;
        let (refused, undo) = ("VerifyRestore", "ConcludeRestore/last");
        is_refused_while_undoing(&other, &CROSS_SERVICE_RESTORE, refused, undo).await;
    });
}

/// The undoing of the account takes so long that a cancel comes before its end.
pub(crate) async fn is_refused_during_compensation(site: &Site) {
    is_refused_while_undoing(site, &USER_ONBOARDING, "SetupUserFileWorkspace", "UndoCreateUserAccount").await;
}

/// A call is refused, and another one takes its time with undoing.
async fn is_refused_while_undoing(site: &Site, subject: &Subject, refused: &str, undo: &str) {
    let request = site.prepare(subject, 0).await;
    let before = site.snapshot().await;
    let fault = Fault::Status { status: 400, retry_after_seconds: None };
    let mut faults = subject.site(refused).faulty(fault, None);
    faults.extend(subject.site(undo).faulty(Fault::Delay { delay_ms: 5_000 }, None));
    site.faults(&faults);
    let id = site.start_of(subject, &request).await;
    let is_undoing = async || {
        let status = site.status(&id).await;
        assert_eq!(status.status, Status::Running);
        status.progress.unwrap().status_message.is_some_and(|message| message.starts_with("Undoing"))
    };
    while !is_undoing().await {
        clock::sleep(&*site.clock, Duration::from_millis(100)).await;
    }
    let problem = site.cancel(&id).await.unwrap_err();
    assert_eq!(problem["status"], 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("Running"), "{problem}");
    assert_eq!(site.until_ended(&id).await.status, Status::Failed);
    invariants::check(site, &id, &before).await.unwrap();
}

/// Whoever wins, the answer to the cancel is true.
#[test]
fn cancels_that_race_the_end_have_one_winner() {
    run(async {
        let world = World::new().await;
        let (mut accepted, mut refused) = (0, 0);
        // Each time a little later, until the end has won often enough.
        for number in 0..500 {
            if accepted >= 10 && refused >= 10 {
                break;
            }
            let before = world.snapshot().await;
            let mut request = full_request();
            request["user_email"] = format!("user-{number}@example.com").into();
            let id = world.start(&request).await;
            for _ in 0..number {
                // Work goes on meanwhile.
                store::Executions::check(&world.app.store).await.unwrap();
            }
            let cancel = world.cancel(&id).await;
            let status = world.until_ended(&id).await;
            if cancel.is_ok() {
                accepted += 1;
                assert_eq!(status.status, Status::Cancelled);
                assert_eq!(world.snapshot().await, before);
            } else {
                refused += 1;
                assert_eq!(status.status, Status::Completed);
            }
        }
        println!("{accepted} cancels were accepted, {refused} refused");
        assert!(accepted >= 10 && refused >= 10, "the race was never open: {accepted} to {refused}");
    });
}

/// The same of backups and restores, in virtual time: cancels at all times, until well after the end.
#[test]
fn cancels_of_backups_and_restores_at_any_time_have_one_winner() {
    const CANCELS: u32 = 30;
    const TICK: Duration = Duration::from_millis(100);
    for subject in [&CROSS_SERVICE_BACKUP, &CROSS_SERVICE_RESTORE] {
        run(async {
            let (world, mut dice) = (World::new().await, Dice(20_260_108));
            let mut maker = Maker::new(&world, &mut dice);
            let (saved, kept) = (held(&world).await, json!({ "backup_id": "kept", "tenant_id": TENANT }));
            let id = world.start_of(&CROSS_SERVICE_BACKUP, &kept).await;
            world.until_ended(&id).await;
            let is_backup = subject.kind == CROSS_SERVICE_BACKUP.kind;
            let (mut accepted, mut refused, mut whole) = (0, 0, Duration::ZERO);
            for number in 0..=CANCELS {
                maker.touch().await;
                let before = held(&world).await;
                let request = if is_backup { (subject.request)(number as usize) } else { kept.clone() };
                world.faults(&subject.slow(700));
                let id = world.start_of(subject, &request).await;
                // The first one tells how long it takes.
                while number == 0 && world.status(&id).await.status.is_open() {
                    clock::sleep(&*world.clock, TICK).await;
                    whole += TICK;
                }
                clock::sleep(&*world.clock, whole * number * 5 / (4 * CANCELS)).await;
                let cancel = world.cancel(&id).await;
                let status = world.until_ended(&id).await.status;
                world.faults(&BTreeMap::new());
                let after = match cancel {
                    Ok(_) => before,
                    Err(_) if is_backup => before,
                    Err(_) => restored(&saved, &before, OnConflict::Overwrite).unwrap(),
                };
                let (count, expected) = match cancel {
                    Ok(_) => (&mut accepted, Status::Cancelled),
                    Err(_) => (&mut refused, Status::Completed),
                };
                *count += 1;
                assert_eq!(status, expected);
                compare("after the race", &held(&world).await, &after).unwrap();
            }
            println!("{}: {accepted} cancels were accepted, {refused} refused", subject.name());
            assert!(accepted >= 5 && refused >= 5, "the race was never open: {accepted} to {refused}");
        });
    }
}

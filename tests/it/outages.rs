//! Services that are away for a while, and for good: a restart fails nothing, and whatever fails is undone.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::Status;
use contracts::responses::StatusResponse;
use reference_services::{Fault, FaultRule, ServiceKind};

use crate::invariants;
use crate::subjects::{self, CallSite, Subject, TENANT_SWITCHING, USER_ONBOARDING};
use crate::world::{Script, World, full_request, run};

/// Every service with each workflow that calls it, and the first call.
fn called() -> impl Iterator<Item = (&'static Subject, ServiceKind, CallSite)> {
    subjects::ALL.into_iter().flat_map(|subject| {
        ServiceKind::ALL.into_iter().filter_map(move |kind| {
            let first = subject.sites.iter().find(|site| site.service == kind.name())?;
            Some((subject, kind, *first))
        })
    })
}

/// An execution that begins when a service goes away, alone in its world.
async fn begin_without(world: &World, subject: &Subject, kind: ServiceKind, how_long: Duration) -> StatusResponse {
    let request = world.prepare(subject, 0).await;
    let before = world.snapshot().await;
    world.take_away(kind, how_long);
    let id = world.start_of(subject, &request).await;
    world.until_ended(&id).await;
    invariants::check(world, &id, &before).await.unwrap()
}

/// What failed, how, after how many attempts, what was undone, and what was left.
fn failure(ended: &StatusResponse) -> (&str, &str, u32, Vec<&str>, Vec<&str>) {
    let failure = ended.failure.as_ref().unwrap();
    let undone = failure.undone.iter().map(String::as_str).collect();
    let left = failure.residue.iter().map(|residue| residue.step.as_str()).collect();
    (failure.step.as_deref().unwrap(), &failure.error, failure.attempts, undone, left)
}

#[test]
fn executions_outlast_a_service_that_restarts() {
    const AT_ONCE: usize = 10;
    for (subject, kind, _) in called() {
        for seconds in [2, 20] {
            run(async {
                let world = World::new().await;
                world.take_away(kind, Duration::from_secs(seconds));
                let mut ids = Vec::new();
                for number in 0..AT_ONCE {
                    let request = world.prepare(subject, number).await;
                    ids.push(world.start_of(subject, &request).await);
                }
                for id in &ids {
                    let ended = world.until_ended(id).await;
                    assert_eq!(ended.status, Status::Completed, "{subject:?}, {kind:?}, {seconds} s: {ended:?}");
                    let warnings = ended.result.as_ref().and_then(|result| result["warnings"].as_array());
                    assert!(warnings.is_none_or(Vec::is_empty), "{ended:?}");
                }
                assert!(!world.unreached.lock().unwrap().is_empty(), "{kind:?} was not away");
            });
        }
    }
}

#[test]
fn a_service_that_never_comes_back_fails_what_needs_it() {
    for (subject, kind, first) in called() {
        run(async {
            let world = World::new().await;
            let began_at = world.clock.now();
            let ended = begin_without(&world, subject, kind, Duration::from_secs(24 * 3_600)).await;
            if subject.is_tolerated(first.name) || kind == ServiceKind::Notifications {
                assert_eq!(ended.status, Status::Completed, "{ended:?}");
                assert_eq!(ended.result.unwrap()["warnings"].as_array().map(Vec::len), Some(1));
                return;
            }
            // Its own effect is in doubt, and cannot be undone there.
            let (_, service) = subject.undoable.iter().find(|(step, _)| *step == first.name).copied().unzip();
            let steps = subject.undoable.iter().map(|(step, _)| *step);
            let mut undone: Vec<&str> = steps.take_while(|step| *step != first.name).collect();
            let (error, left) = match service {
                Some(_) => ("CompensationFailed", vec![first.name]),
                None => ("ServiceUnreachable", Vec::new()),
            };
            match service {
                Some(_) => undone.reverse(),
                None => undone.clear(),
            }
            assert_eq!(failure(&ended), (first.name, error, 17, undone, left), "{subject:?}, {kind:?}");
            let message = &ended.failure.as_ref().unwrap().message;
            let expected = match service {
                Some(_) => "ServiceUnreachable: could not be reached",
                None => "could not be reached",
            };
            assert_eq!(message, expected);
            let took = ended.updated_at.duration_since(began_at).as_secs();
            let limit = if service.is_some() { 121 + 711 } else { 121 };
            assert!((20..=limit).contains(&took), "{took} s");
        });
    }
}

/// Undoing is more patient than doing, so that what fails because a service is away long is undone when it is back.
#[test]
fn what_an_outage_fails_is_undone_after_it() {
    run(async {
        let world = World::new().await;
        let ended = begin_without(&world, &USER_ONBOARDING, ServiceKind::File, Duration::from_secs(180)).await;
        let undone = vec!["UpdateTenantUserMembership", "CreateUserProfile", "CreateUserAccount"];
        assert_eq!(
            failure(&ended),
            ("SetupUserFileWorkspace", "ServiceUnreachable", 17, undone, vec![]),
            "{:?}",
            ended.failure
        );
    });
}

#[test]
fn each_kind_of_error_has_its_own_attempts() {
    let reset = (Fault::Reset, Some(16));
    let status = |times| (Fault::Status { status: 503, retry_after_seconds: None }, times);
    for (faults, attempts, error) in [
        (vec![reset.clone(), status(Some(2))], 19, None),
        (vec![status(Some(2)), reset.clone()], 19, None),
        (vec![reset, status(None)], 19, Some("ServiceUnavailable")),
        (vec![status(Some(2)), (Fault::Reset, None)], 19, Some("ServiceUnreachable")),
    ] {
        run(async {
            let world = World::with(Script::default(), &[]).await;
            let subject = &TENANT_SWITCHING;
            let request = world.prepare(subject, 0).await;
            let before = world.snapshot().await;
            let mut rules = BTreeMap::<String, Vec<FaultRule>>::new();
            for (fault, times) in faults {
                for (service, of_fault) in subject.site("UpdateUserSession").faulty(fault, times) {
                    rules.entry(service).or_default().extend(of_fault);
                }
            }
            world.faults(&rules);
            let id = world.start_of(subject, &request).await;
            world.until_ended(&id).await;
            world.faults(&BTreeMap::new());
            let ended = invariants::check(&world, &id, &before).await.unwrap();
            let history = world.history(&id).await;
            let is_attempt = |event: &contracts::Event| {
                event.event_type == "ActivityTaskScheduled" && event.details["activity_id"] == "UpdateUserSession"
            };
            let tried = history.events.iter().filter(|event| is_attempt(&event.event)).count();
            let failed = ended.failure.as_ref().map(|failure| failure.error.as_str());
            assert_eq!((tried, failed), (attempts, error), "{ended:?}");
        });
    }
}

#[test]
fn the_setting_and_the_deadline_end_the_patience() {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    run(async {
        let world =
            World::with(Script::default(), &[("WORKFLOWS__UNREACHABLE__MAXIMUM_ATTEMPTS", "2".to_owned())]).await;
        let ended = begin_without(&world, &USER_ONBOARDING, ServiceKind::Tenant, DAY).await;
        assert_eq!(failure(&ended), ("GetTenantContext", "ServiceUnreachable", 2, vec![], vec![]));
    });
    run(async {
        let world =
            World::with(Script::default(), &[("WORKFLOWS__UNREACHABLE__MAXIMUM_ATTEMPTS", "1000".to_owned())]).await;
        let began_at = world.clock.now();
        world.take_away(ServiceKind::Tenant, DAY);
        let ended = world.until_ended(&world.start(&full_request()).await).await;
        assert_eq!((ended.status, failure(&ended).1), (Status::TimedOut, "WorkflowTimedOut"));
        let took = ended.updated_at.duration_since(began_at).as_secs();
        assert!((300..=310).contains(&took), "{took} s");
    });
}

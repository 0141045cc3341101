//! What a user finds after a tenant switch: where they are, with which preferences and sessions.

use std::time::Duration;

use contracts::Status;
use contracts::effect::Effect;
use contracts::step::StepPath;
use futures::future::join_all;
use http::{Request, StatusCode};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};

use crate::invariants::{self, Ended};
use crate::subjects::{TARGET, TENANT_SWITCHING, join, read, user_of};
use crate::world::{TENANT, World, run};

/// Another tenant of the user's.
const THIRD: &str = "tenant-third";

/// The user's sessions in a tenant, the newest first: whether active, and their data.
async fn sessions(world: &World, user: &str, tenant: &str) -> Vec<(bool, Value)> {
    let path = format!("/api/v1/users/{user}/sessions");
    let found = read(&world.services, ServiceKind::Auth, tenant, &path).await;
    let sessions = found["sessions"].as_array().unwrap().iter();
    sessions.map(|session| (session["active"] == true, session["session_data"].clone())).collect()
}

/// The tenant that the user works in, and their preferences.
async fn context(world: &World, user: &str) -> (Value, Value) {
    let path = format!("/api/v1/users/{user}/tenant-context");
    let context = read(&world.services, ServiceKind::User, TENANT, &path).await;
    (context["tenant_id"].clone(), context["preferences"].clone())
}

#[test]
fn a_switch_moves_the_user_and_takes_along_what_was_asked() {
    let own = json!({ "language": "en", "theme": "dark" });
    let of_tenant = json!({ "language": "de", "time_zone": "Europe/Berlin" });
    let (laptop, nothing) = (json!({ "device": "laptop" }), json!({}));
    for (preserve, update, preferences, data) in [
        (true, false, &own, &laptop),
        (false, false, &own, &nothing),
        (true, true, &of_tenant, &laptop),
        (false, true, &of_tenant, &nothing),
    ] {
        run(async {
            let world = World::new().await;
            let mut request = world.prepare(&TENANT_SWITCHING, 0).await;
            request["preserve_session_data"] = preserve.into();
            request["update_user_preferences"] = update.into();
            let user = user_of(0);
            assert_eq!(context(&world, &user).await, (json!(TENANT), own.clone()));
            assert_eq!(sessions(&world, &user, TENANT).await, [(true, laptop.clone())]);
            let before = world.snapshot().await;
            let id = world.start_of(&TENANT_SWITCHING, &request).await;
            let ended = world.until_ended(&id).await;
            assert_eq!(ended.status, Status::Completed, "{:?}", ended.failure);
            invariants::check(&world, &id, &before).await.unwrap();
            assert_eq!(context(&world, &user).await, (json!(TARGET), preferences.clone()));
            assert_eq!(sessions(&world, &user, TENANT).await, [(false, laptop.clone())]);
            assert_eq!(sessions(&world, &user, TARGET).await, [(true, data.clone())]);
            let result = ended.result.unwrap();
            let path = format!("/api/v1/users/{user}/sessions");
            let newest = &read(&world.services, ServiceKind::Auth, TARGET, &path).await["sessions"][0]["session_id"];
            assert_eq!(&result["new_session_id"], newest);
            assert_eq!(result["tenant_context"]["tenant_id"], TARGET);
        });
    }
}

/// A switch that is undone leaves the old session as it was, and the new one is gone.
#[test]
fn a_switch_that_fails_at_its_end_leaves_the_user_where_they_were() {
    run(async {
        let world = World::new().await;
        let request = world.prepare(&TENANT_SWITCHING, 0).await;
        let before = world.snapshot().await;
        // The sessions are revoked, and the service says that they are not.
        let refused = Fault::StatusAfterEffect { status: 400 };
        let rule = FaultRule::on("DELETE", "/api/v1/users/{user_id}/sessions", refused);
        world.services.set_faults(ServiceKind::Auth, vec![rule]);
        let id = world.start_of(&TENANT_SWITCHING, &request).await;
        let status = world.until_ended(&id).await;
        assert_eq!(status.status, Status::Failed);
        assert_eq!(status.failure.unwrap().undone.first().map(String::as_str), Some("RevokeUserSessions"));
        invariants::check(&world, &id, &before).await.unwrap();
        assert_eq!(context(&world, &user_of(0)).await.0, TENANT);
        assert_eq!(sessions(&world, &user_of(0), TENANT).await, [(true, json!({ "device": "laptop" }))]);
        assert_eq!(sessions(&world, &user_of(0), TARGET).await, []);
    });
}

/// Either of its tenants may be the header's: the record is that tenant's, and so are the keys of the effects.
#[test]
fn a_switch_belongs_to_the_tenant_of_its_header() {
    run(async {
        let world = World::new().await;
        let request = world.prepare(&TENANT_SWITCHING, 0).await;
        let call = |request: http::request::Builder, body: String| {
            let request = request.header("x-tenant-id", TARGET).header("x-user-id", user_of(0));
            request.header("content-type", "application/json").header("prefer", "wait=10").body(body.into()).unwrap()
        };
        let start = call(Request::post(TENANT_SWITCHING.path), request.to_string());
        let (status, _, started) = world.call(start).await;
        assert_eq!((status, &started["status"]), (StatusCode::OK, &json!("completed")), "{started}");
        let id = started["workflow_id"].as_str().unwrap();
        let path = format!("/api/v1/workflows/{id}/status");
        assert_eq!(world.get(&path).await.0, StatusCode::NOT_FOUND, "the other tenant does not see it");
        assert_eq!(world.call(call(Request::get(&path), String::new())).await.0, StatusCode::OK);
        assert_eq!(context(&world, &user_of(0)).await.0, TARGET);
        let ledger = world.ledger().await;
        for (step, service) in TENANT_SWITCHING.undoable {
            let path = StepPath::of_state(*step);
            let key = Effect { tenant_id: TARGET, scope: id, step: &path }.idempotency_key();
            assert!(ledger.iter().any(|entry| entry.service == *service && entry.key == key), "{step}");
        }
    });
}

/// Both compare and set the user's context: one wins, the other fails and changes nothing.
#[test]
fn of_two_switches_of_a_user_at_once_one_wins() {
    for slow_millis in [0, 500] {
        run(async {
            let world = World::new().await;
            let request = world.prepare(&TENANT_SWITCHING, 0).await;
            let user = user_of(0);
            world.services.add_tenant(THIRD, "Umbrella").await.unwrap();
            join(&world.services, &user, THIRD).await;
            let before = world.snapshot().await;
            let slow = Fault::Delay { delay_ms: slow_millis };
            let rule = FaultRule::on("PUT", "/api/v1/users/{user_id}/tenant-context", slow);
            world.services.set_faults(ServiceKind::User, vec![rule]);
            let mut other = request.clone();
            other["target_tenant_id"] = json!(THIRD);
            let requests = [&request, &other];
            let ids = join_all(requests.map(|request| world.start_of(&TENANT_SWITCHING, request))).await;
            let ended = join_all(ids.iter().map(|id| world.until_ended(id))).await;
            let winner = ended.iter().position(|status| status.status == Status::Completed).expect("one wins");
            let loser = &ended[1 - winner];
            let failure = loser.failure.as_ref().expect("the other one fails");
            assert_eq!(
                (failure.error.as_str(), failure.step.as_deref()),
                ("Conflict", Some("UpdateUserTenantContext")),
                "{failure:?}"
            );
            assert_eq!(failure.residue, []);
            let target = [TARGET, THIRD][winner];
            let lost = [TARGET, THIRD][1 - winner];
            assert_eq!(context(&world, &user).await.0, target);
            assert_eq!(sessions(&world, &user, TENANT).await, [(false, json!({ "device": "laptop" }))]);
            assert_eq!(sessions(&world, &user, target).await, [(true, json!({ "device": "laptop" }))]);
            assert_eq!(sessions(&world, &user, lost).await, []);
            clock::sleep(&*world.clock, Duration::from_secs(3_600)).await;
            let ledger = world.ledger().await;
            invariants::one_effect(&ledger).unwrap();
            for status in &ended {
                invariants::history_is_true(&world, status, &ledger).await.unwrap();
            }
            let ended = join_all(ended.into_iter().map(|status| Ended::of(&world, status))).await;
            invariants::no_residue(&ended, &before, &world.snapshot().await).unwrap();
        });
    }
}

//! What an execution costs in commits.

use axum::body::Body;
use http::Request;
use serde_json::Value;

use crate::subjects::{self, Subject, USER_ONBOARDING};
use crate::world::{Script, TENANT, World, full_request, run};

/// Every commit changes the record's version, which is the ETag.
#[test]
fn an_execution_of_n_steps_costs_n_plus_one_commits() {
    for subject in subjects::ALL {
        run(async {
            let world = World::new().await;
            let request = world.prepare(subject, 0).await;
            let id = world.start_of(subject, &request).await;
            world.until_ended(&id).await;
            let path = format!("/api/v1/workflows/{id}/status");
            let read = |etag: &str| {
                let request = Request::get(&path).header("x-tenant-id", TENANT).header("if-none-match", etag);
                request.body(Body::empty()).unwrap()
            };
            let steps = subject.steps().len();
            let (status, headers, body) = world.call(read("\"0\"")).await;
            assert_eq!((status.as_u16(), body["progress"]["total_steps"].as_u64()), (200, Some(steps as u64)));
            let etag = format!("\"{}\"", steps + 1);
            assert_eq!(headers["etag"], format!("W/{etag}"), "{}", subject.name());
            assert_eq!(world.call(read(&etag)).await.0.as_u16(), 304);
        });
    }
}

/// States entered are what a provider bills for: on success as many as there are steps.
#[test]
fn a_successful_execution_enters_as_many_states_as_it_has_steps() {
    for subject in subjects::ALL {
        run(async {
            let world = World::new().await;
            let request = world.prepare(subject, 0).await;
            assert_eq!(entered(&world, subject, &request).await, subject.steps().len(), "{}", subject.name());
        });
    }
}

/// How many states an onboarding enters that goes by this script.
pub(crate) async fn entries(script: Script) -> usize {
    let world = World::with(script, &[]).await;
    entered(&world, &USER_ONBOARDING, &full_request()).await
}

async fn entered(world: &World, subject: &Subject, request: &Value) -> usize {
    let id = world.start_of(subject, request).await;
    world.until_ended(&id).await;
    let edges = world.edges(&id).await;
    edges.iter().filter(|edge| matches!(edge, asl::Edge::State { .. })).count()
}

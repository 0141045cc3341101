//! What an execution costs in commits.

use axum::body::Body;
use http::Request;

use crate::world::{Script, TENANT, World, full_request, run};

/// Every commit changes the record's version, which is the ETag.
#[test]
fn an_execution_of_n_steps_costs_n_plus_one_commits() {
    run(async {
        let world = World::new().await;
        let id = world.start(&full_request()).await;
        world.until_ended(&id).await;
        let path = format!("/api/v1/workflows/{id}/status");
        let read = |etag: &str| {
            let request = Request::get(&path).header("x-tenant-id", TENANT).header("if-none-match", etag);
            request.body(Body::empty()).unwrap()
        };
        let (status, headers, body) = world.call(read("\"0\"")).await;
        assert_eq!((status.as_u16(), body["progress"]["total_steps"].as_u64()), (200, Some(7)));
        assert_eq!(headers["etag"], "\"8\"");
        assert_eq!(world.call(read("\"8\"")).await.0.as_u16(), 304);
    });
}

/// Activities entered are what a provider bills for: on success as many states as steps.
#[test]
fn a_successful_onboarding_enters_seven_states() {
    run(async {
        assert_eq!(entries(Script::default()).await, 7);
    });
}

/// How many states an onboarding enters that goes by this script.
pub(crate) async fn entries(script: Script) -> usize {
    let world = World::with(script, &[]).await;
    let id = world.start(&full_request()).await;
    world.until_ended(&id).await;
    let edges = world.edges(&id).await;
    edges.iter().filter(|edge| matches!(edge, asl::Edge::State { .. })).count()
}

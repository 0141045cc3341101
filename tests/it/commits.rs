//! What an execution costs in commits.

use axum::body::Body;
use http::Request;

use crate::world::{TENANT, World, full_request, run};

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
        let world = World::new().await;
        let id = world.start(&full_request()).await;
        world.until_ended(&id).await;
        let entered = world.edges(&id).await.into_iter().filter(|edge| matches!(edge, asl::Edge::State { .. }));
        assert_eq!(entered.count(), 7);
    });
}

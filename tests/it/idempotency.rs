//! The same `Idempotency-Key` many times at once.

use axum::body::Body;
use futures::future::join_all;
use http::{Request, StatusCode};
use serde_json::Value;

use crate::world::{TENANT, World, full_request, run};

const PATH: &str = "/api/v1/workflows/user-onboarding";

#[test]
fn fifty_at_once_start_one_execution() {
    run(async {
        let world = World::new().await;
        let request = full_request();
        let answers = join_all((0..50).map(|_| world.post(PATH, &request, &[("idempotency-key", "key-1")]))).await;
        let ids: Vec<_> = answers.iter().map(|(_, body)| body["workflow_id"].clone()).collect();
        assert!(answers.iter().all(|(status, _)| *status == StatusCode::ACCEPTED), "{answers:?}");
        assert!(ids.iter().all(|id| id == &ids[0]), "{ids:?}");
        let (_, list) = world.get("/api/v1/workflows").await;
        assert_eq!(list["total_count"], 1);
        world.until_ended(ids[0].as_str().unwrap()).await;
        let (status, body) = world.post(PATH, &request, &[("idempotency-key", "key-1")]).await;
        assert_eq!(
            (status, body["status"].as_str()),
            (StatusCode::OK, Some("completed")),
            "the first answer's execution"
        );
    });
}

#[test]
fn key_order_does_not_make_another_body_but_a_value_does() {
    run(async {
        let world = World::new().await;
        let headers = [("idempotency-key", "key-1")];
        let (_, first) = world.post(PATH, &full_request(), &headers).await;
        let mut entries: Vec<_> = full_request().as_object().unwrap().clone().into_iter().collect();
        entries.reverse();
        let reordered: Value = entries.into_iter().collect();
        let (_, same) = world.post(PATH, &reordered, &headers).await;
        assert_eq!(first["workflow_id"], same["workflow_id"]);
        let mut other = full_request();
        other["role"] = "admin".into();
        let (status, problem) = world.post(PATH, &other, &headers).await;
        assert_eq!(
            (status, problem["error"]["type"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some("UnprocessableEntity"))
        );
    });
}

#[test]
fn a_key_is_one_tenants_own() {
    run(async {
        let world = World::new().await;
        let (_, first) = world.post(PATH, &full_request(), &[("idempotency-key", "key-1")]).await;
        let mut request = full_request();
        request["tenant_id"] = "tenant-456".into();
        request["user_email"] = "other@example.com".into();
        let request = Request::post(PATH)
            .header("x-tenant-id", "tenant-456")
            .header("content-type", "application/json")
            .header("idempotency-key", "key-1")
            .body(Body::from(request.to_string()))
            .unwrap();
        let (status, _, second) = world.call(request).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{second}");
        assert_ne!(first["workflow_id"], second["workflow_id"]);
        assert_ne!(TENANT, "tenant-456");
    });
}

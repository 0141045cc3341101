//! The same `Idempotency-Key` many times at once.

use std::collections::BTreeSet;

use axum::body::Body;
use futures::future::join_all;
use http::{Request, StatusCode};
use serde_json::Value;

use crate::invariants;
use crate::subjects;
use crate::world::{TENANT, World, full_request, run};

const PATH: &str = "/api/v1/workflows/user-onboarding";

#[test]
fn fifty_at_once_start_one_execution() {
    for subject in subjects::ALL {
        run(async {
            let world = World::new().await;
            let request = world.prepare(subject, 0).await;
            let headers = [("idempotency-key", "key-1")];
            let before = world.snapshot().await;
            let answers = join_all((0..50).map(|_| world.post(subject.path, &request, &headers))).await;
            let ids: Vec<_> = answers.iter().map(|(_, body)| body["workflow_id"].clone()).collect();
            assert!(answers.iter().all(|(status, _)| *status == StatusCode::ACCEPTED), "{answers:?}");
            assert!(ids.iter().all(|id| id == &ids[0]), "{ids:?}");
            let (_, list) = world.get("/api/v1/workflows").await;
            assert_eq!(list["total_count"], 1);
            let id = ids[0].as_str().unwrap();
            world.until_ended(id).await;
            let (status, body) = world.post(subject.path, &request, &headers).await;
            assert_eq!(
                (status, body["status"].as_str()),
                (StatusCode::OK, Some("completed")),
                "the first answer's execution"
            );
            invariants::check(&world, id, &before).await.unwrap();
        });
    }
}

#[test]
fn key_order_does_not_make_another_body_but_a_value_does() {
    for subject in subjects::ALL {
        run(async {
            let world = World::new().await;
            let request = world.prepare(subject, 0).await;
            let headers = [("idempotency-key", "key-1")];
            let (_, first) = world.post(subject.path, &request, &headers).await;
            let mut entries: Vec<_> = request.as_object().unwrap().clone().into_iter().collect();
            entries.reverse();
            let reordered: Value = entries.into_iter().collect();
            let (_, same) = world.post(subject.path, &reordered, &headers).await;
            assert_eq!(first["workflow_id"], same["workflow_id"]);
            for (name, value) in request.as_object().unwrap().iter().filter(|(_, value)| value.is_boolean()) {
                let mut other = request.clone();
                other[name] = (*value == false).into();
                let (status, problem) = world.post(subject.path, &other, &headers).await;
                assert_eq!(
                    (status, problem["error"]["type"].as_str()),
                    (StatusCode::UNPROCESSABLE_ENTITY, Some("UnprocessableEntity")),
                    "{name}"
                );
            }
        });
    }
}

/// A key belongs to a route: the same one starts an execution of each workflow.
#[test]
fn a_key_is_one_routes_own() {
    run(async {
        let world = World::new().await;
        let mut ids = BTreeSet::new();
        for subject in subjects::ALL {
            let request = world.prepare(subject, 0).await;
            let (status, body) = world.post(subject.path, &request, &[("idempotency-key", "key-1")]).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{body}");
            ids.insert(body["workflow_id"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), subjects::ALL.len());
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

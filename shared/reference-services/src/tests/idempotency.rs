//! One effect per key, whatever arrives how often.

use super::*;

#[tokio::test]
async fn a_repeat_gets_the_first_answer() {
    let world = World::new().await;
    for call in every_mutation() {
        let first = world.run(&call).await;
        clock::sleep(&*world.clock, std::time::Duration::from_secs(60)).await;
        let second = world.run(&call).await;
        assert_eq!((first.status, first.body), (second.status, second.body), "{}", call.path);
        clock::sleep(&*world.clock, std::time::Duration::from_secs(1)).await;
    }
    let expected = [Outcome::Applied, Outcome::Replayed].repeat(10);
    assert_eq!(world.outcomes().await, expected);
}

#[tokio::test]
async fn key_order_and_spaces_make_no_other_body() {
    let world = World::new().await;
    world.run(&put_member("key", "viewer")).await;
    let request = Request::put("/api/v1/tenants/tenant-123/users/user-123")
        .header("x-tenant-id", ACME)
        .header("idempotency-key", "key")
        .body(Body::from(r#"{ "role": "viewer", "active": true, "permissions": ["tenant:read"] }"#));
    let reply = world.send(ServiceKind::Tenant, request.expect("a request")).await.expect("an answer");
    assert_eq!(reply.status, 200);
    assert_eq!(world.outcomes().await, [Outcome::Applied, Outcome::Replayed]);
}

#[tokio::test]
async fn another_body_or_path_under_the_same_key_is_refused() {
    let world = World::new().await;
    world.run(&put_member("key", "viewer")).await;
    let before = world.snapshot().await;
    assert_eq!(world.run(&put_member("key", "admin")).await.status, 422);
    let other_path = Do { path: "/api/v1/tenants/tenant-123/users/user-9", ..put_member("key", "viewer") };
    assert_eq!(world.run(&other_path).await.status, 422);
    assert_eq!(world.snapshot().await, before);
    let refused = Outcome::RefusedConflict;
    assert_eq!(world.outcomes().await, [Outcome::Applied, refused, refused]);
}

#[tokio::test]
async fn a_refused_request_may_be_repeated_with_its_key() {
    let world = World::new().await;
    assert_eq!(world.run(&create_sample_data("key")).await.status, 404);
    world.run(&create_workspace("other")).await;
    assert_eq!(world.run(&create_sample_data("key")).await.status, 201);
}

#[tokio::test]
async fn fifty_at_once_have_one_effect() {
    for call in every_mutation() {
        let world = World::new().await;
        world.run(&create_workspace("first")).await;
        let call = match call.path {
            "/api/v1/workspaces" => create_workspace("first"),
            _ => call,
        };
        let replies = futures::future::join_all((0..50).map(|_| world.run(&call))).await;
        let (status, body) = (replies[0].status, &replies[0].body);
        assert!(status.is_success());
        assert!(replies.iter().all(|reply| reply.status == status && reply.body == body));
        let applied =
            world.ledger().await.into_iter().filter(|entry| {
                entry.key == call.key && entry.tenant == call.tenant && entry.outcome == Outcome::Applied
            });
        assert_eq!(applied.count(), 1);
    }
}

#[tokio::test]
async fn keys_belong_to_their_tenant() {
    let world = World::new().await;
    world.run(&create_user("key", "nina@example.com")).await;
    let before = world.snapshot().await;
    let foreign = Do { tenant: GLOBEX, ..create_user("key", "nina@example.com") };
    assert_eq!(world.undo(&foreign).await["undone"], false);
    assert_eq!(world.snapshot().await, before);
    // The foreign tombstone does not stand in the way either.
    assert_eq!(world.run(&create_user("key", "nina@example.com")).await.status, 201);
    assert_eq!(world.outcomes().await.last(), Some(&Outcome::Replayed));
}

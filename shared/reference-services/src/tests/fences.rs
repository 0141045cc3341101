//! Numbers of leases.

use super::*;

const IMPORT: &str = "/api/v1/data/account/import";

fn account(id: &str) -> Value {
    let data = json!({ "email": format!("{id}@example.com"), "name": "N", "role": "user" });
    json!({ "items": [{ "id": id, "key": id, "data": data }] })
}

/// The answer to a call with this number.
async fn send(world: &World, kind: ServiceKind, method: &str, path: &str, body: &str, number: &str) -> Reply {
    let request = Request::builder().method(method).uri(path).header("x-tenant-id", ACME);
    let request = request.header("x-fence", number).header("idempotency-key", format!("{path} {number}"));
    world.send(kind, request.body(Body::from(body.to_owned())).expect("a request")).await.expect("an answer")
}

fn is_fenced(reply: &Reply) -> bool {
    let problem = reply.json();
    reply.status == 409 && problem["code"] == "Fenced" && problem["status"] == 409
}

#[tokio::test]
async fn a_write_with_a_lower_number_is_refused_and_does_nothing() {
    let world = World::new().await;
    let import = async |id: &str, path: &str, number: &str| {
        send(&world, ServiceKind::Auth, "POST", path, &account(id).to_string(), number).await
    };
    assert_eq!(import("user-7", IMPORT, "7").await.status, 200);
    assert_eq!(import("user-8", IMPORT, "7").await.status, 200, "the same number");
    let before = world.snapshot().await;
    assert!(is_fenced(&import("user-9", IMPORT, "6").await));
    let operation = json!({ "items": [
        { "entity_type": "account", "entity_id": "user-7", "key": "late", "data": { "name": "Late" } },
    ] });
    let operated =
        send(&world, ServiceKind::Auth, "POST", "/api/v1/operations/UserUpdate", &operation.to_string(), "6").await;
    assert!(is_fenced(&operated));
    assert_eq!(world.snapshot().await, before, "nothing is done");
    // A dry run writes nothing, so its number is not kept.
    assert_eq!(import("user-9", &format!("{IMPORT}?dry_run=true"), "100").await.status, 200);
    assert_eq!(import("user-9", IMPORT, "8").await.status, 200);
    assert_eq!(world.post(ServiceKind::Auth, ACME, IMPORT, &account("user-10")).await.status, 200, "without a number");
    assert_eq!(world.undo_key(ServiceKind::Auth, ACME, "user-7").await.json()["undone"], true);
    for number in ["-1", "x", "", "9223372036854775808"] {
        assert_eq!(import("user-11", IMPORT, number).await.status, 400, "{number}");
    }
}

#[tokio::test]
async fn numbers_are_compared_within_a_type_of_a_tenant() {
    let world = World::new().await;
    let import = async |tenant: &str, path: &str, body: &Value, number: u64| {
        let request = Request::post(path).header("x-tenant-id", tenant).header("x-fence", number);
        world.send(ServiceKind::Auth, request.body(Body::from(body.to_string())).expect("a request")).await
    };
    assert_eq!(import(ACME, IMPORT, &account("user-7"), 7).await.expect("an answer").status, 200);
    let nothing = json!({ "items": [{ "id": "nothing", "key": "nothing" }] });
    assert_eq!(import(ACME, "/api/v1/data/session/delete", &nothing, 1).await.expect("an answer").status, 200);
    assert_eq!(import("tenant-456", IMPORT, &account("user-8"), 1).await.expect("an answer").status, 200);
    assert!(is_fenced(&import(ACME, "/api/v1/data/account/delete", &nothing, 6).await.expect("an answer")));
}

#[tokio::test]
async fn bytes_of_a_file_are_refused_too() {
    const PATH: &str = "/api/v1/data/file/file-123-1/content";
    let world = World::new().await;
    assert_eq!(send(&world, ServiceKind::File, "PUT", PATH, "bytes", "7").await.status, 200);
    assert!(is_fenced(&send(&world, ServiceKind::File, "PUT", PATH, "late", "6").await));
    assert_eq!(world.get(ServiceKind::File, ACME, PATH).await.body, "bytes");
}

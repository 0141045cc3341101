//! Forgetting a person: nothing that an undo would bring back, nothing in logs, nothing in the bytes of the files.

use std::path::Path;

use super::storage::{Directory, open};
use super::*;

const PERSON: &str = "user-canary";
const CANARY: &str = "canary";

fn of_person(kind: ServiceKind, path: &'static str, key: &'static str, body: Value) -> Do<'static> {
    Do { kind, tenant: ACME, method: "POST", path, key, body }
}

/// Things of the person in every service that has such, made and changed.
async fn live(world: &World) {
    use ServiceKind::{Auth, File, User};
    let account = json!({
        "user_id": PERSON, "email": "canary@example.com", "name": "Canary", "role": "user", "tenant_id": ACME,
        "send_welcome_email": false,
    });
    world.done(&of_person(Auth, "/api/v1/users", "c-account", account)).await;
    let update = json!({ "items": [{
        "entity_type": "account", "entity_id": PERSON, "key": "c-update", "data": { "name": "Canary the second" },
    }] });
    let reply = world.post(Auth, ACME, "/api/v1/operations/UserUpdate", &update).await.json();
    assert_eq!(reply["results"][0]["outcome"], "updated", "{reply}");
    let session = json!({ "session_id": "canary-session", "session_data": { "device": "canary phone" } });
    world.done(&of_person(Auth, "/api/v1/users/user-canary/sessions", "c-session", session)).await;
    let profile = json!({
        "profile_id": "canary-profile", "user_id": PERSON, "profile_data": { "name": "Canary" }, "preferences": {},
    });
    world.done(&of_person(User, "/api/v1/profiles", "c-profile", profile)).await;
    let workspace = json!({ "workspace_id": "canary-workspace", "user_id": PERSON, "workspace_config": {} });
    world.done(&of_person(File, "/api/v1/workspaces", "c-workspace", workspace)).await;
    let file = json!({ "on_conflict": "fail", "items": [{ "id": "canary-file", "key": "c-file", "data": {
        "file_id": "canary-file", "workspace_id": "canary-workspace", "user_id": PERSON, "name": "canary.txt",
        "content_type": "text/plain", "size_bytes": 0,
    } }] });
    let taken = world.post(File, ACME, "/api/v1/data/file/import", &file).await;
    assert_eq!(taken.json()["results"][0]["status"], "created", "{}", taken.json());
    for (key, length) in [("c-few", 10_usize), ("c-many", 300_000), ("c-more", 600_000)] {
        let request = Request::put("/api/v1/data/file/canary-file/content").header("x-tenant-id", ACME);
        let request = request.header("idempotency-key", key).body(Body::from(CANARY.repeat(length)));
        let reply = world.send(File, request.expect("a request")).await.expect("an answer");
        assert_eq!(reply.status, 200, "{key}");
    }
}

/// Everything of the person is deleted.
async fn delete(world: &World) {
    use ServiceKind::{Auth, File, User};
    for (kind, entity_type, id, key) in [
        (Auth, "session", "canary-session", "d-session"),
        (File, "workspace", "canary-workspace", "d-workspace"),
        (User, "profile", "canary-profile", "d-profile"),
        (Auth, "account", PERSON, "d-account"),
    ] {
        let body = json!({ "items": [{ "id": id, "key": key }] });
        let reply = world.post(kind, ACME, &format!("/api/v1/data/{entity_type}/delete"), &body).await;
        assert_eq!(reply.json()["results"][0]["status"], "deleted", "{}", reply.json());
    }
}

async fn forget(world: &World, kind: ServiceKind) -> Value {
    let body = json!({ "subject": PERSON, "pseudonym": "erased-1" });
    world.done(&of_person(kind, "/api/v1/data/forget", "forget", body)).await
}

/// How often the word is in the bytes of the files of a folder, in whatever case.
fn found(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let has = |path: &Path| {
        let bytes = std::fs::read(path).expect("it can be read").to_ascii_lowercase();
        bytes.windows(CANARY.len()).filter(|window| *window == CANARY.as_bytes()).count()
    };
    files
        .map(|path| (has(&path), path))
        .filter(|(count, _)| *count > 0)
        .map(|(count, path)| format!("{count} in {path:?}"))
        .collect()
}

#[tokio::test]
async fn nothing_of_a_person_is_left_in_the_bytes_and_nothing_comes_back() {
    use ServiceKind::{Auth, File, User};
    let directory = Directory::new();
    let world = open(&directory).await;
    world.services.seed_demo().await.expect("seeds");
    let neighbours = world.snapshot().await;
    live(&world).await;
    delete(&world).await;
    assert!(found(&directory.0).len() >= 3, "an undo would bring it back: {:?}", found(&directory.0));
    for kind in [Auth, User, File] {
        let answer = forget(&world, kind).await;
        assert!(answer["forgotten"].as_u64() > Some(0) && answer["renamed"].as_u64() > Some(0), "{answer}");
        assert_eq!(forget(&world, kind).await, answer, "the same key has the same answer");
    }

    assert_eq!(found(&directory.0), Vec::<String>::new());
    assert_eq!(world.snapshot().await, neighbours, "what others have stays");

    // A call that was under way comes late, and somebody undoes.
    let account = json!({ "user_id": PERSON, "email": "canary@example.com", "name": "Canary", "role": "user", "tenant_id": ACME });
    assert_eq!(world.run(&of_person(Auth, "/api/v1/users", "c-account", account)).await.status, 410);
    for (kind, key) in [(Auth, "c-account"), (Auth, "d-account"), (User, "d-profile"), (File, "c-many")] {
        assert_eq!(world.undo_key(kind, ACME, key).await.json()["undone"], false, "{key}");
    }
    assert_eq!(world.snapshot().await, neighbours);

    // The logs tell what happened, and not to whom.
    let logs = world.get(Auth, ACME, "/api/v1/logs?subject=erased-1").await.json();
    let kinds: Vec<&str> =
        logs["entries"].as_array().expect("entries").iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert!(kinds.contains(&"modification") && kinds.contains(&"deletion"), "{logs}");
}

#[tokio::test]
async fn what_others_have_can_still_be_undone() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let other = create_user("other", "other@example.com");
    world.done(&other).await;
    live(&world).await;
    delete(&world).await;
    forget(&world, ServiceKind::Auth).await;
    assert_eq!(world.undo(&other).await["undone"], true);
    assert_eq!(world.snapshot().await["auth"], before["auth"]);
}

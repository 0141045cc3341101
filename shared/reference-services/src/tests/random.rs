//! Whatever is done, undoing all of it ends where it began. Each run prints the seed of its randomness.

use super::*;

/// Small pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as usize % bound
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn number(&mut self) -> String {
        self.of(&["123", "124", "125", "9"]).to_owned()
    }
}

/// Something done under a key.
struct Deed {
    kind: ServiceKind,
    method: &'static str,
    path: String,
    body: Value,
}

/// Whether addresses pass from account to account, and files from workspace to workspace, which only the reverse order is
/// sure to undo.
#[derive(Clone, Copy, PartialEq)]
enum Owners {
    Change,
    Stay,
}

fn operation(kind: ServiceKind, name: &str, entity_type: &str, id: &str, data: Value) -> Deed {
    let item = json!({ "entity_type": entity_type, "entity_id": id, "data": data });
    Deed { kind, method: "POST", path: format!("/api/v1/operations/{name}"), body: json!({ "items": [item] }) }
}

fn bulk(kind: ServiceKind, entity_type: &str, verb: &str, item: Value) -> Deed {
    let body = json!({ "on_conflict": "overwrite", "fields": { "name": "redact" }, "items": [item] });
    Deed { kind, method: "POST", path: format!("/api/v1/data/{entity_type}/{verb}"), body }
}

#[rustfmt::skip]
fn deed(random: &mut Random, owners: Owners) -> Deed {
    use ServiceKind::{Auth, File, Tenant, User};
    let number = random.number();
    let user = format!("user-{number}");
    let workspace = random.of(&["workspace-123", "workspace-9"]);
    let file = format!("file-123-{}", 1 + random.below(4));
    let email = match owners {
        Owners::Change => random.of(&["demo.user@example.com", "a@example.com", "b@example.com"]).to_owned(),
        Owners::Stay => format!("{}{number}@example.com", random.of(&["a", "b"])),
    };
    let place = if owners == Owners::Change { workspace } else { "workspace-123" };
    let name = random.of(&["Ada", "Bob"]);
    let route = |kind, method, path: String, body| Deed { kind, method, path, body };
    match random.below(23) {
        0 => operation(Auth, "UserCreation", "account", &user, json!({ "email": email, "name": name, "role": "user" })),
        1 => operation(Auth, "UserUpdate", "account", &user, json!({ "email": email, "name": name })),
        2 => operation(Auth, "UserDeactivation", "account", &user, json!({})),
        3 => bulk(Auth, "account", "delete", json!({ "id": user })),
        4 => bulk(Auth, "account", "mask", json!({ "id": user })),
        5 => bulk(Auth, "account", "import", json!({ "id": user, "data": { "email": email, "name": name, "role": "x" } })),
        6 => bulk(Auth, "session", "delete", json!({ "id": "session-123" })),
        7 => route(Auth, "POST", format!("/api/v1/users/{user}/sessions"), json!({ "session_data": {} })),
        8 => route(Auth, "DELETE", format!("/api/v1/users/{user}/sessions"), Value::Null),
        9 => operation(User, "UserCreation", "profile", &format!("profile-{number}"), json!({
            "user_id": user, "profile_data": { "name": name },
        })),
        10 => operation(User, "UserUpdate", "profile", &format!("profile-{number}"), json!({
            "profile_data": { "name": name, "email": null },
        })),
        11 => bulk(User, "profile", "delete", json!({ "id": format!("profile-{number}") })),
        12 => operation(Tenant, "UserCreation", "membership", &user, json!({ "role": name, "permissions": [] })),
        13 => operation(Tenant, "PermissionUpdate", "membership", &user, json!({ "role": name })),
        14 => bulk(Tenant, "membership", "delete", json!({ "id": user })),
        15 => route(Tenant, "PUT", format!("/api/v1/tenants/{ACME}/users/{user}"), json!({
            "role": name, "permissions": [], "active": true,
        })),
        16 => bulk(Tenant, "tenant", "delete", json!({ "id": ACME })),
        17 => route(File, "POST", "/api/v1/workspaces".to_owned(), json!({
            "workspace_id": workspace, "user_id": user, "workspace_config": {},
        })),
        18 => route(File, "POST", format!("/api/v1/workspaces/{workspace}/sample-data"), json!({ "user_id": user })),
        19 => bulk(File, "workspace", "delete", json!({ "id": workspace })),
        20 => bulk(File, "file", "import", json!({ "id": file, "data": {
            "workspace_id": place, "user_id": user, "name": name, "content_type": "text/plain", "size_bytes": 0,
        } })),
        21 => operation(File, "FileProcessing", "file", &file, random.of(&[
            json!({ "action": "checksum" }),
            json!({ "action": "rename", "name": name }),
            json!({ "action": "move", "workspace_id": place }),
            json!({ "action": "delete" }),
        ])),
        _ => route(File, "PUT", format!("/api/v1/data/file/{file}/content"), json!("x".repeat(random.below(600_000)))),
    }
}

impl Deed {
    /// Does it under a key, if it can be done.
    async fn run(&self, world: &World, key: &str) {
        let mut body = self.body.clone();
        for item in body.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            item["key"] = key.into();
        }
        let (path, method) = (self.path.as_str(), self.method);
        let status = world.run(&Do { kind: self.kind, tenant: ACME, method, path, key, body }).await.status;
        assert!(!status.is_server_error() && status != 400 && status != 422, "{status} {method} {path}");
    }
}

async fn digests(world: &World) -> Vec<Value> {
    let mut digests = Vec::new();
    for kind in ServiceKind::ALL {
        for entity in kind.definition().entity_types {
            let path = format!("/api/v1/data/{}/digest", entity.name);
            digests.push(world.get(kind, ACME, &path).await.json()["sha256"].clone());
        }
    }
    digests
}

/// Random deeds under the keys `deed-0` and so on.
async fn do_at_random(world: &World, random: &mut Random, owners: Owners) -> Vec<(ServiceKind, String)> {
    let mut done = Vec::new();
    for number in 0..50 {
        let (deed, key) = (deed(random, owners), format!("deed-{number}"));
        deed.run(world, &key).await;
        clock::sleep(&*world.clock, std::time::Duration::from_secs(1)).await;
        done.push((deed.kind, key));
    }
    done
}

#[tokio::test]
async fn undoing_everything_in_reverse_ends_where_it_began() {
    for seed in 0..12 {
        println!("seed {seed}");
        let (world, mut random) = (World::new().await, Random(seed));
        let (before, first) = (world.snapshot().await, digests(&world).await);
        let done = do_at_random(&world, &mut random, Owners::Change).await;
        assert_ne!(world.snapshot().await, before);
        for (kind, key) in done.iter().rev() {
            let reply = world.undo_key(*kind, ACME, key).await;
            assert_eq!(reply.status, 200, "seed {seed} {key} {:?}", reply.json());
        }
        assert_eq!(world.snapshot().await, before, "seed {seed}");
        assert_eq!(digests(&world).await, first, "seed {seed}");
    }
}

#[tokio::test]
async fn undoing_everything_in_any_order_ends_where_it_began() {
    for seed in 100..112 {
        println!("seed {seed}");
        let (world, mut random) = (World::new().await, Random(seed));
        let before = world.snapshot().await;
        let mut left = do_at_random(&world, &mut random, Owners::Stay).await;
        // What is refused because of something else is repeated when that is undone.
        while !left.is_empty() {
            let mut refused = Vec::new();
            let count = left.len();
            while !left.is_empty() {
                let (kind, key) = left.swap_remove(random.below(left.len()));
                let again = format!("undo-{key}-{count}");
                let path = format!("/api/v1/effects/{key}");
                let undo = Do { kind, tenant: ACME, method: "DELETE", path: &path, key: &again, body: Value::Null };
                match world.run(&undo).await.status.as_u16() {
                    200 => {}
                    409 => refused.push((kind, key)),
                    status => panic!("seed {seed} {key} {status}"),
                }
            }
            assert!(refused.len() < count, "seed {seed} {refused:?}");
            left = refused;
        }
        assert_eq!(world.snapshot().await, before, "seed {seed}");
    }
}

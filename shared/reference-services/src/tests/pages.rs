//! Pages of things, and what a service says about them.

use std::collections::BTreeSet;

use super::*;

async fn page(world: &World, tenant: &str, kind: ServiceKind, path: &str) -> Value {
    let reply = world.get(kind, tenant, &format!("/api/v1/data/{path}")).await;
    assert_eq!(reply.status, 200, "{path} {:?}", reply.json());
    reply.json()
}

fn ids(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().expect("items");
    items.iter().map(|item| item["id"].as_str().expect("an id")).collect()
}

async fn operate(
    world: &World,
    kind: ServiceKind,
    operation: &str,
    entity_type: &str,
    id: &str,
    key: &str,
    data: Value,
) {
    let item = json!({ "entity_type": entity_type, "entity_id": id, "key": key, "data": data });
    let path = format!("/api/v1/operations/{operation}");
    let reply = world.post(kind, ACME, &path, &json!({ "items": [item] })).await.json();
    assert_eq!(reply["results"][0]["status"], "succeeded", "{reply}");
}

async fn create(world: &World, id: &str) {
    let data = json!({ "email": format!("{id}@example.com"), "name": id, "role": "user" });
    operate(world, ServiceKind::Auth, "UserCreation", "account", id, id, data).await;
}

#[tokio::test]
async fn a_thing_has_its_version_data_and_references() {
    let world = World::new().await;
    clock::sleep(&*world.clock, std::time::Duration::from_secs(60)).await;
    let data = json!({ "profile_data": { "name": "New" } });
    operate(&world, ServiceKind::User, "UserUpdate", "profile", "profile-123", "a", data).await;
    let found = page(&world, ACME, ServiceKind::User, "profile?from_id=profile-123&to_id=profile-125").await;
    assert_eq!(ids(&found), ["profile-123", "profile-124"]);
    assert_eq!(
        found["items"][0],
        json!({
            "id": "profile-123", "version": 2, "updated_at": "2026-03-01T08:01:00Z",
            "data": {
                "profile_id": "profile-123", "user_id": "user-123",
                "profile_data": { "name": "New", "email": "demo.user@example.com", "role": "user" },
                "preferences": { "language": "en", "theme": "dark" }, "status": "active",
                "created_at": "2026-03-01T08:00:00Z",
            },
            "references": [{ "field": "user_id", "service": "auth", "type": "account", "id": "user-123" }],
        })
    );
    assert_eq!((&found["deletions"], &found["next_cursor"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn pages_hold_each_thing_once_whatever_happens_meanwhile() {
    let world = World::new().await;
    for number in 10..30 {
        create(&world, &format!("page-{number}")).await;
    }
    let first = page(&world, ACME, ServiceKind::Auth, "account?limit=7").await;
    let mut seen: Vec<String> = ids(&first).into_iter().map(str::to_owned).collect();
    let mut cursor = first["next_cursor"].clone();
    let mut number = 0;
    while let Some(text) = cursor.as_str() {
        // Before the page, in it and behind it something comes, goes and changes.
        number += 1;
        create(&world, &format!("aaa-{number}")).await;
        create(&world, &format!("zzz-{number}")).await;
        let data = json!({ "name": format!("name {number}") });
        operate(&world, ServiceKind::Auth, "UserUpdate", "account", "page-20", &format!("change-{number}"), data).await;
        let next = page(&world, ACME, ServiceKind::Auth, &format!("account?limit=7&cursor={text}")).await;
        assert_eq!(next["watermark"], first["watermark"]);
        seen.extend(ids(&next).into_iter().map(str::to_owned));
        cursor = next["next_cursor"].clone();
    }
    assert!(seen.is_sorted() && seen.iter().collect::<BTreeSet<_>>().len() == seen.len(), "{seen:?}");
    assert!((10..30).all(|number| seen.contains(&format!("page-{number}"))));
    // Whoever goes on from the watermark misses nothing.
    let watermark = first["watermark"].as_str().expect("a watermark");
    let changed = page(&world, ACME, ServiceKind::Auth, &format!("account?changed_since={watermark}")).await;
    let changed: BTreeSet<_> = ids(&changed).into_iter().collect();
    assert!((1..=number).all(|n| changed.contains(format!("aaa-{n}").as_str())) && changed.contains("page-20"));
    assert!(!changed.contains("page-10"));
}

#[tokio::test]
async fn changes_come_in_their_order_with_deletions() {
    let world = World::new().await;
    let since = page(&world, ACME, ServiceKind::File, "file").await["watermark"].clone();
    let since = since.as_str().expect("a watermark");
    let nothing = page(&world, ACME, ServiceKind::File, &format!("file?changed_since={since}")).await;
    assert_eq!((&nothing["items"], &nothing["deletions"]), (&json!([]), &json!([])));
    let file = async |operation: &str, id: &str, key: &str, data| {
        operate(&world, ServiceKind::File, operation, "file", id, key, data).await;
    };
    file("FileProcessing", "file-123-2", "a", json!({ "action": "rename", "name": "x" })).await;
    file("FileProcessing", "file-123-1", "b", json!({ "action": "delete" })).await;
    file("FileProcessing", "file-123-3", "c", json!({ "action": "checksum" })).await;
    let path = format!("file?changed_since={since}&limit=2");
    let first = page(&world, ACME, ServiceKind::File, &path).await;
    assert_eq!(ids(&first), ["file-123-2"]);
    assert_eq!(first["deletions"], json!([{ "id": "file-123-1", "deleted_at": "2026-03-01T08:00:00Z" }]));
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = page(&world, ACME, ServiceKind::File, &format!("{path}&cursor={cursor}")).await;
    assert_eq!((ids(&second), &second["next_cursor"]), (vec!["file-123-3"], &Value::Null));
    // What came back is no deletion any more.
    world.undo_key(ServiceKind::File, ACME, "b").await;
    let all = page(&world, ACME, ServiceKind::File, &format!("file?changed_since={since}")).await;
    assert_eq!((ids(&all), &all["deletions"]), (vec!["file-123-2", "file-123-3", "file-123-1"], &json!([])));
    assert_eq!(all["items"][2]["version"], 3);
    // Another tenant sees nothing of it.
    let foreign = page(&world, GLOBEX, ServiceKind::File, &format!("file?changed_since={since}")).await;
    assert_eq!((&foreign["items"], &foreign["deletions"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn what_the_database_takes_along_is_a_deletion_too() {
    let world = World::new().await;
    world.done(&create_workspace("workspace")).await;
    world.done(&create_sample_data("samples")).await;
    let since = page(&world, ACME, ServiceKind::File, "file").await["watermark"].clone();
    world.undo(&create_workspace("workspace")).await;
    let path = format!("file?changed_since={}", since.as_str().expect("a watermark"));
    let changed = page(&world, ACME, ServiceKind::File, &path).await;
    assert_eq!(changed["deletions"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn filters_and_subjects_select() {
    let world = World::new().await;
    use ServiceKind::{Auth, File, Notifications, Tenant, User};
    for (kind, path, expected) in [
        (Auth, "account?filter.email=DEMO.user@example.com", vec!["user-123"]),
        (Auth, "account?filter.name=Second%20User", vec!["user-124"]),
        (Auth, "account?filter.status=deactivated", vec![]),
        (Auth, "account?filter.role=user&filter.name=Third%20User", vec!["user-125"]),
        (Auth, "account?subject=user-126", vec!["user-126"]),
        (Auth, "session?filter.active=true", vec!["session-123"]),
        (Auth, "session?filter.active=false", vec![]),
        (Auth, "session?filter.session_data.device=laptop", vec!["session-123"]),
        (User, "profile?filter.profile_data.email=third.user@example.com", vec!["profile-125"]),
        (User, "profile?subject=user-124", vec!["profile-124"]),
        (User, "usage?filter.actions=17", vec!["user-123-2026-02-27"]),
        (User, "usage?from_id=user-123-2026-02-27&to_id=user-124", vec!["user-123-2026-02-27"]),
        (Tenant, "tenant", vec!["tenant-123"]),
        (Tenant, "tenant?subject=user-123", vec![]),
        (Tenant, "tenant?filter.quotas.users=100", vec!["tenant-123"]),
        (Tenant, "membership?subject=user-126", vec!["user-126"]),
        (Tenant, "profile_copy?filter.name=Second%20Usr", vec!["profile-124"]),
        (File, "workspace?filter.workspace_config.type=default", vec!["workspace-123"]),
        (File, "file?filter.content_type=text/csv", vec!["file-123-2"]),
        (Notifications, "notification?subject=user-123", vec!["notification-123"]),
    ] {
        assert_eq!(ids(&page(&world, ACME, kind, path).await), expected, "{path}");
    }
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let world = World::new().await;
    let first = page(&world, ACME, ServiceKind::Auth, "account?limit=1").await;
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let changed = format!("{}x", &cursor[..cursor.len() - 1]);
    for (tenant, path) in [
        (ACME, "account?limit=0".to_owned()),
        (ACME, "account?limit=1001".to_owned()),
        (ACME, "account?limit=1&limit=2".to_owned()),
        (ACME, "account?filter.nothing=1".to_owned()),
        (ACME, "account?filter.email.x=1".to_owned()),
        (ACME, "account?filter.tenant_id=tenant-456".to_owned()),
        (ACME, "session?filter.active=1".to_owned()),
        (ACME, "session?filter.session_data=1".to_owned()),
        (ACME, "account?changed_since=auth-999999".to_owned()),
        (ACME, "account?changed_since=user-0".to_owned()),
        (ACME, "account?purpose=fun".to_owned()),
        (ACME, "account?cursor=x".to_owned()),
        (ACME, format!("account?cursor={changed}")),
        (ACME, format!("session?cursor={cursor}")),
        (ACME, format!("account?filter.role=user&cursor={cursor}")),
        (GLOBEX, format!("account?cursor={cursor}")),
    ] {
        let reply = world.get(ServiceKind::Auth, tenant, &format!("/api/v1/data/{path}")).await;
        assert_eq!(reply.status, 400, "{path}");
    }
    let unchanged = format!("account?limit=2&cursor={cursor}");
    assert_eq!(ids(&page(&world, ACME, ServiceKind::Auth, &unchanged).await), ["user-124", "user-125"]);
    for path in ["invoice", "invoice/digest"] {
        assert_eq!(world.get(ServiceKind::Auth, ACME, &format!("/api/v1/data/{path}")).await.status, 404);
    }
}

#[tokio::test]
async fn services_say_what_they_hold() {
    let world = World::new().await;
    for (kind, types, operations) in [
        (
            ServiceKind::Auth,
            vec!["account", "session"],
            vec!["DataExport", "DataImport", "UserCreation", "UserDeactivation", "UserUpdate"],
        ),
        (
            ServiceKind::User,
            vec!["profile", "usage"],
            vec!["DataExport", "DataImport", "UserCreation", "UserDeactivation", "UserUpdate"],
        ),
        (
            ServiceKind::Tenant,
            vec!["tenant", "membership", "profile_copy"],
            vec!["DataExport", "DataImport", "PermissionUpdate", "UserCreation", "UserDeactivation"],
        ),
        (ServiceKind::File, vec!["workspace", "file"], vec!["DataExport", "DataImport", "FileProcessing"]),
        (ServiceKind::Notifications, vec!["notification"], vec!["DataExport", "DataImport", "NotificationSend"]),
    ] {
        let catalog = world.get(kind, ACME, "/api/v1/data").await.json();
        assert_eq!(catalog["service"], kind.name());
        assert_eq!(catalog["logs"], json!(["access", "modification", "deletion", "export"]));
        assert_eq!(catalog["operations"], json!(operations));
        let entity_types = catalog["entity_types"].as_array().expect("types");
        let names: Vec<_> = entity_types.iter().map(|described| described["type"].as_str().expect("a name")).collect();
        assert_eq!(names, types);
        for described in entity_types {
            // All that is said of a type is about fields that it has.
            let path = format!("{}?limit=1", described["type"].as_str().expect("a name"));
            let found = page(&world, ACME, kind, &path).await;
            let item = &found["items"][0];
            assert_eq!(item["id"], item["data"][described["id_field"].as_str().expect("a field")], "{path}");
            let subject = described["subject_field"].as_str();
            assert!(subject.is_none_or(|field| item["data"].get(field).is_some()), "{path}");
            for part in ["references", "personal_fields"] {
                for field in described[part].as_array().expect("a list") {
                    let pointer = format!("/{}", field["field"].as_str().expect("a field").replace('.', "/"));
                    assert!(item["data"].pointer(&pointer).is_some(), "{path} {pointer}");
                }
            }
        }
    }
    let copies = &world.get(ServiceKind::Tenant, ACME, "/api/v1/data").await.json()["entity_types"][2];
    let fields = json!({ "user_id": "user_id", "name": "profile_data.name", "email": "profile_data.email" });
    assert_eq!(copies["replica_of"], json!({ "service": "user", "type": "profile", "fields": fields }));
}

#[tokio::test]
async fn the_copies_differ_from_the_profiles_in_three_ways() {
    let world = World::new().await;
    let profiles = page(&world, ACME, ServiceKind::User, "profile").await;
    let copies = page(&world, ACME, ServiceKind::Tenant, "profile_copy").await;
    assert_eq!(ids(&profiles), ["profile-123", "profile-124", "profile-125"]);
    assert_eq!(ids(&copies), ["profile-123", "profile-124", "profile-126"]);
    let same = |index: usize| {
        let (profile, copy) = (&profiles["items"][index]["data"], &copies["items"][index]["data"]);
        [
            ("user_id", &profile["user_id"]),
            ("name", &profile["profile_data"]["name"]),
            ("email", &profile["profile_data"]["email"]),
        ]
        .map(|(field, original)| copy[field] == *original)
    };
    assert_eq!((same(0), same(1)), ([true, true, true], [true, false, true]));
}

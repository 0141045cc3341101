//! Every operation on many things: done once, repeated, undone, refused.

use super::*;

/// An operation on one thing.
struct Case {
    kind: ServiceKind,
    operation: &'static str,
    entity_type: &'static str,
    id: &'static str,
    data: Value,
    /// Something else to ask for under the same key.
    other: Value,
    outcome: &'static str,
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    use ServiceKind::{Auth, File, Notifications, Tenant, User};
    let case = |kind, operation, entity_type, id, outcome, data, other| Case {
        kind, operation, entity_type, id, data, other, outcome,
    };
    let account = json!({ "email": "nina@example.com", "name": "Nina", "role": "user" });
    let record = json!({ "record": account });
    let other_account = json!({ "email": "nora@example.com", "name": "Nora", "role": "user" });
    let member = json!({ "role": "viewer", "permissions": ["tenant:read"] });
    let mail = json!({ "notification_type": "notice", "recipient": "a@example.com", "message": "Hello" });
    let workspace = json!({ "record": { "user_id": "user-123", "workspace_config": {} }, "on_conflict": "overwrite" });
    vec![
        case(Auth, "UserCreation", "account", "user-9", "created", account, other_account),
        case(Auth, "UserUpdate", "account", "user-123", "updated", json!({ "name": "Other" }), json!({ "name": "X" })),
        case(Auth, "UserDeactivation", "account", "user-123", "updated", json!({}), json!({ "reason": "x" })),
        case(Auth, "DataExport", "account", "user-123", "exported", json!({}), json!({ "why": "x" })),
        case(Auth, "DataExport", "session", "session-123", "exported", json!({}), json!({ "why": "x" })),
        case(Auth, "DataImport", "account", "user-9", "created", record.clone(), json!({ "record": {} })),
        case(User, "UserCreation", "profile", "profile-9", "created",
            json!({ "user_id": "user-9", "profile_data": { "name": "Nina" } }), json!({})),
        case(User, "UserUpdate", "profile", "profile-123", "updated",
            json!({ "profile_data": { "name": "New", "role": null }, "preferences": { "a": "b" } }), json!({})),
        case(User, "UserDeactivation", "profile", "profile-123", "updated", json!({}), json!({ "reason": "x" })),
        case(User, "DataExport", "profile", "profile-123", "exported", json!({}), json!({ "why": "x" })),
        case(User, "DataImport", "profile", "profile-9", "created", json!({
            "record": { "user_id": "user-9", "profile_data": {}, "preferences": {} },
        }), json!({})),
        case(Tenant, "UserCreation", "membership", "user-9", "created", member.clone(), json!({})),
        case(Tenant, "PermissionUpdate", "membership", "user-123", "updated", member, json!({})),
        case(Tenant, "UserDeactivation", "membership", "user-123", "updated", json!({}), json!({ "reason": "x" })),
        case(Tenant, "DataExport", "tenant", "tenant-123", "exported", json!({}), json!({ "why": "x" })),
        case(Tenant, "DataImport", "membership", "user-9", "created", json!({
            "record": { "role": "viewer", "permissions": [], "active": false },
        }), json!({})),
        case(File, "FileProcessing", "file", "file-123-1", "processed",
            json!({ "action": "checksum" }), json!({ "action": "delete" })),
        case(File, "FileProcessing", "file", "file-123-1", "updated",
            json!({ "action": "rename", "name": "new.md" }), json!({ "action": "delete" })),
        case(File, "FileProcessing", "file", "file-123-1", "updated",
            json!({ "action": "move", "workspace_id": "workspace-9" }), json!({ "action": "delete" })),
        case(File, "FileProcessing", "file", "file-123-1", "deleted",
            json!({ "action": "delete" }), json!({ "action": "checksum" })),
        case(File, "DataImport", "workspace", "workspace-123", "updated", workspace, json!({})),
        case(File, "DataExport", "file", "file-123-1", "exported", json!({}), json!({ "why": "x" })),
        case(Notifications, "NotificationSend", "notification", "user-9@home", "sent", mail, json!({})),
    ]
}

impl Case {
    fn item(&self, key: &str) -> Value {
        json!({ "entity_type": self.entity_type, "entity_id": self.id, "key": key, "data": self.data })
    }

    /// Whether it needs the thing to be there.
    fn is_about_an_existing_thing(&self) -> bool {
        !matches!(self.outcome, "created" | "sent") && self.operation != "DataImport"
    }

    fn changes_something(&self) -> bool {
        self.outcome != "exported"
    }

    fn name(&self) -> String {
        format!("{} {} {}", self.operation, self.entity_type, self.data)
    }

    async fn world() -> World {
        let world = World::new().await;
        world.done(&create_workspace("workspace")).await;
        world
    }

    async fn run(&self, world: &World, tenant: &str, query: &str, item: Value) -> Value {
        let path = format!("/api/v1/operations/{}{query}", self.operation);
        let reply = world.post(self.kind, tenant, &path, &json!({ "items": [item] })).await;
        assert_eq!(reply.status, 200, "{} {:?}", self.name(), reply.json());
        let mut answer = reply.json();
        assert_eq!(answer["results"].as_array().map(Vec::len), Some(1));
        answer["results"][0].take()
    }
}

#[tokio::test]
async fn once() {
    for case in cases() {
        let world = Case::world().await;
        let before = world.snapshot().await;
        let result = case.run(&world, ACME, "", case.item("item")).await;
        let expected = json!({
            "key": "item", "entity_id": case.id, "status": "succeeded", "outcome": case.outcome, "code": null,
            "message": null, "retryable": false, "data": result["data"],
        });
        assert_eq!(result, expected, "{}", case.name());
        assert_eq!(world.snapshot().await != before, case.changes_something(), "{}", case.name());
        let ledger = world.ledger().await;
        let last = ledger.iter().find(|line| line.key == "item").expect("a line");
        assert_eq!((last.method.as_str(), last.route.as_str()), ("POST", "/api/v1/operations/{operation}"));
        assert_eq!((last.entity.as_deref(), last.entity_id.as_deref()), (Some(case.entity_type), Some(case.id)));
        assert_eq!(last.outcome, Outcome::Applied);
    }
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer() {
    for case in cases() {
        let world = Case::world().await;
        let first = case.run(&world, ACME, "", case.item("item")).await;
        let after = world.snapshot().await;
        clock::sleep(&*world.clock, std::time::Duration::from_secs(9)).await;
        assert_eq!(case.run(&world, ACME, "", case.item("item")).await, first, "{}", case.name());
        assert_eq!(world.snapshot().await, after);
        assert_eq!(world.outcomes().await.last(), Some(&Outcome::Replayed));
    }
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    for case in cases() {
        let world = Case::world().await;
        case.run(&world, ACME, "", case.item("item")).await;
        let after = world.snapshot().await;
        for (field, value) in [("data", &case.other), ("entity_id", &json!("another"))] {
            let mut item = case.item("item");
            item[field] = value.clone();
            let result = case.run(&world, ACME, "", item).await;
            assert_eq!(
                (&result["status"], &result["code"]),
                (&json!("failed"), &json!("KeyReused")),
                "{}",
                case.name()
            );
        }
        assert_eq!(world.snapshot().await, after);
    }
}

#[tokio::test]
async fn an_undone_key_leaves_no_trace_and_is_refused() {
    for case in cases() {
        let world = Case::world().await;
        let before = world.snapshot().await;
        case.run(&world, ACME, "", case.item("item")).await;
        let undone = world.undo_key(case.kind, ACME, "item").await.json();
        assert_eq!(undone["undone"], case.changes_something(), "{}", case.name());
        assert_eq!(world.snapshot().await, before, "{}", case.name());
        let late = case.run(&world, ACME, "", case.item("item")).await;
        assert_eq!((&late["status"], &late["code"]), (&json!("failed"), &json!("Undone")), "{}", case.name());
        assert_eq!(world.snapshot().await, before);
    }
}

#[tokio::test]
async fn what_is_missing_or_foreign_is_not_found() {
    for case in cases().into_iter().filter(Case::is_about_an_existing_thing) {
        let world = Case::world().await;
        let before = world.snapshot().await;
        let mut missing = case.item("item");
        missing["entity_id"] = "nobody".into();
        for (tenant, item) in [(ACME, missing), ("tenant-9", case.item("item"))] {
            let result = case.run(&world, tenant, "", item).await;
            assert_eq!((&result["status"], &result["code"]), (&json!("failed"), &json!("NotFound")), "{}", case.name());
        }
        assert_eq!(world.snapshot().await, before);
        // A failure is not remembered.
        assert_eq!(case.run(&world, ACME, "", case.item("item")).await["status"], "succeeded", "{}", case.name());
    }
}

#[tokio::test]
async fn a_dry_run_answers_and_does_nothing() {
    for case in cases() {
        let world = Case::world().await;
        let (before, ledger) = (world.snapshot().await, world.ledger().await);
        let dry = case.run(&world, ACME, "?dry_run=true", case.item("item")).await;
        assert_eq!((&dry["status"], &dry["outcome"]), (&json!("succeeded"), &json!(case.outcome)), "{}", case.name());
        assert_eq!(world.snapshot().await, before, "{}", case.name());
        assert_eq!(world.ledger().await, ledger);
        // The key is free.
        let real = case.run(&world, ACME, "?dry_run=false", case.item("item")).await;
        assert_eq!(real["status"], "succeeded", "{}", case.name());
        assert_eq!(world.undo_key(case.kind, ACME, "item").await.json()["undone"], case.changes_something());
    }
}

#[tokio::test]
async fn what_changes_nothing_is_unchanged() {
    for case in cases().into_iter().filter(|case| matches!(case.outcome, "updated" | "processed")) {
        let world = Case::world().await;
        let first = case.run(&world, ACME, "", case.item("first")).await;
        let after = world.snapshot().await;
        clock::sleep(&*world.clock, std::time::Duration::from_secs(9)).await;
        let second = case.run(&world, ACME, "", case.item("second")).await;
        assert_eq!(
            (&second["status"], &second["outcome"]),
            (&json!("succeeded"), &json!("unchanged")),
            "{}",
            case.name()
        );
        assert_eq!(second["data"], first["data"]);
        assert_eq!(world.snapshot().await, after);
        assert_eq!(world.undo_key(case.kind, ACME, "second").await.json()["undone"], false);
    }
}

#[tokio::test]
async fn an_export_is_taken_in_elsewhere() {
    for (kind, entity_type, id) in [
        (ServiceKind::Auth, "account", "user-123"),
        (ServiceKind::Auth, "session", "session-123"),
        (ServiceKind::User, "profile", "profile-123"),
        (ServiceKind::Tenant, "membership", "user-124"),
        (ServiceKind::File, "workspace", "workspace-123"),
    ] {
        let world = World::new().await;
        let send = async |tenant, operation: &str, key: &str, data: Value| {
            let item = json!({ "entity_type": entity_type, "entity_id": id, "key": key, "data": data });
            let path = format!("/api/v1/operations/{operation}");
            let mut reply = world.post(kind, tenant, &path, &json!({ "items": [item] })).await.json();
            reply["results"][0].take()
        };
        let record = send(ACME, "DataExport", "a", json!({})).await["data"].clone();
        let import = |on_conflict: &str| json!({ "record": record, "on_conflict": on_conflict });
        assert_eq!(send(GLOBEX, "DataImport", "b", import("fail")).await["outcome"], "created", "{entity_type}");
        assert_eq!(send(GLOBEX, "DataExport", "c", json!({})).await["data"], record);
        assert_eq!(send(GLOBEX, "DataImport", "d", import("fail")).await["code"], "Conflict");
        for (key, on_conflict) in [("e", "skip"), ("f", "overwrite")] {
            assert_eq!(send(GLOBEX, "DataImport", key, import(on_conflict)).await["outcome"], "unchanged");
        }
    }
}

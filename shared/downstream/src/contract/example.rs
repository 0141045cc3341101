//! What the rules make in each service.

use http::Method;
use serde_json::{Value, json};

use crate::Service;

/// Things of one type, and what can be done to them.
pub(super) struct Example {
    /// Their type.
    pub(super) entity_type: &'static str,
    /// The call that creates one of this id in this tenant.
    pub(super) creation: fn(&str, &str) -> (Method, String, Value),
    /// The field of the answer to that call that holds the id.
    pub(super) answered_id: Option<&'static str>,
    /// Whether that call leaves alone what is there.
    pub(super) refuses_second: bool,
    /// The field of that call that is sent with a number where there is none.
    pub(super) bad_field: &'static str,
    /// A complete record of this id. The id is also the user's whom it is about.
    pub(super) record: fn(&str) -> Value,
    /// Fields with other values than the record's, of this id.
    pub(super) changes: fn(&str) -> Vec<(&'static str, Value)>,
    /// A field that pages can be filtered by, with the record's value.
    pub(super) filter: (&'static str, &'static str),
    /// A personal field that can be masked.
    pub(super) masked: Option<&'static str>,
    /// What is done to one thing in this order.
    pub(super) operations: fn(&str) -> Vec<Step>,
}

/// An operation on one thing.
pub(super) struct Step {
    pub(super) entity_type: &'static str,
    pub(super) operation: &'static str,
    pub(super) data: Value,
    pub(super) outcome: &'static str,
}

impl Example {
    pub(super) fn of(service: Service) -> Self {
        match service {
            Service::Auth => account(),
            Service::User => profile(),
            Service::Tenant => membership(),
            Service::File => workspace(),
            Service::Notifications => notification(),
        }
    }
}

/// An address at which nobody is (RFC 2606, section 2).
fn address(id: &str) -> String {
    format!("{id}@example.invalid")
}

fn step(entity_type: &'static str, operation: &'static str, data: Value, outcome: &'static str) -> Step {
    Step { entity_type, operation, data, outcome }
}

fn account() -> Example {
    Example {
        entity_type: "account",
        creation: |tenant_id, id| {
            let body = json!({
                "user_id": id, "email": address(id), "name": "Contract Check", "role": "user", "tenant_id": tenant_id,
                "send_welcome_email": false,
            });
            (Method::POST, "/users".to_owned(), body)
        },
        answered_id: Some("user_id"),
        refuses_second: true,
        bad_field: "name",
        record: |id| {
            let (email, name) = (address(id), "Contract Check");
            json!({ "user_id": id, "email": email, "name": name, "role": "user", "status": "active" })
        },
        changes: |id| {
            vec![
                ("email", address(&format!("{id}-other")).into()),
                ("name", "Another Name".into()),
                ("role", "viewer".into()),
                ("status", "deactivated".into()),
            ]
        },
        filter: ("name", "Contract%20Check"),
        masked: Some("name"),
        operations: |id| {
            let new = json!({ "email": address(id), "name": "Contract Check", "role": "user" });
            vec![
                step("account", "UserCreation", new, "created"),
                step("account", "UserUpdate", json!({ "name": "Another Name" }), "updated"),
                step("account", "UserDeactivation", json!({}), "updated"),
                step("account", "DataExport", json!({}), "exported"),
            ]
        },
    }
}

fn profile() -> Example {
    Example {
        entity_type: "profile",
        creation: |_, id| {
            let body = json!({
                "profile_id": id, "user_id": id, "profile_data": { "name": "Contract Check" }, "preferences": {},
            });
            (Method::POST, "/profiles".to_owned(), body)
        },
        answered_id: Some("profile_id"),
        refuses_second: true,
        bad_field: "profile_data",
        record: |id| {
            json!({
                "profile_id": id, "user_id": id, "profile_data": { "name": "Contract Check" }, "preferences": {},
                "status": "active",
            })
        },
        changes: |id| {
            vec![
                ("user_id", format!("{id}-other").into()),
                ("profile_data", json!({ "name": "Another Name" })),
                ("preferences", json!({ "language": "en" })),
                ("status", "deactivated".into()),
            ]
        },
        filter: ("profile_data.name", "Contract%20Check"),
        masked: Some("profile_data.name"),
        operations: |id| {
            let new = json!({ "user_id": id, "profile_data": { "name": "Contract Check" }, "preferences": {} });
            vec![
                step("profile", "UserCreation", new, "created"),
                step("profile", "UserUpdate", json!({ "profile_data": { "name": "Another Name" } }), "updated"),
                step("profile", "UserDeactivation", json!({}), "updated"),
                step("profile", "DataExport", json!({}), "exported"),
            ]
        },
    }
}

fn membership() -> Example {
    Example {
        entity_type: "membership",
        creation: |tenant_id, id| {
            let body = json!({ "role": "viewer", "permissions": ["tenant:read"], "active": true });
            (Method::PUT, format!("/tenants/{tenant_id}/users/{id}"), body)
        },
        answered_id: None,
        refuses_second: false,
        bad_field: "role",
        record: |id| json!({ "user_id": id, "role": "viewer", "permissions": ["tenant:read"], "active": true }),
        changes: |_| vec![("role", "user".into()), ("permissions", json!(["user:read"])), ("active", false.into())],
        filter: ("role", "viewer"),
        masked: None,
        operations: |_| {
            let new = json!({ "role": "viewer", "permissions": ["tenant:read"] });
            vec![
                step("membership", "UserCreation", new, "created"),
                step("membership", "PermissionUpdate", json!({ "permissions": ["user:read"] }), "updated"),
                step("membership", "UserDeactivation", json!({}), "updated"),
                step("membership", "DataExport", json!({}), "exported"),
            ]
        },
    }
}

fn workspace() -> Example {
    let record = |id: &str| json!({ "workspace_id": id, "user_id": id, "workspace_config": { "type": "default" } });
    Example {
        entity_type: "workspace",
        creation: |_, id| {
            let body = json!({ "workspace_id": id, "user_id": id, "workspace_config": { "type": "default" } });
            (Method::POST, "/workspaces".to_owned(), body)
        },
        answered_id: Some("workspace_id"),
        refuses_second: true,
        bad_field: "user_id",
        record,
        changes: |id| {
            vec![
                ("user_id", format!("{id}-other").into()),
                ("workspace_config", json!({ "type": "default", "quota_gb": "1" })),
            ]
        },
        filter: ("workspace_config.type", "default"),
        masked: Some("workspace_config.type"),
        operations: |id| {
            let workspace = json!({ "workspace_id": id, "user_id": id, "workspace_config": { "type": "default" } });
            vec![
                step("workspace", "DataImport", json!({ "record": workspace }), "created"),
                step("workspace", "DataExport", json!({}), "exported"),
                step("file", "DataImport", json!({ "record": file(id) }), "created"),
                step("file", "FileProcessing", json!({ "action": "rename", "name": "other.txt" }), "updated"),
                step("file", "FileProcessing", json!({ "action": "delete" }), "deleted"),
            ]
        },
    }
}

/// The record of a file of this id in the workspace of the same id.
pub(super) fn file(id: &str) -> Value {
    json!({
        "file_id": id, "workspace_id": id, "user_id": id, "name": "check.txt", "content_type": "text/plain",
        "size_bytes": 0,
    })
}

fn notification() -> Example {
    Example {
        entity_type: "notification",
        creation: |_, id| {
            let body = json!({
                "notification_type": "contract_check", "recipient": address(id), "message": "Contract Check",
                "metadata": {},
            });
            (Method::POST, "/notifications".to_owned(), body)
        },
        answered_id: Some("notification_id"),
        refuses_second: false,
        bad_field: "recipient",
        record: |id| {
            json!({
                "notification_id": id, "notification_type": "contract_check", "recipient": address(id),
                "message": "Contract Check", "metadata": {}, "delivery_status": "queued", "subject_id": id,
            })
        },
        changes: |id| {
            vec![
                ("notification_type", "contract_check_other".into()),
                ("recipient", address(&format!("{id}-other")).into()),
                ("message", "Another Message".into()),
                ("metadata", json!({ "language": "en" })),
            ]
        },
        filter: ("notification_type", "contract_check"),
        masked: Some("message"),
        operations: |id| {
            let record = json!({
                "notification_id": id, "notification_type": "contract_check", "recipient": address(id),
                "message": "Contract Check", "metadata": {}, "delivery_status": "queued", "subject_id": id,
            });
            let new = json!({
                "notification_type": "contract_check", "recipient": address(id), "message": "Contract Check",
            });
            vec![
                step("notification", "DataImport", json!({ "record": record }), "created"),
                step("notification", "DataExport", json!({}), "exported"),
                step("notification", "NotificationSend", new, "sent"),
            ]
        },
    }
}

//! `infra/contracts/*.yaml`: they are what the reference services say of themselves, and that is true: every route is called,
//! with what it wants and with what it refuses, and every answer is what the description says.

use std::collections::BTreeSet;
use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use contracts::bulk_operation::BulkOperationType;
use reference_services::{ServiceKind, Services, openapi};
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use super::schema::{resolve, validate};
use super::{TENANT, clock, services};

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn the_published_files_are_the_services_own_descriptions() {
    for kind in ServiceKind::ALL {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../infra/contracts/{}.yaml", kind.name()));
        let text = openapi(kind);
        if std::env::var("UPDATE_CONTRACTS").is_ok() {
            std::fs::write(&file, &text).unwrap();
        }
        let published = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(published == text, "{} is not up to date: UPDATE_CONTRACTS=1 writes it", file.display());
    }
}

#[test]
fn every_activity_is_named_where_it_calls_a_service() {
    for activity in activities::ALL {
        for service in activity.calls {
            let text = openapi(super::kind(*service));
            assert!(text.contains(activity.name), "{} in {}.yaml", activity.name, service.as_str());
        }
    }
}

#[test]
fn every_operation_of_a_bulk_job_is_described_for_its_types() {
    for operation in BulkOperationType::ALL {
        for (service, types) in operation.targets() {
            let kind = ServiceKind::ALL.into_iter().find(|kind| kind.name() == *service).unwrap();
            let document: Value = serde_yaml_ng::from_str(&openapi(kind)).unwrap();
            for entity_type in *types {
                let name = format!("{entity_type}.{}", operation.as_str());
                assert!(document["components"]["schemas"][&name].is_object(), "{name} in {service}.yaml");
            }
        }
    }
}

#[tokio::test]
async fn every_route_does_what_its_description_says() {
    let clock = clock();
    for kind in ServiceKind::ALL {
        let document = serde_yaml_ng::from_str(&openapi(kind)).unwrap();
        let mut peer = Peer { services: services(&clock).await, kind, document, count: 0, seen: BTreeSet::new() };
        let paths = peer.document["paths"].as_object().unwrap().clone();
        for (path, methods) in &paths {
            for (method, operation) in methods.as_object().unwrap() {
                let route = Route { path, method, operation };
                for mut call in peer.examples(&route).await {
                    peer.succeeds(&route, &mut call).await;
                    peer.refuses_what_is_missing(&route, &call).await;
                    peer.refuses_what_is_unknown(&route, &call).await;
                    peer.refuses_bad_parameters(&route, &call).await;
                    peer.refuses_bad_fields(&route, &call).await;
                    peer.keeps_keys(&route, &call).await;
                }
                let documented: BTreeSet<_> = operation["responses"].as_object().unwrap().keys().cloned().collect();
                let seen: BTreeSet<_> = peer.seen.iter().cloned().collect();
                // These take more than one call to bring about, or a service that does not work; other tests do.
                let rare = ["403", "409", "503", "default"].map(str::to_owned).into();
                let unseen: BTreeSet<_> = documented.difference(&seen).cloned().collect();
                assert!(unseen.is_subset(&rare), "{} {method} {path} never answers {unseen:?}", kind.name());
                peer.seen.clear();
            }
        }
    }
}

/// A described route.
struct Route<'r> {
    path: &'r str,
    method: &'r str,
    operation: &'r Value,
}

impl Route<'_> {
    fn has_key(&self) -> bool {
        self.parameters().any(|parameter| parameter["$ref"] == "#/components/parameters/Key")
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.operation["parameters"].as_array().into_iter().flatten()
    }

    fn body(&self) -> &Value {
        &self.operation["requestBody"]["content"]["application/json"]["schema"]
    }
}

/// A call that the route is described for.
#[derive(Clone)]
struct Call {
    /// The path's parameters with their values.
    place: Vec<(String, String)>,
    query: String,
    body: Value,
}

/// A running service and its description.
struct Peer {
    services: Services,
    kind: ServiceKind,
    document: Value,
    count: u32,
    /// The statuses that a route has answered.
    seen: BTreeSet<String>,
}

impl Peer {
    fn fresh(&mut self, word: &str) -> String {
        self.count += 1;
        format!("{word}-{}", self.count)
    }

    async fn send(&mut self, route: &Route<'_>, call: &Call, tenant: Option<&str>, key: Option<&str>) -> (u16, Value) {
        let mut path = route.path.to_owned();
        for (name, value) in &call.place {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let mut request =
            Request::builder().method(route.method.to_uppercase().as_str()).uri(format!("{path}{}", call.query));
        for (name, value) in [("x-tenant-id", tenant), ("idempotency-key", key)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let body = if call.body.is_null() { Body::empty() } else { call.body.to_string().into() };
        let answer = self.services.router(self.kind).oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let media =
            answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let what = format!("{} {} {path}{} {} -> {status}", self.kind.name(), route.method, call.query, call.body);
        let described = &route.operation["responses"][status.as_u16().to_string()];
        assert!(described.is_object(), "{what}, which is not described: {}", String::from_utf8_lossy(&bytes));
        self.seen.insert(status.as_u16().to_string());
        let content = described["content"].as_object().unwrap();
        if content.contains_key("application/octet-stream") {
            return (status.as_u16(), Value::Null);
        }
        let content = content.get(&media).unwrap_or_else(|| panic!("{what}: {media} is not described"));
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        let valid = validate(&self.document, &content["schema"], &body);
        assert!(valid.is_ok(), "{what}: {valid:?} {body}");
        (status.as_u16(), body)
    }

    /// The same call with a key that nobody has used, if it takes one.
    async fn send_anew(&mut self, route: &Route<'_>, call: &Call) -> (u16, Value) {
        let mut call = call.clone();
        self.renew(&mut call.body);
        let key = route.has_key().then(|| self.fresh("key"));
        self.send(route, &call, Some(TENANT), key.as_deref()).await
    }

    /// Gives the items new keys.
    fn renew(&mut self, body: &mut Value) {
        for item in body.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            if item["key"].is_string() {
                item["key"] = self.fresh("item").into();
            }
        }
    }

    async fn succeeds(&mut self, route: &Route<'_>, call: &mut Call) {
        let key = route.has_key().then(|| self.fresh("key"));
        let (status, body) = self.send(route, call, Some(TENANT), key.as_deref()).await;
        assert!((200..300).contains(&status), "{} {} {status} {body}", route.method, route.path);
        let failed = body["results"].as_array().into_iter().flatten().find(|result| result["status"] == "failed");
        assert!(failed.is_none(), "{} {:?} {failed:?}", route.path, call.place);
        // What is created next has another id.
        for field in ["user_id", "session_id", "profile_id", "workspace_id"] {
            if call.body[field].is_string() && call.body[field] != "user-123" {
                call.body[field] = self.fresh("other").into();
            }
        }
        if call.body["email"].is_string() {
            call.body["email"] = format!("{}@example.com", self.fresh("other")).into();
        }
    }

    async fn refuses_what_is_missing(&mut self, route: &Route<'_>, call: &Call) {
        if !route.path.starts_with("/api/") {
            return;
        }
        let key = self.fresh("key");
        assert_eq!(self.send(route, call, None, Some(&key)).await.0, 400, "{} without tenant", route.path);
        if route.has_key() {
            assert_eq!(self.send(route, call, Some(TENANT), None).await.0, 400, "{} without key", route.path);
        }
    }

    async fn refuses_what_is_unknown(&mut self, route: &Route<'_>, call: &Call) {
        let mut statuses = Vec::new();
        for index in 0..call.place.len() {
            let mut unknown = call.clone();
            unknown.place[index].1 = "nobody".to_owned();
            statuses.push(self.send_anew(route, &unknown).await.0);
        }
        let is_described = route.operation["responses"]["404"].is_object();
        assert_eq!(statuses.contains(&404), is_described, "{} {} {statuses:?}", route.method, route.path);
    }

    async fn refuses_bad_parameters(&mut self, route: &Route<'_>, call: &Call) {
        let parameters: Vec<_> = route.parameters().filter(|parameter| parameter["in"] == "query").cloned().collect();
        for parameter in parameters {
            let schema = &parameter["schema"];
            let takes_any = schema["type"] == "string" && schema["format"].is_null();
            if takes_any {
                continue;
            }
            let mut bad = call.clone();
            bad.query = format!("?{}=nonsense", parameter["name"].as_str().unwrap());
            assert_eq!(self.send_anew(route, &bad).await.0, 400, "{}{}", route.path, bad.query);
        }
    }

    async fn refuses_bad_fields(&mut self, route: &Route<'_>, call: &Call) {
        let schema = route.body().clone();
        if schema.is_null() {
            return;
        }
        for (pointer, field) in fields(&schema, "") {
            let changed = |value: Option<Value>| {
                let mut changed = call.clone();
                put(&mut changed.body, &pointer, value);
                changed
            };
            let wrong = wrong(resolve(&self.document, &field.schema));
            let (status, body) = self.send_anew(route, &changed(Some(wrong))).await;
            assert!(status == 422 && names(&body, &pointer), "{} takes a wrong {pointer}: {status} {body}", route.path);
            for value in [None, Some(Value::Null)] {
                // One without its key has no result either.
                let (status, body) = self.send_kept(route, &changed(value.clone())).await;
                let is_refused = status == 422 && names(&body, &pointer);
                assert_eq!(is_refused, field.is_required, "{} {pointer} {value:?}: {status} {body}", route.path);
            }
        }
    }

    /// The same call as it is, by a new key in the header.
    async fn send_kept(&mut self, route: &Route<'_>, call: &Call) -> (u16, Value) {
        let key = route.has_key().then(|| self.fresh("key"));
        self.send(route, call, Some(TENANT), key.as_deref()).await
    }

    async fn keeps_keys(&mut self, route: &Route<'_>, call: &Call) {
        if !route.has_key() {
            return;
        }
        let key = self.fresh("key");
        let undo = Request::delete(format!("/api/v1/effects/{key}"));
        let undo = undo.header("x-tenant-id", TENANT).header("idempotency-key", format!("undo-{key}"));
        let answer = self.services.router(self.kind).oneshot(undo.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(self.send(route, call, Some(TENANT), Some(&key)).await.0, 410, "{}", route.path);
        let used = self.fresh("key");
        let mut other = call.clone();
        match &mut other.body {
            Value::Null => other.place[0].1.push_str("-other"),
            Value::Object(fields) => drop(fields.insert("more".to_owned(), true.into())),
            bytes => *bytes = "other bytes".into(),
        }
        if self.send(route, call, Some(TENANT), Some(&used)).await.0 < 300 {
            assert_eq!(self.send(route, &other, Some(TENANT), Some(&used)).await.0, 422, "{}", route.path);
        }
    }

    /// What a route is called with.
    async fn examples(&mut self, route: &Route<'_>) -> Vec<Call> {
        let number = self.fresh("new");
        let place = |name: &str| {
            let value = match name {
                "user_id" => "user-123",
                "tenant_id" => TENANT,
                "workspace_id" => "workspace-123",
                "file_id" => "file-123-1",
                _ => "effect",
            };
            (name.to_owned(), value.to_owned())
        };
        let names = route.parameters().filter(|parameter| parameter["in"] == "path");
        let names: Vec<_> = names.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
        if names.iter().any(|name| name == "type") {
            return self.examples_of_types(route).await;
        }
        if names.iter().any(|name| name == "operation") {
            return self.examples_of_operations().await;
        }
        let place = names.iter().map(|name| place(name)).collect();
        vec![Call { place, query: String::new(), body: body(route, &number) }]
    }

    fn types(&self) -> Vec<String> {
        let schemas = self.document["components"]["schemas"].as_object().unwrap();
        schemas.keys().filter(|name| schemas.contains_key(&format!("{name}.import"))).cloned().collect()
    }

    /// The first thing of a type.
    async fn first(&mut self, entity_type: &str) -> Value {
        let request = Request::get(format!("/api/v1/data/{entity_type}")).header("x-tenant-id", TENANT);
        let answer = self.services.router(self.kind).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let body: Value = serde_json::from_slice(&to_bytes(answer.into_body(), usize::MAX).await.unwrap()).unwrap();
        body["items"][0].clone()
    }

    async fn examples_of_types(&mut self, route: &Route<'_>) -> Vec<Call> {
        let mut calls = Vec::new();
        for entity_type in self.types() {
            let thing = self.first(&entity_type).await;
            let item = json!({ "id": thing["id"], "key": self.fresh("item"), "if_version": thing["version"] });
            let place = vec![("type".to_owned(), entity_type.clone())];
            let (query, body) = match route.path.rsplit('/').next().unwrap() {
                "import" => {
                    let mut item = item;
                    item["data"] = thing["data"].clone();
                    ("", json!({ "on_conflict": "skip", "before_images": true, "items": [item] }))
                }
                "delete" => ("?dry_run=true", json!({ "before_images": true, "items": [item] })),
                "mask" => {
                    let fields =
                        self.document["components"]["schemas"][&entity_type]["properties"].as_object().unwrap();
                    let maskable = |(name, schema): &(&String, &Value)| {
                        let is_text = schema["type"] == "string" || schema["type"][0] == "string";
                        let is_text = is_text && schema["format"].is_null();
                        // What is masked refers to nothing any more.
                        !name.ends_with("_id") && (is_text || schema["additionalProperties"]["type"] == "string")
                    };
                    let field = fields.iter().find(maskable).unwrap().0.clone();
                    ("?dry_run=true", json!({ "before_images": true, "fields": { field: "redact" }, "items": [item] }))
                }
                _ => ("", Value::Null),
            };
            calls.push(Call { place, query: query.to_owned(), body });
        }
        calls
    }

    async fn examples_of_operations(&mut self) -> Vec<Call> {
        let schemas = self.document["components"]["schemas"].as_object().unwrap().clone();
        let mut calls = Vec::new();
        for (name, schema) in &schemas {
            let Some((entity_type, operation)) = name.split_once('.').filter(|(_, part)| *part != "import") else {
                continue;
            };
            let thing = self.first(entity_type).await;
            for data in data(entity_type, operation, &thing) {
                let known = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name);
                let known: BTreeSet<_> = known.collect();
                let given: BTreeSet<_> = data.as_object().unwrap().keys().collect();
                assert!(given.is_subset(&known), "{name} {given:?}");
                let new = matches!(operation, "UserCreation" | "NotificationSend");
                let id = if new { self.fresh("new").into() } else { thing["id"].clone() };
                let item =
                    json!({ "entity_type": entity_type, "entity_id": id, "key": self.fresh("item"), "data": data });
                let place = vec![("operation".to_owned(), operation.to_owned())];
                calls.push(Call { place, query: "?dry_run=true".to_owned(), body: json!({ "items": [item] }) });
            }
        }
        calls
    }
}

#[tokio::test]
async fn operations_need_what_their_description_says() {
    let clock = clock();
    for kind in ServiceKind::ALL {
        let document: Value = serde_yaml_ng::from_str(&openapi(kind)).unwrap();
        let operation = document["paths"]["/api/v1/operations/{operation}"]["post"].clone();
        let route = Route { path: "/api/v1/operations/{operation}", method: "post", operation: &operation };
        let mut peer = Peer {
            services: services(&clock).await,
            kind,
            document: document.clone(),
            count: 0,
            seen: BTreeSet::new(),
        };
        for call in peer.examples_of_operations().await {
            let item = &call.body["items"][0];
            let name = format!("{}.{}", item["entity_type"].as_str().unwrap(), call.place[0].1);
            for (pointer, field) in fields(&document["components"]["schemas"][&name], "") {
                let pointer_in_item = format!("/items/0/data{pointer}");
                let is_given = call.body.pointer(&pointer_in_item).is_some();
                let about = field.schema["description"].as_str().unwrap_or_default();
                let depends = about.starts_with("with ");
                if depends && !is_given {
                    continue;
                }
                let is_required = field.is_required || depends;
                let cases = [
                    (Some(wrong(resolve(&document, &field.schema))), true),
                    (None, is_required),
                    (Some(Value::Null), is_required),
                ];
                for (value, is_refused) in cases {
                    let mut changed = call.clone();
                    put(&mut changed.body, &pointer_in_item, value.clone());
                    let (_, body) = peer.send_anew(&route, &changed).await;
                    let is_invalid = body["results"][0]["code"] == "InvalidInput";
                    assert_eq!(is_invalid, is_refused, "{name}{pointer} {value:?} {body}");
                }
            }
        }
    }
}

/// A field of a body.
struct Field {
    schema: Value,
    is_required: bool,
}

/// The fields that a schema describes, with those of the objects in its lists; by JSON pointer into an example.
fn fields(schema: &Value, place: &str) -> Vec<(String, Field)> {
    let mut all = Vec::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let pointer = format!("{place}/{name}");
        let required = schema["required"].as_array().into_iter().flatten();
        let is_required = required.into_iter().any(|known| known == name.as_str());
        all.extend(fields(&property["items"], &format!("{pointer}/0")));
        all.push((pointer, Field { schema: property.clone(), is_required }));
    }
    all
}

/// A value that the schema does not admit.
fn wrong(schema: &Value) -> Value {
    let takes_text = schema["type"] == "string" || schema["type"][0] == "string";
    if takes_text { 7.into() } else { "no such word".into() }
}

/// Puts the value there, or takes away what is there.
fn put(body: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent: &mut Map<String, Value> = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.remove(name),
    };
}

/// Whether a refusal names the field.
fn names(body: &Value, pointer: &str) -> bool {
    body["errors"].as_array().into_iter().flatten().any(|error| error["pointer"] == pointer)
}

/// The body of a call about one thing.
fn body(route: &Route<'_>, new: &str) -> Value {
    match (route.method, route.path.trim_start_matches("/api/v1")) {
        ("post", "/users") => json!({
            "user_id": new, "email": format!("{new}@example.com"), "name": "Nina", "role": "user", "tenant_id": TENANT,
            "send_welcome_email": false,
        }),
        ("post", "/users/{user_id}/sessions") => json!({ "session_id": new, "session_data": { "device": "phone" } }),
        ("put", "/users/{user_id}/session") => json!({
            "session_id": new, "tenant_id": TENANT, "source_tenant_id": "tenant-456", "session_data": {},
        }),
        ("post", "/profiles") => json!({
            "profile_id": new, "user_id": new, "profile_data": { "name": "Nina" }, "preferences": {},
        }),
        ("put", "/users/{user_id}/tenant-context") => json!({
            "new_tenant_id": TENANT, "expected_tenant_id": TENANT, "preserve_preferences": true,
        }),
        ("put", "/tenants/{tenant_id}/users/{user_id}") => json!({
            "role": "viewer", "permissions": ["tenant:read"], "active": true,
        }),
        ("post", "/workspaces") => json!({ "workspace_id": new, "user_id": "user-123", "workspace_config": {} }),
        ("post", "/workspaces/{workspace_id}/sample-data") => json!({ "user_id": "user-123" }),
        ("put", "/data/file/{file_id}/content") => "some bytes".into(),
        ("post", "/notifications") => json!({
            "notification_type": "welcome_email", "recipient": "nina@example.com", "message": "Welcome", "metadata": {},
        }),
        ("post", "/data/forget") => json!({ "subject": new, "pseudonym": "erased-1" }),
        _ => Value::Null,
    }
}

/// What an operation is called with.
fn data(entity_type: &str, operation: &str, thing: &Value) -> Vec<Value> {
    if operation == "FileProcessing" {
        return vec![
            json!({ "action": "checksum" }),
            json!({ "action": "rename", "name": "other.md" }),
            json!({ "action": "move", "workspace_id": "workspace-123" }),
        ];
    }
    let data = match (entity_type, operation) {
        (_, "DataImport") => json!({ "record": thing["data"], "on_conflict": "skip" }),
        ("account", "UserCreation") => json!({ "email": "new@example.com", "name": "Nina", "role": "user" }),
        ("account", "UserUpdate") => json!({ "email": "new@example.com", "name": "Nina", "role": "user" }),
        ("profile", "UserCreation") => json!({ "user_id": "user-new", "profile_data": {}, "preferences": {} }),
        ("profile", "UserUpdate") => json!({ "profile_data": { "name": "Nina" }, "preferences": { "theme": null } }),
        ("membership", "UserCreation" | "PermissionUpdate") => json!({ "role": "user", "permissions": [] }),
        ("notification", "NotificationSend") => json!({
            "notification_type": "notice", "recipient": "nina@example.com", "message": "Hello", "metadata": {},
        }),
        _ => json!({}),
    };
    vec![data]
}

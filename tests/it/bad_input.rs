//! Requests that are wrong: a problem document that names what is wrong, no write, no call to any service.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};

use workflow_service::{App, Settings, Surroundings};

use crate::subjects::{BULK_OPERATION, COMPLIANCE, DATA_MIGRATION, TENANT_SWITCHING};
use crate::world::{TENANT, World, full_request, run};

const START: &str = "/api/v1/workflows/user-onboarding";

/// A request, what is expected, and why.
pub(crate) struct Wrong {
    pub(crate) why: &'static str,
    pub(crate) request: Request<Body>,
    pub(crate) status: u16,
    pub(crate) error_type: &'static str,
    pub(crate) pointers: &'static [&'static str],
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

const TENANT_HEADER: (&str, &str) = ("x-tenant-id", TENANT);
const JSON: (&str, &str) = ("content-type", "application/json");

/// A start with this body.
fn start(body: impl Into<Body>) -> Request<Body> {
    request(Method::POST, START, &[TENANT_HEADER, JSON], body)
}

/// A start whose body differs in one field.
fn with(name: &str, value: Value) -> Request<Body> {
    let mut body = full_request();
    body[name] = value;
    start(body.to_string())
}

fn get(path: &str) -> Request<Body> {
    request(Method::GET, path, &[TENANT_HEADER], Body::empty())
}

pub(crate) fn wrong_starts() -> Vec<Wrong> {
    let body = || full_request().to_string();
    let wrong = |why, request, status, error_type, pointers| Wrong { why, request, status, error_type, pointers };
    let invalid = |why, request, pointers| wrong(why, request, 422, "Validation", pointers);
    let deep = "[".repeat(40) + &"]".repeat(40);
    vec![
        wrong("malformed JSON", start("{\"user_email\": "), 400, "Validation", &[]),
        wrong("no body", start(Body::empty()), 400, "Validation", &[]),
        wrong("deep nesting", start(format!("{{\"x\":{deep}}}")), 400, "Validation", &[]),
        wrong("over 1 MiB", start(format!("{{\"x\":\"{}\"}}", "y".repeat(1024 * 1024))), 413, "Validation", &[]),
        wrong("no content type", request(Method::POST, START, &[TENANT_HEADER], body()), 415, "Validation", &[]),
        wrong(
            "a form",
            request(
                Method::POST,
                START,
                &[TENANT_HEADER, ("content-type", "application/x-www-form-urlencoded")],
                body(),
            ),
            415,
            "Validation",
            &[],
        ),
        wrong(
            "another charset",
            request(
                Method::POST,
                START,
                &[TENANT_HEADER, ("content-type", "application/json; charset=iso-8859-1")],
                body(),
            ),
            415,
            "Validation",
            &[],
        ),
        wrong(
            "a compressed body",
            request(Method::POST, START, &[TENANT_HEADER, JSON, ("content-encoding", "gzip")], body()),
            415,
            "Validation",
            &[],
        ),
        wrong(
            "two content types",
            request(Method::POST, START, &[TENANT_HEADER, JSON, JSON], body()),
            400,
            "Validation",
            &[],
        ),
        wrong(
            "two request ids",
            request(Method::POST, START, &[TENANT_HEADER, JSON, ("x-request-id", "a"), ("x-request-id", "b")], body()),
            400,
            "Validation",
            &[],
        ),
        wrong("no tenant", request(Method::POST, START, &[JSON], body()), 400, "TenantContext", &[]),
        wrong(
            "an empty tenant",
            request(Method::POST, START, &[JSON, ("x-tenant-id", "")], body()),
            400,
            "TenantContext",
            &[],
        ),
        wrong(
            "two tenants",
            request(Method::POST, START, &[JSON, TENANT_HEADER, ("x-tenant-id", "tenant-456")], body()),
            400,
            "TenantContext",
            &[],
        ),
        wrong(
            "a tenant that is no id",
            request(Method::POST, START, &[JSON, ("x-tenant-id", "../etc")], body()),
            400,
            "TenantContext",
            &[],
        ),
        wrong(
            "a user that is no id",
            request(Method::POST, START, &[JSON, TENANT_HEADER, ("x-user-id", "a b")], body()),
            400,
            "Validation",
            &[],
        ),
        wrong(
            "an e-mail address as a user's id",
            request(Method::POST, START, &[JSON, TENANT_HEADER, ("x-user-id", "user@example.com")], body()),
            400,
            "Validation",
            &[],
        ),
        wrong(
            "another tenant's header",
            request(Method::POST, START, &[JSON, ("x-tenant-id", "tenant-456")], body()),
            403,
            "Authorization",
            &[],
        ),
        wrong(
            "a key that is too long",
            request(Method::POST, START, &[JSON, TENANT_HEADER, ("idempotency-key", &"k".repeat(256))], body()),
            400,
            "Validation",
            &[],
        ),
        wrong(
            "two keys",
            request(
                Method::POST,
                START,
                &[JSON, TENANT_HEADER, ("idempotency-key", "a"), ("idempotency-key", "b")],
                body(),
            ),
            400,
            "Validation",
            &[],
        ),
        invalid("an array", start("[]"), &[""]),
        invalid("synchronous in words", with("synchronous", json!("yes")), &["/synchronous"]),
        invalid("synchronous as null", with("synchronous", Value::Null), &["/synchronous"]),
        invalid(
            "nothing, synchronously in words",
            start(json!({ "synchronous": "yes" }).to_string()),
            &["/user_email", "/user_name", "/tenant_id", "/role", "/synchronous"],
        ),
        invalid("nothing", start("{}"), &["/user_email", "/user_name", "/tenant_id", "/role"]),
        invalid(
            "wrong types",
            start(
                json!({"user_email": 1, "user_name": [], "tenant_id": null, "role": {}, "send_welcome_email": "yes",
                "setup_default_workspace": 1, "assign_default_permissions": null, "create_sample_data": []})
                .to_string(),
            ),
            &[
                "/user_email",
                "/user_name",
                "/tenant_id",
                "/role",
                "/send_welcome_email",
                "/setup_default_workspace",
                "/assign_default_permissions",
                "/create_sample_data",
            ],
        ),
        invalid("an e-mail that is none", with("user_email", json!("nobody")), &["/user_email"]),
        invalid("an e-mail with a display name", with("user_email", json!("N <n@example.com>")), &["/user_email"]),
        invalid(
            "an e-mail that is too long",
            with("user_email", json!(format!("{}@example.com", "a".repeat(250)))),
            &["/user_email"],
        ),
        invalid(
            "members that come again",
            start(
                r#"{"user_email":"a@example.com","user_email":1,"x":[{"y":1,"y":2}],"synchronous":true,"synchronous":true}"#,
            ),
            &["/user_email", "/x/0/y", "/synchronous", "/user_email", "/user_name", "/tenant_id", "/role"],
        ),
        invalid(
            "a mail domain that cannot exist",
            with("user_email", json!("n@my_host.example.com")),
            &["/user_email"],
        ),
        invalid("an address for a mail domain", with("user_email", json!("n@192.168.0.1")), &["/user_email"]),
        invalid(
            "an address with hidden characters",
            with("user_email", json!("n\u{200b}@example.com")),
            &["/user_email"],
        ),
        invalid("a name that is turned around", with("user_name", json!("\u{202e}nimda")), &["/user_name"]),
        invalid("a name that nobody sees", with("user_name", json!("\u{3164}")), &["/user_name"]),
        invalid("a role with hidden characters", with("role", json!("ad\u{200b}min")), &["/role"]),
        invalid("a name that is too long", with("user_name", json!("x".repeat(201))), &["/user_name"]),
        invalid("a blank name", with("user_name", json!("   ")), &["/user_name"]),
        invalid("a control character", with("user_name", json!("a\u{0}b")), &["/user_name"]),
        invalid("a role that is too long", with("role", json!("r".repeat(65))), &["/role"]),
        invalid("a tenant that is no id", with("tenant_id", json!("tenant/123")), &["/tenant_id"]),
    ]
}

/// Starts of a tenant switch.
fn wrong_switches() -> Vec<Wrong> {
    const JSON_FROM: [(&str, &str); 2] = [TENANT_HEADER, JSON];
    let path = TENANT_SWITCHING.path;
    let body = |name: &str, value: Value| {
        let mut body = (TENANT_SWITCHING.request)(0);
        body[name] = value;
        body.to_string()
    };
    let without = |name: &str| {
        let mut body = (TENANT_SWITCHING.request)(0);
        body.as_object_mut().unwrap().remove(name);
        body.to_string()
    };
    let full = || (TENANT_SWITCHING.request)(0).to_string();
    let post = |headers: &[(&str, &str)], body: String| request(Method::POST, path, headers, body);
    let wrong = |why, request, status, error_type, pointers| Wrong { why, request, status, error_type, pointers };
    let invalid = |why, body, pointers| wrong(why, post(&JSON_FROM, body), 422, "Validation", pointers);
    let forbidden = |why, headers: &[(&str, &str)]| wrong(why, post(headers, full()), 403, "Authorization", &[]);
    vec![
        invalid("no user", without("user_id"), &["/user_id"]),
        invalid("no current tenant", without("current_tenant_id"), &["/current_tenant_id"]),
        invalid("no target tenant", without("target_tenant_id"), &["/target_tenant_id"]),
        invalid("nothing of a switch", "{}".to_owned(), &["/current_tenant_id", "/target_tenant_id", "/user_id"]),
        invalid(
            "wrong types of a switch",
            json!({ "user_id": 1, "current_tenant_id": [], "target_tenant_id": {}, "preserve_session_data": "yes",
                "update_user_preferences": null })
            .to_string(),
            &[
                "/current_tenant_id",
                "/target_tenant_id",
                "/user_id",
                "/preserve_session_data",
                "/update_user_preferences",
            ],
        ),
        invalid("a user that is null", body("user_id", Value::Null), &["/user_id"]),
        invalid("a user that is empty", body("user_id", json!("")), &["/user_id"]),
        invalid("a user that is no id", body("user_id", json!("a b")), &["/user_id"]),
        invalid("a user that is a path", body("user_id", json!("../users")), &["/user_id"]),
        invalid("an e-mail address for a user", body("user_id", json!("user@example.com")), &["/user_id"]),
        invalid("a user that is too long", body("user_id", json!("u".repeat(1_000))), &["/user_id"]),
        invalid("a target that is no id", body("target_tenant_id", json!("tenant/456")), &["/target_tenant_id"]),
        invalid("a target that is too long", body("target_tenant_id", json!("t".repeat(65))), &["/target_tenant_id"]),
        invalid("the same tenant twice", body("target_tenant_id", json!(TENANT)), &["/target_tenant_id"]),
        invalid("an array for a switch", "[]".to_owned(), &[""]),
        wrong("a switch without a tenant", post(&[JSON], full()), 400, "TenantContext", &[]),
        forbidden("a header with neither tenant", &[JSON, ("x-tenant-id", "tenant-789")]),
        forbidden("another user's switch", &[JSON, TENANT_HEADER, ("x-user-id", "mover-999999")]),
    ]
}

/// Starts of a bulk operation, links for uploads, and files of results.
fn wrong_jobs() -> Vec<Wrong> {
    let post = |path: &str, body: &Value| request(Method::POST, path, &[TENANT_HEADER, JSON], body.to_string());
    let invalid = |why, request, pointers| Wrong { why, request, status: 422, error_type: "Validation", pointers };
    let job = |why, name: &str, value: Value, pointers| {
        let mut body = (BULK_OPERATION.request)(0);
        body[name] = value;
        invalid(why, post(BULK_OPERATION.path, &body), pointers)
    };
    let entity = |service: &str, entity_type: &str, id: Value, data: Value| json!([{ "service": service, "entity_type": entity_type, "entity_id": id, "operation_data": data }]);
    let uploads = "/api/v1/workflows/bulk-operation/uploads";
    let upload = |why, body: Value, pointers| invalid(why, post(uploads, &body), pointers);
    let missing = |why, path: &str| {
        let request = request(Method::GET, path, &[TENANT_HEADER], Body::empty());
        Wrong { why, request, status: 404, error_type: "NotFound", pointers: &[] }
    };
    vec![
        job("no id of the job", "operation_id", Value::Null, &["/operation_id"]),
        job("an unknown operation", "operation_type", json!("UserErasure"), &["/operation_type"]),
        job("no entity", "target_entities", json!([]), &["/target_entities"]),
        job(
            "an unknown service",
            "target_entities",
            entity("billing", "account", json!("u"), json!({})),
            &["/target_entities/0/service"],
        ),
        job(
            "a service without such users",
            "target_entities",
            entity("file", "file", json!("u"), json!({})),
            &["/target_entities/0/service"],
        ),
        job(
            "an unknown entity type",
            "target_entities",
            entity("auth", "profile", json!("u"), json!({})),
            &["/target_entities/0/entity_type"],
        ),
        job(
            "an entity of another tenant",
            "target_entities",
            entity("auth", "account", json!("u"), json!({ "tenant_id": "tenant-456" })),
            &["/target_entities/0/operation_data/tenant_id"],
        ),
        job(
            "a name that hides something, and an address with a space",
            "target_entities",
            entity("auth", "account", json!("u"), json!({ "name": "a\u{202e}b", "email": " a@example.com" })),
            &["/target_entities/0/operation_data/email", "/target_entities/0/operation_data/name"],
        ),
        job(
            "an e-mail address for an id",
            "target_entities",
            entity("auth", "account", json!("u@example.com"), json!("x")),
            &["/target_entities/0/entity_id", "/target_entities/0/operation_data"],
        ),
        job("a batch of nothing", "batch_options", json!({ "batch_size": 0 }), &["/batch_options/batch_size"]),
        job(
            "options that no attempt can hold",
            "batch_options",
            json!({ "parallel_batches": 0, "delay_between_batches_ms": 60_000, "max_retries": -1, "continue_on_error": 1 }),
            &[
                "/batch_options/parallel_batches",
                "/batch_options/delay_between_batches_ms",
                "/batch_options/continue_on_error",
                "/batch_options/max_retries",
            ],
        ),
        job(
            "a threshold of nothing",
            "batch_options",
            json!({ "failure_threshold": { "count": 0 } }),
            &["/batch_options/failure_threshold/count"],
        ),
        job("an upload besides", "input", json!({ "upload_id": "upload_1" }), &["/input"]),
        {
            let mut body = (BULK_OPERATION.request)(0);
            body["target_entities"] = json!([]);
            body["input"] = json!({ "upload_id": "upload_nowhere" });
            invalid("an upload that is not there", post(BULK_OPERATION.path, &body), &["/input/upload_id"])
        },
        upload("an upload of no size", json!({}), &["/size_bytes"]),
        upload("an upload of nothing", json!({ "size_bytes": 0 }), &["/size_bytes"]),
        upload("an upload that is too large", json!({ "size_bytes": 1_u64 << 40 }), &["/size_bytes"]),
        missing("a file of nobody", "/api/v1/workflows/bulk_operation_x/results/failed.csv"),
        missing("a file that is a path", "/api/v1/workflows/bulk_operation_x/results/..%2F..%2Flink.key"),
    ]
}

/// What may be asked of one execution with a reason.
const CONTROLS: [&str; 4] = ["cancel", "pause", "resume", "terminate"];

/// Requests with a body that may be left out; what they would do something to does not matter.
fn wrong_migrations() -> Vec<Wrong> {
    let migration = |why, name: &str, value: Value, status, error_type, pointers| {
        let mut body = (DATA_MIGRATION.request)(0);
        body[name] = value;
        let request = request(Method::POST, DATA_MIGRATION.path, &[TENANT_HEADER, JSON], body.to_string());
        Wrong { why, request, status, error_type, pointers }
    };
    let invalid = |why, name: &str, value: Value, pointers| migration(why, name, value, 422, "Validation", pointers);
    let selector = |service: &str, entity_type: &str| json!({ "service": service, "entity_type": entity_type });
    vec![
        invalid("no name", "migration_id", Value::Null, &["/migration_id"]),
        invalid("a name too long for its backup", "migration_id", json!("m".repeat(60)), &["/migration_id"]),
        invalid("an unknown type", "migration_type", json!("Copy"), &["/migration_type"]),
        invalid("no selector", "data_selectors", json!([]), &["/data_selectors"]),
        invalid(
            "an unknown service",
            "data_selectors",
            json!([selector("billing", "invoice")]),
            &["/data_selectors/0/service"],
        ),
        invalid(
            "a type twice",
            "data_selectors",
            json!([selector("user", "profile"), selector("user-service", "profile")]),
            &["/data_selectors"],
        ),
        invalid(
            "batches of nothing",
            "migration_options",
            json!({ "batch_size": 0 }),
            &["/migration_options/batch_size"],
        ),
        invalid("another source", "source_tenant_id", json!("tenant-456"), &["/source_tenant_id"]),
        migration("another target", "target_tenant_id", json!("tenant-456"), 403, "Authorization", &[]),
        invalid("a restore from nothing", "migration_type", json!("DataRestore"), &["/restore_from"]),
        {
            let mut body = (DATA_MIGRATION.request)(0);
            (body["migration_type"], body["restore_from"]) = (json!("DataRestore"), json!("archive_none"));
            let request = request(Method::POST, DATA_MIGRATION.path, &[TENANT_HEADER, JSON], body.to_string());
            let why = "a restore from an archive that is not there";
            Wrong { why, request, status: 404, error_type: "NotFound", pointers: &[] }
        },
        invalid("a copy from an archive", "restore_from", json!("archive_old"), &["/restore_from"]),
        invalid(
            "options of other types",
            "migration_options",
            json!({ "on_conflict": "merge", "reversible_days": 91 }),
            &["/migration_options/on_conflict", "/migration_options/reversible_days"],
        ),
    ]
}

fn wrong_exports() -> Vec<Wrong> {
    let export = |why, name: &str, value: Value, status, error_type, pointers| {
        let mut body = (COMPLIANCE.request)(0);
        body[name] = value;
        let request = request(Method::POST, COMPLIANCE.path, &[TENANT_HEADER, JSON], body.to_string());
        Wrong { why, request, status, error_type, pointers }
    };
    let invalid = |why, name: &str, value: Value, pointers| export(why, name, value, 422, "Validation", pointers);
    let mut rules = (COMPLIANCE.request)(0);
    rules["compliance_type"] = json!("DataClassification");
    let rules = request(Method::POST, COMPLIANCE.path, &[TENANT_HEADER, JSON], rules.to_string());
    vec![
        invalid("no name", "compliance_id", Value::Null, &["/compliance_id"]),
        invalid("a name too long for its backup", "compliance_id", json!("c".repeat(44)), &["/compliance_id"]),
        invalid("an unknown type", "compliance_type", json!("Export"), &["/compliance_type"]),
        invalid("nobody's data", "subject_user_id", Value::Null, &["/subject_user_id"]),
        invalid("an address for an id", "subject_user_id", json!("a@example.com"), &["/subject_user_id"]),
        invalid("an unknown category", "data_categories", json!(["usage", "credential"]), &["/data_categories/1"]),
        invalid("a category twice", "data_categories", json!(["usage", "usage"]), &["/data_categories/1"]),
        invalid("no recipient", "encrypt_to", json!("age1nobody"), &["/encrypt_to"]),
        invalid("a request of tomorrow", "received_at", json!("2999-01-01T00:00:00Z"), &["/received_at"]),
        invalid("a long reason", "legal_basis", json!("x".repeat(201)), &["/legal_basis"]),
        invalid("a doubtful wish", "allow_partial", json!("yes"), &["/allow_partial"]),
        invalid(
            "a time that ends before it begins",
            "audit_requirements",
            json!({ "date_range": { "start_date": "2026-02-01T00:00:00Z", "end_date": "2026-01-01T00:00:00Z" } }),
            &["/audit_requirements/date_range/end_date"],
        ),
        Wrong {
            why: "a person where there is none",
            request: rules,
            status: 422,
            error_type: "Validation",
            pointers: &["/subject_user_id"],
        },
        export("another tenant's", "tenant_id", json!("tenant-456"), 403, "Authorization", &[]),
        export("what is not there yet", "compliance_type", json!("AuditLogGeneration"), 501, "NotImplemented", &[]),
    ]
}

fn wrong_holds() -> Vec<Wrong> {
    const PATH: &str = "/api/v1/compliance/holds";
    let release = "/api/v1/compliance/holds/case-1";
    let wrong = |why, request, status, error_type, pointers| Wrong { why, request, status, error_type, pointers };
    let post = |body: String| request(Method::POST, PATH, &[TENANT_HEADER, JSON], body);
    let delete = |body: &str| request(Method::DELETE, release, &[TENANT_HEADER, JSON], body.to_owned());
    let invalid = |why, body: Value, pointers| wrong(why, post(body.to_string()), 422, "Validation", pointers);
    let unreleased = |why, body: &str, pointers| wrong(why, delete(body), 422, "Validation", pointers);
    let record = |service: &str, entity_type: &str| {
        json!({ "hold_id": "h", "reason": "r",
            "record": { "service": service, "entity_type": entity_type, "entity_id": "1" } })
    };
    let good = json!({ "hold_id": "h", "subject_user_id": "u", "reason": "r" }).to_string();
    vec![
        wrong("a hold of nobody's", request(Method::POST, PATH, &[JSON], good.clone()), 400, "TenantContext", &[]),
        wrong("a hold that is no JSON", post("case-1".to_owned()), 400, "Validation", &[]),
        wrong("a hold without a body", post(String::new()), 400, "Validation", &[]),
        wrong("a hold as text", request(Method::POST, PATH, &[TENANT_HEADER], good), 415, "Validation", &[]),
        invalid("an empty hold", json!({}), &["/hold_id", "/subject_user_id", "/reason"]),
        invalid(
            "all of a hold wrong",
            json!({ "hold_id": "a/b", "subject_user_id": "a@example.com", "data_categories": ["usage", "secrets"],
                "reason": " ", "until": "tomorrow", "untill": "2999-01-01T00:00:00Z" }),
            &["/untill", "/hold_id", "/data_categories/1", "/subject_user_id", "/reason", "/until"],
        ),
        invalid(
            "a hold of the past",
            json!({ "hold_id": "h", "subject_user_id": "u", "reason": "r", "until": "2025-01-01T00:00:00Z" }),
            &["/until"],
        ),
        invalid(
            "a record and a person",
            json!({ "hold_id": "h", "subject_user_id": "u", "reason": "r", "record": {} }),
            &["/subject_user_id", "/record/service", "/record/entity_type", "/record/entity_id"],
        ),
        invalid("a record of an unknown service", record("billing", "invoice"), &["/record/service"]),
        invalid("a record of an unknown type", record("auth", "file"), &["/record/entity_type"]),
        unreleased("a release without a body", "", &["/reason"]),
        unreleased("a release without a reason", "{}", &["/reason"]),
        unreleased("a release for a blank reason", r#"{"reason":" "}"#, &["/reason"]),
        unreleased("a release for too long a reason", &json!({ "reason": "r".repeat(501) }).to_string(), &["/reason"]),
        wrong("a release of nothing", delete(r#"{"reason":"r"}"#), 404, "NotFound", &[]),
        wrong("an unknown hold", get(release), 404, "NotFound", &[]),
        wrong(
            "holds of a wrong list",
            get("/api/v1/compliance/holds?state=old&subject_user_id=a%20b&page_size=0&page_token=AAAA"),
            422,
            "Validation",
            &["/query/page_size", "/query/state", "/query/subject_user_id", "/query/page_token"],
        ),
    ]
}

fn wrong_data_requests() -> Vec<Wrong> {
    let extension = "/api/v1/compliance/requests/c-1/extension";
    let wrong = |why, request, status, error_type, pointers| Wrong { why, request, status, error_type, pointers };
    let extend = |body: &str| request(Method::POST, extension, &[TENANT_HEADER, JSON], body.to_owned());
    let invalid = |why, body: &str, pointers| wrong(why, extend(body), 422, "Validation", pointers);
    vec![
        wrong(
            "requests of a wrong list",
            get("/api/v1/compliance/requests?state=late&due_before=soon&page_size=0&page_token=AAAA"),
            422,
            "Validation",
            &["/query/page_size", "/query/state", "/query/due_before", "/query/page_token"],
        ),
        wrong("an unknown request", get("/api/v1/compliance/requests/c-1"), 404, "NotFound", &[]),
        wrong("more time for nothing", extend(r#"{"reason":"r"}"#), 404, "NotFound", &[]),
        invalid("more time without a body", "", &["/reason"]),
        invalid("more time without a reason", r#"{"reason":null}"#, &["/reason"]),
        invalid("more time for a number", r#"{"reason":1}"#, &["/reason"]),
        wrong("more time in words", extend("please"), 400, "Validation", &[]),
        wrong(
            "more time for nobody",
            request(Method::POST, extension, &[JSON], r#"{"reason":"r"}"#),
            400,
            "TenantContext",
            &[],
        ),
        wrong("more time that is read", get(extension), 405, "Validation", &[]),
    ]
}

fn wrong_controls(asked: &str) -> Vec<Wrong> {
    let path = format!("/api/v1/workflows/user_onboarding_x/{asked}");
    let wrong = |why, headers: &[(&str, &str)], body: String, status, pointers| {
        let request = request(Method::POST, &path, headers, body);
        Wrong { why, request, status, error_type: "Validation", pointers }
    };
    const JSON_FROM: [(&str, &str); 2] = [TENANT_HEADER, JSON];
    let invalid = |why, body: Value, pointers| wrong(why, &JSON_FROM, body.to_string(), 422, pointers);
    let deep = "[".repeat(40) + &"]".repeat(40);
    let text = [TENANT_HEADER, ("content-type", "text/plain")];
    let missing =
        |why, body: &str| Wrong { error_type: "NotFound", ..wrong(why, &JSON_FROM, body.to_owned(), 404, &[]) };
    vec![
        wrong("a reason that is no JSON", &JSON_FROM, "a mistake".to_owned(), 400, &[]),
        wrong("a deep reason", &JSON_FROM, format!("{{\"reason\":{deep}}}"), 400, &[]),
        wrong("a reason over 1 MiB", &JSON_FROM, "x".repeat(1024 * 1024 + 1), 413, &[]),
        wrong("a reason as text", &text, "a mistake".to_owned(), 415, &[]),
        wrong("a reason without a content type", &[TENANT_HEADER], "{}".to_owned(), 415, &[]),
        invalid("an array for a body", json!([]), &[""]),
        invalid("a text for a body", json!("a mistake"), &[""]),
        invalid("a reason that is a number", json!({ "reason": 1 }), &["/reason"]),
        invalid("a reason that is an object", json!({ "reason": {} }), &["/reason"]),
        invalid("a reason that is too long", json!({ "reason": "r".repeat(501) }), &["/reason"]),
        invalid("a reason with a control character", json!({ "reason": "a\u{0}b" }), &["/reason"]),
        invalid("a reason that is turned around", json!({ "reason": "a\u{202e}b" }), &["/reason"]),
        wrong("two reasons", &JSON_FROM, r#"{"reason":"a","reason":"b"}"#.to_owned(), 422, &["/reason"]),
        missing("an unknown id without a body", ""),
        missing("an unknown id and null", "null"),
        missing("an unknown id and a reason", "{\"reason\":\"a mistake\"}"),
        Wrong {
            status: 400,
            error_type: "TenantContext",
            ..wrong("a request for nobody", &[JSON], "{}".to_owned(), 0, &[])
        },
        Wrong { request: get(&path), ..wrong("a method that is not taken", &[], String::new(), 405, &[]) },
        Wrong {
            request: request(Method::POST, &path.replace("user_onboarding_x", "%FF"), &[TENANT_HEADER], ""),
            ..wrong("a path that is no text", &[], String::new(), 400, &[])
        },
    ]
}

/// What only a retry has beside what the other controls have.
fn wrong_retries() -> Vec<Wrong> {
    let path = "/api/v1/workflows/user_onboarding_x/retry";
    let post = |headers: &[(&str, &str)], body: Value| request(Method::POST, path, headers, body.to_string());
    let wrong = |why, request, status, pointers| Wrong { why, request, status, error_type: "Validation", pointers };
    let invalid = |why, body, pointers| wrong(why, post(&[TENANT_HEADER, JSON], body), 422, pointers);
    let keyed = |keys: &[&str]| {
        let keys = keys.iter().map(|key| ("idempotency-key", *key));
        post(&[TENANT_HEADER, JSON].into_iter().chain(keys).collect::<Vec<_>>(), json!({}))
    };
    vec![
        invalid("an undo in words", json!({ "undo": "yes" }), &["/undo"]),
        invalid("an undo by number", json!({ "undo": 1 }), &["/undo"]),
        invalid("an undo that is null", json!({ "undo": null }), &["/undo"]),
        invalid("all of a retry wrong", json!({ "undo": [], "reason": [] }), &["/undo", "/reason"]),
        wrong("a key that is empty", keyed(&[""]), 400, &[]),
        wrong("a key that is too long", keyed(&[&"k".repeat(256)]), 400, &[]),
        wrong("two keys", keyed(&["a", "b"]), 400, &[]),
    ]
}

fn wrong_actions() -> Vec<Wrong> {
    const PATH: &str = "/api/v1/workflows/actions";
    const JSON_FROM: [(&str, &str); 2] = [TENANT_HEADER, JSON];
    let wrong = |why, headers: &[(&str, &str)], body: String, status, pointers| {
        let request = request(Method::POST, PATH, headers, body);
        Wrong { why, request, status, error_type: "Validation", pointers }
    };
    let invalid = |why, body: Value, pointers| wrong(why, &JSON_FROM, body.to_string(), 422, pointers);
    let ids = |ids: Value, pointers| invalid("ids", json!({ "action": "cancel", "ids": ids }), pointers);
    let filter = |filter: Value, pointers| invalid("a filter", json!({ "action": "undo", "filter": filter }), pointers);
    let good = || json!({ "action": "cancel", "ids": ["a"] }).to_string();
    let deep = "[".repeat(40) + &"]".repeat(40);
    let many: Vec<String> = (0..=100).map(|number| format!("id-{number}")).collect();
    vec![
        wrong("no JSON", &JSON_FROM, "cancel".to_owned(), 400, &[]),
        wrong("no body", &JSON_FROM, String::new(), 400, &[]),
        wrong("deep nesting", &JSON_FROM, format!("{{\"filter\":{deep}}}"), 400, &[]),
        wrong("over 1 MiB", &JSON_FROM, "x".repeat(1024 * 1024 + 1), 413, &[]),
        wrong("no content type", &[TENANT_HEADER], good(), 415, &[]),
        wrong("text", &[TENANT_HEADER, ("content-type", "text/plain")], good(), 415, &[]),
        Wrong { status: 400, error_type: "TenantContext", ..wrong("actions for nobody", &[JSON], good(), 0, &[]) },
        Wrong { request: get(PATH), ..wrong("a method that is not taken", &[], String::new(), 405, &[]) },
        invalid("an array of actions", json!([]), &["", "/ids"]),
        invalid("no action", json!({}), &["/action", "/ids"]),
        invalid("an unknown action", json!({ "action": "delete", "ids": ["a"] }), &["/action"]),
        invalid("an action in capitals", json!({ "action": "Cancel", "ids": ["a"] }), &["/action"]),
        invalid(
            "wrong types of an action",
            json!({ "action": 1, "dry_run": "yes", "reason": 1, "ids": "a" }),
            &["/action", "/dry_run", "/reason", "/ids"],
        ),
        invalid(
            "a reason that is too long",
            json!({ "action": "pause", "ids": ["a"], "reason": "r".repeat(501) }),
            &["/reason"],
        ),
        invalid("neither ids nor filter", json!({ "action": "cancel", "ids": null, "filter": null }), &["/ids"]),
        invalid("both ids and filter", json!({ "action": "cancel", "ids": ["a"], "filter": {} }), &["/filter"]),
        invalid("ids and a token", json!({ "action": "cancel", "ids": ["a"], "page_token": "AAAA" }), &["/page_token"]),
        ids(json!([]), &["/ids"]),
        ids(json!(many), &["/ids"]),
        ids(json!({ "0": "a" }), &["/ids"]),
        ids(
            json!(["a", 1, null, "", "../b", "a", "a b", ["a"]]),
            &["/ids/1", "/ids/2", "/ids/3", "/ids/4", "/ids/5", "/ids/6", "/ids/7"],
        ),
        filter(json!([]), &["/filter"]),
        filter(json!("all"), &["/filter"]),
        filter(json!({ "status": "Running" }), &["/filter/status"]),
        filter(json!({ "status": [] }), &["/filter/status"]),
        filter(
            json!({ "status": ["Running", "Happy", 1, "Running"] }),
            &["/filter/status/1", "/filter/status/2", "/filter/status/3"],
        ),
        filter(
            json!({ "workflow_type": "party", "user_id": "a b", "started_after": "soon", "started_before": "" }),
            &["/filter/workflow_type", "/filter/user_id", "/filter/started_after", "/filter/started_before"],
        ),
        filter(
            json!({ "started_after": "2026-01-02T00:00:00Z", "started_before": "2026-01-01T00:00:00Z" }),
            &["/filter/started_before"],
        ),
        invalid("a forged token", json!({ "action": "undo", "filter": {}, "page_token": "AAAA" }), &["/page_token"]),
        invalid("a token by number", json!({ "action": "undo", "filter": {}, "page_token": 1 }), &["/page_token"]),
    ]
}

fn wrong_health_checks() -> Vec<Wrong> {
    let path = "/api/v1/coordination/health-check";
    let post = |body: &str| request(Method::POST, path, &[TENANT_HEADER, JSON], body.to_owned());
    let wrong = |why, request, status, error_type, pointers| Wrong { why, request, status, error_type, pointers };
    let invalid = |why, services: Value, pointers| {
        wrong(why, post(&json!({ "services": services }).to_string()), 422, "Validation", pointers)
    };
    vec![
        wrong("a health check for nobody", request(Method::POST, path, &[JSON], "{}"), 400, "TenantContext", &[]),
        wrong("a health check that is no JSON", post("auth"), 400, "Validation", &[]),
        wrong("a health check as text", request(Method::POST, path, &[TENANT_HEADER], "auth"), 415, "Validation", &[]),
        wrong("an array for a health check", post(r#"["auth"]"#), 422, "Validation", &[""]),
        wrong("a health check that is read", get(path), 405, "Validation", &[]),
        invalid("no services", json!([]), &["/services"]),
        invalid("one service, not in a list", json!("auth"), &["/services"]),
        invalid("services by number", json!({ "0": "auth" }), &["/services"]),
        invalid("too many services", json!(vec!["auth"; 17]), &["/services"]),
        invalid("unknown services", json!(["auth", "billing", "user", ""]), &["/services/1", "/services/3"]),
        invalid("wrong types of services", json!([1, null, ["auth"]]), &["/services/0", "/services/1", "/services/2"]),
        invalid("a service twice", json!(["auth", "auth"]), &["/services/1"]),
        invalid("a service by two names", json!(["file-service", "user", "file_service"]), &["/services/2"]),
        invalid("a service's address", json!(["http://127.0.0.1:8081"]), &["/services/0"]),
    ]
}

fn wrong_reads() -> Vec<Wrong> {
    let wrong =
        |why, path, status, error_type, pointers| Wrong { why, request: get(path), status, error_type, pointers };
    vec![
        wrong("an unknown id", "/api/v1/workflows/user_onboarding_x/status", 404, "NotFound", &[]),
        wrong("an odd id", "/api/v1/workflows/%00%2e%2e/status", 404, "NotFound", &[]),
        wrong("a path that is no text", "/api/v1/workflows/%FF/status", 400, "Validation", &[]),
        wrong("an unknown history", "/api/v1/workflows/history?workflow_id=nobody", 404, "NotFound", &[]),
        wrong("an unknown status", "/api/v1/workflows?status=Happy", 422, "Validation", &["/query/status"]),
        wrong("an unknown type", "/api/v1/workflows?workflow_type=party", 422, "Validation", &["/query/workflow_type"]),
        wrong(
            "pages that are none",
            "/api/v1/workflows?page=0&page_size=0",
            422,
            "Validation",
            &["/query/page_size", "/query/page"],
        ),
        wrong("a page too far", "/api/v1/workflows?page=1000", 422, "Validation", &["/query/page"]),
        wrong("a forged token", "/api/v1/workflows?page_token=AAAA", 422, "Validation", &["/query/page_token"]),
        wrong(
            "a window that ends before it begins",
            "/api/v1/workflows?started_after=2026-01-02T00:00:00Z&started_before=2026-01-01T00:00:00Z",
            422,
            "Validation",
            &["/query/started_before"],
        ),
        wrong(
            "everything empty",
            "/api/v1/workflows?page=&page_size=&status=&workflow_type=&user_id=&started_after=&started_before=&page_token=",
            422,
            "Validation",
            &[
                "/query/page_size",
                "/query/page",
                "/query/status",
                "/query/workflow_type",
                "/query/user_id",
                "/query/started_after",
                "/query/started_before",
                "/query/page_token",
            ],
        ),
        wrong(
            "what comes once twice",
            "/api/v1/workflows?user_id=a&user_id=b&workflow_type=compliance&workflow_type=compliance",
            422,
            "Validation",
            &["/query/workflow_type", "/query/user_id"],
        ),
        wrong(
            "one of several statuses unknown",
            "/api/v1/workflows?status=Failed,Happy&status=Running",
            422,
            "Validation",
            &["/query/status"],
        ),
        wrong("an empty id", "/api/v1/workflows/history?workflow_id=", 422, "Validation", &["/query/workflow_id"]),
        wrong(
            "two ids",
            "/api/v1/workflows/history?workflow_id=a&workflow_id=b",
            422,
            "Validation",
            &["/query/workflow_id"],
        ),
        wrong(
            "an unknown event",
            "/api/v1/workflows/history?event_type=Lunch",
            422,
            "Validation",
            &["/query/event_type"],
        ),
        wrong("no event", "/api/v1/workflows/history?event_type=", 422, "Validation", &["/query/event_type"]),
        wrong("a wait that is none", "/api/v1/workflows/x/status?wait=long", 422, "Validation", &["/query/wait"]),
        wrong("an empty wait", "/api/v1/workflows/x/status?wait=", 422, "Validation", &["/query/wait"]),
        wrong("an unknown stream", "/api/v1/workflows/user_onboarding_x/stream", 404, "NotFound", &[]),
        wrong(
            "an odd event's id",
            "/api/v1/workflows/x/stream?last_event_id=x",
            422,
            "Validation",
            &["/query/last_event_id"],
        ),
        wrong("two waits", "/api/v1/workflows/x/status?wait=1&wait=2", 422, "Validation", &["/query/wait"]),
        wrong(
            "two events' ids",
            "/api/v1/workflows/x/stream?last_event_id=1&last_event_id=2",
            422,
            "Validation",
            &["/query/last_event_id"],
        ),
        Wrong {
            request: request(
                Method::GET,
                "/api/v1/workflows/x/stream",
                &[TENANT_HEADER, ("last-event-id", "x")],
                Body::empty(),
            ),
            ..wrong("an odd event's id in a header", "/", 400, "Validation", &[])
        },
        wrong(
            "a log with everything empty",
            "/api/v1/audit?page_size=&action=&outcome=&user_id=&workflow_id=&from=&to=&page_token=",
            422,
            "Validation",
            &[
                "/query/page_size",
                "/query/action",
                "/query/outcome",
                "/query/user_id",
                "/query/workflow_id",
                "/query/from",
                "/query/to",
                "/query/page_token",
            ],
        ),
        wrong(
            "a log of something unknown",
            "/api/v1/audit?action=lunch&outcome=happy&user_id=a%20b&workflow_id=..%2Fx&from=soon&to=later&page_size=0",
            422,
            "Validation",
            &[
                "/query/page_size",
                "/query/action",
                "/query/outcome",
                "/query/user_id",
                "/query/workflow_id",
                "/query/from",
                "/query/to",
            ],
        ),
        wrong(
            "a log that ends before it begins",
            "/api/v1/audit?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            422,
            "Validation",
            &["/query/to"],
        ),
        wrong("a log's forged token", "/api/v1/audit?page_token=AAAA", 422, "Validation", &["/query/page_token"]),
        wrong("two actions", "/api/v1/audit?action=read&action=read", 422, "Validation", &["/query/action"]),
        wrong("an unknown path", "/api/v1/nothing", 404, "NotFound", &[]),
        wrong("a method that is not taken", START, 405, "Validation", &[]),
    ]
}

#[test]
fn a_wrong_request_is_named_and_does_nothing() {
    run(async {
        let world = World::new().await;
        let before = world.snapshot().await;
        let wrong = wrong_starts()
            .into_iter()
            .chain(wrong_switches())
            .chain(wrong_jobs())
            .chain(wrong_migrations())
            .chain(wrong_exports())
            .chain(wrong_holds())
            .chain(wrong_data_requests());
        let wrong = wrong.chain(wrong_reads());
        let controls = CONTROLS.into_iter().chain(["retry", "reverse"]).flat_map(wrong_controls);
        let wrong = wrong.chain(controls).chain(wrong_retries()).chain(wrong_actions()).chain(wrong_health_checks());
        for Wrong { why, request, status, error_type, pointers } in wrong {
            let why = format!("{why}: {} {}", request.method(), request.uri());
            let (answered, headers, problem) = world.call(request).await;
            assert_eq!(answered.as_u16(), status, "{why}: {problem}");
            assert_eq!(headers["content-type"], "application/problem+json", "{why}");
            assert_eq!(problem["status"], status, "{why}");
            assert_eq!(problem["error"]["type"], error_type, "{why}: {problem}");
            assert_eq!(problem["error"]["message"], problem["detail"], "{why}");
            assert_eq!(problem["message"], problem["detail"], "{why}");
            assert_eq!(headers["x-request-id"], problem["request_id"].as_str().unwrap(), "{why}");
            let named: Vec<_> =
                problem["errors"].as_array().into_iter().flatten().map(|e| e["pointer"].as_str().unwrap()).collect();
            assert_eq!(named, pointers, "{why}");
        }
        assert_eq!(world.get("/api/v1/workflows").await.1["total_count"], 0, "nothing was stored");
        assert_eq!(world.get("/api/v1/compliance/holds").await.1["holds"], json!([]), "nothing was stored");
        let requests = world.get("/api/v1/compliance/requests").await.1;
        assert_eq!(requests["requests"], json!([]), "nothing was stored");
        assert!(world.calls.lock().unwrap().is_empty(), "nobody was called");
        assert_eq!(world.snapshot().await, before);
    });
}

#[test]
fn a_foreign_workflow_answers_like_a_missing_one() {
    run(async {
        let world = World::new().await;
        let id = world.start(&full_request()).await;
        world.until_ended(&id).await;
        let foreign = ("x-tenant-id", "tenant-456");
        for (method, path) in [
            (Method::GET, "/api/v1/workflows/{id}/status"),
            (Method::GET, "/api/v1/workflows/{id}/status?wait=25s"),
            (Method::GET, "/api/v1/workflows/{id}/stream"),
            (Method::GET, "/api/v1/workflows/{id}/results/failed.csv"),
            (Method::POST, "/api/v1/workflows/{id}/cancel"),
            (Method::POST, "/api/v1/workflows/{id}/pause"),
            (Method::POST, "/api/v1/workflows/{id}/resume"),
            (Method::POST, "/api/v1/workflows/{id}/terminate"),
            (Method::POST, "/api/v1/workflows/{id}/retry"),
            (Method::POST, "/api/v1/workflows/{id}/reverse"),
            (Method::GET, "/api/v1/workflows/history?workflow_id={id}"),
        ] {
            let mut answers = Vec::new();
            for asked in [id.as_str(), "user_onboarding_missing"] {
                let path = path.replace("{id}", asked);
                let (status, _, mut problem) =
                    world.call(request(method.clone(), &path, &[foreign], Body::empty())).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {problem}");
                problem["request_id"] = Value::Null;
                answers.push(problem.to_string().replace(asked, "ID"));
            }
            assert_eq!(answers[0], answers[1], "{path}");
        }
        let list = request(Method::GET, "/api/v1/workflows", &[foreign], Body::empty());
        assert_eq!(world.call(list).await.2["total_count"], 0);
    });
}

#[test]
fn lists_are_paged_filtered_and_bound_to_their_tenant() {
    run(async {
        let world = World::new().await;
        let mut ids = Vec::new();
        for number in 0..5 {
            let mut request = full_request();
            request["user_email"] = json!(format!("user-{number}@example.com"));
            let id = world.start(&request).await;
            world.until_ended(&id).await;
            ids.insert(0, id);
        }
        let mut seen = Vec::new();
        let mut path = "/api/v1/workflows?page_size=2".to_owned();
        loop {
            let (_, page) = world.get(&path).await;
            assert_eq!(page["total_count"], 5);
            seen.extend(
                page["workflows"].as_array().unwrap().iter().map(|w| w["workflow_id"].as_str().unwrap().to_owned()),
            );
            let Some(token) = page["next_page_token"].as_str() else { break };
            assert_eq!(page["has_more"], true);
            path = format!("/api/v1/workflows?page_size=2&page_token={token}");
        }
        assert_eq!(seen, ids, "newest first, each once");
        let second = world.get("/api/v1/workflows?page_size=2&page=2").await.1;
        assert_eq!(second["workflows"][0]["workflow_id"], ids[2].as_str());
        assert_eq!(world.get("/api/v1/workflows?status=Failed").await.1["total_count"], 0);
        assert_eq!(
            world.get("/api/v1/workflows?status=Completed&workflow_type=user_onboarding").await.1["total_count"],
            5
        );
        let token = world.get("/api/v1/workflows?page_size=2").await.1["next_page_token"].clone();
        let path = format!("/api/v1/workflows?page_size=2&page_token={}", token.as_str().unwrap());
        let foreign = request(Method::GET, &path, &[("x-tenant-id", "tenant-456")], Body::empty());
        assert_eq!(world.call(foreign).await.0, StatusCode::UNPROCESSABLE_ENTITY, "a foreign token");
        let newest = world.get("/api/v1/workflows/history?page_size=1").await.1;
        assert_eq!(newest["workflow_id"], "unknown");
        assert_eq!(newest["events"][0]["event_type"], "WorkflowExecutionCompleted");
        assert_eq!(newest["events"][0]["workflow_id"], ids[0].as_str());
    });
}

#[test]
fn what_is_odd_and_harmless_is_accepted() {
    run(async {
        let world = World::new().await;
        let mut body = full_request();
        body["role"] = json!("Super User (temporary)");
        body["password"] = json!("not a field of ours");
        body["user_name"] = json!("\u{645}\u{6cc}\u{200c}\u{62e}\u{648} 👩\u{200d}💻");
        let headers = [("x-user-id", "auth0|5f7c8ec7c33c6c004bbafe82"), ("Prefer", "x=\"a, wait=1\", WAIT=\"10\"; y")];
        let (status, started) = world.post(START, &body, &headers).await;
        assert_eq!(status, StatusCode::OK, "{started}");
        let history = world.history(started["workflow_id"].as_str().unwrap()).await;
        body.as_object_mut().unwrap().remove("password");
        assert_eq!(history.events[0].event.details["input"], body, "what nobody knows is not kept");

        let (status, list) = world.get("/api/v1/workflows?page_size=100000&colour=blue").await;
        assert_eq!((status, &list["page_size"], &list["total_count"]), (StatusCode::OK, &json!(200), &json!(1)));
        assert_eq!(list["workflows"][0]["user_id"], "auth0|5f7c8ec7c33c6c004bbafe82");
    });
}

#[test]
fn a_retry_policy_that_no_state_machine_can_hold_stops_the_start() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        for section in ["RETRY_POLICY", "UNREACHABLE"] {
            let variable = format!("WORKFLOW__WORKFLOWS__{section}__MAXIMUM_ATTEMPTS");
            let mut settings = Settings::load(None, [(variable, "1000000000".to_owned())].into_iter()).unwrap();
            settings.data_dir = directory.path().join("data");
            let refused = App::open(&settings, Surroundings::real().unwrap()).await.err().expect("it does not start");
            let refused = format!("{refused:#}");
            let setting = format!("workflows.{}", section.to_lowercase());
            assert!(refused.contains(&setting) && refused.contains("MaxAttempts"), "{refused}");
            assert!(!settings.data_dir.exists(), "nothing was created");
        }
    });
}

/// As the contract of the service Auth has it: case and composition make no other address.
#[test]
fn an_address_has_one_account_however_it_is_written() {
    run(async {
        let world = World::new().await;
        let onboard = async |email: &str| {
            let mut body = full_request();
            body["user_email"] = email.into();
            let (status, answer) = world.post(START, &body, &[("prefer", "wait=20")]).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let id = answer["workflow_id"].as_str().unwrap().to_owned();
            world.get(&format!("/api/v1/workflows/{id}/status")).await.1
        };
        let before = world.snapshot().await;
        let broken =
            FaultRule::on("POST", "/api/v1/workspaces", Fault::Status { status: 400, retry_after_seconds: None });
        world.services.set_faults(ServiceKind::File, vec![broken]);
        let undone = onboard("us\u{e9}r@ex\u{e4}mple.com").await;
        assert_eq!((&undone["status"], &undone["failure"]["residue"]), (&json!("Failed"), &json!([])), "{undone}");
        assert_eq!(world.snapshot().await, before, "what is undone takes no address");
        world.services.set_faults(ServiceKind::File, vec![]);
        assert_eq!(onboard("USE\u{301}R@EXA\u{308}MPLE.COM").await["status"], "Completed");
        let taken = onboard("Us\u{c9}r@xn--exmple-cua.com").await;
        assert_eq!((&taken["status"], &taken["failure"]["error"]), (&json!("Failed"), &json!("Conflict")), "{taken}");
        assert_eq!(taken["failure"]["step"], "CreateUserAccount", "{taken}");
    });
}

#[test]
fn a_start_can_wait_for_the_end() {
    run(async {
        let world = World::new().await;
        let (status, body) = world.post(START, &full_request(), &[("prefer", "wait=10")]).await;
        assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some("completed")), "{body}");
        assert_eq!(body["result"]["welcome_email_sent"], true);
        let (status, body) = world.post(START, &full_request(), &[("prefer", "respond-async, wait=10")]).await;
        assert_eq!(
            (status, body["status"].as_str(), &body["result"]),
            (StatusCode::OK, Some("failed"), &Value::Null),
            "{body}"
        );
        assert!(body["error"].as_str().unwrap().contains("Conflict"), "{body}");
        let history = world.history(body["workflow_id"].as_str().unwrap()).await;
        assert_eq!(history.events[0].event.details["input"]["user_email"], "new@example.com");
    });
}

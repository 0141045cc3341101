//! The request of the bulk operation workflow: one operation on many entities.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::characters::is_refused;
use crate::email::is_email;
use crate::fields::{BadField, Fields, has_hidden};
use crate::ids::{SUBJECT, WorkflowKind, is_subject};
use crate::limits::{
    MAX_BATCH_DELAY_MS, MAX_BATCH_SIZE, MAX_BATCHES, MAX_INLINE_ENTITIES, MAX_ITEM_RETRIES, MAX_PARALLEL_BATCHES,
    MAX_SUBJECT_CHARS, MAX_TENANT_CHARS,
};
use crate::request::Request;
use crate::services::service_named;

/// What is done to each entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BulkOperationType {
    /// Creates an account, a profile or a membership.
    UserCreation,
    /// Changes some fields of one.
    UserUpdate,
    /// Makes one inactive.
    UserDeactivation,
    /// Changes what a member may do.
    PermissionUpdate,
    /// Writes entities to a file of the results.
    DataExport,
    /// Stores entities as they are given.
    DataImport,
    /// Does something to files.
    FileProcessing,
    /// Sends a notice.
    NotificationSend,
}

/// Entity types that can be exported and imported, by their service.
const STORED: &[(&str, &[&str])] = &[
    ("auth", &["account", "session"]),
    ("user", &["profile", "usage"]),
    ("tenant", &["tenant", "membership", "profile_copy"]),
    ("file", &["workspace", "file"]),
    ("notifications", &["notification"]),
];

/// Entity types that stand for a person.
const USERS: &[(&str, &[&str])] = &[("auth", &["account"]), ("user", &["profile"]), ("tenant", &["membership"])];

impl BulkOperationType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::UserCreation,
        Self::UserUpdate,
        Self::UserDeactivation,
        Self::PermissionUpdate,
        Self::DataExport,
        Self::DataImport,
        Self::FileProcessing,
        Self::NotificationSend,
    ];

    /// The name on the wire, and in the services' routes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserCreation => "UserCreation",
            Self::UserUpdate => "UserUpdate",
            Self::UserDeactivation => "UserDeactivation",
            Self::PermissionUpdate => "PermissionUpdate",
            Self::DataExport => "DataExport",
            Self::DataImport => "DataImport",
            Self::FileProcessing => "FileProcessing",
            Self::NotificationSend => "NotificationSend",
        }
    }

    /// Whether it changes the entities that it is about.
    pub fn changes_entities(self) -> bool {
        !matches!(self, Self::DataExport | Self::NotificationSend)
    }

    /// The entity types that it is for, by service.
    pub fn targets(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::UserCreation | Self::UserDeactivation => USERS,
            Self::UserUpdate => &[("auth", &["account"]), ("user", &["profile"])],
            Self::PermissionUpdate => &[("tenant", &["membership"])],
            Self::DataExport | Self::DataImport => STORED,
            Self::FileProcessing => &[("file", &["file"])],
            Self::NotificationSend => &[("notifications", &["notification"])],
        }
    }
}

/// One entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityTarget {
    /// `auth`, `user`, `tenant`, `file` or `notifications`.
    pub service: String,
    /// E.g. `account`.
    pub entity_type: String,
    /// Its id; of one that is created the id that it gets.
    pub entity_id: String,
    /// What the operation needs of this one. What the request says for all is added to it.
    pub operation_data: Map<String, Value>,
}

impl EntityTarget {
    /// Reads one, for this operation on behalf of a tenant. Names are those of the contract from then on: `auth-service` is
    /// `auth`, and a `user` is what the service has of a user.
    pub fn read(fields: &mut Fields<'_>, operation: Option<BulkOperationType>, tenant_id: &str) -> Self {
        let service = known_service(fields, operation);
        let entity_type = known_type(fields, operation, service);
        let entity_id = fields.text_like("entity_id", 1..=MAX_SUBJECT_CHARS, is_subject, SUBJECT).to_owned();
        let operation_data = data(fields, operation, tenant_id);
        if fields.is_given("tenant_id") && fields.text("tenant_id", 1..=MAX_TENANT_CHARS) != tenant_id {
            fields.bad("tenant_id", "names another tenant than the request's tenant_id");
        }
        Self { service: service.unwrap_or_default().to_owned(), entity_type, entity_id, operation_data }
    }
}

fn known_service(fields: &mut Fields<'_>, operation: Option<BulkOperationType>) -> Option<&'static str> {
    let given = fields.text("service", 1..=MAX_SUBJECT_CHARS);
    let known = service_named(given);
    let (Some(operation), false) = (operation, given.is_empty()) else { return known };
    let fitting: Vec<&str> = operation.targets().iter().map(|(service, _)| *service).collect();
    if !known.is_some_and(|service| fitting.contains(&service)) {
        fields.bad("service", format!("must be one of {} for {}", fitting.join(", "), operation.as_str()));
        return None;
    }
    known
}

fn known_type(fields: &mut Fields<'_>, operation: Option<BulkOperationType>, service: Option<&str>) -> String {
    let given = fields.text("entity_type", 1..=MAX_SUBJECT_CHARS);
    let (Some(operation), Some(service), false) = (operation, service, given.is_empty()) else {
        return given.to_owned();
    };
    let of_service = |list: &'static [(&str, &'static [&str])]| {
        list.iter().find(|(name, _)| *name == service).map_or(&[][..], |(_, types)| *types)
    };
    let name = match given {
        "user" => of_service(USERS).first().copied().unwrap_or(given),
        other => other,
    };
    let fitting = of_service(operation.targets());
    if !fitting.contains(&name) {
        let detail = format!("must be one of {} for {} at {service}", fitting.join(", "), operation.as_str());
        fields.bad("entity_type", detail);
    }
    name.to_owned()
}

/// The `operation_data` of a request or of an entity: an object, or nothing. It names no other tenant, and an account gets an
/// address that mail can be sent to, and a name and a role that can be seen.
fn data(fields: &mut Fields<'_>, operation: Option<BulkOperationType>, tenant_id: &str) -> Map<String, Value> {
    let data = fields.optional_map("operation_data");
    if let Some(other) = data.get("tenant_id").filter(|other| *other != tenant_id) {
        let detail = match other {
            Value::String(_) => "names another tenant than the request's tenant_id",
            _ => "must be a string",
        };
        fields.bad_within("operation_data", "tenant_id", detail);
    }
    let is_of_account = matches!(operation, Some(BulkOperationType::UserCreation | BulkOperationType::UserUpdate));
    let email = data.get("email").and_then(Value::as_str).filter(|_| is_of_account);
    if email.is_some_and(|email| !is_email(email)) {
        let detail = match email.is_some_and(|email| is_email(email.trim())) {
            true => "must not have spaces around it",
            false => "is no address that mail can be sent to",
        };
        fields.bad_within("operation_data", "email", detail);
    }
    for name in ["name", "role"].into_iter().filter(|_| is_of_account) {
        let text = data.get(name).and_then(Value::as_str).unwrap_or_default();
        // A cell of a spreadsheet may have several lines.
        let hides = |letter: &char| is_refused(*letter) && !matches!(letter, '\n' | '\r' | '\t');
        if let Some(letter) = text.chars().find(hides) {
            fields.bad_within("operation_data", name, has_hidden(letter));
        }
    }
    data
}

/// When a job stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureThreshold {
    /// Once so many entities have failed.
    #[serde(default)]
    pub count: Option<u64>,
    /// Once so many percent of all entities have failed.
    #[serde(default)]
    pub percent: Option<u64>,
}

/// How a job is cut into batches, and when it stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchOptions {
    /// Entities in a batch.
    pub batch_size: u64,
    /// Batches at once.
    pub parallel_batches: u64,
    /// How long each of the parallel places rests after a batch.
    pub delay_between_batches_ms: u64,
    /// Whether the job goes on when an entity fails.
    pub continue_on_error: bool,
    /// How often an entity that fails for a passing reason is tried again.
    pub max_retries: u32,
    /// When it stops although it goes on when an entity fails.
    pub failure_threshold: Option<FailureThreshold>,
    /// Changes nothing, and counts what would succeed and what would fail.
    pub dry_run: bool,
}

impl BatchOptions {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            batch_size: fields.number_or("batch_size", 1..=MAX_BATCH_SIZE, 100),
            parallel_batches: fields.number_or("parallel_batches", 1..=MAX_PARALLEL_BATCHES, 4),
            delay_between_batches_ms: fields.number_or("delay_between_batches_ms", 0..=MAX_BATCH_DELAY_MS, 0),
            continue_on_error: fields.flag_or("continue_on_error", true),
            max_retries: fields.number_or("max_retries", 0..=MAX_ITEM_RETRIES, 3) as u32,
            failure_threshold: fields.is_given("failure_threshold").then(|| Self::read_threshold(fields)).flatten(),
            dry_run: fields.flag("dry_run"),
        }
    }

    fn read_threshold(fields: &mut Fields<'_>) -> Option<FailureThreshold> {
        let read = |fields: &mut Fields<'_>| {
            fields.only(&["count", "percent"]);
            let count = fields.is_given("count").then(|| fields.number_or("count", 1..=u64::MAX, 1));
            let percent = fields.is_given("percent").then(|| fields.number_or("percent", 1..=100, 1));
            FailureThreshold { count, percent }
        };
        let threshold = fields.object("failure_threshold", read)?;
        if threshold == (FailureThreshold { count: None, percent: None }) {
            fields.bad("failure_threshold", "must have a count, a percent, or both");
        }
        Some(threshold)
    }

    /// With how many failed entities of `total` no further batch begins; none if it goes on to the end.
    pub fn stops_at(&self, total: u64) -> Option<u64> {
        let threshold = self.failure_threshold;
        let count = threshold.and_then(|threshold| threshold.count);
        let percent = threshold.and_then(|threshold| threshold.percent);
        let percent = percent.map(|percent| total.saturating_mul(percent).div_ceil(100).max(1));
        let first = (!self.continue_on_error).then_some(1);
        [count, percent, first].into_iter().flatten().min()
    }

    /// How many entities of `total` a batch has: as many as asked for, or a multiple where there would be too many batches.
    pub fn batch_size_for(&self, total: u64) -> u64 {
        self.batch_size * total.div_ceil(self.batch_size).div_ceil(MAX_BATCHES).max(1)
    }
}

/// A file that was uploaded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkInput {
    /// As the upload's answer said.
    pub upload_id: String,
    /// What a line of the file that is no entity does to the job.
    pub on_malformed: OnMalformed,
}

/// What a line of an uploaded file that is no entity does to the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMalformed {
    /// The job does nothing.
    Stop,
    /// The line counts as an entity that failed.
    Continue,
}

/// One operation on many entities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkOperationRequest {
    /// Makes the start idempotent: the same id with the same body is the same execution.
    pub operation_id: String,
    /// The tenant; equal to the `X-Tenant-ID` header.
    pub tenant_id: String,
    /// What is done.
    pub operation_type: BulkOperationType,
    /// To which entities; none if they are in `input`.
    pub target_entities: Vec<EntityTarget>,
    /// Where the entities are, if there are more than a body holds.
    #[serde(default)]
    pub input: Option<BulkInput>,
    /// What the operation needs for all entities.
    pub operation_data: Map<String, Value>,
    /// How.
    pub batch_options: BatchOptions,
}

impl Request for BulkOperationRequest {
    const KIND: WorkflowKind = WorkflowKind::BulkOperation;
    /// A job may take days.
    const HAS_DEADLINE: bool = false;

    fn read(fields: &mut Fields<'_>) -> Self {
        let operation_id = fields.plain_id("operation_id", MAX_TENANT_CHARS);
        let tenant_id = fields.plain_id("tenant_id", MAX_TENANT_CHARS);
        let operation = fields.one_of("operation_type", &BulkOperationType::ALL, BulkOperationType::as_str);
        let has_input = fields.is_given("input");
        let input = has_input.then(|| read_input(fields)).flatten();
        let target_entities = match (has_input, fields.has_items("target_entities")) {
            (true, false) => Vec::new(),
            (true, true) => {
                fields.bad("input", "must not come with target_entities: it is one or the other");
                Vec::new()
            }
            (false, false) if !fields.is_given("target_entities") => {
                fields.bad("target_entities", "is missing: list the entities, or name their upload in input");
                Vec::new()
            }
            (false, _) => fields.list("target_entities", 1..=MAX_INLINE_ENTITIES, |fields| {
                EntityTarget::read(fields, operation, &tenant_id)
            }),
        };
        let operation_data = data(fields, operation, &tenant_id);
        let batch_options = match fields.is_given("batch_options") {
            true => fields.object("batch_options", BatchOptions::read),
            false => None,
        };
        Self {
            operation_id,
            tenant_id,
            operation_type: operation.unwrap_or(BulkOperationType::DataExport),
            target_entities,
            input,
            operation_data,
            batch_options: batch_options.unwrap_or_default(),
        }
    }

    fn options(&self) -> Value {
        json!({
            "operation_type": self.operation_type,
            "parallel_batches": self.batch_options.parallel_batches,
            "dry_run": self.batch_options.dry_run,
        })
    }

    fn tenants(&self) -> Vec<(&'static str, &str)> {
        vec![("tenant_id", &self.tenant_id)]
    }

    fn own_id(&self) -> Option<(&'static str, &str)> {
        Some(("operation_id", &self.operation_id))
    }

    fn upload(&self) -> Option<(&'static str, &str)> {
        self.input.as_ref().map(|input| ("/input/upload_id", input.upload_id.as_str()))
    }

    fn warnings(&self) -> Vec<String> {
        let total = self.target_entities.len() as u64;
        let (asked, size) = (self.batch_options.batch_size, self.batch_options.batch_size_for(total));
        let raised = || format!("batch_size is {size} instead of {asked}: a job has at most {MAX_BATCHES} batches.");
        (size > asked).then(raised).into_iter().collect()
    }
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self::read(&mut Fields::new(&Value::Object(Map::new())))
    }
}

fn read_input(fields: &mut Fields<'_>) -> Option<BulkInput> {
    const ALL: [OnMalformed; 2] = [OnMalformed::Stop, OnMalformed::Continue];
    let name = |each| match each {
        OnMalformed::Stop => "stop",
        OnMalformed::Continue => "continue",
    };
    fields.object("input", |fields| BulkInput {
        upload_id: fields.plain_id("upload_id", MAX_TENANT_CHARS),
        on_malformed: match fields.is_given("on_malformed") {
            true => fields.one_of("on_malformed", &ALL, name).unwrap_or(OnMalformed::Stop),
            false => OnMalformed::Stop,
        },
    })
}

/// What is wrong with an entity of a file, in one sentence.
pub fn told(bad: &[BadField]) -> String {
    let one = |bad: &BadField| format!("{} {}", bad.pointer.trim_start_matches('/'), bad.detail);
    bad.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::read;

    fn request(changes: Value) -> Value {
        let mut request = json!({
            "operation_id": "op-1", "tenant_id": "t", "operation_type": "UserUpdate",
            "target_entities": [{ "service": "user-service", "entity_type": "user", "entity_id": "u-1" }],
        });
        for (name, value) in changes.as_object().expect("an object") {
            request[name] = value.clone();
        }
        request
    }

    fn pointers(changes: Value) -> Vec<String> {
        match read::<BulkOperationRequest>(&request(changes).into()) {
            Ok(_) => Vec::new(),
            Err(bad) => bad.into_iter().map(|bad| bad.pointer).collect(),
        }
    }

    #[test]
    fn what_is_left_out_has_its_default_and_names_are_those_of_the_contract() {
        let read = read::<BulkOperationRequest>(&request(json!({})).into()).expect("it is good");
        assert_eq!(
            json!(read.target_entities),
            json!([{ "service": "user", "entity_type": "profile", "entity_id": "u-1", "operation_data": {} }])
        );
        let BatchOptions { batch_size, parallel_batches, continue_on_error, max_retries, dry_run, .. } =
            read.batch_options;
        assert_eq!((batch_size, parallel_batches, continue_on_error, max_retries, dry_run), (100, 4, true, 3, false));
        let stored: BulkOperationRequest = serde_json::from_value(json!(read)).expect("it reads what it wrote");
        assert_eq!(stored, read);
    }

    #[test]
    fn every_bad_field_is_named() {
        let entity = |service: &str, kind: &str, id: &str, data: Value| json!({ "service": service, "entity_type": kind, "entity_id": id, "operation_data": data });
        for (changes, expected) in [
            (json!({ "operation_type": "UserErasure" }), vec!["/operation_type"]),
            (json!({ "target_entities": [] }), vec!["/target_entities"]),
            (
                json!({ "target_entities": [entity("billing", "profile", "u", json!({}))] }),
                vec!["/target_entities/0/service"],
            ),
            (
                json!({ "target_entities": [entity("file", "file", "u", json!({}))] }),
                vec!["/target_entities/0/service"],
            ),
            (
                json!({ "target_entities": [entity("user", "account", "a@b.example", json!([]))] }),
                vec![
                    "/target_entities/0/entity_type",
                    "/target_entities/0/entity_id",
                    "/target_entities/0/operation_data",
                ],
            ),
            (
                json!({ "target_entities": [entity("user", "user", "u", json!({ "tenant_id": "other" }))] }),
                vec!["/target_entities/0/operation_data/tenant_id"],
            ),
            (json!({ "operation_data": { "tenant_id": "other" } }), vec!["/operation_data/tenant_id"]),
            (json!({ "input": { "upload_id": "u" } }), vec!["/input"]),
            (
                json!({ "input": { "upload_id": "../u", "on_malformed": "x" }, "target_entities": [] }),
                vec!["/input/upload_id", "/input/on_malformed"],
            ),
            (
                json!({ "batch_options": { "batch_size": 0, "parallel_batches": 101, "delay_between_batches_ms": 30_001, "max_retries": 11 } }),
                vec![
                    "/batch_options/batch_size",
                    "/batch_options/parallel_batches",
                    "/batch_options/delay_between_batches_ms",
                    "/batch_options/max_retries",
                ],
            ),
            (json!({ "batch_options": { "failure_threshold": {} } }), vec!["/batch_options/failure_threshold"]),
            (
                json!({ "batch_options": { "failure_threshold": { "percent": 101, "counts": 1 } } }),
                vec!["/batch_options/failure_threshold/counts", "/batch_options/failure_threshold/percent"],
            ),
        ] {
            assert_eq!(pointers(changes.clone()), expected, "{changes}");
        }
    }

    #[test]
    fn a_job_stops_at_the_first_of_its_limits_and_has_no_more_batches_than_allowed() {
        let options = |changes: Value| {
            let request = request(json!({ "batch_options": changes }));
            read::<BulkOperationRequest>(&request.into()).expect("it is good").batch_options
        };
        assert_eq!(options(json!({})).stops_at(1_000), None);
        assert_eq!(options(json!({ "continue_on_error": false })).stops_at(1_000), Some(1));
        assert_eq!(options(json!({ "failure_threshold": { "count": 7, "percent": 50 } })).stops_at(1_000), Some(7));
        assert_eq!(options(json!({ "failure_threshold": { "percent": 5 } })).stops_at(1_001), Some(51));
        assert_eq!(options(json!({ "failure_threshold": { "percent": 5 } })).stops_at(3), Some(1));
        assert_eq!(options(json!({})).batch_size_for(1_000_000), 100);
        assert_eq!(options(json!({})).batch_size_for(1_000_001), 200);
        assert_eq!(options(json!({ "batch_size": 1 })).batch_size_for(20_000), 2);
    }

    #[test]
    fn every_operation_has_its_targets() {
        for operation in BulkOperationType::ALL {
            assert!(!operation.targets().is_empty());
            assert_eq!(json!(operation), operation.as_str());
            for (service, types) in operation.targets() {
                let (_, stored) = STORED.iter().find(|(name, _)| name == service).expect("a service");
                assert!(types.iter().all(|each| stored.contains(each)), "{service} {types:?}");
            }
        }
    }
}

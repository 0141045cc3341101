//! Items and what they say.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use contracts::step::{StepKind, StepPath};
use contracts::{EngineKind, Status, Timestamp, WorkflowKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::events::AttemptEvents;
use store::{
    Damage, ExecutionFlags, ExecutionRecord, Inherited, NewEvent, Parts, Progress, Reported, RetryOf, StepMoments,
    StoreError, StoredRequest, completed_steps,
};

use crate::keys;

pub(crate) type Attributes = HashMap<String, AttributeValue>;

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn moment(at: Timestamp) -> AttributeValue {
    number(at.as_microsecond())
}

/// JSON as text: DynamoDB's own documents have no order of keys and other numbers.
pub(crate) fn json(value: &impl Serialize) -> AttributeValue {
    text(serde_json::to_string(value).unwrap_or_default())
}

/// An item that was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Item(pub(crate) Attributes);

impl Item {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, StoreError> {
        self.optional_text(name).ok_or_else(|| missing(name))
    }

    pub(crate) fn optional_text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.optional_number(name).ok_or_else(|| missing(name))
    }

    pub(crate) fn optional_number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(|value| value.as_bool().ok()).copied().unwrap_or(false)
    }

    pub(crate) fn moment(&self, name: &str) -> Result<Timestamp, StoreError> {
        self.optional_moment(name)?.ok_or_else(|| missing(name))
    }

    pub(crate) fn optional_moment(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let micros = self.optional_number(name);
        micros.map(|micros| Timestamp::from_microsecond(micros).map_err(inconsistent)).transpose()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        serde_json::from_str(self.text(name)?).map_err(|error| not_understood(name, error))
    }

    pub(crate) fn optional_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.optional_text(name)
            .map(|text| serde_json::from_str(text).map_err(|error| not_understood(name, error)))
            .transpose()
    }
}

fn missing(name: &str) -> StoreError {
    StoreError::Inconsistent(format!("'{name}' is missing or not of its type"))
}

fn not_understood(name: &str, error: serde_json::Error) -> StoreError {
    StoreError::Inconsistent(format!("'{name}' is no JSON that is understood ({error})"))
}

pub(crate) fn inconsistent(error: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent(error.to_string())
}

/// The execution's item as its record, whatever of it can be read.
pub(crate) fn record(item: &Item) -> ExecutionRecord {
    let mut parts = Parts::default();
    let of_key = item.optional_text("pk").and_then(keys::parse_execution);
    let (tenant_id, id) = of_key.map_or_else(Default::default, |(tenant, id)| (tenant.to_owned(), id.to_owned()));
    let id = parts.or(item.text("id").map(str::to_owned), || id);
    let of_id = WorkflowKind::of_execution(&id).unwrap_or(WorkflowKind::UserOnboarding);
    let kind = name(item, "kind");
    let unknown_kind = kind.is_err().then(|| item.optional_text("kind").unwrap_or_default().to_owned());
    let mut record = ExecutionRecord {
        tenant_id: parts.or(item.text("tenant_id").map(str::to_owned), || tenant_id),
        kind: parts.or(kind, || of_id),
        engine: parts.or(name(item, "engine"), || EngineKind::StepFunctions),
        user_id: item.optional_text("user_id").map(str::to_owned),
        status: parts.or(status(item), || Damage::status(item.has("ended_at"))),
        started_at: parts.or(item.moment("started_at"), || Timestamp::UNIX_EPOCH),
        updated_at: parts.or(item.moment("updated_at"), || Timestamp::UNIX_EPOCH),
        ended_at: parts.or(item.optional_moment("ended_at"), || None),
        cancel_requested_at: parts.or(item.optional_moment("cancel_requested_at"), || None),
        paused_at: parts.or(item.optional_moment("paused_at"), || None),
        paused_us: item.optional_number("paused_us").unwrap_or_default(),
        window_open: item.flag("cancel_window_open"),
        result: parts.or(item.optional_json("result"), || None),
        failure: parts.or(item.optional_json("failure"), || None),
        progress: parts.or(progress(item), Progress::default),
        input: parts.or(item.json("input"), || Value::Null),
        retry_of: item
            .optional_text("retried_from")
            .map(|id| RetryOf { id: id.to_owned(), undoes: item.flag("only_undoes") }),
        retried_as: item.optional_text("retried_as").map(str::to_owned),
        version: parts.or(item.number("version"), || 0),
        damage: None,
        id,
    };
    record.damage = parts.damage(unknown_kind);
    record
}

/// The same, where all of it must be readable.
pub(crate) fn sound_record(item: &Item) -> Result<ExecutionRecord, StoreError> {
    let record = record(item);
    match &record.damage {
        None => Ok(record),
        Some(damage) => Err(StoreError::Inconsistent(format!("{} is damaged: {}", record.id, damage.why))),
    }
}

/// A text that names one of an enum.
fn name<T: FromStr<Err: Display>>(item: &Item, attribute: &str) -> Result<T, StoreError> {
    item.text(attribute)?.parse().map_err(|error| inconsistent(format!("'{attribute}' is an {error}")))
}

pub(crate) fn status(item: &Item) -> Result<Status, StoreError> {
    name(item, "status")
}

pub(crate) fn progress(item: &Item) -> Result<Progress, StoreError> {
    // An execution that has ended says so; for others the steps are counted.
    let completed_steps = match item.optional_number("completed_steps") {
        Some(completed) => completed,
        None => count_completed(item)?,
    };
    Ok(Progress {
        current_step: item.text("current_step")?.to_owned(),
        total_steps: item.number("total_steps")?,
        completed_steps,
        status_message: item.optional_text("status_message").map(str::to_owned),
    })
}

fn count_completed(item: &Item) -> Result<u32, StoreError> {
    let moments = steps(item, "attempts")?.into_iter().map(|path| StepMoments {
        is_done: item.has(&of_step("done", &path)),
        closed_at: item.optional_number(&of_step("closed", &path)),
    });
    // A step that was closed before it ever began has no attempts, and counts for nothing until it is done.
    Ok(completed_steps(moments, item.optional_number("forward_at").unwrap_or_default()))
}

/// The steps that have this attribute.
pub(crate) fn steps(item: &Item, attribute: &str) -> Result<Vec<StepPath>, StoreError> {
    let names = item.0.keys().filter_map(|name| name.strip_prefix(attribute)?.strip_prefix('#'));
    names.map(|path| path.parse().map_err(inconsistent)).collect()
}

/// What the gate needs of the execution.
pub(crate) fn execution_flags(item: &Item) -> Result<ExecutionFlags, StoreError> {
    Ok(ExecutionFlags {
        has_ended: item.has("ended_at"),
        is_cancelled: item.has("cancel_requested_at"),
        is_paused: item.has("paused_at"),
        deadline_at: item.optional_moment("deadline_at")?,
        pivot_begun: item.flag("pivot_begun"),
    })
}

/// The attribute that holds a part of the result.
pub(crate) fn of_report(name: &str) -> String {
    format!("report#{name}")
}

/// What steps have reported of the result: an attribute for each part, so that a step writes its own without reading.
pub(crate) fn reported(item: &Item) -> Result<Reported, StoreError> {
    let names = item.0.keys().filter_map(|name| name.strip_prefix("report#"));
    let parts = names.map(|name| Ok((name.to_owned(), item.json(&of_report(name))?)));
    Ok(Reported { parts: parts.collect::<Result<_, StoreError>>()?, is_final: item.flag("report_is_final") })
}

/// The row of an event.
pub(crate) fn event_row(tenant_id: &str, id: &str, event_id: u64, event: &NewEvent) -> Attributes {
    HashMap::from([
        ("pk".to_owned(), text(keys::execution(tenant_id, id))),
        ("sk".to_owned(), text(keys::event(event_id))),
        ("event_id".to_owned(), number(event_id)),
        ("event_type".to_owned(), text(event.event_type.as_str())),
        ("at".to_owned(), moment(event.at)),
        ("details".to_owned(), text(event.details.to_string())),
        ("feed_pk".to_owned(), text(keys::feed_shard_of(tenant_id, id))),
        ("feed_sk".to_owned(), text(keys::feed(event.at, id, event_id))),
    ])
}

/// An attempt under way, as it stands in the execution's item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenAttempt {
    pub(crate) activity: String,
    pub(crate) kind: StepKind,
    /// The step that a compensation undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undoes: Option<StepPath>,
    pub(crate) began_at: Timestamp,
    /// Tells a repetition of the very write that began it from another begin.
    pub(crate) nonce: String,
}

/// An attempt under way with its number and the ids that are reserved for its events.
pub(crate) struct UnderWay {
    pub(crate) events: AttemptEvents,
    pub(crate) began_at: Timestamp,
    pub(crate) first_event_id: u64,
}

impl UnderWay {
    /// What has happened of it so far, with the ids.
    pub(crate) fn begun(&self) -> Vec<(u64, NewEvent)> {
        let scheduled = Some(self.events.scheduled(self.began_at));
        (self.first_event_id..).zip(scheduled.into_iter().chain(self.events.started(self.began_at))).collect()
    }
}

/// The attempt of a step that is under way.
pub(crate) fn under_way(item: &Item, step: &StepPath) -> Result<Option<UnderWay>, StoreError> {
    let Some(open) = item.optional_json::<OpenAttempt>(&of_step("open", step))? else { return Ok(None) };
    let number = item.number(&of_step("attempts", step))?;
    Ok(Some(UnderWay {
        events: AttemptEvents {
            activity: open.activity,
            path: step.clone(),
            kind: open.kind,
            undoes: open.undoes,
            number,
        },
        began_at: open.began_at,
        first_event_id: item.number::<u64>(&of_step("open_after", step))? + 1,
    }))
}

/// All attempts that are under way, in the order of their begin.
pub(crate) fn all_under_way(item: &Item) -> Result<Vec<UnderWay>, StoreError> {
    let steps = steps(item, "open")?;
    let mut all = steps.iter().filter_map(|step| under_way(item, step).transpose()).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|attempt| attempt.first_event_id);
    Ok(all)
}

/// An attribute that an execution's item has for each step: `attempts` (how often it was tried), `open` and `open_after`
/// (the attempt under way, and the history's length before it), `done` (its result), `closed` (the history's length before
/// its undoing began), `undone_at` (the number of the event that said it is undone).
pub(crate) fn of_step(attribute: &str, step: &StepPath) -> String {
    format!("{attribute}#{step}")
}

/// What the execution took over from the one that it retries.
pub(crate) fn inherited(item: &Item) -> Result<Inherited, StoreError> {
    Ok(item.optional_json("inherited")?.unwrap_or_default())
}

/// Whether a step has begun, or was refused: until then nothing counts.
pub(crate) fn has_begun(item: &Item) -> bool {
    item.has("forward_at")
}

/// A request as it is kept.
pub(crate) fn request(item: &Item) -> Result<StoredRequest, StoreError> {
    item.json("request")
}

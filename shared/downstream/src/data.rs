//! The data port: what a service holds, page by page; the same on every service.

use std::collections::BTreeMap;

use bytes::Bytes;
use contracts::{ActivityError, ErrorName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::percent_encoded;
use crate::client::failure;
use crate::{Body, Call, Downstream, Service};

/// What a service holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Catalogue {
    /// Its types of things.
    pub entity_types: Vec<EntityType>,
}

/// A type of things. Only what callers need of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityType {
    /// Its name, e.g. `account`.
    #[serde(rename = "type")]
    pub name: String,
    /// Raised by a change that a reader must know of.
    pub schema_version: u64,
    /// The field of a thing that holds its id.
    pub id_field: String,
    /// The fields that hold ids of other things.
    pub references: Vec<ReferenceField>,
    /// What it is a copy of.
    #[serde(default)]
    pub replica_of: Option<Replica>,
}

/// What a type is a copy of. A copy has the original's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Whose thing it is.
    pub service: String,
    /// The type of the thing.
    #[serde(rename = "type")]
    pub entity_type: String,
    /// Each field of the copy with the path to the original's.
    pub fields: BTreeMap<String, String>,
}

/// A field that holds the id of another thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceField {
    /// The field.
    pub field: String,
    /// Whose thing it is.
    pub service: String,
    /// The type of the thing.
    #[serde(rename = "type")]
    pub entity_type: String,
}

/// A thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thing {
    /// Its id.
    pub id: String,
    /// Which version of it this is, as the service counts them. What is kept of a thing elsewhere has none.
    #[serde(default, skip_serializing)]
    pub version: Option<u64>,
    /// What the service knows of it.
    pub data: Value,
    /// The ids of other things within `data`.
    pub references: Vec<Reference>,
}

/// The id of another thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The field that holds it.
    pub field: String,
    /// Whose thing it is.
    pub service: String,
    /// The type of the thing.
    #[serde(rename = "type")]
    pub entity_type: String,
    /// Its id.
    pub id: String,
}

/// Things of a type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Page {
    /// The things, by id; of what has changed, by the order of changes.
    pub items: Vec<Thing>,
    /// Of what has changed: what is gone.
    pub deletions: Vec<Deletion>,
    /// Where the next page begins; none on the last page.
    pub next_cursor: Option<String>,
    /// What has changed after it is not on these pages.
    pub watermark: String,
}

/// A thing that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Deletion {
    /// Its id.
    pub id: String,
    /// When it went.
    pub deleted_at: Timestamp,
}

/// Which page.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageOf<'a> {
    /// Where it begins; none for the first.
    pub cursor: Option<&'a str>,
    /// Only what has changed since this watermark, deletions too.
    pub changed_since: Option<&'a str>,
    /// Only these things.
    pub within: Option<&'a Within>,
}

/// Some of the things of a type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Within {
    /// From this id on.
    pub from_id: Option<String>,
    /// Before this id.
    pub to_id: Option<String>,
    /// With these values, by field.
    pub filters: BTreeMap<String, String>,
}

/// Sorts behind an id and before any longer one that begins with it: ids have no such character.
const JUST_AFTER: char = '!';

/// What comes next after an id.
pub fn just_after(id: &str) -> String {
    format!("{id}{JUST_AFTER}")
}

impl Within {
    /// The thing with this id and no other.
    pub fn only(id: &str) -> Self {
        Self { from_id: Some(id.to_owned()), to_id: Some(just_after(id)), ..Self::default() }
    }

    fn parameters(&self) -> impl Iterator<Item = (String, &str)> {
        let bounds = [("from_id", &self.from_id), ("to_id", &self.to_id)];
        let bounds = bounds.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id.as_deref()?)));
        bounds.chain(self.filters.iter().map(|(field, value)| (format!("filter.{field}"), value.as_str())))
    }
}

/// How many of something there are, and the hash of all of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Digest {
    /// How many.
    pub count: u64,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// The id of the last thing in it; none without things, and from services that do not tell.
    #[serde(default)]
    pub last_id: Option<String>,
    /// What has changed after it is not in the digest.
    pub watermark: String,
}

/// Things on a page, and the most bytes of one.
const PAGE_ITEMS: u32 = 200;
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// What a service holds.
///
/// # Errors
/// It does not say.
pub async fn catalogue(downstream: &Downstream, service: Service, tenant_id: &str) -> Result<Catalogue, ActivityError> {
    downstream.call(Call::get(service, &["data"], tenant_id)).await
}

/// One page of the things of a type; fewer of them where they are large.
///
/// # Errors
/// The service does not answer with a page, a single thing is too large for one, or the next page would be this one again.
pub async fn page(
    downstream: &Downstream,
    service: Service,
    entity_type: &str,
    tenant_id: &str,
    of: PageOf<'_>,
) -> Result<Page, ActivityError> {
    let of_query = [("cursor", of.cursor), ("changed_since", of.changed_since)];
    let of_query = of_query.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let query = of_query.chain(of.within.into_iter().flat_map(Within::parameters)).collect();
    read_page(downstream, service, entity_type, tenant_id, query).await
}

/// A thing, if it is there.
///
/// # Errors
/// As [`page`].
pub async fn thing(
    downstream: &Downstream,
    service: Service,
    entity_type: &str,
    tenant_id: &str,
    id: &str,
) -> Result<Option<Thing>, ActivityError> {
    let within = Within::only(id);
    let found =
        page(downstream, service, entity_type, tenant_id, PageOf { within: Some(&within), ..PageOf::default() });
    Ok(found.await?.items.into_iter().find(|thing| thing.id == id))
}

/// What of a person is on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personal<'a> {
    /// The person's own things.
    Own,
    /// Things that have the person's id in this field.
    Mention(&'a str),
}

/// One page of what a service keeps of a person; with `is_export` the service writes into its logs that it leaves the house.
///
/// # Errors
/// As [`page`].
pub async fn personal_page(
    downstream: &Downstream,
    service: Service,
    entity_type: &str,
    tenant_id: &str,
    (person, what): (&str, Personal<'_>),
    (cursor, is_export): (Option<&str>, bool),
) -> Result<Page, ActivityError> {
    let selected = match what {
        Personal::Own => "subject".to_owned(),
        Personal::Mention(field) => format!("filter.{field}"),
    };
    let mut query = vec![(selected, person)];
    query.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
    query.extend(is_export.then(|| ("purpose".to_owned(), "export")));
    read_page(downstream, service, entity_type, tenant_id, query).await
}

async fn read_page(
    downstream: &Downstream,
    service: Service,
    entity_type: &str,
    tenant_id: &str,
    parameters: Vec<(String, &str)>,
) -> Result<Page, ActivityError> {
    let cursor = parameters.iter().find(|(name, _)| name == "cursor").map(|(_, cursor)| *cursor);
    let mut limit = PAGE_ITEMS;
    loop {
        let mut query = format!("limit={limit}");
        for (name, value) in &parameters {
            query.push_str(&format!("&{}={}", percent_encoded(name), percent_encoded(value)));
        }
        let call = Call::get(service, &["data", entity_type], tenant_id).with_query(&query);
        let answer = downstream.call_within::<Page>(call, MAX_PAGE_BYTES).await;
        match answer.map_err(|error| asked_for(error, entity_type, &parameters))? {
            // It would be read for ever.
            Some(Page { next_cursor: Some(next), .. }) if cursor == Some(&next) => {
                let message = format!("its pages of {entity_type} lead back to where they came from");
                return Err(failure(service, ErrorName::IntegrityViolation, message));
            }
            // So would pages that lead from one to the next and hold nothing.
            Some(Page { next_cursor: Some(_), items, deletions, .. }) if items.is_empty() && deletions.is_empty() => {
                let message = format!("a page of {entity_type} holds nothing, and is not the last one");
                return Err(failure(service, ErrorName::IntegrityViolation, message));
            }
            Some(page) => return Ok(page),
            None if limit > 1 => limit = (limit / 8).max(1),
            None => {
                let message = format!("a thing of the type {entity_type} has more than {MAX_PAGE_BYTES} bytes");
                return Err(failure(service, ErrorName::PayloadTooLarge, message));
            }
        }
    }
}

/// A refusal says what was asked for, if not all of a type was.
fn asked_for(mut error: ActivityError, entity_type: &str, parameters: &[(String, &str)]) -> ActivityError {
    let mut filters = parameters.iter().filter_map(|(name, _)| name.strip_prefix("filter.")).peekable();
    if filters.peek().is_some() && !error.is_retryable() {
        let fields = filters.collect::<Vec<_>>().join(", ");
        let hint = if error.cause.http_status == Some(400) { "; it may have no such field" } else { "" };
        error.cause.message = format!("{entity_type} by {fields}: {}{hint}", error.cause.message);
    }
    error
}

/// What a digest is about.
#[derive(Debug, Clone, Copy)]
pub struct DigestOf<'a> {
    /// Only these things.
    pub within: &'a Within,
    /// The names under which values are hashed, each with the path to the value.
    pub names: &'a BTreeMap<String, String>,
    /// At most so many things, the first ones.
    pub limit: Option<u32>,
}

/// How many things of a type there are, and the hash of what is at some paths of all of them.
///
/// # Errors
/// The service does not say.
pub async fn digest(
    downstream: &Downstream,
    service: Service,
    entity_type: &str,
    tenant_id: &str,
    of: DigestOf<'_>,
) -> Result<Digest, ActivityError> {
    let mut query = of.limit.map(|limit| format!("limit={limit}")).unwrap_or_default();
    let names = of.names.iter().map(|(name, path)| (format!("as.{name}"), path.as_str()));
    for (name, value) in of.within.parameters().chain(names) {
        let separator = if query.is_empty() { "" } else { "&" };
        query.push_str(&format!("{separator}{}={}", percent_encoded(&name), percent_encoded(value)));
    }
    downstream.call(Call::get(service, &["data", entity_type, "digest"], tenant_id).with_query(&query)).await
}

/// What becomes of a thing that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It is an error.
    Fail,
    /// It stays as it is.
    Skip,
    /// It becomes what is taken in.
    Overwrite,
}

/// A thing to be taken in.
#[derive(Debug, Clone, Serialize)]
pub struct ImportItem<'a> {
    /// Its id.
    pub id: &'a str,
    /// What makes this idempotent, and by which it is undone.
    pub key: String,
    /// What the service is to know of it.
    pub data: &'a Value,
    /// The version that it must have: it has not changed since it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
}

/// A thing to be deleted or masked.
#[derive(Debug, Clone, Serialize)]
pub struct DeleteItem<'a> {
    /// Its id.
    pub id: &'a str,
    /// What makes this idempotent, and by which it is undone.
    pub key: String,
    /// The version that it must have: it has not changed since it was read.
    pub if_version: Option<u64>,
}

/// What came of a thing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Imported {
    /// The item's.
    pub key: String,
    /// What was done.
    pub status: ImportStatus,
    /// Why it failed, in a word of the contract.
    #[serde(default)]
    pub code: Option<String>,
    /// The same in a sentence, which holds nothing personal.
    #[serde(default)]
    pub message: Option<String>,
}

/// What was done with a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportStatus {
    /// It was not there.
    Created,
    /// It was there, and something else.
    Updated,
    /// It stays as it is.
    Skipped,
    /// It was there, and is gone.
    Deleted,
    /// Nothing was done.
    Failed,
}

#[derive(Deserialize)]
struct ImportAnswer {
    results: Vec<Imported>,
}

/// Takes in things of a type, each under its own key; with `dry_run` it only tells what would come of them. The results are in
/// the order of the items.
///
/// # Errors
/// Nothing is known of any of them.
pub async fn import(
    downstream: &Downstream,
    service: Service,
    entity_type: &str,
    tenant_id: &str,
    items: &[ImportItem<'_>],
    on_conflict: OnConflict,
    dry_run: bool,
) -> Result<Vec<Imported>, ActivityError> {
    let call = Call::post_each(service, &["data", entity_type, "import"], tenant_id);
    let call = if dry_run { call.with_query("dry_run=true") } else { call };
    let call = call.with_body(json!({ "on_conflict": on_conflict, "items": items }));
    results(downstream, service, call, items.iter().map(|item| &*item.key)).await
}

/// Deletes things of a type and what belongs to them, each under its own key; with `dry_run` it only tells what would come of
/// them. The results are in the order of the items.
///
/// # Errors
/// Nothing is known of any of them.
pub async fn delete(
    downstream: &Downstream,
    service: Service,
    entity_type: &str,
    tenant_id: &str,
    items: &[DeleteItem<'_>],
    dry_run: bool,
) -> Result<Vec<Imported>, ActivityError> {
    let call = Call::post_each(service, &["data", entity_type, "delete"], tenant_id);
    let call = if dry_run { call.with_query("dry_run=true") } else { call };
    let call = call.with_body(json!({ "items": items }));
    results(downstream, service, call, items.iter().map(|item| &*item.key)).await
}

/// Masks fields of things of a type, each thing under its own key. `fields` has the paths with the services' strategies. The
/// results are in the order of the items.
///
/// # Errors
/// Nothing is known of any of them.
pub async fn mask(
    downstream: &Downstream,
    service: Service,
    entity_type: &str,
    tenant_id: &str,
    items: &[DeleteItem<'_>],
    fields: &BTreeMap<String, String>,
) -> Result<Vec<Imported>, ActivityError> {
    let call = Call::post_each(service, &["data", entity_type, "mask"], tenant_id);
    let call = call.with_body(json!({ "fields": fields, "items": items }));
    results(downstream, service, call, items.iter().map(|item| &*item.key)).await
}

/// What a service has forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Forgotten {
    /// What an undo would have brought back, and first answers.
    pub forgotten: u64,
    /// Entries of the logs that name the pseudonym now.
    pub renamed: u64,
}

/// Lets a service forget what it keeps of a person besides their things. In its logs the pseudonym stands from then on.
///
/// # Errors
/// It has not; `NotFound` if it has no such call.
pub async fn forget(
    downstream: &Downstream,
    service: Service,
    tenant_id: &str,
    (person, pseudonym): (&str, &str),
    idempotency_key: String,
) -> Result<Forgotten, ActivityError> {
    let call = Call::post(service, &["data", "forget"], tenant_id, idempotency_key);
    downstream.call(call.with_body(json!({ "subject": person, "pseudonym": pseudonym }))).await
}

/// What a service answers about items with these keys.
async fn results(
    downstream: &Downstream,
    service: Service,
    call: Call<'_>,
    keys: impl ExactSizeIterator<Item = &str>,
) -> Result<Vec<Imported>, ActivityError> {
    let answer: ImportAnswer = downstream.call(call).await?;
    if answer.results.len() == keys.len() && keys.zip(&answer.results).all(|(key, result)| key == result.key) {
        return Ok(answer.results);
    }
    Err(failure(service, ErrorName::IntegrityViolation, "answered for other things than it was asked about"))
}

/// The bytes of a file, as they come.
pub struct Content<'a> {
    downstream: &'a Downstream,
    body: Body,
    /// Their SHA-256, as the service says.
    pub sha256: Option<String>,
}

/// The bytes of a file; none if it has no bytes, or is not there.
///
/// # Errors
/// The service does not answer with them.
pub async fn content<'a>(
    downstream: &'a Downstream,
    tenant_id: &str,
    file_id: &str,
) -> Result<Option<Content<'a>>, ActivityError> {
    let call = Call::get(Service::File, &["data", "file", file_id, "content"], tenant_id);
    let (head, body) = match downstream.exchange(call, None).await {
        Err(error) if error.error == ErrorName::NotFound.as_str() => return Ok(None),
        answer => answer?.into_parts(),
    };
    let tag = head.headers.get("etag").and_then(|tag| tag.to_str().ok());
    Ok(Some(Content { downstream, body, sha256: tag.map(|tag| tag.trim_matches('"').to_owned()) }))
}

impl Content<'_> {
    /// The next bytes; none after the end.
    ///
    /// # Errors
    /// The service stops in the middle.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ActivityError> {
        self.downstream.next_part(Service::File, &mut self.body).await
    }
}

/// Gives a file these bytes; it may be repeated with the same key.
///
/// # Errors
/// The service does not take them.
pub async fn put_content(
    downstream: &Downstream,
    tenant_id: &str,
    file_id: &str,
    idempotency_key: String,
    bytes: Body,
) -> Result<(), ActivityError> {
    let call = Call::put(Service::File, &["data", "file", file_id, "content"], tenant_id, idempotency_key);
    downstream.exchange(call, Some(bytes)).await.map(drop)
}

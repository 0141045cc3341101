//! A file service whose tenants hold as much as their names say, made when it is asked for: what is measured is then all ours.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{FromRef, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Bytes of a record's text; with its other fields it has about 1 KiB.
const TEXT_BYTES: usize = 800;
/// Whose everything is.
pub(crate) const PERSON: &str = "person-1";
const MIB: usize = 1024 * 1024;

/// The name of a tenant that holds so much.
pub(crate) fn tenant(name: &str, mib: usize) -> String {
    format!("{name}-{mib}")
}

fn mib_of(tenant: &str) -> usize {
    tenant.rsplit('-').next().and_then(|mib| mib.parse().ok()).unwrap_or_default()
}

/// How many files, each with 1 MiB: half of what there is.
pub(crate) fn files(mib: usize) -> usize {
    mib / 2
}

/// How many records, each of 1 KiB: the other half.
pub(crate) fn records(mib: usize) -> usize {
    (mib - files(mib)) * 1024
}

/// A thing as pages show it.
pub(crate) fn thing(entity_type: &str, number: usize) -> Value {
    let id = id_of(entity_type, number);
    let data = match entity_type {
        "file" => json!({ "file_id": id, "user_id": PERSON, "name": format!("{id}.bin"), "size_bytes": MIB }),
        _ => json!({
            "record_id": id, "user_id": PERSON, "email": format!("{id}@example.com"), "name": "Nadja Example", "active": true,
            "text": String::from_utf8_lossy(&text(number as u64, TEXT_BYTES)),
        }),
    };
    json!({ "id": id, "data": data, "references": [] })
}

pub(crate) fn id_of(entity_type: &str, number: usize) -> String {
    format!("{entity_type}-{number:08}")
}

/// The bytes of a file.
pub(crate) fn content(number: usize) -> Vec<u8> {
    text(!(number as u64), MIB)
}

/// So many letters of 64, in an order that no compression finds a rule in.
fn text(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state & 0x1f1f_1f1f_1f1f_1f1f) + 0x4040_4040_4040_4040).to_le_bytes()
    };
    let mut text: Vec<u8> = std::iter::repeat_with(&mut next).take(bytes / 8).flatten().collect();
    // What JSON would escape.
    text.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'z');
    text
}

/// Files that have got bytes since they lost theirs, by tenant; those of tenants without an entry have lost none.
type Lost = Arc<Mutex<HashMap<String, HashSet<String>>>>;

/// What was imported, by tenant and id.
type Imported = Arc<Mutex<HashSet<(String, String)>>>;

/// What the service knows.
#[derive(Clone, Default)]
struct Known {
    lost: Lost,
    imported: Imported,
}

impl FromRef<Known> for Lost {
    fn from_ref(known: &Known) -> Self {
        Arc::clone(&known.lost)
    }
}

impl FromRef<Known> for Imported {
    fn from_ref(known: &Known) -> Self {
        Arc::clone(&known.imported)
    }
}

/// The service, for as long as the process lives.
pub(crate) struct Services {
    pub(crate) port: u16,
    lost: Lost,
}

impl Services {
    /// Serves all services on one port: only one of them is asked for everything that it has.
    ///
    /// # Errors
    /// There is no port.
    pub(crate) async fn serve() -> anyhow::Result<Self> {
        let known = Known::default();
        let lost = Arc::clone(&known.lost);
        let router = Router::new()
            .route("/health", get(|| async { Json(json!({ "status": "healthy" })) }))
            .route(
                "/api/v1/data",
                get(|| async { Json(json!({ "entity_types": [entity_type("record"), entity_type("file")] })) }),
            )
            .route("/api/v1/data/{type}", get(page))
            .route("/api/v1/data/{type}/import", post(import))
            .route("/api/v1/data/file/{id}/content", get(get_content).put(put_content))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(known);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { port, lost })
    }

    /// The files of a tenant lose their bytes.
    pub(crate) fn lose(&self, tenant: &str) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.to_owned(), HashSet::new());
    }
}

fn entity_type(name: &str) -> Value {
    json!({ "type": name, "schema_version": 1, "id_field": format!("{name}_id"), "references": [] })
}

fn tenant_of(headers: &HeaderMap) -> &str {
    headers.get("x-tenant-id").and_then(|tenant| tenant.to_str().ok()).unwrap_or_default()
}

#[derive(Deserialize)]
struct PageOf {
    limit: usize,
    cursor: Option<usize>,
    changed_since: Option<String>,
    from_id: Option<String>,
    /// This one is not meant; one just after a thing ends with `!`.
    to_id: Option<String>,
}

fn number_of(id: &str) -> Option<usize> {
    id.trim_end_matches('!').rsplit('-').next()?.parse().ok()
}

async fn page(Path(entity_type): Path<String>, Query(of): Query<PageOf>, headers: HeaderMap) -> Json<Value> {
    let mib = mib_of(tenant_of(&headers));
    let count = match (of.changed_since, entity_type.as_str()) {
        (Some(_), _) => 0,
        (None, "file") => files(mib),
        (None, _) => records(mib),
    };
    let after = |id: &str| Some(number_of(id)? + usize::from(id.ends_with('!')));
    let count = of.to_id.as_deref().and_then(after).map_or(count, |to| count.min(to));
    let begin = of.cursor.or(of.from_id.as_deref().and_then(after)).unwrap_or_default();
    let end = count.min(begin + of.limit);
    let items: Vec<Value> = (begin..end).map(|number| thing(&entity_type, number)).collect();
    let next = (end < count).then(|| end.to_string());
    Json(json!({ "items": items, "deletions": [], "next_cursor": next, "watermark": "1" }))
}

#[derive(Deserialize)]
struct Import {
    items: Vec<ImportItem>,
}

#[derive(Deserialize)]
struct ImportItem {
    id: String,
    key: String,
    #[serde(rename = "data")]
    _data: IgnoredAny,
}

#[derive(Deserialize)]
struct How {
    #[serde(default)]
    dry_run: bool,
}

/// What is imported once more is as it should be.
async fn import(
    State(imported): State<Imported>,
    Query(how): Query<How>,
    headers: HeaderMap,
    Json(import): Json<Import>,
) -> Json<Value> {
    let mut imported = imported.lock().unwrap_or_else(PoisonError::into_inner);
    let mut result = |item: ImportItem| {
        let named = (tenant_of(&headers).to_owned(), item.id.clone());
        let is_new = if how.dry_run { !imported.contains(&named) } else { imported.insert(named) };
        json!({ "id": item.id, "key": item.key, "status": if is_new { "created" } else { "skipped" } })
    };
    let results: Vec<Value> = import.items.into_iter().map(&mut result).collect();
    Json(json!({ "results": results }))
}

async fn get_content(
    State(lost): State<Lost>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Bytes, StatusCode> {
    let lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
    if lost.get(tenant_of(&headers)).is_some_and(|got| !got.contains(&id)) {
        return Err(StatusCode::NOT_FOUND);
    }
    let number = number_of(&id).ok_or(StatusCode::NOT_FOUND)?;
    Ok(content(number).into())
}

async fn put_content(
    State(lost): State<Lost>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, StatusCode> {
    let (mut bytes, mut parts) = (0, body.into_data_stream());
    while let Some(part) = parts.next().await {
        bytes += part.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    if bytes != MIB {
        return Err(StatusCode::BAD_REQUEST);
    }
    let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
    lost.entry(tenant_of(&headers).to_owned()).or_default().insert(id);
    Ok(Json(json!({})))
}

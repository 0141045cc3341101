//! Links to the blobs of this machine: `/api/v1/files/{token}`, for a server. The token says what may be done with which
//! blob until when, and carries a signature, so that whoever has the link needs nothing else.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::SharedClock;
use contracts::Timestamp;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use store::{Audit, BlobBody, BlobKey, BlobLinks, Blobs, Link, StoreError};

use crate::Problem;
use crate::audit::{KnownCaller, RequestFacts};
use crate::serve::complete_streams;

/// The path of every link, before its token.
const PATH: &str = "/api/v1/files/";

/// Expired links that are remembered.
const MAX_TOLD: usize = 10_000;

/// How long an upload may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Links that this process signs, and serves itself.
#[derive(Clone)]
pub struct SignedLinks {
    key: Arc<[u8]>,
    blobs: Arc<dyn Blobs>,
    clock: SharedClock,
    arriving: Arc<Mutex<HashSet<String>>>,
    audit: Arc<dyn Audit>,
    /// Expired links whose use is in the log, by their signatures.
    told: Arc<Mutex<HashSet<Vec<u8>>>>,
}

/// An upload that is under way: of several by one link the first is taken. Nobody else writes these blobs.
struct Arriving {
    key: String,
    all: Arc<Mutex<HashSet<String>>>,
}

impl Arriving {
    fn begin(links: &SignedLinks, key: &BlobKey) -> Option<Self> {
        let (key, all) = (key.to_string(), Arc::clone(&links.arriving));
        let is_first = all.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_first.then_some(Self { key, all })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Grant {
    /// The blob: its tenant and the names of its parts.
    tenant: String,
    names: Vec<String>,
    /// In seconds since 1970.
    until: i64,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Download { file_name: String },
    Upload { bytes: u64 },
}

impl SignedLinks {
    /// Links to these blobs, signed with this key, which is secret. The log tells of links that were used too late.
    pub fn new(key: impl Into<Arc<[u8]>>, blobs: Arc<dyn Blobs>, clock: SharedClock, audit: Arc<dyn Audit>) -> Self {
        Self { key: key.into(), blobs, clock, arriving: Arc::default(), audit, told: Arc::default() }
    }

    /// The route of all links. It stands beside the API: nobody says who calls, and bodies are larger.
    pub fn routes(self) -> Router {
        let (clock, audit) = (Arc::clone(&self.clock), Arc::clone(&self.audit));
        let path = format!("{PATH}{{token}}");
        complete_streams(Router::new().route(&path, get(download).put(upload)).with_state(self), clock, audit)
    }

    fn link(&self, key: &BlobKey, what: What, valid_for: Duration) -> Result<Link, StoreError> {
        let expires_at = clock::after(&*self.clock, valid_for);
        let key = key.to_string();
        let mut names = key.split('/').map(str::to_owned);
        let tenant = names.next().unwrap_or_default();
        let grant = Grant { tenant, names: names.collect(), until: expires_at.as_second(), what };
        let grant = serde_json::to_vec(&grant).map_err(|error| StoreError::Inconsistent(error.to_string()))?;
        let signature = self.mac(&grant)?.finalize().into_bytes();
        let url = format!("{PATH}{}.{}", URL_SAFE_NO_PAD.encode(&grant), URL_SAFE_NO_PAD.encode(signature));
        Ok(Link { url, headers: Vec::new(), expires_at })
    }

    fn mac(&self, grant: &[u8]) -> Result<Hmac<Sha256>, StoreError> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.key);
        Ok(mac.map_err(|error| StoreError::Inconsistent(error.to_string()))?.chain_update(grant))
    }

    /// What a token grants now. The log tells of an expired one; of one that somebody made up it is not known whose log that is.
    fn granted(&self, token: &str, facts: &RequestFacts) -> Result<(BlobKey, What), Problem> {
        let unusable = || Problem::forbidden("The link is not one of this service's: it was changed or cut off.");
        let (grant, signature) = token.split_once('.').ok_or_else(unusable)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| unusable());
        let (grant, signature) = (decode(grant)?, decode(signature)?);
        self.mac(&grant)?.verify_slice(&signature).map_err(|_| unusable())?;
        let Grant { tenant, names, until, what } = serde_json::from_slice(&grant).map_err(|_| unusable())?;
        if self.clock.now() >= Timestamp::from_second(until).unwrap_or_default() {
            if self.is_first_use(signature) {
                facts.know(KnownCaller { tenant_id: tenant, actor: None, is_admin: false });
            }
            return Err(Problem::forbidden("The link has expired: ask for another one."));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Ok((BlobKey::new(&tenant, &names).ok_or_else(unusable)?, what))
    }
}

impl SignedLinks {
    /// Whether an expired link was not used before, as far as is remembered: whoever has one must not fill the log.
    fn is_first_use(&self, signature: Vec<u8>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert(signature)
    }
}

#[async_trait]
impl BlobLinks for SignedLinks {
    async fn download(&self, key: &BlobKey, file_name: &str, valid_for: Duration) -> Result<Link, StoreError> {
        self.link(key, What::Download { file_name: file_name.to_owned() }, valid_for)
    }

    async fn upload(&self, key: &BlobKey, bytes: u64, valid_for: Duration) -> Result<Link, StoreError> {
        self.link(key, What::Upload { bytes }, valid_for)
    }
}

async fn download(
    State(links): State<SignedLinks>,
    Path(token): Path<String>,
    Extension(facts): Extension<RequestFacts>,
) -> Result<Response, Problem> {
    let (key, What::Download { file_name }) = links.granted(&token, &facts)? else {
        return Err(Problem::forbidden("The link is for an upload."));
    };
    let gone = || Problem::not_found("The file is not there any more.");
    let unreadable = |error: StoreError| match error {
        StoreError::Inconsistent(_) => {
            tracing::error!(%key, %error, "a file cannot be handed out");
            Problem::damaged_file()
        }
        error => error.into(),
    };
    let size = links.blobs.size(&key).await.map_err(unreadable)?.ok_or_else(gone)?;
    let mut body = links.blobs.get(&key).await.map_err(unreadable)?.ok_or_else(gone)?;
    // A damaged file is told as such if its first bytes show it; later nothing is left but to break off.
    let first = body.next().await.transpose().map_err(unreadable)?;
    let body = stream::iter(first.map(Ok)).chain(body);
    let body = body.inspect_err(move |error| tracing::error!(%key, %error, "a download broke off"));
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(&file_name)));
    headers.insert(header::CONTENT_LENGTH, size.into());
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{file_name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

fn content_type(file_name: &str) -> &'static str {
    match file_name.rsplit_once('.') {
        Some((_, "csv")) => "text/csv; charset=utf-8",
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "json")) => "application/json",
        Some((_, "zip")) => "application/zip",
        Some((_, "jsonl")) => "application/x-ndjson",
        _ => "application/octet-stream",
    }
}

async fn upload(
    State(links): State<SignedLinks>,
    Path(token): Path<String>,
    Extension(facts): Extension<RequestFacts>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let (key, What::Upload { bytes }) = links.granted(&token, &facts)? else {
        return Err(Problem::forbidden("The link is for a download."));
    };
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|declared| declared != bytes) {
        return Err(Problem::malformed(format!(
            "The upload was announced with {bytes} bytes, and has another length."
        )));
    }
    let Some(_arriving) = Arriving::begin(&links, &key) else {
        return Err(Problem::taken("The link is being used: another upload by it is under way."));
    };
    if links.blobs.size(&key).await?.is_some() {
        return Err(Problem::taken("The link has been used: ask for another one."));
    }
    match links.blobs.put(&key, limited(body, bytes, Arc::clone(&links.clock))).await {
        Ok(()) => Ok(StatusCode::OK),
        Err(StoreError::Unavailable(problem)) if problem == CUT_OFF => Err(Problem::malformed(format!(
            "The upload did not have the {bytes} bytes that were announced; nothing is stored."
        ))),
        Err(error) => Err(error.into()),
    }
}

/// What is said of a body that does not have the bytes it should have.
const CUT_OFF: &str = "the body is not as long as announced";

/// A body of exactly so many bytes, or an error.
fn limited(body: Body, bytes: u64, clock: SharedClock) -> BlobBody {
    let state = (body.into_data_stream(), bytes, clock);
    let next = async |(mut body, left, clock): (axum::body::BodyDataStream, u64, SharedClock)| match clock::timeout(
        &*clock,
        SILENCE,
        body.next(),
    )
    .await
    {
        Some(Some(Ok(part))) if part.len() as u64 <= left => {
            let left = left - part.len() as u64;
            Ok::<Option<(Bytes, _)>, StoreError>(Some((part, (body, left, clock))))
        }
        Some(None) if left == 0 => Ok(None),
        Some(Some(_) | None) | None => Err(StoreError::Unavailable(CUT_OFF.to_owned())),
    };
    stream::try_unfold(state, next).boxed()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use clock::VirtualClock;
    use contracts::audit::AuditOutcome;
    use http_body_util::BodyExt as _;
    use store::conformance::MemoryBlobs;
    use store::{AuditFilter, AuditPage, NewAuditRow};
    use tower::ServiceExt as _;

    use super::*;

    struct World {
        clock: VirtualClock,
        blobs: Arc<MemoryBlobs>,
        links: SignedLinks,
        log: Arc<Log>,
    }

    /// The rows of an audit log.
    #[derive(Default)]
    struct Log(Mutex<Vec<NewAuditRow>>);

    #[async_trait]
    impl Audit for Log {
        async fn record(&self, row: NewAuditRow) -> Result<(), StoreError> {
            self.0.lock().expect("nobody panics").push(row);
            Ok(())
        }

        async fn rows(&self, _: &str, _: &AuditFilter, _: Option<&str>, _: u32) -> Result<AuditPage, StoreError> {
            Err(StoreError::Inconsistent("nobody reads it".to_owned()))
        }
    }

    fn world() -> World {
        let clock = VirtualClock::new("2026-01-01T00:00:00Z".parse().expect("a time"));
        let blobs = Arc::<MemoryBlobs>::default();
        let log = Arc::<Log>::default();
        let links = SignedLinks::new(*b"a secret", blobs.clone(), Arc::new(clock.clone()), log.clone());
        World { clock, blobs, links, log }
    }

    impl World {
        async fn call(&self, method: &str, url: &str, body: &str) -> (u16, String) {
            let request = Request::builder().method(method).uri(url).body(Body::from(body.to_owned())).expect("good");
            let answer = self.links.clone().routes().oneshot(request).await.expect("it answers");
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.expect("a body").to_bytes();
            (status, String::from_utf8(body.into()).expect("text"))
        }
    }

    fn key() -> BlobKey {
        BlobKey::new("tenant-a", &["uploads", "u-1"]).expect("a key")
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn an_upload_is_stored_once_and_whole_and_can_be_read() {
        let world = world();
        let up = world.links.upload(&key(), 5, HOUR).await.expect("a link").url;
        for wrong in ["1234", "123456", ""] {
            assert_eq!(world.call("PUT", &up, wrong).await.0, 400, "{wrong}");
            assert!(world.blobs.all().is_empty(), "nothing is stored");
        }
        assert_eq!(world.call("PUT", &up, "12345").await.0, 200);
        assert_eq!(world.call("PUT", &up, "54321").await.0, 409, "it has been used");
        assert_eq!(world.call("GET", &up, "").await.0, 403, "it is for an upload");
        let down = world.links.download(&key(), "u.csv", HOUR).await.expect("a link").url;
        assert_eq!(world.call("GET", &down, "").await, (200, "12345".to_owned()));
        assert_eq!(world.call("PUT", &down, "12345").await.0, 403, "it is for a download");
    }

    #[tokio::test]
    async fn of_uploads_by_one_link_at_the_same_time_one_is_taken() {
        let world = world();
        let up = world.links.upload(&key(), 5, HOUR).await.expect("a link").url;
        let (begin, parts) = futures::channel::mpsc::unbounded::<Result<Bytes, std::convert::Infallible>>();
        let slow = Request::builder().method("PUT").uri(&up).body(Body::from_stream(parts)).expect("good");
        let slow = tokio::spawn(world.links.clone().routes().oneshot(slow));
        begin.unbounded_send(Ok("12".into())).expect("it is read");
        while world.links.arriving.lock().expect("nobody panics").is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.call("PUT", &up, "54321").await.0, 409, "another one is under way");
        begin.unbounded_send(Ok("345".into())).expect("it is read");
        drop(begin);
        assert_eq!(slow.await.expect("no panic").expect("it answers").status(), StatusCode::OK);
        assert_eq!(world.call("PUT", &up, "54321").await.0, 409, "it has been used");
        assert_eq!(world.blobs.all().get(&key().to_string()).map(|bytes| bytes.to_vec()), Some(b"12345".to_vec()));
    }

    #[tokio::test]
    async fn a_changed_or_expired_link_is_refused() {
        let world = world();
        world.blobs.all().insert(key().to_string(), "secret".into());
        let link = world.links.download(&key(), "u.csv", HOUR).await.expect("a link");
        let other =
            SignedLinks::new(*b"another secret", world.blobs.clone(), Arc::new(world.clock.clone()), world.log.clone());
        let foreign = other.download(&key(), "u.csv", HOUR).await.expect("a link").url;
        assert_eq!(world.call("GET", &foreign, "").await.0, 403);
        for place in PATH.len()..link.url.len() {
            let mut changed = link.url.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            // The last characters may have bits that mean nothing.
            if URL_SAFE_NO_PAD.decode(changed.rsplit('.').next().unwrap_or_default())
                == URL_SAFE_NO_PAD.decode(link.url.rsplit('.').next().unwrap_or_default())
                && place > link.url.rfind('.').unwrap_or_default()
            {
                continue;
            }
            let (status, answer) = world.call("GET", &changed, "").await;
            assert_eq!(status, 403, "{changed}: {answer}");
        }
        let (status, _) = world.call("GET", &link.url[..link.url.len() - 5], "").await;
        assert_eq!(status, 403, "it is cut off");
        assert!(world.log.0.lock().expect("nobody panics").is_empty(), "anybody can make up a link of any tenant");
        world.clock.jump_to(link.expires_at);
        let (status, answer) = world.call("GET", &link.url, "").await;
        assert!(status == 403 && answer.contains("expired"), "{answer}");
        assert_eq!(world.call("GET", &link.url, "").await.0, 403);
        let rows = world.log.0.lock().expect("nobody panics").clone();
        let [row] = rows.as_slice() else { panic!("one row tells of it, however often it is used: {rows:?}") };
        assert_eq!((row.tenant_id.as_str(), row.outcome), ("tenant-a", AuditOutcome::Denied));
        assert_eq!(row.details["route"], "/api/v1/files/{token}");
        assert!(!row.details.to_string().contains(&link.url[PATH.len()..]), "the token is nobody's business");
    }
}

//! What has ended leaves the database little by little, and reads as before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clock::{SharedClock, VirtualClock};
use contracts::limits::MAX_INLINE_REQUEST_BYTES;
use contracts::{EngineKind, EventType, Status, Timestamp, WorkflowKind};
use futures::StreamExt as _;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};
use store::{
    BlobKey, BlobReader as _, Commit, Control, Controlled, Created, End, Estimated, Executions as _, Gate,
    History as _, HistoryPage, IdempotencyKey, Inherited, Journal as _, JournalRecord, JournalStart, ListFilter,
    NewEvent, NewExecution, Progress, RecordSelection, RetryOf, StoredRequest,
};
use store_sql::{Archived, Durability, FileBlobs, SqlStore};

const TENANT: &str = "tenant-1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a moment")
}

fn progress() -> Progress {
    Progress { current_step: "One".to_owned(), total_steps: 2, completed_steps: 1, status_message: None }
}

fn event(event_type: EventType, second: i64) -> NewEvent {
    NewEvent { event_type, at: at(second), details: json!({ "input": null }) }
}

struct Place {
    directory: tempfile::TempDir,
    blobs: Arc<FileBlobs>,
}

impl Place {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let blobs = Arc::new(FileBlobs::open(&directory.path().join("blobs")).await.expect("it opens"));
        Self { directory, blobs }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("x.db")
    }

    async fn open(&self) -> SqlStore {
        let clock: SharedClock = Arc::new(VirtualClock::new(at(1_000)));
        let store = SqlStore::open(&self.file(), Durability::Process, clock).await.expect("it opens");
        store.with_blobs(self.blobs.clone())
    }
}

async fn connect(file: &Path) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(&format!("sqlite://{}?mode=rwc", file.display())).await.expect("it is a database")
}

async fn run(file: &Path, statement: &str) {
    let mut connection = connect(file).await;
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect("it runs");
    connection.close().await.expect("it closes");
}

async fn number(file: &Path, query: &str) -> i64 {
    let mut connection = connect(file).await;
    let row = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.expect("it answers");
    row.try_get(0).expect("a number")
}

fn new(id: &str, request: StoredRequest) -> NewExecution {
    NewExecution {
        tenant_id: TENANT.to_owned(),
        id: id.to_owned(),
        kind: WorkflowKind::UserOnboarding,
        engine: EngineKind::Embedded,
        user_id: Some("user-1".to_owned()),
        started_at: at(0),
        deadline_at: None,
        effect_scope: id.to_owned(),
        retry_of: None,
        inherited: Inherited::default(),
        status: Status::Running,
        input: json!({ "options": {} }),
        request,
        idempotency: Some(IdempotencyKey {
            route: "POST /".to_owned(),
            key: id.to_owned(),
            body_hash: "hash".to_owned(),
        }),
        progress: progress(),
        history: vec![event(EventType::WorkflowExecutionStarted, 0)],
        journal: Some(JournalStart { definition: "{}".to_owned(), records: vec![JournalRecord(json!({ "a": 1 }))] }),
        cancel_requested_at: None,
        begins_pivot: false,
        upload_id: None,
        audit: None,
    }
}

/// One more turn, which ends the execution if `end` says how.
fn turn(id: &str, expected_records: u64, records: Vec<JournalRecord>, second: i64, end: Option<Status>) -> Commit {
    Commit {
        tenant_id: TENANT.to_owned(),
        execution_id: id.to_owned(),
        at: at(second),
        now: at(second),
        expected_records,
        records,
        forgotten: Vec::new(),
        history: (0..4).map(|_| event(EventType::ActivityTaskScheduled, second)).collect(),
        progress: progress(),
        reported: None,
        items: None,
        gate: Gate::Open,
        end: end.map(|status| End { status, result: Some(json!({ "x": 1 })), failure: None }),
        audit: None,
    }
}

/// An execution that ends ten seconds after its start.
async fn ended(store: &SqlStore, id: &str, request: StoredRequest, status: Status) {
    store.create(new(id, request)).await.expect("it is stored");
    let records = (0..3).map(|_| JournalRecord(json!("x".repeat(2_000)))).collect();
    store.commit(turn(id, 1, records, 10, Some(status))).await.expect("it is stored");
}

/// All that is read of an execution, without its request.
async fn told(store: &SqlStore, id: &str) -> (Estimated, HistoryPage, Vec<HistoryPage>, HistoryPage) {
    let estimated = store.get_estimated(TENANT, id).await.expect("it is read").expect("it is there");
    assert_eq!(store.get(TENANT, id).await.expect("it is read").as_ref(), Some(&estimated.record));
    let events = async |types: &[EventType], after: Option<&str>, limit| {
        let page = store.events(TENANT, id, types, after, limit).await.expect("it is read");
        let mut page = page.expect("it is there");
        for row in page.rows.iter_mut().filter(|row| row.event.event_id == 1) {
            row.event.details["input"] = Value::Null;
        }
        page
    };
    let (mut pages, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = events(&[], after.as_deref(), 2).await;
        after = page.next.clone();
        pages.push(page);
        if after.is_none() {
            break;
        }
    }
    let of_type = events(&[EventType::ActivityTaskScheduled], None, 3).await;
    (estimated, events(&[], None, 200).await, pages, of_type)
}

#[tokio::test]
async fn what_is_archived_reads_as_before() {
    let place = Place::new().await;
    let store = place.open().await;
    let request = json!("x".repeat(MAX_INLINE_REQUEST_BYTES));
    let large = StoredRequest::keep(TENANT, request, &*place.blobs).await.expect("it is kept");
    let file = large.key(TENANT).expect("a name").expect("a file");
    let path = place.directory.path().join("blobs").join(file.to_string());
    ended(&store, "e-1", StoredRequest::Inline(json!({ "mail": "nina@example.com" })), Status::Completed).await;
    ended(&store, "e-2", large.clone(), Status::Failed).await;
    ended(&store, "e-3", large.clone(), Status::Failed).await;
    let mut retry = new("e-4", large.clone());
    retry.retry_of = Some(RetryOf { id: "e-3".to_owned(), undoes: false });
    retry.started_at = at(500);
    store.create(retry).await.expect("it is stored");
    let mut before = Vec::new();
    for id in ["e-1", "e-2", "e-3"] {
        before.push(told(&store, id).await);
    }
    assert_eq!(before[2].0.record.retried_as.as_deref(), Some("e-4"));

    let none = store.archive(&place.blobs, at(10)).await.expect("it works");
    assert_eq!(none, Archived::default(), "what ended at this very moment is not due");
    let three = Archived { executions: 3, failed: 0 };
    assert_eq!(store.archive(&place.blobs, at(11)).await.expect("it works"), three);
    assert_eq!(store.archive(&place.blobs, at(11)).await.expect("it works"), Archived::default());
    for (id, before) in ["e-1", "e-2", "e-3"].into_iter().zip(&before) {
        assert_eq!(&told(&store, id).await, before, "{id}");
        let refused = store.control(TENANT, id, Control::Cancel, at(20), None).await.expect("it works");
        assert_eq!(refused, Controlled::Refused(before.0.record.clone()));
        assert_eq!(store.get("tenant-2", id).await.expect("it is read"), None);
        assert_eq!(store.retried(TENANT, id).await.expect("it is read"), None, "its request is kept no more");
    }
    let page = store.list(TENANT, &ListFilter::default(), None, 0, 9).await.expect("it is read");
    assert_eq!((page.total, page.executions.len(), page.executions[0].id.as_str()), (1, 1, "e-4"));
    assert_eq!(page.executions[0].retry_of.as_ref().map(|of| of.id.as_str()), Some("e-3"));
    let feed = store.tenant_events(TENANT, &[], None, 99).await.expect("it is read");
    assert_eq!((feed.total, feed.rows.len()), (1, 1), "e-4's");
    for table in ["journal", "idempotency_keys"] {
        assert_eq!(number(&place.file(), &format!("SELECT COUNT(*) FROM {table}")).await, 1, "e-4's {table}");
    }
    let key = BlobKey::new(TENANT, &["executions", "e-1.jsonl"]).expect("a name");
    let archived: Vec<_> = place.blobs.get(&key).await.expect("it is read").expect("it is there").collect().await;
    let archived: Vec<u8> = archived.into_iter().flat_map(|part| part.expect("it is read").to_vec()).collect();
    assert!(!String::from_utf8_lossy(&archived).contains("nina@example.com"), "requests are not archived");
    let again = store.create(new("e-5", StoredRequest::Inline(json!({})))).await.expect("it is stored");
    assert!(matches!(again, Created::New(_)));

    // The request is another execution's as well; then it is nobody's, but young; then it goes.
    assert!(path.exists());
    store.commit(turn("e-4", 1, Vec::new(), 600, Some(Status::Failed))).await.expect("it is stored");
    let archive = async || store.archive(&place.blobs, at(601)).await.expect("it works");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    std::fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(long_ago)).expect("it is set");
    assert_eq!(archive().await.executions, 1);
    assert!(!path.exists(), "the request, which holds personal data, is gone");
}

/// Whatever fails, everything is read as before, and the next time goes to the end.
#[tokio::test]
async fn archiving_is_interrupted() {
    for table in ["journal", "idempotency_keys", "history", "batches", "executions"] {
        let place = Place::new().await;
        let store = place.open().await;
        ended(&store, "e-1", StoredRequest::Inline(json!({})), Status::Completed).await;
        run(&place.file(), "INSERT INTO batches (execution_id, total, completed, failed) VALUES ('e-1', 9, 8, 1)")
            .await;
        let before = told(&store, "e-1").await;
        let trigger = format!("CREATE TRIGGER fails BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'x'); END");
        run(&place.file(), &trigger).await;
        let failed = store.archive(&place.blobs, at(11)).await.expect("it is told");
        assert_eq!(failed, Archived { executions: 0, failed: 1 }, "{table}");
        drop(store);
        let store = place.open().await;
        assert_eq!(told(&store, "e-1").await, before, "interrupted at {table}");
        let page = store.list(TENANT, &ListFilter::default(), None, 0, 9).await.expect("it is read");
        assert_eq!((page.total, page.executions.len()), (1, 1), "{table}");
        run(&place.file(), "DROP TRIGGER fails").await;
        assert_eq!(store.archive(&place.blobs, at(11)).await.expect("it works").executions, 1, "{table}");
        assert_eq!(told(&store, "e-1").await, before, "archived after {table}");
        let page = store.list(TENANT, &ListFilter::default(), None, 0, 9).await.expect("it is read");
        assert_eq!((page.total, page.executions.len()), (0, 0), "{table}");
    }
}

/// What cannot be archived stays, and holds nothing up that is due after it.
#[tokio::test]
async fn archiving_goes_on_past_what_is_damaged() {
    let place = Place::new().await;
    let store = place.open().await;
    for id in ["e-1", "e-2", "e-3"] {
        ended(&store, id, StoredRequest::Inline(json!({})), Status::Completed).await;
    }
    run(&place.file(), "UPDATE executions SET progress = '{' WHERE id = 'e-1'").await;
    run(&place.file(), "DELETE FROM history WHERE execution_id = 'e-2' AND event_id = 2").await;
    let archived = store.archive(&place.blobs, at(11)).await.expect("it works");
    assert_eq!(archived, Archived { executions: 1, failed: 2 });
    let page = store.list(TENANT, &ListFilter::default(), None, 0, 9).await.expect("it is read");
    assert_eq!(page.executions.len(), 2);
}

#[tokio::test]
async fn journals_go_with_the_end_and_the_file_gets_smaller() {
    let place = Place::new().await;
    let store = place.open().await;
    for number in 0..300 {
        ended(&store, &format!("e-{number}"), StoredRequest::Inline(json!({})), Status::Completed).await;
    }
    store.create(new("open", StoredRequest::Inline(json!({})))).await.expect("it is stored");
    let records = (0..900).map(|_| JournalRecord(json!("x".repeat(500)))).collect();
    store.commit(turn("open", 1, records, 10, None)).await.expect("it is stored");
    let before = told(&store, "e-7").await;
    let size = async || {
        run(&place.file(), "PRAGMA wal_checkpoint(TRUNCATE)").await;
        std::fs::metadata(place.file()).expect("it is there").len()
    };
    let full = size().await;
    let list = store.list(TENANT, &ListFilter::default(), None, 0, 9).await.expect("it is read");

    // Who reads meanwhile sees what there was.
    let mut reader = connect(&place.file()).await;
    sqlx::query("BEGIN").execute(&mut reader).await.expect("it begins");
    let count = "SELECT COUNT(*) FROM journal WHERE execution_id <> 'open'";
    let mut seen = async || -> i64 { sqlx::query(count).fetch_one(&mut reader).await.expect("it reads").get(0) };
    assert_eq!(seen().await, 1_200);
    assert_eq!(store.remove_journals(at(10)).await.expect("it works"), 0);
    assert_eq!(store.remove_journals(at(11)).await.expect("it works"), 300);
    assert_eq!(store.remove_journals(at(11)).await.expect("it works"), 0);
    assert_eq!(seen().await, 1_200);
    reader.close().await.expect("it closes");

    assert!(store.release_pages().await.expect("it works") > 100);
    let small = size().await;
    assert!(small < full * 3 / 4, "{full} bytes, then {small}");
    assert_eq!(number(&place.file(), count).await, 0);
    assert_eq!(told(&store, "e-7").await, before);
    let after = store.list(TENANT, &ListFilter::default(), None, 0, 9).await.expect("it is read");
    assert_eq!(after, list);
    let open = store.records(TENANT, "open", RecordSelection::After(0)).await.expect("it is read");
    assert_eq!(open.len(), store::MAX_RECORDS_READ, "what has not ended keeps its journal");
    // A long journal goes in several turns.
    store.commit(turn("open", 901, Vec::new(), 10, Some(Status::Failed))).await.expect("it is stored");
    assert_eq!(store.remove_journals(at(11)).await.expect("it works"), 1);
    assert_eq!(number(&place.file(), "SELECT COUNT(*) FROM journal").await, 0);
}

/// A small database of an earlier program is rewritten once.
#[tokio::test]
async fn an_earlier_database_learns_to_get_smaller() {
    let place = Place::new().await;
    for statement in ["PRAGMA journal_mode = WAL", "CREATE TABLE other (x TEXT)", "PRAGMA user_version = 2"] {
        run(&place.file(), statement).await;
    }
    assert_eq!(number(&place.file(), "PRAGMA auto_vacuum").await, 0);
    let store = place.open().await;
    assert_eq!(number(&place.file(), "PRAGMA auto_vacuum").await, 2);
    ended(&store, "e-1", StoredRequest::Inline(json!({})), Status::Completed).await;
    assert_eq!(store.remove_journals(at(11)).await.expect("it works"), 1);
}

//! The SQL store passes the suite of its ports.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use clock::{SharedClock, SystemClock, VirtualClock};
use contracts::Timestamp;
use futures::{StreamExt as _, stream};
use store::{BlobBody, BlobKey, BlobReader as _, Blobs as _, conformance};
use store_sql::{Durability, FileBlobs, SealedBlobs, SqlStore};
use vault::FileKeys;

/// Stores whose executions go through random states.
const ROUNDS: u64 = 25;

#[tokio::test]
async fn sqlite() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = std::cell::Cell::new(0);
    store::conformance::journal_store(async || {
        opened.set(opened.get() + 1);
        let file = directory.path().join(format!("{}.db", opened.get()));
        SqlStore::open(&file, Durability::Full, Arc::new(SystemClock)).await.expect("a fresh file opens")
    })
    .await;
}

#[tokio::test]
async fn sqlite_without_a_journal() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = std::cell::Cell::new(0);
    let time = Mutex::new(None::<SharedClock>);
    let open = async || {
        opened.set(opened.get() + 1);
        let clock: SharedClock = Arc::new(VirtualClock::new(conformance::epoch()));
        *time.lock().expect("nobody panicked") = Some(Arc::clone(&clock));
        let file = directory.path().join(format!("{}.db", opened.get()));
        SqlStore::open(&file, Durability::Full, clock).await.expect("a fresh file opens")
    };
    conformance::step_store(open, |at| {
        let clock = time.lock().expect("nobody panicked").clone().expect("a store is open");
        async move { clock::sleep(&*clock, clock::until(&*clock, at)).await }
    })
    .await;
    conformance::leases(open).await;
    conformance::backups(open).await;
    conformance::legal_holds(open).await;
    conformance::data_requests(open).await;
    conformance::limit_of_holds(async |most| open().await.with_most_holds(most)).await;
    conformance::erasures(open).await;
}

#[tokio::test]
async fn how_many_are_open() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = std::cell::Cell::new(0);
    let open = async |limits| {
        opened.set(opened.get() + 1);
        let file = directory.path().join(format!("{}.db", opened.get()));
        let store =
            SqlStore::open(&file, Durability::Process, Arc::new(SystemClock)).await.expect("a fresh file opens");
        store.with_limits(limits)
    };
    conformance::journal_store_limits(open).await;
    conformance::step_store_limits(open, |_| std::future::ready(())).await;
}

#[tokio::test]
async fn states_of_executions() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = std::cell::Cell::new(0);
    let open = async || {
        opened.set(opened.get() + 1);
        let file = directory.path().join(format!("{}.db", opened.get()));
        SqlStore::open(&file, Durability::Process, Arc::new(SystemClock)).await.expect("a fresh file opens")
    };
    conformance::journal_store_control(open, ROUNDS).await;
}

#[tokio::test]
async fn states_of_executions_without_a_journal() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = std::cell::Cell::new(0);
    let time = Mutex::new(None::<SharedClock>);
    let open = async || {
        opened.set(opened.get() + 1);
        let clock: SharedClock = Arc::new(VirtualClock::new(conformance::epoch()));
        *time.lock().expect("nobody panicked") = Some(Arc::clone(&clock));
        let file = directory.path().join(format!("{}.db", opened.get()));
        SqlStore::open(&file, Durability::Process, clock).await.expect("a fresh file opens")
    };
    let wait = |at| {
        let clock = time.lock().expect("nobody panicked").clone().expect("a store is open");
        async move { clock::sleep(&*clock, clock::until(&*clock, at)).await }
    };
    conformance::step_store_control(open, wait, ROUNDS).await;
}

/// What an earlier program wrote is not touched.
#[tokio::test]
async fn a_file_of_another_format_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("old.db");
    let open = async || SqlStore::open(&file, Durability::Process, Arc::new(SystemClock)).await;
    drop(open().await.expect("a fresh file opens"));
    drop(open().await.expect("and once more"));
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", file.display());
    let mut connection = <sqlx::AnyConnection as sqlx::Connection>::connect(&url).await.expect("it is a database");
    sqlx::query("PRAGMA user_version = 1").execute(&mut connection).await.expect("it is written");
    drop(connection);
    let refused = open().await.err().expect("an earlier format").to_string();
    for part in ["old.db", "is of format 1", "format 2", "another data directory"] {
        assert!(refused.contains(part), "{part} is missing in: {refused}");
    }
}

/// As a server and its workers do on an empty data directory.
#[tokio::test]
async fn many_open_a_fresh_file_together() {
    let directory = tempfile::tempdir().expect("a directory");
    for round in 0..20 {
        let file = directory.path().join(format!("{round}.db"));
        let open = |_| SqlStore::open(&file, Durability::Process, Arc::new(SystemClock));
        for opened in futures::future::join_all((0..6).map(open)).await {
            opened.expect("it opens");
        }
    }
}

/// Earlier versions can corrupt a file in WAL mode that two connections use.
#[tokio::test]
async fn sqlite_is_recent_enough() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = SqlStore::open(&directory.path().join("x.db"), Durability::Full, Arc::new(SystemClock))
        .await
        .expect("it opens");
    let version: Vec<u32> = store
        .database_version()
        .await
        .expect("it answers")
        .split('.')
        .map(|number| number.parse().expect("a number"))
        .collect();
    assert!(version >= vec![3, 51, 3], "{version:?}");
}

#[tokio::test]
async fn files() {
    let directory = tempfile::tempdir().expect("a directory");
    let unfinished = directory.path().join(".unfinished");
    std::fs::create_dir(&unfinished).expect("a folder of an earlier process");
    std::fs::write(unfinished.join("7"), "half").expect("a file of an earlier process");
    store::conformance::blobs(&FileBlobs::open(directory.path()).await.expect("it opens")).await;
    assert_eq!(std::fs::read_dir(unfinished).expect("it is there").count(), 0, "nothing unfinished stays");
}

struct Sealed {
    files: Arc<FileBlobs>,
    blobs: SealedBlobs,
    directory: tempfile::TempDir,
}

async fn sealed(is_sealed: fn(&BlobKey) -> bool) -> Sealed {
    let directory = tempfile::tempdir().expect("a directory");
    let key_file = directory.path().join("keys.json");
    FileKeys::init(&key_file, Timestamp::UNIX_EPOCH).expect("keys");
    let keys = FileKeys::open(&key_file).expect("they open");
    let files = Arc::new(FileBlobs::open(&directory.path().join("blobs")).await.expect("it opens"));
    Sealed { blobs: SealedBlobs::new(files.clone(), Arc::new(keys), is_sealed), files, directory }
}

fn export(execution: &str) -> BlobKey {
    BlobKey::new("tenant-a", &["results", execution, "export.zip"]).expect("a key")
}

fn body(content: &'static [u8]) -> BlobBody {
    stream::iter(content.chunks(7).map(|part| Ok(Bytes::from_static(part)))).boxed()
}

#[tokio::test]
async fn sealed_files() {
    store::conformance::blobs(&sealed(|_| true).await.blobs).await;
    store::conformance::blobs(&sealed(BlobKey::is_export).await.blobs).await;
}

#[tokio::test]
async fn exports_are_encrypted_at_rest_and_nothing_else_is() {
    let Sealed { files, blobs, directory } = sealed(BlobKey::is_export).await;
    let (export, other) = (export("e-1"), BlobKey::new("tenant-a", &["results", "e-1", "failed.csv"]).expect("a key"));
    for key in [&export, &other] {
        blobs.put(key, body(b"the secret of Ada")).await.expect("it is stored");
        assert_eq!(blobs.size(key).await.expect("it is looked at"), Some(17));
        assert_eq!(blobs.get_part(key, 4, 6).await.expect("it is read"), Some(Bytes::from_static(b"secret")));
    }
    let at_rest = |key: &BlobKey| std::fs::read(directory.path().join("blobs").join(key.to_string())).expect("a file");
    let has_secret = |stored: Vec<u8>| stored.windows(6).any(|bytes| bytes == b"secret");
    assert_eq!((has_secret(at_rest(&export)), has_secret(at_rest(&other))), (false, true));
    assert_eq!(blobs.encryption(&export).await.expect("it is looked at"), Some("installation_key"));
    assert_eq!(blobs.encryption(&other).await.expect("it is looked at"), None);
    // One that an earlier version has written is as it was.
    files.put(&export, body(b"PK plain")).await.expect("it is stored");
    assert_eq!(blobs.get_part(&export, 0, 99).await.expect("it is read"), Some(Bytes::from_static(b"PK plain")));
    assert_eq!(blobs.encryption(&export).await.expect("it is looked at"), None);
}

#[tokio::test]
async fn a_sealed_file_that_was_changed_cut_off_or_swapped_is_refused() {
    let Sealed { blobs, directory, .. } = sealed(BlobKey::is_export).await;
    for execution in ["e-1", "e-2"] {
        blobs.put(&export(execution), body(b"the secret of Ada")).await.expect("it is stored");
    }
    let place = |execution: &str| directory.path().join("blobs").join(export(execution).to_string());
    let (good, other) = (std::fs::read(place("e-1")).expect("a file"), std::fs::read(place("e-2")).expect("a file"));
    // The magic aside: without it, it is a file of an earlier version. The length at the end is not content.
    let changed = (4..good.len() - 12).map(|at| {
        let mut changed = good.clone();
        changed[at] ^= 1;
        changed
    });
    let cut_off = (5..good.len()).map(|length| good[..length].to_vec());
    for wrong in changed.chain(cut_off).chain([other]) {
        std::fs::write(place("e-1"), &wrong).expect("it is written");
        let read = blobs.get_part(&export("e-1"), 0, 99).await;
        assert!(read.is_err(), "{} bytes: {read:?}", wrong.len());
        // A length that is none is not told: a client would wait for so much.
        let told = blobs.size(&export("e-1")).await;
        assert!(told.is_err() || matches!(told, Ok(Some(17))), "{} bytes: {told:?}", wrong.len());
    }
    // Version 1 had no mark at its end.
    let mut earlier = good[..good.len() - 4].to_vec();
    earlier[4] = 1;
    std::fs::write(place("e-1"), &earlier).expect("it is written");
    let read = blobs.get_part(&export("e-1"), 0, 99).await.expect("it is read");
    assert_eq!((read, blobs.size(&export("e-1")).await.ok()), (Some("the secret of Ada".into()), Some(Some(17))));
    std::fs::write(place("e-1"), &good).expect("it is written");
    assert!(blobs.get_part(&export("e-1"), 0, 99).await.is_ok());
}

//! The files of a store: whose they are, what they may be called, and what happens when they are taken away.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock as _, SystemClock, Timestamp};
use futures::{FutureExt as _, StreamExt as _, stream};
use proptest::prelude::*;
use store::{BlobKey, Blobs as _, DueExecution, Executions as _, StoreError};

use sqlx::AnyConnection;
use store_sql::{Durability, FORMAT, FileBlobs, SqlStore, format_of, place_of};

const FILE: &str = "workflow-service.db";

async fn open(directory: &Path) -> Result<SqlStore, StoreError> {
    SqlStore::open(&directory.join(FILE), Durability::Full, Arc::new(SystemClock)).await
}

/// Writes something.
async fn write(store: &SqlStore) -> Result<(), StoreError> {
    let due = DueExecution { tenant_id: "t".to_owned(), id: "e".to_owned(), has_begun: true };
    store.put_off(&due, Timestamp::UNIX_EPOCH).await
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn widen(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("own file");
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect()
}

#[tokio::test]
async fn others_can_read_no_file_whatever_the_directory_is() {
    let directory = tempfile::tempdir().expect("a directory");
    widen(directory.path(), 0o755);
    let store = open(directory.path()).await.expect("it opens");
    write(&store).await.expect("it is written");
    let files = ["", "-wal", "-shm", "-opening"].map(|ending| directory.path().join(format!("{FILE}{ending}")));
    assert_eq!(files.each_ref().map(|file| mode(file)), [0o600; 4]);
    // As an earlier program has left them.
    files.iter().for_each(|file| widen(file, 0o644));
    open(directory.path()).await.expect("it opens");
    assert_eq!(files.each_ref().map(|file| mode(file)), [0o600; 4]);
}

#[tokio::test]
async fn others_can_read_no_blob() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("blobs");
    fs::create_dir_all(folder.join("tenant/1")).expect("folders of an earlier program");
    fs::write(folder.join("tenant/1/request"), "old").expect("a file of an earlier program");
    [&folder, &folder.join("tenant"), &folder.join("tenant/1")].into_iter().for_each(|folder| widen(folder, 0o755));
    widen(&folder.join("tenant/1/request"), 0o644);
    let blobs = FileBlobs::open(&folder).await.expect("it opens");
    let key = BlobKey::new("other", &["request"]).expect("a key");
    let body = stream::iter([Ok(bytes::Bytes::from_static(b"new"))]).boxed();
    blobs.put(&key, body).await.expect("it is kept");
    let new = folder.join(key.to_string());
    assert_eq!([&folder, &folder.join("tenant/1"), new.parent().expect("a folder")].map(mode), [0o700; 3]);
    assert_eq!([&folder.join("tenant/1/request"), &new].map(|file| mode(file)), [0o600; 2]);
}

/// Opens a store in a directory of this name, and finds it there and nowhere else.
fn is_opened_where_it_is_named(name: &OsStr) {
    let base = tempfile::tempdir().expect("a directory");
    let directory = base.path().join(name);
    fs::create_dir(&directory).expect("a directory of this name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = open(&directory).await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        write(&store).await.expect("it is written");
        assert_eq!(format_of(&directory.join(FILE)).expect("it is read"), Some(FORMAT));
    });
    assert_eq!(names(base.path()), [name]);
}

#[test]
fn a_directory_may_be_called_anything() {
    for name in
        ["a b", "c:d", "a?b", "p%61", "a#b", "file:x", ":memory:", "-x", "'\"", "\u{e9}", "a\nb", "%", "...", "~"]
    {
        is_opened_where_it_is_named(OsStr::new(name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_directory_is_the_one_that_is_named(name in "[ -.0-~\\t\\n\u{e4}\u{20ac}\u{1f600}]{1,12}") {
        prop_assume!(name != "." && name != "..");
        is_opened_where_it_is_named(OsStr::new(&name));
    }
}

#[tokio::test]
async fn a_directory_that_is_not_utf_8_is_refused_by_name() {
    let base = tempfile::tempdir().expect("a directory");
    let directory = base.path().join(OsStr::from_bytes(b"x\xff"));
    fs::create_dir(&directory).expect("a directory of this name");
    let refused = open(&directory).await.err().expect("SQLite cannot open it").to_string();
    assert!(refused.contains("is not UTF-8"), "{refused}");
}

#[tokio::test]
async fn a_link_leads_to_the_database() {
    let base = tempfile::tempdir().expect("a directory");
    let (real, linked) = (base.path().join("real"), base.path().join("linked"));
    [&real, &linked].into_iter().for_each(|directory| fs::create_dir(directory).expect("a directory"));
    drop(open(&real).await.expect("it opens"));
    symlink(real.join(FILE), linked.join(FILE)).expect("a link");
    let place = real.canonicalize().expect("it is there").join(FILE);
    assert_eq!(place_of(&linked.join(FILE)).expect("it is there"), place);
    write(&open(&linked).await.expect("it opens")).await.expect("it is written");
    assert_eq!(names(&linked), [FILE]);
}

/// What is done to the files of a store that is open.
fn taken_away(directory: &Path, how: &str) {
    let elsewhere = directory.with_extension("elsewhere");
    match how {
        "deleted" => fs::remove_dir_all(directory).expect("own directory"),
        "moved" => fs::rename(directory, elsewhere).expect("own directory"),
        "replaced" => {
            fs::rename(directory, &elsewhere).expect("own directory");
            fs::create_dir(directory).expect("another directory");
            fs::copy(elsewhere.join(FILE), directory.join(FILE)).expect("a copy");
        }
        _ => fs::remove_file(directory.join(format!("{FILE}-wal"))).expect("own file"),
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_that_a_restart_would_not_find() {
    for how in ["deleted", "moved", "replaced", "without its log"] {
        let base = tempfile::tempdir().expect("a directory");
        let directory = base.path().join("data");
        fs::create_dir(&directory).expect("a directory");
        let store = open(&directory).await.expect("it opens");
        write(&store).await.expect("it is written");
        taken_away(&directory, how);
        assert!(store.failed().now_or_never().is_none(), "{how}: nothing has been written since");
        let written = write(&store).await;
        assert!(matches!(written, Err(StoreError::InDoubt(_))), "{how}: {written:?}");
        let reason = store.failed().await;
        assert!(reason.contains(FILE) && reason.contains("while it was in use"), "{how}: {reason}");
        assert!(store.check().await.is_err(), "{how}");
    }
}

/// A store that nobody writes to finds out when it is asked.
#[tokio::test]
async fn a_check_finds_out_that_the_files_are_gone() {
    let base = tempfile::tempdir().expect("a directory");
    let directory = base.path().join("data");
    fs::create_dir(&directory).expect("a directory");
    let store = open(&directory).await.expect("it opens");
    store.check().await.expect("it can be written");
    fs::remove_dir_all(&directory).expect("own directory");
    let begin = SystemClock.instant();
    while store.check().await.is_ok() {
        assert!(SystemClock.instant().since(begin) < Duration::from_secs(10), "it was not found out");
        clock::sleep(&SystemClock, Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_check_finds_out_that_another_program_has_the_lock_and_that_it_gave_it_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await.expect("it opens");
    store.check().await.expect("it can be written");
    let url = format!("sqlite://{}", directory.path().join(FILE).display());
    let mut other = <AnyConnection as sqlx::Connection>::connect(&url).await.expect("it opens");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("it takes the lock");
    let until = async |is_wanted: fn(&Result<(), StoreError>) -> bool| {
        let begin = SystemClock.instant();
        loop {
            let checked = store.check().await;
            if is_wanted(&checked) {
                break checked;
            }
            assert!(SystemClock.instant().since(begin) < Duration::from_secs(10), "{checked:?}");
            clock::sleep(&SystemClock, Duration::from_millis(100)).await;
        }
    };
    let held_up = until(Result::is_err).await.expect_err("as it was waited for").to_string();
    assert!(held_up.contains("another program has the database's lock"), "{held_up}");
    let begin = SystemClock.instant();
    store.check().await.expect_err("it still has it");
    assert!(SystemClock.instant().since(begin) < Duration::from_millis(500), "a check does not add to what waits");
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("it gives the lock back");
    until(Result::is_ok).await.expect("as it was waited for");
    write(&store).await.expect("nothing was lost");
}

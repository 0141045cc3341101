//! What every store promises of blobs.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;

use super::ok;
use crate::{ARCHIVE, BlobBody, BlobKey, Blobs, StoreError, forget_archived};

/// More than a store takes into memory, in no store's parts.
const LARGE: usize = 20 * 1024 * 1024 + 7;

/// The suite of a store of blobs, which is empty.
pub async fn blobs(store: &impl Blobs) {
    keys_stay_below_their_tenant();
    a_blob_is_what_was_put(store).await;
    a_broken_body_changes_nothing(store).await;
    a_part_is_what_is_there(store).await;
    what_is_removed_is_gone(store).await;
    a_removed_folder_is_empty_and_others_are_not(store).await;
    a_list_has_the_blobs_of_one_folder(store).await;
    archives_name_a_pseudonym_instead_of_a_person(store).await;
}

fn keys_stay_below_their_tenant() {
    let key = |tenant: &str, names: &[&str]| BlobKey::new(tenant, names).map(|key| key.to_string());
    assert_eq!(key("tenant-a", &["executions", "e_1.jsonl"]).as_deref(), Some("tenant-a/executions/e_1.jsonl"));
    for bad in ["", ".", "..", "../b", "a/b", "a\\b", ".hidden", "ä", "a\0b", &"a".repeat(129)] {
        assert_eq!((key(bad, &["x"]), key("tenant-a", &[bad])), (None, None), "{bad:?}");
    }
    assert_eq!(key("tenant-a", &[]), None);
}

async fn a_blob_is_what_was_put(store: &impl Blobs) {
    let (of_a, of_b) = (key("tenant-a"), key("tenant-b"));
    assert!(read(store, &of_a).await.is_none(), "nothing is there yet");
    let large = pattern(LARGE, 1);
    for (content, part) in [(&large[..], 1_000_003), (&b""[..], 1), (&b"small"[..], 2), (&large[5..], LARGE)] {
        ok(store.put(&of_a, body(content, part)).await);
        let found = read(store, &of_a).await.expect("it is there");
        assert!(found == content, "{} bytes came back as {}", content.len(), found.len());
        assert_eq!(ok(store.size(&of_a).await), Some(content.len() as u64));
    }
    assert!(read(store, &of_b).await.is_none(), "another tenant's is another blob");
    assert_eq!(ok(store.size(&of_b).await), None);
    ok(store.put(&of_b, body(b"other", 5)).await);
    assert!(read(store, &of_a).await.expect("it is there") == large[5..], "the first is as it was");
}

async fn a_broken_body_changes_nothing(store: &impl Blobs) {
    for length in [10, LARGE] {
        let fresh = BlobKey::new("tenant-a", &["broken", &length.to_string()]).expect("it is a key");
        let broken = || body(&pattern(length, 2), 900_000).chain(stream::iter([Err(torn())])).boxed();
        assert_eq!(store.put(&fresh, broken()).await.map_err(|error| error.to_string()), Err(torn().to_string()));
        assert!(read(store, &fresh).await.is_none(), "half a blob is none");
        let known = key("tenant-b");
        let before = read(store, &known).await;
        assert!(store.put(&known, broken()).await.is_err());
        assert!(read(store, &known).await == before, "the old blob stays");
    }
}

async fn a_part_is_what_is_there(store: &impl Blobs) {
    let parts = BlobKey::new("tenant-a", &["parts"]).expect("it is a key");
    assert_eq!(ok(store.get_part(&parts, 0, 1).await), None, "there is no blob");
    let content = pattern(1_000_000, 3);
    ok(store.put(&parts, body(&content, 300_000)).await);
    for (offset, length) in [(0, 1), (0, 1_000_000), (999_999, 1), (123_456, 400_000), (999_990, 50), (5, 0)] {
        let found = ok(store.get_part(&parts, offset, length).await).expect("it is there");
        let end = 1_000_000.min(offset + length) as usize;
        assert!(found == content[offset as usize..end], "{offset} {length}: {} bytes", found.len());
    }
    assert_eq!(ok(store.get_part(&parts, 1_000_000, 9).await).map(|part| part.len()), Some(0), "it ends there");
}

async fn what_is_removed_is_gone(store: &impl Blobs) {
    let keys: Vec<BlobKey> = (0..3).filter_map(|n| BlobKey::new("tenant-c", &[&format!("blob-{n}")])).collect();
    for key in &keys[..2] {
        ok(store.put(key, body(b"x", 1)).await);
    }
    ok(store.remove(&keys[1..]).await);
    assert!(read(store, &keys[1]).await.is_none());
    assert!(read(store, &keys[0]).await.is_some(), "another one stays");
    ok(store.remove(&keys).await);
    ok(store.remove(&keys).await);
    ok(store.remove(&[]).await);
    assert!(read(store, &keys[0]).await.is_none());
}

async fn a_removed_folder_is_empty_and_others_are_not(store: &impl Blobs) {
    let key = |tenant, names: &[&str]| BlobKey::new(tenant, names).expect("it is a key");
    let kept = [
        key("tenant-d", &["backups", "b-10", "part"]),
        key("tenant-d", &["backups", "b-1.part"]),
        key("tenant-e", &["backups", "b-1", "part"]),
    ];
    let gone: Vec<BlobKey> = (0..3).map(|part| key("tenant-d", &["backups", "b-1", &format!("part-{part}")])).collect();
    for key in kept.iter().chain(&gone) {
        ok(store.put(key, body(b"x", 1)).await);
    }
    for _ in 0..2 {
        ok(store.remove_folder("tenant-d", &["backups", "b-1"]).await);
    }
    for (keys, size) in [(&kept[..], Some(1)), (&gone[..], None)] {
        for key in keys {
            assert_eq!(ok(store.size(key).await), size, "{key}");
        }
    }
    ok(store.remove_folder("tenant-d", &["..", ".."]).await);
    assert_eq!(ok(store.size(&kept[0]).await), Some(1), "what is no folder of the tenant stays");
}

async fn a_list_has_the_blobs_of_one_folder(store: &impl Blobs) {
    let key = |names: &[&str]| BlobKey::new("tenant-f", names).expect("it is a key");
    for names in [&["list", "b"][..], &["list", "a"], &["list", "c"], &["list", "folder", "d"], &["listed", "e"]] {
        ok(store.put(&key(names), body(b"x", 1)).await);
    }
    assert_eq!(ok(store.list("tenant-f", &["list"], None).await), ["a", "b", "c"]);
    assert_eq!(ok(store.list("tenant-f", &["list"], Some("a")).await), ["b", "c"]);
    for nothing in [&["nowhere"][..], &["..", "tenant-f", "list"]] {
        assert!(ok(store.list("tenant-f", nothing, None).await).is_empty());
    }
}

async fn archives_name_a_pseudonym_instead_of_a_person(store: &impl Blobs) {
    let key = |name: &str| BlobKey::new("tenant-g", &[ARCHIVE, name]).expect("it is a key");
    let theirs = "{\"user_id\":\"jane\"}\n{\"details\":{\"text\":\"{\\\"id\\\":\\\"jane\\\"}\",\"jane\":1}}\n";
    let others = "{\"user_id\":\"jane-2\"}\n{\"details\":\"of jane\"}\n";
    ok(store.put(&key("theirs.jsonl"), body(theirs.as_bytes(), 7)).await);
    ok(store.put(&key("others.jsonl"), body(others.as_bytes(), 7)).await);
    let names = ok(store.list("tenant-g", &[ARCHIVE], None).await);
    for expected in [1, 0] {
        let forgotten = forget_archived(store, "tenant-g", names.clone(), ("jane", "erased-1")).await;
        assert_eq!(ok(forgotten), expected);
    }
    let renamed = read(store, &key("theirs.jsonl")).await.map(|bytes| String::from_utf8(bytes).expect("it is a text"));
    assert_eq!(renamed.as_deref(), Some(&*theirs.replace("jane", "erased-1")));
    assert_eq!(read(store, &key("others.jsonl")).await.as_deref(), Some(others.as_bytes()));
}

fn torn() -> StoreError {
    StoreError::Unavailable("the body broke off".to_owned())
}

fn key(tenant: &str) -> BlobKey {
    BlobKey::new(tenant, &["executions", "e_1.jsonl"]).expect("it is a key")
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| (index / 251) as u8 ^ (index % 251) as u8 ^ seed).collect()
}

fn body(content: &[u8], part: usize) -> BlobBody {
    let parts: Vec<_> = content.chunks(part).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    stream::iter(parts).boxed()
}

async fn read(store: &impl Blobs, key: &BlobKey) -> Option<Vec<u8>> {
    let mut body = ok(store.get(key).await)?;
    let mut content = Vec::new();
    while let Some(part) = body.next().await {
        content.extend_from_slice(&ok(part));
    }
    Some(content)
}

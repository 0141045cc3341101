//! Packages as whoever gets them reads them.

use std::io::{Cursor, Read as _};

use futures::TryStreamExt as _;
use store::conformance::MemoryBlobs;
use store::{BlobKey, BlobReader as _};
use zip::ZipArchive;

use super::*;
use crate::files::{write_blob, write_blobs};

/// Writes a package with two files; its bytes, its size and its SHA-256 as they are told.
async fn made(recipient: Option<&str>) -> (Vec<u8>, u64, String) {
    let (blobs, key) = (MemoryBlobs::default(), BlobKey::new("t", &["results", "x"]).expect("a key"));
    let told = write_blob(&blobs, &key, async |blob| {
        let mut package = Package::new(blob, recipient)?;
        package.begin("data/a.json".to_owned(), false)?;
        for _ in 0..1_000 {
            package.write(b"{\"name\":\"Zo\xc3\xab\"}\n").await?;
        }
        assert_eq!(package.end(Some(1_000), None).map(|entry| entry.bytes), Some(16_000));
        package.begin("files/00001-\u{dc}bersicht.bin".to_owned(), true)?;
        package.write(&[7; 300_000]).await?;
        let entry = package.end(None, Some("f".to_owned())).cloned();
        assert_eq!(entry.map(|entry| (entry.bytes, entry.id)), Some((300_000, Some("f".to_owned()))));
        package.add("manifest.json", b"{}\n").await?;
        package.finish().await
    });
    let (bytes, sha256) = told.await.expect("it is made");
    let body = blobs.get(&key).await.expect("it is there").expect("it is there");
    let parts: Vec<bytes::Bytes> = body.try_collect().await.expect("it is read");
    (parts.concat(), bytes, sha256)
}

fn check(package: Vec<u8>) {
    let mut archive = ZipArchive::new(Cursor::new(package)).expect("a zip file");
    let names: Vec<String> = archive.file_names().map(|name| name.expect("a name").into_owned()).collect();
    assert_eq!(names, ["data/a.json", "files/00001-\u{dc}bersicht.bin", "manifest.json"]);
    let mut bytes = Vec::new();
    archive.by_name(&names[1]).expect("it is there").read_to_end(&mut bytes).expect("it is whole");
    assert_eq!(bytes, [7; 300_000]);
    let mut text = String::new();
    archive.by_name("data/a.json").expect("it is there").read_to_string(&mut text).expect("it is whole");
    assert!(text.starts_with("{\"name\":\"Zo\u{eb}\"}\n"), "{text}");
}

#[tokio::test]
async fn the_same_data_gives_the_same_bytes() {
    let (first, bytes, sha256) = made(None).await;
    assert_eq!(bytes, first.len() as u64);
    assert_eq!(sha256, hex(&Sha256::digest(&first)));
    assert_eq!(made(None).await.0, first);
    check(first);
}

#[tokio::test]
async fn only_the_recipient_opens_it() {
    let (identity, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let (package, bytes, sha256) = made(Some(&identity.to_public().to_string())).await;
    assert_eq!((bytes, sha256), (package.len() as u64, hex(&Sha256::digest(&package))));
    let opened = age::decrypt(&identity, &package).expect("it is for this identity");
    check(opened);
    assert!(age::decrypt(&other, &package).is_err(), "it is not for that one");
    assert!(ZipArchive::new(Cursor::new(package)).is_err(), "it is no zip file");
}

#[tokio::test]
async fn several_packages_are_whole_each() {
    let blobs = MemoryBlobs::default();
    let key = |name: &str| BlobKey::new("t", &["results", name]).expect("a key");
    let told = write_blobs(&blobs, async |blob| {
        blob.begin(key("1")).await?;
        let mut package = Package::new(blob, None)?;
        package.add("a", b"1").await?;
        let first = package.next(key("2")).await?;
        assert!(package.bytes() == 0 && package.entries.is_empty());
        package.add("b", b"2").await?;
        Ok([first, package.finish().await?])
    });
    for ((name, file), (bytes, sha256)) in [("1", "a"), ("2", "b")].into_iter().zip(told.await.expect("they are made"))
    {
        let stored = blobs.all().get(&key(name).to_string()).expect("it is there").to_vec();
        assert_eq!((bytes, sha256), (stored.len() as u64, hex(&Sha256::digest(&stored))));
        let archive = ZipArchive::new(Cursor::new(stored)).expect("a zip file");
        assert_eq!(archive.file_names().map(|name| name.expect("a name").into_owned()).collect::<Vec<_>>(), [file]);
    }
    // Half a package is none; those before it are whole.
    let torn: Result<(), _> = write_blobs(&blobs, async |blob| {
        blob.begin(key("3")).await?;
        let mut package = Package::new(blob, None)?;
        package.next(key("4")).await?;
        package.add("c", b"3").await?;
        Err(ActivityError::new(ErrorName::ServiceUnavailable, "no more"))
    })
    .await;
    assert_eq!(torn.expect_err("it is torn").cause.message, "no more");
    assert!(blobs.all().contains_key(&key("3").to_string()) && !blobs.all().contains_key(&key("4").to_string()));
}

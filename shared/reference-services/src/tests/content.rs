//! Bytes of files, few and many.

use sha2::{Digest as _, Sha256};

use super::*;

const PATH: &str = "/api/v1/data/file/file-123-1/content";
const CHUNK: usize = 256 * 1024;

async fn put(world: &World, tenant: &str, path: &str, key: &str, body: Body) -> Reply {
    let request = Request::put(path).header("x-tenant-id", tenant).header("idempotency-key", key).body(body);
    world.send(ServiceKind::File, request.expect("a request")).await.expect("an answer")
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn bytes_come_back_as_they_went() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7] {
        let world = World::new().await;
        let before = world.snapshot().await;
        let sent = bytes(length);
        let pieces: Vec<_> =
            sent.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
        let reply = put(&world, ACME, PATH, "bytes", Body::from_stream(futures::stream::iter(pieces))).await;
        let expected = json!({
            "file_id": "file-123-1", "size_bytes": length, "sha256": sha256(&sent),
            "updated_at": "2026-03-01T08:00:00Z",
        });
        assert_eq!((reply.status.as_u16(), reply.json()), (200, expected));
        for path in [PATH, "/api/v1/files/file-123-1"] {
            let got = world.get(ServiceKind::File, ACME, path).await;
            assert_eq!((got.status.as_u16(), got.body == sent), (200, true), "{length} {path}");
            assert_eq!(got.headers["content-type"], "text/markdown");
            assert_eq!(got.headers["content-length"], length.to_string().as_str());
        }
        let got = world.get(ServiceKind::File, ACME, PATH).await;
        assert_eq!(got.headers["etag"], format!("\"{}\"", sha256(&sent)).as_str());
        assert!(world.snapshot().await.to_string().len() < before.to_string().len() + 2 * CHUNK);

        // Once per key, and undone by it.
        assert_eq!(put(&world, ACME, PATH, "bytes", Body::from(sent)).await.body, reply.body);
        assert_eq!(put(&world, ACME, PATH, "bytes", Body::from("other")).await.status, 422);
        assert_eq!(world.undo_key(ServiceKind::File, ACME, "bytes").await.json()["undone"], true);
        assert_eq!(world.snapshot().await, before);
        assert_eq!(put(&world, ACME, PATH, "bytes", Body::from("late")).await.status, 410);
        assert!(world.get(ServiceKind::File, ACME, PATH).await.body.starts_with(b"# Welcome"));
    }
}

#[tokio::test]
async fn abandoned_bytes_are_forgotten() {
    let world = World::new().await;
    let (time, first) = (Arc::clone(&world.clock), Bytes::from(bytes(2 * CHUNK)));
    let slow = futures::stream::unfold(Some(first), move |piece| {
        let time = Arc::clone(&time);
        async move {
            match piece {
                Some(piece) => Some((Ok::<_, std::io::Error>(piece), None)),
                None => {
                    clock::sleep(&*time, std::time::Duration::from_secs(10)).await;
                    None
                }
            }
        }
    });
    let upload = put(&world, ACME, PATH, "lost", Body::from_stream(slow));
    assert!(clock::timeout(&*world.clock, std::time::Duration::from_secs(1), upload).await.is_none());
    let service = world.services.service(ServiceKind::File);
    assert_eq!(service.stored_chunks().await, 1);
    clock::sleep(&*world.clock, std::time::Duration::from_secs(3_601)).await;
    put(&world, ACME, PATH, "kept", Body::from(bytes(2 * CHUNK))).await;
    assert_eq!(service.stored_chunks().await, 2);
    clock::sleep(&*world.clock, std::time::Duration::from_secs(3_601)).await;
    put(&world, ACME, PATH, "more", Body::from(bytes(2 * CHUNK))).await;
    assert_eq!(service.stored_chunks().await, 4, "what a file or an undo needs stays");
}

#[tokio::test]
async fn a_deletion_brings_many_bytes_back_too() {
    let world = World::new().await;
    let (first, second) = (bytes(CHUNK + 9), bytes(2 * CHUNK + 1));
    put(&world, ACME, PATH, "first", Body::from(first.clone())).await;
    put(&world, ACME, PATH, "second", Body::from(second.clone())).await;
    let body = json!({ "items": [{ "id": "workspace-123", "key": "gone" }] });
    world.post(ServiceKind::File, ACME, "/api/v1/data/workspace/delete", &body).await;
    assert_eq!(world.get(ServiceKind::File, ACME, PATH).await.status, 404);
    world.undo_key(ServiceKind::File, ACME, "gone").await;
    assert!(world.get(ServiceKind::File, ACME, PATH).await.body == second);
    world.undo_key(ServiceKind::File, ACME, "second").await;
    assert!(world.get(ServiceKind::File, ACME, PATH).await.body == first);
}

#[tokio::test]
async fn a_checksum_that_somebody_wanted_follows_the_bytes() {
    let world = World::new().await;
    let checksum = async |key: &str| {
        let data = json!({ "action": "checksum" });
        let item = json!({ "entity_type": "file", "entity_id": "file-123-1", "key": key, "data": data });
        let path = "/api/v1/operations/FileProcessing";
        world.post(ServiceKind::File, ACME, path, &json!({ "items": [item] })).await.json()["results"][0].clone()
    };
    let file = async || {
        let page = world.get(ServiceKind::File, ACME, "/api/v1/data/file?limit=1").await.json();
        page["items"][0]["data"].clone()
    };
    let (first, second) = (bytes(CHUNK * 2), bytes(5));
    put(&world, ACME, PATH, "first", Body::from(first.clone())).await;
    assert_eq!((&file().await["sha256"], &file().await["size_bytes"]), (&Value::Null, &json!(first.len())));
    let result = checksum("a").await;
    assert_eq!((&result["outcome"], &result["data"]["sha256"]), (&json!("processed"), &json!(sha256(&first))));
    put(&world, ACME, PATH, "second", Body::from(second.clone())).await;
    assert_eq!(file().await["sha256"], sha256(&second));
    assert_eq!(checksum("b").await["outcome"], "unchanged");
}

#[tokio::test]
async fn what_is_refused_leaves_no_bytes() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let long = bytes(CHUNK + 1);
    for (tenant, path) in [(GLOBEX, PATH), (ACME, "/api/v1/data/file/none/content")] {
        assert_eq!(put(&world, tenant, path, "key", Body::from(long.clone())).await.status, 404);
    }
    let broken = [Ok(Bytes::from(long)), Err(std::io::Error::other("gone"))];
    assert_eq!(put(&world, ACME, PATH, "key", Body::from_stream(futures::stream::iter(broken))).await.status, 400);
    let piece = Bytes::from(bytes(16 * 1024 * 1024));
    let many = (0..17).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
    assert_eq!(put(&world, ACME, PATH, "key", Body::from_stream(futures::stream::iter(many))).await.status, 413);
    assert_eq!(world.snapshot().await, before);
    assert_eq!(world.services.service(ServiceKind::File).stored_chunks().await, 0);
}

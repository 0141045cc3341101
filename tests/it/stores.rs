//! Every store passes the suite of its ports.

use std::sync::Arc;

use clock::{SharedClock, VirtualClock};
use store::conformance;
use store_aws::{DynamoStore, S3Blobs};

use crate::aws;
use crate::peers;
use crate::proxy::Proxy;
use crate::world::run;

#[test]
fn the_dynamodb_store() {
    let Some(endpoint) = peers::dynamodb() else { return };
    run(async {
        let client = peers::dynamodb_client(endpoint);
        let time = std::sync::Mutex::new(None::<SharedClock>);
        let made = std::cell::Cell::new(0);
        let open = async || {
            made.set(made.get() + 1);
            let table = format!("stores-{}", made.get());
            store_aws::create_table(&client, &table).await.unwrap();
            let clock: SharedClock = Arc::new(VirtualClock::new(conformance::epoch()));
            *time.lock().unwrap() = Some(Arc::clone(&clock));
            let client = client.clone();
            DynamoStore::new(|| client, table, clock)
        };
        conformance::step_store(open, |at| {
            let clock = time.lock().unwrap().clone().unwrap();
            async move { clock::sleep_until(&*clock, at).await }
        })
        .await;
    });
}

#[test]
fn blobs_in_s3() {
    aws::run(|aws| async move {
        let proxy = Proxy::start(&aws.moto).await;
        aws.s3.create_bucket("stores").await;
        conformance::blobs(&S3Blobs::new(peers::s3_client(&proxy.endpoint()), "stores")).await;
        let seen = proxy.take();
        let count = |operation: &str| seen.iter().filter(|request| request.target.ends_with(operation)).count();
        let [created, aborted] = ["CreateMultipartUpload", "AbortMultipartUpload"].map(count);
        assert_eq!((created, aborted), (4, 2), "large ones go in parts, broken ones not at all");
        let largest = seen.iter().map(|request| request.bytes).max();
        assert!(largest < Some(9 * 1024 * 1024), "{largest:?} bytes at once");
        let (_, uploads) = aws.s3.get("stores?uploads").await;
        assert!(!uploads.contains("<UploadId>"), "a part is left behind: {uploads}");
    });
}

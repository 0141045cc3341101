//! Every store passes the suite of its ports.

use std::sync::Arc;
use std::time::Duration;

use clock::{SharedClock, VirtualClock};
use contracts::audit::{AuditAction, AuditOutcome};
use futures::future::join_all;
use serde_json::json;
use store::{Audit as _, AuditFilter, NewAuditRow, OpenLimits, conformance};
use store_aws::{DynamoStore, S3Blobs};

use crate::aws;
use crate::peers;
use crate::proxy::Proxy;
use crate::world::{TENANT, run};

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
        let wait = |at| {
            let clock = time.lock().unwrap().clone().unwrap();
            async move { clock::sleep(&*clock, clock::until(&*clock, at)).await }
        };
        conformance::step_store(open, wait).await;
        conformance::step_store_control(open, wait, 4).await;
        conformance::leases(open).await;
        conformance::backups(open).await;
        conformance::legal_holds(open).await;
        conformance::data_requests(open).await;
        conformance::limit_of_holds(async |most| open().await.with_most_holds(most)).await;
        conformance::erasures(open).await;
        let limited = async |limits: OpenLimits| open().await.with_limit(limits.of_tenant);
        conformance::step_store_limits(limited, wait).await;
    });
}

/// A filter that fits little does not read a whole log for one page.
#[test]
fn a_page_of_a_long_audit_log_reads_a_part_of_it() {
    let Some(endpoint) = peers::dynamodb() else { return };
    run(async {
        let client = peers::dynamodb_client(endpoint);
        store_aws::create_table(&client, "long-audit-log").await.unwrap();
        let store = DynamoStore::new(|| client, "long-audit-log", Arc::new(VirtualClock::new(conformance::epoch())));
        let row = |number: i64| NewAuditRow {
            tenant_id: TENANT.to_owned(),
            at: conformance::epoch() + Duration::from_secs(number as u64),
            actor: Some(if number == 3 { "user-1" } else { "user-2" }.to_owned()),
            is_admin: false,
            action: AuditAction::Read,
            outcome: AuditOutcome::Denied,
            workflow_id: None,
            workflow_kind: None,
            request_id: format!("request-{number}"),
            reason: None,
            details: json!({}),
        };
        let rows: Vec<NewAuditRow> = (0..1_100).map(row).collect();
        for rows in rows.chunks(50) {
            for recorded in join_all(rows.iter().map(|row| store.record(row.clone()))).await {
                recorded.unwrap();
            }
        }
        let filter = AuditFilter { actor: Some("user-1".to_owned()), ..AuditFilter::default() };
        let first = store.rows(TENANT, &filter, None, 9).await.unwrap();
        assert_eq!(first.rows, [], "it is among the oldest");
        let second = store.rows(TENANT, &filter, first.next.as_deref(), 9).await.unwrap();
        let found: Vec<_> = second.rows.into_iter().map(|found| found.row).collect();
        assert_eq!((first.next.is_some(), found, second.next), (true, vec![row(3)], None));
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

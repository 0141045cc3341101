//! What is too old for the table moves to S3, and reads as before.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use clock::{Clock as _, SystemClock};
use contracts::Status;
use contracts::responses::{HistoryResponse, StatusResponse};
use futures::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use store_aws::S3Blobs;

use crate::aws::{self, Aws, Options, Stack};
use crate::peers::{self, KEY_ARN};
use crate::proxy::{Answer, Rule};
use crate::world::{Control, ControlAction, Script, TENANT, full_request};

const START: &str = "/api/v1/workflows/user-onboarding";

/// What is asked about an execution.
#[derive(Debug, PartialEq)]
struct Told {
    status: StatusResponse,
    history: HistoryResponse,
    /// Its history in pages.
    paged: Vec<Value>,
}

async fn told(stack: &Stack, id: &str) -> Told {
    let site = &stack.site;
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/workflows/history?workflow_id={id}&page_size=4{token}");
        let (status, page) = site.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        paged.extend(page["events"].as_array().unwrap().iter().cloned());
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    let mut told = Told { status: site.status(id).await, history: site.history(id).await, paged };
    // The request, which holds what is personal, is not archived.
    told.history.events[0].event.details["input"] = Value::Null;
    told.paged[0]["details"]["input"] = Value::Null;
    told
}

async fn onboarding(stack: &Stack, email: &str) -> String {
    let mut request = full_request();
    request["user_email"] = email.into();
    let (_, started) = stack.site.post(START, &request, &[("idempotency-key", email)]).await;
    let id = started["workflow_id"].as_str().unwrap().to_owned();
    stack.site.until_ended(&id).await;
    id
}

async fn archive(stack: &Stack) -> Value {
    stack.invoke("archive-executions", Value::Null).await.unwrap()
}

type Attributes = HashMap<String, AttributeValue>;

async fn items(stack: &Stack) -> Vec<Attributes> {
    let (client, table) = stack.table();
    let pages = client.scan().table_name(table).into_paginator().items().send();
    pages.collect::<Result<Vec<_>, _>>().await.unwrap()
}

/// What DynamoDB does with items whose time is over, some of them before others; how many.
async fn remove_expired(stack: &Stack, which: impl Fn(&str) -> bool) -> usize {
    let (client, table) = stack.table();
    let mut removed = 0;
    for mut item in items(stack).await {
        let is_one = item["sk"].as_s().is_ok_and(|sk| which(sk));
        if item.contains_key(store_aws::TIME_TO_LIVE) && is_one {
            let key = ["pk", "sk"].map(|name| (name.to_owned(), item.remove(name).unwrap()));
            client.delete_item().table_name(&table).set_key(Some(key.into())).send().await.unwrap();
            removed += 1;
        }
    }
    removed
}

#[test]
fn what_is_archived_reads_as_before() {
    aws::run(|aws| async move {
        let cancel = Control { during: "CreateSampleData".to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
        let stack =
            aws.stack(Options { script: Script { control: vec![cancel], ..Script::default() }, ..Options::default() });
        let stack = stack.await;
        let site = &stack.site;
        let ids = [onboarding(&stack, "one@example.com").await, onboarding(&stack, "two@example.com").await];
        let mut before = Vec::new();
        for id in &ids {
            before.push(told(&stack, id).await);
        }
        assert_eq!([before[0].status.status, before[1].status.status], [Status::Cancelled, Status::Completed]);

        assert_eq!(archive(&stack).await, json!({ "executions": 2, "failed": 0 }));
        assert_eq!(archive(&stack).await, json!({ "executions": 0, "failed": 0 }), "nothing is due any more");
        // Items go in any order, at any time.
        let removals: [fn(&str) -> bool; 4] = [|_| false, |sk| sk > "EV#0000000003", |sk| sk == "A", |_| true];
        for (number, which) in removals.into_iter().enumerate() {
            let removed = remove_expired(&stack, which).await;
            assert_eq!(removed > 0, number > 0);
            for (id, before) in ids.iter().zip(&before) {
                assert_eq!(&told(&stack, id).await, before, "after removal {number}");
                assert_eq!(site.cancel(id).await.unwrap_err()["status"], 409);
                let (status, answer) = foreign(&stack, id).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
            }
            let (_, list) = site.get("/api/v1/workflows").await;
            assert_eq!((list["total_count"].clone(), list["workflows"].clone()), (json!(0), json!([])), "{list}");
            let (_, feed) = site.get("/api/v1/workflows/history").await;
            assert_eq!((feed["total_events"].clone(), feed["events"].clone()), (json!(0), json!([])), "{feed}");
        }
        let left: Vec<_> = items(&stack).await.into_iter().map(|item| item["pk"].as_s().unwrap().clone()).collect();
        let is_counter = |pk: &String| [format!("{TENANT}#C"), format!("{TENANT}#D")].contains(pk);
        // The audit rows stay: who did what is asked for long after the executions are gone.
        assert!(left.iter().all(|pk| is_counter(pk) || pk.ends_with("#A")), "{left:?}");
        assert_ne!(onboarding(&stack, "one@example.com").await, ids[0], "its key is as old as it");
        blobs_are_private(aws, &stack, &ids).await;
    });
}

async fn foreign(stack: &Stack, id: &str) -> (StatusCode, Value) {
    let path = format!("/api/v1/workflows/{id}/status");
    let request = http::Request::builder().uri(path).header("x-tenant-id", "tenant-456");
    let (status, _, body) = stack.site.call(request.body(axum::body::Body::empty()).unwrap()).await;
    (status, body)
}

/// Encrypted with the key, and without the request.
async fn blobs_are_private(aws: &Aws, stack: &Stack, ids: &[String]) {
    let bucket = format!("bucket-{}", stack.prefix);
    for id in ids {
        let (headers, content) = aws.s3.get(&format!("{bucket}/{TENANT}/executions/{id}.jsonl")).await;
        let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("x-amz-server-side-encryption"), "aws:kms");
        assert_eq!(header("x-amz-server-side-encryption-aws-kms-key-id"), KEY_ARN);
        assert!(content.lines().count() > 10);
        assert!(!content.contains("example.com") && !content.contains("Nina"), "{content}");
    }
}

/// Interrupted at each of its requests, before or after that took effect, archiving loses nothing and goes on.
#[test]
fn archiving_is_interrupted() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let proxies = stack.proxies.as_ref().unwrap();
        let first = onboarding(&stack, "first@example.com").await;
        proxies.dynamodb.take();
        archive(&stack).await;
        let requests: Vec<String> = [proxies.dynamodb.take(), proxies.s3.take()]
            .concat()
            .into_iter()
            .map(|seen| seen.target.rsplit('.').next().unwrap().to_owned())
            .collect();
        println!("{requests:?}");
        let before = told(&stack, &first).await;
        let mut scenarios: Vec<Scenario> = Vec::new();
        for (index, operation) in requests.iter().enumerate() {
            let skip = requests[..index].iter().filter(|earlier| *earlier == operation).count() as u32;
            // The later ones find that nothing is due any more.
            if operation == "Query" && skip >= 8 {
                continue;
            }
            scenarios.push((
                operation.clone().leak() as &'static str,
                skip,
                Answer::Error("AccessDeniedException", 400),
            ));
            scenarios.push((operation.clone().leak(), skip, Answer::Lost));
        }
        assert!(!scenarios.is_empty());
        // Most of it is waiting.
        let lane = |lane| in_turn(aws, scenarios.iter().skip(lane).step_by(LANES));
        join_all((0..LANES).map(lane)).await;
        assert_eq!(told(&stack, &first).await, before);
    });
}

/// Stacks in which scenarios run side by side.
const LANES: usize = 4;

/// An operation, after how many that are let pass, and what becomes of it.
type Scenario = (&'static str, u32, Answer);

/// Interrupts archiving in one way after the other, each time with another execution.
async fn in_turn(aws: &'static Aws, scenarios: impl Iterator<Item = &Scenario>) {
    let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
    let proxies = stack.proxies.as_ref().unwrap();
    for (number, (operation, skip, answer)) in scenarios.enumerate() {
        let what = format!("{operation} after {skip}: {answer:?}");
        let id = onboarding(&stack, &format!("number-{number}@example.com")).await;
        let expected = told(&stack, &id).await;
        let proxy = if *operation == "PutObject" { &proxies.s3 } else { &proxies.dynamodb };
        // As often as the client tries.
        proxy.script(vec![Rule { operation, skip: *skip, times: 4, answer: answer.clone() }]);
        let _ = stack.invoke("archive-executions", Value::Null).await;
        proxy.script(vec![]);
        assert_eq!(told(&stack, &id).await, expected, "interrupted: {what}");
        archive(&stack).await;
        assert_eq!(told(&stack, &id).await, expected, "archived: {what}");
        remove_expired(&stack, |_| true).await;
        assert_eq!(told(&stack, &id).await, expected, "expired: {what}");
        let (_, list) = stack.site.get("/api/v1/workflows").await;
        assert_eq!(list["total_count"], 0, "{what}");
    }
}

/// What cannot be archived holds nothing up, and is not forgotten.
#[test]
fn archiving_goes_on_past_what_fails() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let s3 = &stack.proxies.as_ref().unwrap().s3;
        for email in ["one@example.com", "two@example.com", "three@example.com"] {
            onboarding(&stack, email).await;
        }
        let blobs = S3Blobs::new(peers::s3_client(&s3.endpoint()), format!("bucket-{}", stack.prefix));
        let refused =
            || vec![Rule { operation: "PutObject", skip: 0, times: 1, answer: Answer::Error("AccessDenied", 403) }];
        s3.script(refused());
        let now = SystemClock.now();
        let first = stack.store.archive(&blobs, now, None, 1).await.unwrap();
        assert_eq!((first.executions, first.failed), (0, 1));
        let second = stack.store.archive(&blobs, now, first.last.as_deref(), 1).await.unwrap();
        assert_eq!((second.executions, second.failed), (1, 0), "the next one");
        s3.script(refused());
        let told = stack.invoke("archive-executions", Value::Null).await.unwrap_err().to_string();
        assert!(told.contains("1 executions were not archived, 1 were"), "{told}");
        assert_eq!(archive(&stack).await, json!({ "executions": 1, "failed": 0 }), "it was still due");
    });
}

#[test]
fn s3_that_is_short_is_asked_again_and_then_said() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let s3 = &stack.proxies.as_ref().unwrap().s3;
        let id = onboarding(&stack, "new@example.com").await;
        let expected = told(&stack, &id).await;
        let slow_down = Answer::Error("SlowDown", 503);
        s3.script(vec![Rule { operation: "PutObject", skip: 0, times: 2, answer: slow_down.clone() }]);
        assert_eq!(archive(&stack).await, json!({ "executions": 1, "failed": 0 }));
        remove_expired(&stack, |_| true).await;
        s3.script(vec![Rule { operation: "GetObject", skip: 0, times: 2, answer: slow_down.clone() }]);
        assert_eq!(told(&stack, &id).await, expected);
        s3.script(vec![Rule { operation: "GetObject", skip: 0, times: 100, answer: slow_down }]);
        let request = http::Request::builder().uri(format!("/api/v1/workflows/{id}/status"));
        let request = request.header("x-tenant-id", TENANT).body(axum::body::Body::empty()).unwrap();
        let (status, headers, answer) = stack.site.call(request).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        assert!(headers.contains_key("retry-after"));
    });
}

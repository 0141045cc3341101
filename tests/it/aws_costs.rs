//! What an execution costs on AWS: state transitions and requests, counted.

use std::collections::BTreeMap;

use aws_sdk_sfn::types::HistoryEventType;
use contracts::Status;
use serde_json::json;

use crate::aws::{self, Aws, Options, Stack};
use crate::commits;
use crate::lambda::Spent;
use crate::proxy::Seen;
use crate::subjects::{BULK_OPERATION, Subject};
use crate::world::{Control, ControlAction, Script, full_request, run};

/// What an execution, and moving it to the archive, may cost; what they cost is printed.
const MAX_WRITE_UNITS: f64 = 190.0;
const MAX_ARCHIVE_WRITE_UNITS: f64 = 80.0;

/// Write units of these requests.
fn written(seen: &[Seen]) -> f64 {
    let is_read = |operation: &str| ["GetItem", "BatchGetItem", "Query"].contains(&operation);
    units(seen).iter().filter(|(operation, _)| !is_read(operation)).map(|(_, (all, _))| all).sum()
}

/// Requests by operation.
fn counted(seen: &[Seen]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for request in seen {
        *counts.entry(request.target.rsplit('.').next().unwrap()).or_default() += 1;
    }
    counts
}

/// Capacity units by operation: all together, and the most that a single request took.
fn units(seen: &[Seen]) -> BTreeMap<&str, (f64, f64)> {
    let mut units = BTreeMap::new();
    for request in seen {
        let (all, most): &mut (f64, f64) = units.entry(request.target.rsplit('.').next().unwrap()).or_default();
        (*all, *most) = (*all + request.units, most.max(request.units));
    }
    units
}

/// How many states the execution entered, according to Step Functions; those of a Map's children are not among them.
async fn entries(aws: &Aws, stack: &Stack, id: &str) -> usize {
    let machine = Subject::of(id).name();
    let arn = format!("arn:aws:states:us-east-1:123456789012:execution:{}-{machine}:{id}", stack.prefix);
    let history = aws.sfn.get_execution_history().execution_arn(arn).max_results(1_000).send().await.unwrap();
    let entered = |kind: &HistoryEventType| kind.as_str().ends_with("StateEntered");
    history.events.iter().filter(|event| entered(&event.r#type)).count()
}

#[test]
fn a_success_enters_each_state_once_and_asks_little() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let proxies = stack.proxies.as_ref().unwrap();
        let id = stack.site.start(&full_request()).await;
        let started = proxies.dynamodb.take();
        // The first step may have begun already. How many are open is read before, and the mean at the same time, as neither is
        // known in this function yet.
        let of_start = counted(&started[..3]);
        let expected = [("GetItem", 1), ("Query", 1), ("TransactWriteItems", 1)].into();
        assert_eq!(of_start, expected, "a start is one transaction");
        let counting = started.iter().find(|request| request.target.ends_with("Query")).unwrap();
        println!("how many are open: {} read units", counting.units);
        assert!(counting.units <= 1.0, "{} read units", counting.units);
        let start = started.iter().find(|request| request.target.ends_with("TransactWriteItems")).unwrap();
        let writes = ["Put", "Put", "Update", "Put"];
        assert_eq!(start.writes, writes, "the record, its first event, a total, who started it");
        while stack.site.status(&id).await.status == Status::Running {}
        // Its mean duration is added after the end.
        crate::process::pause(std::time::Duration::from_secs(1)).await;
        let mut all = [started, proxies.dynamodb.take()].concat();
        all.retain(|request| !request.target.ends_with("BatchGetItem"));
        let counts = counted(&all);
        println!("DynamoDB: {counts:?}, largest request {} bytes", all.iter().map(|seen| seen.bytes).max().unwrap());
        let steps = 7;
        assert_eq!(counts["TransactWriteItems"], 1 + steps + 1, "the start, each step's end, the end");
        assert_eq!(counts["UpdateItem"], steps + 1, "each step's begin, the duration");
        assert_eq!(counts["GetItem"], 2, "the mean duration, the end");
        println!("DynamoDB: {:.1} write units", written(&all));
        assert!(written(&all) > 0.0 && written(&all) <= MAX_WRITE_UNITS, "{:?}", units(&all));
        assert!(all.len() <= 2 * steps + 6, "{} requests", all.len());
        assert_eq!(counted(&proxies.sfn.take()), [("StartExecution", 1)].into(), "its event tells how it ended");

        let start = all.iter().find(|request| request.target.ends_with("TransactWriteItems")).unwrap().units;
        let taken = units(&all);
        println!("capacity units, all and most: {taken:?}; the start {start}");
        // The execution's item holds its record, its request and what stands about each step, 2 to 3 KB of it, as a begin
        // and a status are one request each only if all of that is in one item: so 3 units for a begin (and one when it
        // leaves the index of what is pending), and twice as many in a transaction. Indices and the feed's copies count.
        let (_, most_of_a_begin) = taken["UpdateItem"];
        assert!(start > 0.0 && start <= 40.0, "a start takes {start}");
        assert!(most_of_a_begin <= 5.0, "a begin takes {most_of_a_begin}");
        let largest = all.iter().map(|seen| seen.bytes).max().unwrap();
        assert!(largest <= 4_096, "{largest} bytes in a request");

        stack.site.status(&id).await;
        let seen = proxies.dynamodb.take();
        assert_eq!(counted(&seen), [("BatchGetItem", 1)].into(), "a status is one request");
        println!("a status: {:?}", units(&seen));
        assert!(seen[0].units > 0.0 && seen[0].units <= 2.0, "a status takes {}", seen[0].units);
        let history = format!("/api/v1/workflows/history?workflow_id={id}&page_size=10");
        let (_, first) = stack.site.get(&history).await;
        let seen = proxies.dynamodb.take();
        assert_eq!(counted(&seen), [("Query", 1)].into(), "a history is one request");
        println!("a history: {:?}", units(&seen));
        assert!(seen[0].units > 0.0 && seen[0].units <= 3.0, "a history takes {}", seen[0].units);
        // The execution sorts before all of its events: what is not at the beginning is not beside it.
        let next = first["next_page_token"].as_str().unwrap();
        stack.site.get(&format!("{history}&page_token={next}")).await;
        assert_eq!(counted(&proxies.dynamodb.take()), [("GetItem", 1), ("Query", 1)].into(), "a later page is two");
        stack.site.get("/api/v1/workflows").await;
        let seen = proxies.dynamodb.take();
        assert_eq!(counted(&seen), [("BatchGetItem", 1), ("Query", 2)].into(), "keys, totals, records");
        println!("a list of one: {:?}", units(&seen));
        stack.site.get("/api/v1/workflows/history").await;
        let seen = proxies.dynamodb.take();
        assert_eq!(
            counted(&seen),
            [("BatchGetItem", 1), ("Query", 5)].into(),
            "events in four shards, totals, requests that they show"
        );
        println!("a feed of one: {:?}", units(&seen));
        assert!(proxies.sfn.take().is_empty(), "reading never asks the engine");
        assert_eq!(entries(aws, &stack, &id).await, steps);
        drop(proxies.dynamodb.take());
        let archived = stack.invoke("archive-executions", json!(null)).await.unwrap();
        assert_eq!(archived["executions"], 1, "{archived}");
        let archiving = proxies.dynamodb.take();
        println!("DynamoDB: {:.1} write units to archive it", written(&archiving));
        assert!(written(&archiving) > 0.0 && written(&archiving) <= MAX_ARCHIVE_WRITE_UNITS, "{:?}", units(&archiving));
        let spent = aws.lambda.spent(&stack.prefix);
        for (function, Spent { invocations, wall_ms, cpu_ms }) in &spent {
            println!("{function}: {invocations} invocations, {wall_ms:.1} ms, of which {cpu_ms:.1} ms CPU");
        }
        let others = ["get-workflow-status", "get-workflow-history", "list-workflows", "archive-executions"];
        let own = spent.iter().filter(|(function, _)| !others.contains(&function.as_str()));
        let once: Vec<u32> = own.map(|(_, spent)| spent.invocations).collect();
        assert_eq!(once, vec![1; 1 + steps + 1], "the start, each step, the end");
    });
}

/// A job of n batches enters three states, and each batch one of its own.
#[test]
fn a_batch_costs_one_state_and_few_requests() {
    const BATCHES: usize = 20;
    aws::run(|aws| async move {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let proxies = stack.proxies.as_ref().unwrap();
        let account = |number: usize| {
            let id = format!("counted-{number}");
            let data = json!({ "email": format!("{id}@example.com"), "name": "N", "role": "user" });
            json!({ "service": "auth", "entity_type": "account", "entity_id": id, "operation_data": data })
        };
        let mut request = (BULK_OPERATION.request)(0);
        request["target_entities"] = (0..2 * BATCHES).map(account).collect();
        let id = stack.site.start_of(&BULK_OPERATION, &request).await;
        stack.site.until_ended(&id).await;
        assert_eq!(stack.site.status(&id).await.result.unwrap()["batches_processed"], BATCHES);
        assert_eq!(entries(aws, &stack, &id).await, 3, "plan, Map, results");
        let mut all = proxies.dynamodb.take();
        all.retain(|request| !["BatchGetItem", "Query"].iter().any(|read| request.target.ends_with(read)));
        println!("DynamoDB: {:?} for {BATCHES} batches, {:.1} write units", counted(&all), written(&all));
        // The start stores the request, which is as large as it is.
        let steps = all.iter().filter(|seen| seen.target.ends_with("UpdateItem"));
        let largest = steps.map(|seen| seen.bytes).max().unwrap();
        assert!(largest <= 4_096, "{largest} bytes in a request");
        // A batch reads whether it may begin, begins, and ends.
        assert!(all.len() <= 3 * BATCHES + 16, "{} requests", all.len());
        let spent = aws.lambda.spent(&stack.prefix);
        assert_eq!(spent["process-bulk-batch"].invocations as usize, BATCHES, "each batch once");
    });
}

#[test]
fn a_compensation_enters_little_more_than_it_does() {
    let cancel = Control { during: "CreateSampleData".to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
    let script = Script { control: vec![cancel], ..Script::default() };
    let interpreted = run(commits::entries(script.clone()));
    aws::run(|aws| async move {
        let stack = aws.stack(Options { script, ..Options::default() }).await;
        let mut request = full_request();
        request["user_email"] = json!("cancelled@example.com");
        let id = stack.site.start(&request).await;
        stack.site.until_ended(&id).await;
        let entries = entries(aws, &stack, &id).await;
        println!("{entries} entries for 7 forward and 5 undo");
        assert!(entries <= 7 + 5 + 2, "{entries}");
        assert_eq!(entries, interpreted, "as the interpreter counts");
    });
}

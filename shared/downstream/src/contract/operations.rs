//! Whether an operation is done to many things, to each by itself.

use serde_json::{Value, json};

use super::answer::Answer;
use super::probe::Probe;
use super::request::Request;
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "operations.do-what-they-say",
        proves: "every operation that the workflows use is done, and the result says what became of the thing",
        change: "offer the operations of your types at POST /api/v1/operations/{operation}, and answer 'succeeded' \
                 with the outcome of the contract",
        run: |probe| Box::pin(do_what_they_say(probe)),
    },
    Rule {
        name: "operations.results-in-order",
        proves: "there is one result for each item, in the order of the items",
        change: "answer with the results in the order of the items: callers refuse any other order as mixed up",
        run: |probe| Box::pin(results_in_order(probe)),
    },
    Rule {
        name: "operations.each-item-by-itself",
        proves: "an item that fails does not keep the others from being done",
        change: "answer 200 and put what failed into its result ('failed', 'code', 'retryable'); take back that item \
                 only",
        run: |probe| Box::pin(each_item_by_itself(probe)),
    },
    Rule {
        name: "operations.unknown-operation",
        proves: "an operation that the service does not have is refused with 404",
        change: "answer 404 at POST /api/v1/operations/{operation} for operations of none of your types, never success",
        run: |probe| Box::pin(unknown_operation(probe)),
    },
    Rule {
        name: "operations.unknown-type",
        proves: "an item of a type that does not have the operation fails alone",
        change: "answer 'failed' with the code UnknownEntityType for that item",
        run: |probe| Box::pin(unknown_type(probe)),
    },
    Rule {
        name: "operations.dry-run-changes-nothing",
        proves: "with dry_run=true the results are those of a real run, and nothing happens",
        change: "do everything in a transaction that is rolled back at the end, the keys too",
        run: |probe| Box::pin(dry_run_changes_nothing(probe)),
    },
];

/// Does an operation to things of a type: pairs of id and key, and what the operation needs.
async fn operate(
    probe: &mut Probe,
    operation: &str,
    entity_type: &str,
    things: &[(&str, &str)],
    data: &Value,
) -> Result<Answer, Stop> {
    let items =
        things.iter().map(|(id, key)| json!({ "entity_type": entity_type, "entity_id": id, "key": key, "data": data }));
    let body = json!({ "items": items.collect::<Value>() });
    let keys = things.iter().map(|(_, key)| (*key).to_owned());
    probe.keys.extend(keys);
    probe.send(Request::post(format!("/operations/{operation}"), &body)).await
}

fn succeeded(answer: &Answer, key: &str, outcome: &str) -> Result<(), Stop> {
    let result = answer.result(1, key)?;
    let is_so = result["status"] == "succeeded" && result["outcome"] == outcome;
    answer.require(is_so, format!("the result 'succeeded' with the outcome '{outcome}'"))
}

async fn do_what_they_say(probe: &mut Probe) -> Result<(), Stop> {
    probe.needs_data_port()?;
    let id = probe.new_id();
    for step in (probe.example.operations)(&id) {
        let key = probe.new_id();
        probe.remember(step.entity_type, &id);
        let answer = operate(probe, step.operation, step.entity_type, &[(&id, &key)], &step.data).await?;
        // What the service names itself.
        if let Some(own) = answer.body.pointer("/results/0/data/notification_id").and_then(Value::as_str) {
            probe.remember(step.entity_type, own);
        }
        succeeded(&answer, &key, step.outcome)?;
    }
    Ok(())
}

async fn results_in_order(probe: &mut Probe) -> Result<(), Stop> {
    let mut things = Vec::new();
    for _ in 0..3 {
        let (id, _) = probe.given().await?;
        things.push((id, probe.new_id()));
    }
    things.rotate_left(1);
    let named: Vec<_> = things.iter().map(|(id, key)| (id.as_str(), key.as_str())).collect();
    let entity_type = probe.example.entity_type;
    let answer = operate(probe, "DataExport", entity_type, &named, &json!({})).await?;
    let results = answer.results(named.len())?.iter();
    let is_in_order =
        results.zip(&named).all(|(result, (id, key))| result["entity_id"] == *id && result["key"] == *key);
    answer.require(is_in_order, "'entity_id' and 'key' of each item at its place")
}

async fn each_item_by_itself(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let (unknown, lost, good) = (probe.new_id(), probe.new_id(), probe.new_id());
    let entity_type = probe.example.entity_type;
    let answer = operate(probe, "DataExport", entity_type, &[(&unknown, &lost), (&id, &good)], &json!({})).await?;
    let failed = answer.result(2, &lost)?;
    let is_failed = failed["status"] == "failed" && failed["code"] == "NotFound" && failed["retryable"] == false;
    answer.require(is_failed, "'failed', the code NotFound and 'retryable' false for what is not there")?;
    answer.require(answer.result(2, &good)?["status"] == "succeeded", "'succeeded' for the other item")
}

async fn unknown_operation(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key) = (probe.new_id(), probe.new_id());
    let entity_type = probe.example.entity_type;
    operate(probe, "ContractCheckUnknown", entity_type, &[(&id, &key)], &json!({})).await?.refused(404)
}

async fn unknown_type(probe: &mut Probe) -> Result<(), Stop> {
    probe.needs_data_port()?;
    let (id, key) = (probe.new_id(), probe.new_id());
    let answer = operate(probe, "DataExport", "contract_check_unknown", &[(&id, &key)], &json!({})).await?;
    let result = answer.result(1, &key)?;
    let is_failed = result["status"] == "failed" && result["code"] == "UnknownEntityType";
    answer.require(is_failed, "'failed' with the code UnknownEntityType")
}

async fn dry_run_changes_nothing(probe: &mut Probe) -> Result<(), Stop> {
    probe.needs_data_port()?;
    let (id, key, entity_type) = (probe.new_id(), probe.new_id(), probe.example.entity_type);
    probe.remember(entity_type, &id);
    let data = json!({ "record": (probe.example.record)(&id) });
    let tried = operate(probe, "DataImport?dry_run=true", entity_type, &[(&id, &key)], &data).await?;
    succeeded(&tried, &key, "created")?;
    tried.require(probe.find(&id).await?.is_none(), "that nothing is there after it was only tried")?;
    let real = operate(probe, "DataImport", entity_type, &[(&id, &key)], &data).await?;
    succeeded(&real, &key, "created")?;
    real.require(probe.find(&id).await?.is_some(), "that the thing is there after the real run by the same key")
}

//! Whether a call that comes twice has one effect.

use serde_json::json;

use super::probe::Probe;
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "idempotence.repeats-the-first-answer",
        proves: "the same call with the same Idempotency-Key has one effect and the first answer",
        change: "store the answer under tenant and key in the transaction of the effect, and answer a repetition \
                 with it",
        run: |probe| Box::pin(repeats_the_first_answer(probe)),
    },
    Rule {
        name: "idempotence.refuses-another-request",
        proves: "a key that has been used for another request is refused with 422",
        change: "store a hash of method, path, tenant and canonical body with the key, and refuse another one with 422",
        run: |probe| Box::pin(refuses_another_request(probe)),
    },
    Rule {
        name: "idempotence.of-each-item",
        proves: "an item that comes twice by the same key has one effect and the first result",
        change: "treat the 'key' of each item as calls about one thing treat their Idempotency-Key; another item by \
                 a used key is 'failed' with the code KeyReused",
        run: |probe| Box::pin(of_each_item(probe)),
    },
];

async fn repeats_the_first_answer(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key) = (probe.new_id(), probe.new_id());
    let first = probe.create(&id, &key).await?;
    first.done()?;
    let again = probe.create(&id, &key).await?;
    let is_same = first.status == again.status && first.body == again.body;
    again.require(is_same, "status and body of the first answer to this key")
}

async fn refuses_another_request(probe: &mut Probe) -> Result<(), Stop> {
    let (id, other, key) = (probe.new_id(), probe.new_id(), probe.new_id());
    probe.create(&id, &key).await?.done()?;
    probe.create(&other, &key).await?.refused(422)
}

async fn of_each_item(probe: &mut Probe) -> Result<(), Stop> {
    probe.needs_data_port()?;
    let (id, key) = (probe.new_id(), probe.new_id());
    let item = json!({ "id": id, "key": key, "data": (probe.example.record)(&id) });
    let first = probe.change("import", json!({}), std::slice::from_ref(&item)).await?;
    let again = probe.change("import", json!({}), std::slice::from_ref(&item)).await?;
    again.require(first.result(1, &key)? == again.result(1, &key)?, "the first result of this key")?;
    let other = probe.new_id();
    let item = json!({ "id": other, "key": key, "data": (probe.example.record)(&other) });
    let reused = probe.change("import", json!({}), &[item]).await?;
    let result = reused.result(1, &key)?;
    let is_refused = result["status"] == "failed" && result["code"] == "KeyReused";
    reused.require(is_refused, "'failed' with the code KeyReused for another item by the same key")
}

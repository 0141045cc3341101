//! Whether what a key did can be undone by naming the key.

use serde_json::Value;

use super::probe::Probe;
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "undo.takes-back-a-creation",
        proves: "DELETE /api/v1/effects/{key} takes back what the call with this key created",
        change: "remember under each key what it did, and revert that; answer {\"undone\": true, \"undone_at\": ...}",
        run: |probe| Box::pin(takes_back_a_creation(probe)),
    },
    Rule {
        name: "undo.says-the-same-again",
        proves: "an undo that is repeated gives the first answer",
        change: "keep the answer of the first undo with the tombstone and give it again: an undo may be delivered \
                 twice",
        run: |probe| Box::pin(says_the_same_again(probe)),
    },
    Rule {
        name: "undo.leaves-a-tombstone",
        proves: "a call that arrives after its undo does nothing and is refused with 410",
        change: "store the key as undone even if it has done nothing yet, answer {\"undone\": false, ...}, and \
                 refuse a call with that key from then on with 410",
        run: |probe| Box::pin(leaves_a_tombstone(probe)),
    },
    Rule {
        name: "undo.restores-what-was-before",
        proves: "the undo of a change restores what was there before it",
        change: "store the thing as it was before each change (its before-image) and restore it",
        run: |probe| Box::pin(restores_what_was_before(probe)),
    },
    Rule {
        name: "undo.refuses-what-has-changed-since",
        proves: "an undo that would take back somebody else's later change is refused with 409",
        change: "compare: restore a before-image only if nothing has changed the thing since, else answer 409 and \
                 change nothing",
        run: |probe| Box::pin(refuses_what_has_changed_since(probe)),
    },
];

async fn takes_back_a_creation(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key) = (probe.new_id(), probe.new_id());
    let created = probe.create(&id, &key).await?;
    created.done()?;
    let id = probe.things.last().map_or(id, |(_, id)| id.clone());
    let undone = probe.undo(&key).await?;
    undone.require(undone.done()?["undone"] == true, "'undone' true")?;
    undone.require(undone.body["undone_at"].is_string(), "a time as 'undone_at'")?;
    probe.needs_data_port()?;
    undone.require(probe.find(&id).await?.is_none(), "that the thing is gone afterwards")
}

async fn says_the_same_again(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key) = (probe.new_id(), probe.new_id());
    probe.create(&id, &key).await?.done()?;
    let first = probe.undo(&key).await?;
    first.done()?;
    let again = probe.undo(&key).await?;
    let field = |body: &Value| (body["undone"].clone(), body["undone_at"].clone());
    again.require(field(again.done()?) == field(&first.body), "'undone' and 'undone_at' of the first undo")
}

async fn leaves_a_tombstone(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key) = (probe.new_id(), probe.new_id());
    let undone = probe.undo(&key).await?;
    undone.require(undone.done()?["undone"] == false, "'undone' false for a key that has done nothing")?;
    probe.create(&id, &key).await?.refused(410)
}

async fn restores_what_was_before(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let before = probe.find(&id).await?;
    let key = probe.put(&id, changed(probe, &id)).await?;
    let undone = probe.undo(&key).await?;
    undone.require(undone.done()?["undone"] == true, "'undone' true")?;
    let after = probe.find(&id).await?;
    let data = |thing: Option<Value>| thing.map(|thing| thing["data"].clone());
    undone.require(data(before) == data(after), "that the data are what they were before the change")
}

async fn refuses_what_has_changed_since(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let first = probe.put(&id, changed(probe, &id)).await?;
    let second = probe.put(&id, (probe.example.record)(&id)).await?;
    probe.undo(&first).await?.refused(409)?;
    let undone = probe.undo(&second).await?;
    undone.require(undone.done()?["undone"] == true, "'undone' true for the last change")?;
    let undone = probe.undo(&first).await?;
    undone.require(undone.done()?["undone"] == true, "'undone' true once the later change is undone")
}

/// The record with another value in its first field that may change.
fn changed(probe: &Probe, id: &str) -> Value {
    let mut record = (probe.example.record)(id);
    if let Some((field, value)) = (probe.example.changes)(id).into_iter().next() {
        record[field] = value;
    }
    record
}

//! Whether the service writes down what happens to a person's things.

use serde_json::json;

use super::probe::Probe;
use super::request::{ACTOR, Request};
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "logs.modifications",
        proves: "GET /api/v1/logs?kind=modification tells of changes, of whom, by whom and by which key",
        change: "write an entry in the transaction of each change: kind, at, entity_type, entity_id, subject, \
                 action, actor, key",
        run: |probe| Box::pin(modifications(probe)),
    },
    Rule {
        name: "logs.deletions",
        proves: "GET /api/v1/logs?kind=deletion tells of deletions",
        change: "write an entry of the kind deletion in the transaction of each deletion: it proves an erasure",
        run: |probe| Box::pin(deletions(probe)),
    },
    Rule {
        name: "logs.exports",
        proves: "GET /api/v1/logs?kind=export tells of pages that were read with purpose=export",
        change: "write an entry of the kind export for each thing of a page that is asked for with purpose=export",
        run: |probe| Box::pin(exports(probe)),
    },
];

/// Looks for an entry of this kind about the thing, which is its own subject.
async fn has_entry(probe: &mut Probe, kind: &str, id: &str, key: Option<&str>) -> Result<(), Stop> {
    let answer = probe.send(Request::get(format!("/logs?kind={kind}&subject={id}&limit=1000"))).await?;
    let entity_type = probe.example.entity_type;
    let entry = answer.list("entries")?.iter().find(|entry| {
        entry["entity_type"] == entity_type && entry["entity_id"] == id && key.is_none_or(|key| entry["key"] == key)
    });
    let entry = entry.ok_or_else(|| answer.broken(format!("an entry about the {entity_type} and its key")))?;
    answer.require(entry["kind"] == kind, format!("the kind {kind}"))?;
    answer.require(entry["at"].is_string() && entry["action"].is_string(), "'at' and 'action' in the entry")?;
    answer.require(entry["actor"] == ACTOR, "the X-User-ID of the request as 'actor'")
}

async fn modifications(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key) = probe.given().await?;
    has_entry(probe, "modification", &id, Some(&key)).await
}

async fn deletions(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let key = probe.new_id();
    let item = json!({ "id": id, "key": key });
    probe.change("delete", json!({}), &[item]).await?.result(1, &key)?;
    has_entry(probe, "deletion", &id, Some(&key)).await
}

async fn exports(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let path = format!("/data/{}?subject={id}&purpose=export", probe.example.entity_type);
    probe.send(Request::get(path)).await?.done()?;
    has_entry(probe, "export", &id, None).await
}

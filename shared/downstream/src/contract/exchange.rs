//! Whether things can be taken in, deleted and masked.

use serde_json::{Value, json};

use super::answer::Answer;
use super::probe::Probe;
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "import.shows-what-came",
        proves: "what POST /api/v1/data/{type}/import takes in is handed out the same",
        change: "store every field of 'data' and show it in GET /api/v1/data/{type}: restores and migrations copy \
                 things so",
        run: |probe| Box::pin(shows_what_came(probe)),
    },
    Rule {
        name: "import.keeps-what-is-there",
        proves: "'on_conflict' decides what becomes of a thing that is there: fail, skip or overwrite",
        change: "fail: 'failed' with the code Conflict; skip: 'skipped'; overwrite: 'updated', with the thing as it \
                 was in 'before' if 'before_images' is true",
        run: |probe| Box::pin(keeps_what_is_there(probe)),
    },
    Rule {
        name: "import.checks-the-version",
        proves: "an item with 'if_version' changes that version and no other",
        change: "count a version of each thing and answer 'failed' with the code VersionMismatch if 'if_version' is \
                 another one",
        run: |probe| Box::pin(checks_the_version(probe)),
    },
    Rule {
        name: "delete.takes-away",
        proves: "POST /api/v1/data/{type}/delete deletes things, and says so of those that are not there",
        change: "answer 'deleted' with the thing as it was in 'before' if 'before_images' is true, and 'failed' with \
                 the code NotFound for what is not there; an undo by the item's key brings it back",
        run: |probe| Box::pin(takes_away(probe)),
    },
    Rule {
        name: "mask.hides-the-field",
        proves: "POST /api/v1/data/{type}/mask makes a personal field unreadable and leaves the others",
        change: "replace the field as 'fields' says (redact, hash or null) and answer 'updated'",
        run: |probe| Box::pin(hides_the_field(probe)),
    },
];

/// Whether the thing has every field of the record.
fn holds(thing: Option<&Value>, record: &Value) -> bool {
    let Some(thing) = thing else { return false };
    record.as_object().into_iter().flatten().all(|(name, value)| thing["data"][name] == *value)
}

fn became(answer: &Answer, key: &str, status: &str, code: Option<&str>) -> Result<(), Stop> {
    let result = answer.result(1, key)?;
    let is_so = result["status"] == status && code.is_none_or(|code| result["code"] == code);
    let code = code.map(|code| format!(" with the code {code}")).unwrap_or_default();
    answer.require(is_so, format!("the result '{status}'{code}"))
}

async fn shows_what_came(probe: &mut Probe) -> Result<(), Stop> {
    probe.needs_data_port()?;
    let (id, key) = (probe.new_id(), probe.new_id());
    let record = (probe.example.record)(&id);
    let item = json!({ "id": id, "key": key, "data": record });
    let answer = probe.change("import", json!({}), &[item]).await?;
    became(&answer, &key, "created", None)?;
    let found = probe.find(&id).await?;
    answer.require(holds(found.as_ref(), &record), "that GET /api/v1/data/{type} shows the fields as they came")
}

async fn keeps_what_is_there(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let record = (probe.example.record)(&id);
    let mut other = record.clone();
    for (field, value) in (probe.example.changes)(&id) {
        other[field] = value;
    }
    for (on_conflict, status, code) in [("fail", "failed", Some("Conflict")), ("skip", "skipped", None)] {
        let key = probe.new_id();
        let item = json!({ "id": id, "key": key, "data": other });
        let answer = probe.change("import", json!({ "on_conflict": on_conflict }), &[item]).await?;
        became(&answer, &key, status, code)?;
        let found = probe.find(&id).await?;
        answer.require(holds(found.as_ref(), &record), "that the thing stays as it was")?;
    }
    let key = probe.new_id();
    let item = json!({ "id": id, "key": key, "data": other });
    let common = json!({ "on_conflict": "overwrite", "before_images": true });
    let answer = probe.change("import", common, &[item]).await?;
    became(&answer, &key, "updated", None)?;
    let before = json!({ "data": answer.result(1, &key)?["before"] });
    answer.require(holds(Some(&before), &record), "the thing as it was in 'before'")?;
    let found = probe.find(&id).await?;
    answer.require(holds(found.as_ref(), &other), "that the thing has the new fields")
}

async fn checks_the_version(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let thing = probe.find(&id).await?.unwrap_or_default();
    let Some(version) = thing["version"].as_i64() else {
        return Err(Stop::Skipped("the items of GET /api/v1/data/{type} have no number as 'version'".to_owned()));
    };
    let record = (probe.example.record)(&id);
    let mut other = record.clone();
    for (field, value) in (probe.example.changes)(&id) {
        other[field] = value;
    }
    let overwrite = || json!({ "on_conflict": "overwrite" });
    let (wrong, right) = (probe.new_id(), probe.new_id());
    let item = json!({ "id": id, "key": wrong, "data": other, "if_version": version + 7 });
    let answer = probe.change("import", overwrite(), &[item]).await?;
    became(&answer, &wrong, "failed", Some("VersionMismatch"))?;
    let found = probe.find(&id).await?;
    answer.require(holds(found.as_ref(), &record), "that the thing stays as it was")?;
    let item = json!({ "id": id, "key": right, "data": other, "if_version": version });
    let answer = probe.change("import", overwrite(), &[item]).await?;
    became(&answer, &right, "updated", None)
}

async fn takes_away(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let (first, second) = (probe.new_id(), probe.new_id());
    let item = json!({ "id": id, "key": first });
    let answer = probe.change("delete", json!({ "before_images": true }), &[item]).await?;
    became(&answer, &first, "deleted", None)?;
    let before = json!({ "data": answer.result(1, &first)?["before"] });
    answer.require(holds(Some(&before), &(probe.example.record)(&id)), "the thing as it was in 'before'")?;
    answer.require(probe.find(&id).await?.is_none(), "that the thing is gone afterwards")?;
    let item = json!({ "id": id, "key": second });
    let answer = probe.change("delete", json!({}), &[item]).await?;
    became(&answer, &second, "failed", Some("NotFound"))
}

async fn hides_the_field(probe: &mut Probe) -> Result<(), Stop> {
    let Some(path) = probe.example.masked else {
        return Err(Stop::Skipped(format!("'{}' has no personal field", probe.example.entity_type)));
    };
    let (id, _) = probe.given().await?;
    let before = probe.find(&id).await?.unwrap_or_default();
    let key = probe.new_id();
    let item = json!({ "id": id, "key": key });
    let answer = probe.change("mask", json!({ "fields": { path: "redact" } }), &[item]).await?;
    became(&answer, &key, "updated", None)?;
    let after = probe.find(&id).await?.unwrap_or_default();
    let pointer = format!("/data/{}", path.replace('.', "/"));
    let is_hidden = after["data"].is_object() && after.pointer(&pointer) != before.pointer(&pointer);
    answer.require(is_hidden, format!("that '{path}' cannot be read any more"))?;
    let root = path.split('.').next().unwrap_or(path);
    let others = |thing: &Value| {
        let mut data = thing["data"].as_object().cloned().unwrap_or_default();
        data.remove(root);
        data
    };
    answer.require(others(&after) == others(&before), "that the other fields stay as they are")
}

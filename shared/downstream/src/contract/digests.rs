//! Whether one number tells whether two services hold the same.

use contracts::document::canonical;
use contracts::effect::sha256_hex;
use serde_json::{Value, json};

use super::answer::Answer;
use super::probe::Probe;
use super::request::Request;
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "digests.every-field-counts",
        proves: "GET /api/v1/data/{type}/digest changes with every field",
        change: "hash, in the order of ids, {\"data\", \"id\", \"references\"} of each thing as canonical JSON with \
                 a line break, and leave no field out: verification after a migration sees only what is hashed",
        run: |probe| Box::pin(every_field_counts(probe)),
    },
    Rule {
        name: "digests.only-content-counts",
        proves: "a digest does not depend on versions and times of change",
        change: "leave 'version' and 'updated_at' out of the hash: the copy of a thing has others than the original",
        run: |probe| Box::pin(only_content_counts(probe)),
    },
    Rule {
        name: "digests.ranges",
        proves: "a digest is about the ids from 'from_id' (included) to 'to_id' (not included), and counts them",
        change: "apply the same selection as GET /api/v1/data/{type}, and answer how many things there are as 'count'",
        run: |probe| Box::pin(ranges(probe)),
    },
    Rule {
        name: "digests.limits",
        proves: "a digest with 'limit' is about the first things, and tells the last of them as 'last_id'",
        change: "hash at most 'limit' things, in the order of ids, and answer the id of the last one: synchronisations go \
                 on from there",
        run: |probe| Box::pin(limits(probe)),
    },
    Rule {
        name: "digests.names",
        proves: "with 'as.<name>=<path>' a digest is about what is at these paths, under these names",
        change: "hash {\"data\": {name: value or null}, \"id\"} of each thing: a thing and a copy of some of its fields \
                 then have the same digest",
        run: |probe| Box::pin(names(probe)),
    },
];

/// The digest of these ids.
async fn digest(probe: &mut Probe, from: &str, to: &str) -> Result<Answer, Stop> {
    let path = format!("/data/{}/digest?from_id={from}&to_id={to}", probe.example.entity_type);
    let answer = probe.send(Request::get(path)).await?;
    let is_right = answer.done()?["count"].is_u64() && answer.body["sha256"].as_str().is_some_and(is_sha256);
    answer.require(is_right, "a number as 'count' and 64 hexadecimal digits as 'sha256'")?;
    Ok(answer)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The digest of one thing.
async fn digest_of(probe: &mut Probe, id: &str) -> Result<Answer, Stop> {
    digest(probe, id, &format!("{id}~")).await
}

async fn every_field_counts(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let record = (probe.example.record)(&id);
    let before = digest_of(probe, &id).await?.body["sha256"].clone();
    for (field, value) in (probe.example.changes)(&id) {
        let mut other: Value = record.clone();
        other[field] = value;
        probe.put(&id, other).await?;
        let answer = digest_of(probe, &id).await?;
        answer.require(answer.body["sha256"] != before, format!("another 'sha256' after a change of '{field}'"))?;
    }
    Ok(())
}

async fn only_content_counts(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let complete = probe.find(&id).await?.unwrap_or_default()["data"].clone();
    let before = digest_of(probe, &id).await?.body["sha256"].clone();
    let mut other = complete.clone();
    for (field, value) in (probe.example.changes)(&id) {
        other[field] = value;
    }
    probe.put(&id, other).await?;
    probe.put(&id, complete).await?;
    let answer = digest_of(probe, &id).await?;
    answer.require(answer.body["sha256"] == before, "the first 'sha256' once all fields are what they were")
}

async fn ranges(probe: &mut Probe) -> Result<(), Stop> {
    let (first, _) = probe.given().await?;
    let (second, _) = probe.given().await?;
    let after = format!("{second}~");
    for (from, to, count) in [(&first, &after, 2), (&first, &second, 1), (&second, &after, 1), (&first, &first, 0)] {
        let answer = digest(probe, from, to).await?;
        answer.require(answer.body["count"] == count, format!("'count' {count}"))?;
    }
    Ok(())
}

async fn limits(probe: &mut Probe) -> Result<(), Stop> {
    let (first, _) = probe.given().await?;
    let (second, _) = probe.given().await?;
    let path = format!("/data/{}/digest?from_id={first}&to_id={second}~&limit=1", probe.example.entity_type);
    let answer = probe.send(Request::get(path)).await?;
    let is_first = answer.done()?["count"] == 1 && answer.body["last_id"] == first.as_str();
    answer.require(is_first, format!("'count' 1 and 'last_id' {first}"))
}

async fn names(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let data = probe.find(&id).await?.unwrap_or_default()["data"].clone();
    let Some((field, value)) = data.as_object().and_then(|fields| fields.iter().next()) else { return Ok(()) };
    let path =
        format!("/data/{}/digest?from_id={id}&to_id={id}~&as.x={field}&as.y=no.such.field", probe.example.entity_type);
    let answer = probe.send(Request::get(path)).await?;
    let line = json!({ "data": { "x": value, "y": null }, "id": id });
    let expected = sha256_hex(format!("{}\n", canonical(&line)).as_bytes());
    let found = answer.done()?["sha256"].clone();
    answer.require(found == expected.as_str(), format!("as 'sha256' {expected}: that of {line} and a line break"))
}

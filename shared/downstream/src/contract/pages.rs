//! Whether everything can be read page by page.

use std::collections::BTreeSet;

use serde_json::json;

use super::answer::Answer;
use super::probe::Probe;
use super::request::Request;
use super::{Rule, Stop};

/// How many things are read, and how many a page has.
const THINGS: usize = 5;
const LIMIT: usize = 2;
/// How many pages of changes are read.
const MAX_PAGES: u32 = 100;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "pages.cursor-ends",
        proves: "whoever follows 'next_cursor' comes to an end",
        change: "give a cursor only if there is more, and let it begin after the last item of its page",
        run: |probe| Box::pin(cursor_ends(probe)),
    },
    Rule {
        name: "pages.each-thing-once",
        proves: "the pages of GET /api/v1/data/{type} show every thing once, by id, at most 'limit' on each",
        change: "order by id and continue strictly after the last id: an export that loses or doubles things is wrong",
        run: |probe| Box::pin(each_thing_once(probe)),
    },
    Rule {
        name: "pages.filters",
        proves: "'subject' and 'filter.<field>' leave only what they name",
        change: "apply all of 'subject', 'filter.<field>', 'from_id' (included) and 'to_id' (not included) together: \
                 what is exported or erased is selected by them",
        run: |probe| Box::pin(filters(probe)),
    },
    Rule {
        name: "pages.changed-since",
        proves: "'changed_since' a watermark shows what has changed and been deleted since then",
        change: "number the changes of the service, answer with the last number as 'watermark', and list deleted \
                 things in 'deletions'",
        run: |probe| Box::pin(changed_since(probe)),
    },
];

/// The pages of one question, up to the end or to a cursor that has been there before.
struct Walk {
    pages: Vec<Answer>,
    is_endless: bool,
}

/// Things whose ids have a common beginning. That, and the ids in order.
async fn several(probe: &mut Probe) -> Result<(String, Vec<String>), Stop> {
    probe.needs_data_port()?;
    let first = probe.new_id();
    let ids: Vec<_> = (1..=THINGS).map(|number| format!("{first}-{number}")).collect();
    for id in &ids {
        let record = (probe.example.record)(id);
        probe.put(id, record).await?;
    }
    Ok((first, ids))
}

async fn walk(probe: &mut Probe, first: &str) -> Result<Walk, Stop> {
    // The character after '-' is '.'.
    let path = format!("/data/{}?from_id={first}-&to_id={first}.&limit={LIMIT}", probe.example.entity_type);
    let (mut cursor, mut seen, mut pages) = (String::new(), BTreeSet::new(), Vec::new());
    loop {
        let answer = probe.send(Request::get(format!("{path}{cursor}"))).await?;
        answer.list("items")?;
        let next = answer.body["next_cursor"].as_str().map(encode);
        pages.push(answer);
        let Some(next) = next else { return Ok(Walk { pages, is_endless: false }) };
        cursor = format!("&cursor={next}");
        if !seen.insert(next) || pages.len() > 2 * THINGS {
            return Ok(Walk { pages, is_endless: true });
        }
    }
}

/// A cursor as it stands in a query.
fn encode(cursor: &str) -> String {
    let encoded = cursor.bytes().map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

async fn cursor_ends(probe: &mut Probe) -> Result<(), Stop> {
    let (first, _) = several(probe).await?;
    let Walk { pages, is_endless } = walk(probe, &first).await?;
    let last = pages.last().filter(|_| is_endless);
    last.map_or(Ok(()), |last| Err(last.broken("no 'next_cursor' after the last thing, and none twice")))
}

async fn each_thing_once(probe: &mut Probe) -> Result<(), Stop> {
    let (first, ids) = several(probe).await?;
    let Walk { pages, is_endless } = walk(probe, &first).await?;
    if is_endless {
        return Err(Stop::Skipped("the cursors have no end".to_owned()));
    }
    let mut shown = Vec::new();
    for page in &pages {
        let items = page.list("items")?;
        page.require(items.len() <= LIMIT, format!("at most {LIMIT} items, as 'limit' says"))?;
        shown.extend(items.iter().map(|item| item["id"].as_str().unwrap_or_default()));
        let is_right = shown.len() <= ids.len() && shown.iter().zip(&ids).all(|(shown, id)| shown == id);
        page.require(is_right, "the next things by id, none of them twice")?;
    }
    match pages.last() {
        Some(last) => last.require(shown.len() == ids.len(), "every thing by the last page"),
        None => Ok(()),
    }
}

async fn filters(probe: &mut Probe) -> Result<(), Stop> {
    let (first, ids) = several(probe).await?;
    let (field, value) = probe.example.filter;
    let other = "contract-check-nobody";
    let entity_type = probe.example.entity_type;
    for (filter, expected) in [
        (format!("subject={}", ids[1]), &ids[1..2]),
        (format!("filter.{field}={value}"), &ids[..]),
        (format!("filter.{field}={other}"), &[]),
        (format!("subject={}&filter.{field}={other}", ids[1]), &[]),
    ] {
        let path = format!("/data/{entity_type}?from_id={first}-&to_id={first}.&{filter}");
        let answer = probe.send(Request::get(path)).await?;
        let shown: Vec<_> = answer.list("items")?.iter().filter_map(|item| item["id"].as_str()).collect();
        answer.require(shown == expected, format!("{} items, those that the question names", expected.len()))?;
    }
    Ok(())
}

async fn changed_since(probe: &mut Probe) -> Result<(), Stop> {
    let (changed, _) = probe.given().await?;
    let (deleted, _) = probe.given().await?;
    let (untouched, _) = probe.given().await?;
    let entity_type = probe.example.entity_type;
    let answer = probe.send(Request::get(format!("/data/{entity_type}?limit=1"))).await?;
    let Some(watermark) = answer.done()?["watermark"].as_str().map(encode) else {
        return Err(answer.broken("the last change as 'watermark'"));
    };
    let mut record = (probe.example.record)(&changed);
    if let Some((field, value)) = (probe.example.changes)(&changed).into_iter().next() {
        record[field] = value;
    }
    probe.put(&changed, record).await?;
    let item = json!({ "id": deleted, "key": probe.new_id() });
    probe.change("delete", json!({}), &[item]).await?.results(1)?;
    // Others may work with the service meanwhile: these three are looked for, and nothing is said of more.
    let path = format!("/data/{entity_type}?changed_since={watermark}&limit=1000");
    let (mut shown, mut cursor) = (BTreeSet::new(), String::new());
    let mut answer = probe.send(Request::get(&path)).await?;
    for _ in 0..MAX_PAGES {
        for list in ["items", "deletions"] {
            let ids = answer.list(list)?.iter().filter_map(|entry| entry["id"].as_str());
            let own = ids.filter(|id| [&changed, &deleted, &untouched].into_iter().any(|own| own == id));
            shown.extend(own.map(|id| (list, id.to_owned())));
        }
        let Some(next) = answer.body["next_cursor"].as_str().map(encode) else { break };
        if next == cursor {
            break;
        }
        answer = probe.send(Request::get(format!("{path}&cursor={next}"))).await?;
        cursor = next;
    }
    let is_shown = |list: &'static str, id: &str| shown.contains(&(list, id.to_owned()));
    answer.require(is_shown("items", &changed), "the changed thing among 'items'")?;
    let is_deleted = is_shown("deletions", &deleted) && !is_shown("items", &deleted);
    answer.require(is_deleted, "the deleted thing in 'deletions' only")?;
    answer.require(!is_shown("items", &untouched), "nothing that has not changed since the watermark")
}

//! Deletes or masks a person's things of one type, and what mentions the person in other things.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contracts::dataset::{Category, DatasetType, at, is_own, mentioned};
use contracts::holds::Hold;
use contracts::{ActivityError, ErrorName};
use downstream::data::{DeleteItem, ImportStatus, Imported, Page, PageOf, Thing, Within, delete, mask, page};
use serde_json::{Value, json};

use super::page::{page as personal_page, service_of};
use super::plan::holds;
use super::strategy::{Fate, fate_of};
use super::{Doing, Held, Plan, Referring, SetState, files};
use crate::Context;
use crate::compliance::selection::Question;
use crate::files::{lost, unfinished};
use crate::restore::mark_of;
use crate::sets::{SetInput, report};
use crate::things::{key_of, step_of};

/// How long one attempt works before it says that it is to be called again.
const SLICE: Duration = Duration::from_secs(30);

/// Erases the person's things of a type: answers `{completed, failed}`.
pub(crate) async fn erase(context: &Context<'_>) -> Result<Value, ActivityError> {
    let input: SetInput = context.input()?;
    let number = input.number();
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    let of = plan.sets.get(number).ok_or_else(|| lost("a type of the plan"))?;
    let state_file = files.state(number as u64)?;
    let mut state: SetState = files.read(&state_file).await?.unwrap_or_default();
    if let Some(error) = input.given_up {
        state.failure = Some(error);
        files.write_json(&state_file, &state).await?;
    } else {
        let before = before(context, &plan, of).await?;
        if !state.is_done && before.is_left {
            state.residue.add(&of.service, &of.entity_type, "Blocked");
            state.is_done = true;
            files.write_json(&state_file, &state).await?;
        }
        let erasing = Erasing { context, plan: &plan, of, held_before: before.held_by };
        let began = context.clock.instant();
        while !state.is_done {
            erasing.some(&mut state, number).await?;
            files.write_json(&state_file, &state).await?;
            if !state.is_done && context.clock.instant().since(began) >= SLICE {
                return Err(unfinished(0));
            }
        }
    }
    let completed = state.deleted + state.masked + state.retained + state.held;
    let failed = state.residue.count + u64::from(state.failure.is_some());
    report(context, completed, failed)?;
    Ok(json!({ "completed": completed, "failed": failed }))
}

struct Erasing<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    of: &'a DatasetType,
    /// The legal holds of what is to go before.
    held_before: BTreeSet<String>,
}

/// What is still there of the types that are to go before one.
#[derive(Default)]
struct Before {
    /// Something could not be erased: what it hangs on must stay.
    is_left: bool,
    /// Something stays because of these legal holds: what it hangs on stays as long.
    held_by: BTreeSet<String>,
}

async fn before(context: &Context<'_>, plan: &Plan, of: &DatasetType) -> Result<Before, ActivityError> {
    let (files, mut found) = (files(context), Before::default());
    let sets = plan.sets.iter().enumerate().filter(|(_, before)| of.after.contains(&before.name()));
    for (number, _) in sets {
        let state: SetState = files.read_state(number).await?.unwrap_or_default();
        found.is_left |= !state.is_done || state.failure.is_some() || state.residue.count > 0;
        found.held_by.extend(state.held_by);
    }
    Ok(found)
}

impl Erasing<'_> {
    /// Does one page.
    async fn some(&self, state: &mut SetState, number: usize) -> Result<(), ActivityError> {
        if state.under_way.is_empty() {
            let Some(question) = Question::number(self.of, state.question) else {
                state.is_done = true;
                return Ok(());
            };
            // What only mentions the person stays, if some of the person's things stay as well.
            if !self.plan.is_whole && question != Question::Own {
                state.is_done = true;
                return Ok(());
            }
            let cursor = state.cursor.as_deref();
            let Page { items, next_cursor, .. } =
                personal_page(self.context, self.of, &self.plan.subject, question, cursor).await?;
            // As they are now: one that was placed after the plan holds too.
            let active = holds(self.context, &self.plan.subject).await?;
            for thing in items {
                if question == Question::Own {
                    state.addresses.extend(addresses(self.of, &thing.data));
                }
                let holds = self.holds(&active, &thing.id);
                if !holds.is_empty() {
                    state.held += 1;
                    state.held_by.extend(holds.iter().cloned());
                    state.held_marks.insert(mark_of(&self.of.service, &self.of.entity_type, &thing.id));
                    state.held_things.push(Held { id: thing.id, holds });
                    continue;
                }
                match self.doing(question, &thing).await? {
                    Ok(Some(doing)) => state.under_way.push(doing),
                    Ok(None) => state.retained += 1,
                    Err(reason) => state.residue.add(&self.of.service, &self.of.entity_type, reason),
                }
            }
            if next_cursor.is_none() {
                state.question += 1;
            }
            state.cursor = next_cursor;
            // Before the first call: the counts must be true, whatever is interrupted.
            let files = files(self.context);
            files.write_json(&files.state(number as u64)?, state).await?;
        }
        let (masked, deleted): (Vec<Doing>, Vec<Doing>) =
            std::mem::take(&mut state.under_way).into_iter().partition(|doing| !doing.mask.is_empty());
        self.delete(&deleted, state).await?;
        let mut ways: Vec<&BTreeMap<String, String>> = masked.iter().map(|doing| &doing.mask).collect();
        ways.sort();
        ways.dedup();
        for way in ways {
            let alike: Vec<&Doing> = masked.iter().filter(|doing| doing.mask == *way).collect();
            self.mask(&alike, way, state).await?;
        }
        Ok(())
    }

    /// What is done with a thing; nothing if it stays as it is. Or why it cannot be erased.
    async fn doing(
        &self,
        question: Question,
        thing: &Thing,
    ) -> Result<Result<Option<Doing>, &'static str>, ActivityError> {
        let of = |mask| Ok(Some(Doing { id: thing.id.clone(), mask }));
        let is_own = is_own(self.of, &thing.data, &self.plan.subject);
        Ok(match question {
            Question::Own => match fate_of(self.of) {
                Fate::Deleted if self.holds_others(thing).await? => Err("OthersBelongToIt"),
                Fate::Deleted => of(BTreeMap::new()),
                Fate::Masked(fields) => of(fields),
                Fate::Kept => Ok(None),
            },
            // It went, or stays, as the person's own.
            Question::Mention(_) if is_own => Ok(None),
            Question::Mention(_) => match mentions(self.of, &thing.data, &self.plan.subject) {
                Some(fields) => of(fields),
                None => Err("InAList"),
            },
        })
    }

    /// The legal holds of a thing: one that is about a part of it keeps all of it.
    fn holds(&self, active: &[Hold], id: &str) -> BTreeSet<String> {
        let subject = &self.plan.subject;
        let categories: BTreeSet<Category> =
            self.of.fields.values().map(|field| field.category).chain(self.of.bytes).collect();
        let covers = |hold: &&Hold| {
            let covers = |category| hold.covers(subject, &self.of.service, &self.of.entity_type, id, category);
            categories.iter().copied().any(covers)
        };
        active.iter().filter(covers).map(|hold| hold.hold_id.clone()).chain(self.held_before.iter().cloned()).collect()
    }

    /// Whether things of somebody else belong to a thing: they would go with it.
    async fn holds_others(&self, thing: &Thing) -> Result<bool, ActivityError> {
        let name = self.of.name();
        for Referring { of, field, .. } in self.plan.referring.iter().filter(|referring| referring.to == name) {
            let filters = BTreeMap::from([(field.clone(), thing.id.clone())]);
            let (within, mut cursor) = (Within { filters, ..Within::default() }, None);
            loop {
                let which = PageOf { cursor: cursor.as_deref(), changed_since: None, within: Some(&within) };
                let (downstream, tenant_id) = (self.context.downstream, self.context.tenant_id());
                let found = page(downstream, service_of(of)?, &of.entity_type, tenant_id, which).await?;
                if found.items.iter().any(|found| !is_own(of, &found.data, &self.plan.subject)) {
                    return Ok(true);
                }
                cursor = found.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(false)
    }

    async fn delete(&self, things: &[Doing], state: &mut SetState) -> Result<(), ActivityError> {
        if things.is_empty() {
            return Ok(());
        }
        let (items, downstream) = (self.items(things.iter())?, self.context.downstream.fenced(Some(self.plan.fence)));
        let (service, tenant_id) = (service_of(self.of)?, self.context.tenant_id());
        let results = delete(&downstream, service, &self.of.entity_type, tenant_id, &items, false).await?;
        for result in results {
            match result.status {
                ImportStatus::Deleted => state.deleted += 1,
                _ => self.note(&result, state),
            }
        }
        Ok(())
    }

    async fn mask(
        &self,
        things: &[&Doing],
        way: &BTreeMap<String, String>,
        state: &mut SetState,
    ) -> Result<(), ActivityError> {
        let items = self.items(things.iter().copied())?;
        let downstream = self.context.downstream.fenced(Some(self.plan.fence));
        let (service, tenant_id) = (service_of(self.of)?, self.context.tenant_id());
        let results = mask(&downstream, service, &self.of.entity_type, tenant_id, &items, way).await;
        let results = match results {
            // The service masks no such field in this way: nothing was done.
            Err(error) if error.error == ErrorName::ServiceRejected.as_str() => {
                things.iter().for_each(|_| state.residue.add(&self.of.service, &self.of.entity_type, "NotMasked"));
                return Ok(());
            }
            results => results?,
        };
        for result in results {
            match result.status {
                ImportStatus::Updated | ImportStatus::Skipped => state.masked += 1,
                _ => self.note(&result, state),
            }
        }
        Ok(())
    }

    fn items<'d>(&self, things: impl Iterator<Item = &'d Doing>) -> Result<Vec<DeleteItem<'d>>, ActivityError> {
        let of = self.of;
        let item = |doing: &'d Doing| {
            let step = step_of("EraseThing", &[&of.service, &of.entity_type, &doing.id])?;
            Ok(DeleteItem { id: &doing.id, key: key_of(self.context, &step), if_version: None })
        };
        things.map(item).collect()
    }

    /// A thing that is gone is what was wanted; any other stays, and is told of.
    fn note(&self, result: &Imported, state: &mut SetState) {
        let code = result.code.as_deref().unwrap_or(ErrorName::ServiceRejected.as_str());
        if code != ErrorName::NotFound.as_str() {
            state.residue.add(&self.of.service, &self.of.entity_type, code);
        }
    }
}

/// The e-mail addresses in a person's thing, as they are and in small letters.
fn addresses(of: &DatasetType, data: &Value) -> Vec<String> {
    let contacts = of.fields.iter().filter(|(_, field)| field.category == Category::Contact);
    let texts = contacts.filter_map(|(path, _)| at(data, path)?.as_str()).filter(|text| text.contains('@'));
    texts.flat_map(|text| [text.to_owned(), text.to_lowercase()]).collect()
}

/// How the fields are masked that mention a person; none if one is in a list, which cannot be masked item by item.
fn mentions(of: &DatasetType, data: &Value, person: &str) -> Option<BTreeMap<String, String>> {
    let found = mentioned(of, data, person);
    let mut fields = BTreeMap::new();
    for path in &of.mentions {
        match at(&found, path) {
            Some(Value::String(_)) => drop(fields.insert(path.clone(), "pseudonym".to_owned())),
            Some(_) => return None,
            None => {}
        }
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use contracts::dataset::Dataset;

    use super::*;

    #[test]
    fn a_mention_becomes_a_pseudonym_and_one_in_a_list_is_told() {
        let map = json!({ "version": 1, "file": { "file": {
            "subject": "owner", "mentions": ["editor", "readers"],
            "fields": { "name": { "category": "content", "strategy": "delete" } },
        } } });
        let of = Dataset::read(&map).expect("a good map").types.remove(0);
        let editor = BTreeMap::from([("editor".to_owned(), "pseudonym".to_owned())]);
        for (data, expected) in [
            (json!({ "owner": "x", "editor": "u", "readers": ["y"] }), Some(editor)),
            (json!({ "owner": "x", "editor": "u", "readers": ["y", "u"] }), None),
        ] {
            assert_eq!(mentions(&of, &data, "u"), expected, "{data}");
        }
    }
}

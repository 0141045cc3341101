//! The rules of a map that are about more than one field: one function each.

use std::collections::{BTreeMap, BTreeSet};

use super::{ACCOUNT, Category, Dataset, DatasetType, SESSION, Strategy};
use crate::fields::{BadField, segment};

/// Everything that is wrong.
pub(super) fn check(dataset: &Dataset) -> Vec<BadField> {
    let mut bad = Vec::new();
    if dataset.types.is_empty() {
        bad.push(BadField { pointer: String::new(), detail: "must have a type of some service".to_owned() });
    }
    for of in &dataset.types {
        bad.extend(has_persons(of));
        bad.extend(has_fields(of));
        bad.extend(subject_is_no_mention(of));
        bad.extend(persons_are_no_credentials(of));
        bad.extend(bytes_are_of_files(of));
        bad.extend(of.fields.keys().filter_map(|path| kept_for_a_reason(of, path)));
        bad.extend(of.fields.keys().filter_map(|path| credentials_go(of, path)));
        bad.extend(erased_after_known(dataset, of));
    }
    bad.extend(erased_in_an_order(dataset));
    bad.extend(accounts_go_last(dataset));
    bad.extend(personal_or_not(dataset));
    bad
}

fn bad(of: &DatasetType, names: &[&str], detail: impl Into<String>) -> BadField {
    let names = [of.service.as_str(), of.entity_type.as_str()].into_iter().chain(names.iter().copied());
    BadField { pointer: names.map(segment).collect(), detail: detail.into() }
}

fn has_persons(of: &DatasetType) -> Option<BadField> {
    let has_any = of.subject.is_some() || !of.mentions.is_empty();
    (!has_any).then(|| bad(of, &[], "must have a subject or mentions: nothing leads to a person"))
}

fn has_fields(of: &DatasetType) -> Option<BadField> {
    of.fields.is_empty().then(|| bad(of, &["fields"], "must have a field"))
}

fn subject_is_no_mention(of: &DatasetType) -> Option<BadField> {
    let subject = of.subject.as_ref()?;
    of.mentions.contains(subject).then(|| bad(of, &["mentions"], format!("must not have {subject}: it is the subject")))
}

/// An export says who somebody is by them.
fn persons_are_no_credentials(of: &DatasetType) -> Vec<BadField> {
    let persons = of.subject.iter().chain(&of.mentions);
    let credentials = persons.filter(|path| of.fields.get(*path).is_some_and(is_credential));
    let detail = "must not be a credential: it holds the id of a person";
    credentials.map(|path| bad(of, &["fields", path, "category"], detail)).collect()
}

fn is_credential(field: &super::PersonalField) -> bool {
    field.category == Category::Credential
}

/// Other things have no bytes that somebody could ask for.
fn bytes_are_of_files(of: &DatasetType) -> Option<BadField> {
    (of.bytes.is_some() && of.name() != "file/file").then(|| bad(of, &["bytes"], "is of file/file only"))
}

fn kept_for_a_reason(of: &DatasetType, path: &str) -> Option<BadField> {
    let field = &of.fields[path];
    match (field.strategy, &field.legal_basis) {
        (Strategy::Keep, None) => {
            Some(bad(of, &["fields", path, "legal_basis"], "is missing: it says why the field stays"))
        }
        (Strategy::Keep, Some(_)) | (_, None) => None,
        (_, Some(_)) => Some(bad(of, &["fields", path, "legal_basis"], "is of the strategy keep only")),
    }
}

/// What lets somebody in is of no use once they are gone.
fn credentials_go(of: &DatasetType, path: &str) -> Option<BadField> {
    let field = &of.fields[path];
    let goes = matches!(field.strategy, Strategy::Delete | Strategy::Null);
    let detail = "must be delete or null: a credential does not stay";
    (is_credential(field) && !goes).then(|| bad(of, &["fields", path, "strategy"], detail))
}

fn erased_after_known(dataset: &Dataset, of: &DatasetType) -> Vec<BadField> {
    let names: BTreeSet<String> = dataset.types.iter().map(DatasetType::name).collect();
    let unknown = of.after.iter().filter(|name| !names.contains(*name));
    unknown.map(|name| bad(of, &["after"], format!("names {name}, which the map does not have"))).collect()
}

/// An erasure ends with the account and begins with the sessions, whatever the map says of them.
fn accounts_go_last(dataset: &Dataset) -> Vec<BadField> {
    let waits = |of: &&DatasetType| of.after.iter().any(|name| name == ACCOUNT);
    let after_account = dataset.types.iter().filter(waits);
    let after_account = after_account.map(|of| bad(of, &["after"], format!("names {ACCOUNT}, which is erased last")));
    let sessions = dataset.types.iter().filter(|of| of.name() == SESSION && !of.after.is_empty());
    let sessions = sessions.map(|of| bad(of, &["after"], "must be empty: sessions are erased first"));
    after_account.chain(sessions).collect()
}

fn personal_or_not(dataset: &Dataset) -> Vec<BadField> {
    let both = dataset.types.iter().filter(|of| dataset.nothing_personal.contains(&of.name()));
    both.map(|of| bad(of, &[], "is in nothing_personal, too: it cannot be both")).collect()
}

/// No type is erased after itself, whatever comes between.
fn erased_in_an_order(dataset: &Dataset) -> Option<BadField> {
    let mut left: BTreeMap<String, &DatasetType> = dataset.types.iter().map(|of| (of.name(), of)).collect();
    loop {
        // Whatever waits for nothing, and whatever nothing waits for, is on no circle.
        let waits = |of: &DatasetType| of.after.iter().any(|name| left.contains_key(name));
        let is_waited_for = |name: &String| left.values().any(|of| of.after.contains(name));
        let on_circles = left.iter().filter(|(name, of)| waits(of) && is_waited_for(name));
        let on_circles: BTreeMap<String, &DatasetType> = on_circles.map(|(name, of)| (name.clone(), *of)).collect();
        if on_circles.len() == left.len() {
            break;
        }
        left = on_circles;
    }
    let names: Vec<&str> = left.keys().map(String::as_str).collect();
    let detail = format!("has no order in which {} could be erased", names.join(", "));
    left.values().next().map(|of| bad(of, &["after"], detail))
}

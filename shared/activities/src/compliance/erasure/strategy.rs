//! What the dataset map says is to become of a thing.

use std::collections::BTreeMap;

use contracts::dataset::{Category, DatasetType, PersonalField, Strategy};

/// What becomes of the person's things of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are deleted.
    Deleted,
    /// These fields are masked, in the services' words; the others stay.
    Masked(BTreeMap<String, String>),
    /// They stay as they are.
    Kept,
}

/// What becomes of the person's things. Where a field stays, the thing stays: what would have gone with it becomes null.
pub(super) fn fate_of(of: &DatasetType) -> Fate {
    if of.fields.values().all(|field| field.strategy == Strategy::Delete) {
        return Fate::Deleted;
    }
    let masked = |field: &PersonalField| match field.strategy {
        Strategy::Delete | Strategy::Null => Some("null".to_owned()),
        Strategy::Pseudonym => Some("pseudonym".to_owned()),
        Strategy::Keep => None,
    };
    let fields = of.fields.iter().filter_map(|(path, field)| Some((path.clone(), masked(field)?)));
    let fields: BTreeMap<String, String> = fields.collect();
    if fields.is_empty() { Fate::Kept } else { Fate::Masked(fields) }
}

/// Why fields of a type stay, in the order of the map.
pub(super) fn bases_of(of: &DatasetType) -> Vec<&str> {
    let mut bases: Vec<&str> = of.fields.values().filter_map(|field| field.legal_basis.as_deref()).collect();
    bases.dedup();
    bases
}

/// Whether all that a type says of a person is of these categories. The person's id says whose it is, and credentials go with
/// what they belong to.
pub(super) fn is_covered(of: &DatasetType, asked: &[Category]) -> bool {
    let is_person = |path: &str| of.subject.as_deref() == Some(path);
    let is_asked = |category: Category| category == Category::Credential || category.is_asked_for(asked);
    let fields = of.fields.iter().filter(|(path, _)| !is_person(path)).map(|(_, field)| field.category);
    fields.chain(of.bytes).all(is_asked)
}

#[cfg(test)]
mod tests {
    use contracts::dataset::Dataset;
    use serde_json::{Value, json};

    use super::*;

    fn of(fields: Value) -> DatasetType {
        let map = json!({ "version": 1, "user": { "invoice": { "subject": "user_id", "fields": fields } } });
        Dataset::read(&map).expect("a good map").types.remove(0)
    }

    #[test]
    fn a_thing_goes_unless_something_of_it_stays() {
        let field = |strategy: &str| json!({ "category": "usage", "strategy": strategy });
        let keep = json!({ "category": "usage", "strategy": "keep", "legal_basis": "tax law" });
        let masked = |fields: &[(&str, &str)]| {
            Fate::Masked(fields.iter().map(|(path, way)| ((*path).to_owned(), (*way).to_owned())).collect())
        };
        for (fields, expected) in [
            (json!({ "a": field("delete"), "b": field("delete") }), Fate::Deleted),
            (json!({ "a": field("delete"), "b": keep }), masked(&[("a", "null")])),
            (json!({ "a": field("null"), "b": field("pseudonym") }), masked(&[("a", "null"), ("b", "pseudonym")])),
            (json!({ "a": keep }), Fate::Kept),
        ] {
            assert_eq!(fate_of(&of(fields.clone())), expected, "{fields}");
        }
        assert_eq!(bases_of(&of(json!({ "a": keep, "b": keep, "c": field("null") }))), ["tax law"]);
    }

    #[test]
    fn a_type_goes_for_some_categories_only_if_all_of_it_belongs_to_them() {
        let field = |category: &str| json!({ "category": category, "strategy": "delete" });
        let usage = of(json!({ "user_id": field("identity"), "day": field("usage"), "token": field("credential") }));
        assert!(is_covered(&usage, &[Category::Usage]));
        assert!(!is_covered(&usage, &[Category::Content]));
        let account =
            of(json!({ "user_id": field("identity"), "email": field("contact"), "created_at": field("usage") }));
        assert!(!is_covered(&account, &[Category::Usage]), "who is still there keeps the account");
        assert!(is_covered(&account, &[Category::Personal, Category::Usage]));
    }
}

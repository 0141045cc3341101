//! Every rule broken once, and what of things leaves.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Category, Dataset, first_mention, is_own, mentioned, projected};

fn good() -> Value {
    json!({
        "version": 1,
        "auth": { "account": {
            "subject": "user_id", "after": ["file/file"],
            "fields": {
                "user_id": { "category": "identity", "strategy": "delete" },
                "password": { "category": "credential", "strategy": "delete" },
                "settings": { "category": "personal", "strategy": "null" },
                "settings.token": { "category": "credential", "strategy": "null" },
                "settings.log": { "category": "usage", "strategy": "null" },
            },
        } },
        "file": { "file": {
            "subject": "user_id", "mentions": ["shared_with", "audit.by"], "retention_days": 30, "bytes": "content",
            "fields": { "name": { "category": "content", "strategy": "keep", "legal_basis": "tax law" } },
        } },
    })
}

#[test]
fn a_good_map_is_read() {
    let dataset = Dataset::read(&good()).expect("good");
    let names: Vec<String> = dataset.types.iter().map(super::DatasetType::name).collect();
    assert_eq!(names, ["auth/account", "file/file"]);
}

#[test]
fn every_rule_is_told_with_its_place() {
    let file = "/file/file/fields/name";
    let cases = [
        ("/version", json!(2), "/version", "1 to 1"),
        ("/billing", json!({}), "/billing", "is not known here"),
        ("/auth/a b", json!({}), "/auth/a b", "must be 1 to 64 letters"),
        ("/auth/account", json!({ "fields": {} }), "/auth/account", "nothing leads to a person"),
        ("/auth/account", json!({ "subject": "u", "fields": {} }), "/auth/account/fields", "must have a field"),
        ("/auth/account", json!({ "subject": "u" }), "/auth/account/fields", "is missing"),
        ("/auth/account/subject", json!("a b"), "/auth/account/subject", "names of fields"),
        ("/auth/account/owner", json!("a"), "/auth/account/owner", "is not known here"),
        ("/file/file/mentions", json!(["a", "a"]), "/file/file/mentions/1", "means the same"),
        ("/file/file/mentions", json!(["user_id"]), "/file/file/mentions", "it is the subject"),
        ("/file/file/retention_days", json!(0), "/file/file/retention_days", "1 to 36525"),
        ("/auth/account/bytes", json!("content"), "/auth/account/bytes", "is of file/file only"),
        ("/file/file/bytes", json!("secret"), "/file/file/bytes", "must be one of"),
        ("/file/file/after", json!(["file"]), "/file/file/after/0", "must be service/type"),
        ("/file/file/after", json!(["file/folder"]), "/file/file/after", "which the map does not have"),
        ("/file/file/after", json!(["file/file"]), "/file/file/after", "has no order in which file/file"),
        (
            "/file/file/after",
            json!(["auth/account"]),
            "/auth/account/after",
            "has no order in which auth/account, file/file",
        ),
        ("/file/file/after", json!(["auth/account"]), "/file/file/after", "which is erased last"),
        ("/auth/session", json!({ "after": ["file/file"] }), "/auth/session/after", "sessions are erased first"),
        ("/nothing_personal", json!(["file/file"]), "/file/file", "it cannot be both"),
        ("/file/file/fields/name/category", json!("secret"), &format!("{file}/category"), "must be one of"),
        ("/file/file/fields/name/strategy", json!("burn"), &format!("{file}/strategy"), "must be one of"),
        ("/file/file/fields/name/note", json!("x"), &format!("{file}/note"), "is not known here"),
        ("/file/file/fields/name/legal_basis", Value::Null, &format!("{file}/legal_basis"), "is missing: it says why"),
        (
            "/file/file/fields/name/strategy",
            json!("null"),
            &format!("{file}/legal_basis"),
            "is of the strategy keep only",
        ),
        (
            "/auth/account/fields/password/strategy",
            json!("pseudonym"),
            "/auth/account/fields/password/strategy",
            "does not stay",
        ),
        (
            "/auth/account/fields/user_id/category",
            json!("credential"),
            "/auth/account/fields/user_id/category",
            "holds the id of a person",
        ),
    ];
    for (at, value, place, detail) in cases {
        let mut map = good();
        let (parent, name) = at.rsplit_once('/').expect("a place");
        map.pointer_mut(parent).expect("it is there")[name] = value;
        let bad = Dataset::read(&map).expect_err(at);
        let found = bad.iter().any(|bad| bad.pointer == place && bad.detail.contains(detail));
        assert!(found, "{at}: {place} {detail}: {bad:?}");
    }
    assert_eq!(Dataset::read(&json!({ "version": 1 })).expect_err("empty").len(), 1);
    assert_eq!(Dataset::read(&json!([])).expect_err("no table")[0].pointer, "");
}

#[test]
fn what_the_map_does_not_name_does_not_leave() {
    let dataset = Dataset::read(&good()).expect("good");
    let data = json!({
        "user_id": "u", "password": "p", "new": "n", "settings": { "theme": "dark", "token": "t", "log": "l" },
    });
    let of = |asked: &[Category]| {
        let mut unlisted = BTreeSet::new();
        let kept = projected(&dataset.types[0], &data, asked, &mut unlisted);
        assert_eq!(unlisted.into_iter().collect::<Vec<_>>(), ["new"]);
        kept
    };
    assert_eq!(of(&[Category::Personal]), json!({ "user_id": "u", "settings": { "theme": "dark" } }));
    assert_eq!(of(&[Category::Usage]), json!({ "user_id": "u", "settings": { "log": "l" } }));
    assert_eq!(of(&[Category::Contact]), json!({ "user_id": "u" }));
    assert_eq!(of(&[Category::Credential]), json!({ "user_id": "u" }), "nobody can ask for it");
}

#[test]
fn of_others_things_only_the_mention_leaves() {
    let dataset = Dataset::read(&good()).expect("good");
    let data = json!({
        "user_id": "other", "name": "secret.txt", "shared_with": ["a", "u", "b"], "audit": { "by": "u", "why": "x" },
    });
    assert_eq!(mentioned(&dataset.types[1], &data, "u"), json!({ "shared_with": ["u"], "audit": { "by": "u" } }));
    assert_eq!(mentioned(&dataset.types[1], &data, "c"), json!({}));
    let of = |person| (is_own(&dataset.types[1], &data, person), first_mention(&dataset.types[1], &data, person));
    assert_eq!([of("other"), of("u"), of("c")], [(true, None), (false, Some(0)), (false, None)]);
}

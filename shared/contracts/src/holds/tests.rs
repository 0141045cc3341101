//! What holds are about, and every field that can be wrong.

use serde_json::{Value, json};

use super::*;

fn dataset() -> Dataset {
    let account = json!({
        "subject": "user_id",
        "fields": {
            "user_id": { "category": "identity", "strategy": "delete" },
            "password": { "category": "credential", "strategy": "delete" },
        },
    });
    let file = json!({
        "subject": "owner", "bytes": "content",
        "fields": { "opened_at": { "category": "usage", "strategy": "delete" } },
    });
    let map = json!({ "version": 1, "auth": { "account": account }, "file": { "file": file } });
    Dataset::read(&map).expect("a good map")
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a moment")
}

fn read(body: &Value) -> Result<NewHold, Vec<String>> {
    let mut fields = Fields::new(body);
    let hold = NewHold::read(&mut fields, &dataset(), now());
    let pointers = fields.finish().map_err(|bad| bad.into_iter().map(|bad| bad.pointer).collect::<Vec<_>>());
    pointers.map(|()| hold)
}

/// A hold of this scope.
fn hold(scope: Value) -> Hold {
    let mut body = json!({ "hold_id": "h-1", "reason": "a lawsuit" });
    body.as_object_mut().expect("an object").append(scope.clone().as_object_mut().expect("an object"));
    read(&body).expect("a good hold").placed("tenant-a".to_owned(), None, now())
}

#[test]
fn every_bad_field_is_told() {
    for (body, expected) in [
        (json!({}), &["/hold_id", "/subject_user_id", "/reason"][..]),
        (json!([]), &["", "/subject_user_id"]),
        (
            json!({ "hold_id": "a/b", "subject_user_id": "a@example.com", "data_categories": ["usage", "secret", "usage"],
                "reason": " ", "until": "soon", "untill": 1 }),
            &[
                "/untill",
                "/hold_id",
                "/data_categories/1",
                "/data_categories/2",
                "/subject_user_id",
                "/reason",
                "/until",
            ],
        ),
        (json!({ "hold_id": "h", "data_categories": ["x"], "reason": "r" }), &["/data_categories/0"]),
        (json!({ "hold_id": "h", "data_categories": [], "reason": "r" }), &["/subject_user_id"]),
        (
            json!({ "hold_id": "h", "reason": "r", "until": "2026-01-01T00:00:00Z", "subject_user_id": "u",
                "record": { "service": "billing", "entity_type": "invoice", "kind": 1 } }),
            &["/subject_user_id", "/record/kind", "/record/entity_id", "/record/service", "/until"],
        ),
        (
            json!({ "hold_id": "h", "reason": "r",
                "record": { "service": "auth", "entity_type": "file", "entity_id": "1" } }),
            &["/record/entity_type"],
        ),
        (json!({ "hold_id": "h", "reason": "r", "record": "auth/account/1" }), &["/record"]),
    ] {
        let told = read(&body).expect_err("it is bad");
        assert_eq!(told, expected, "{body}");
    }
}

#[test]
fn a_hold_reads_back_from_its_json() {
    for scope in [
        json!({ "subject_user_id": "u" }),
        json!({ "subject_user_id": "u", "data_categories": ["contact", "usage"] }),
        json!({ "data_categories": ["credential"] }),
        json!({ "record": { "service": "auth", "entity_type": "account", "entity_id": "1" } }),
    ] {
        let hold = hold(scope.clone());
        let json = serde_json::to_value(&hold).expect("JSON");
        for (name, value) in scope.as_object().expect("an object") {
            assert_eq!(json[name], *value, "{name}");
        }
        assert_eq!(serde_json::from_value::<Hold>(json).expect("a hold"), hold);
    }
}

#[test]
fn a_hold_covers_what_its_scope_names() {
    let covers = |scope: Value, subject: &str, thing: [&str; 3], category| {
        hold(scope).covers(subject, thing[0], thing[1], thing[2], category)
    };
    let account = ["auth", "account", "1"];
    let of_subject = json!({ "subject_user_id": "u" });
    for category in Category::ALL {
        assert!(covers(of_subject.clone(), "u", account, category), "{category:?}");
        assert!(!covers(of_subject.clone(), "v", account, category), "{category:?}");
    }
    for (categories, category, expected) in [
        (json!(["usage"]), Category::Usage, true),
        (json!(["usage"]), Category::Identity, false),
        (json!(["personal"]), Category::Identity, true),
        (json!(["personal"]), Category::Contact, true),
        (json!(["personal"]), Category::Credential, false),
        (json!(["identity"]), Category::Personal, false),
        (json!(["credential"]), Category::Credential, true),
    ] {
        let of_all = json!({ "data_categories": categories });
        assert_eq!(covers(of_all, "anybody", account, category), expected, "{categories} {category:?}");
        let of_one = json!({ "subject_user_id": "u", "data_categories": categories });
        assert_eq!(covers(of_one.clone(), "u", account, category), expected, "{categories} {category:?}");
        assert!(!covers(of_one, "v", account, category), "{categories} {category:?}");
    }
    let of_record = json!({ "record": { "service": "auth", "entity_type": "account", "entity_id": "1" } });
    for (thing, expected) in [
        (account, true),
        (["auth", "account", "2"], false),
        (["auth", "session", "1"], false),
        (["user", "account", "1"], false),
    ] {
        assert_eq!(covers(of_record.clone(), "u", thing, Category::Usage), expected, "{thing:?}");
    }
}

#[test]
fn holds_overlap_where_they_may_hold_the_same_data() {
    let record = |service: &str, entity_type: &str, entity_id: &str| json!({ "record": { "service": service, "entity_type": entity_type, "entity_id": entity_id } });
    for (one, other, expected) in [
        (json!({ "subject_user_id": "u" }), json!({ "subject_user_id": "u" }), true),
        (json!({ "subject_user_id": "u" }), json!({ "subject_user_id": "v" }), false),
        (json!({ "subject_user_id": "u" }), json!({ "subject_user_id": "u", "data_categories": ["usage"] }), true),
        (
            json!({ "subject_user_id": "u", "data_categories": ["contact"] }),
            json!({ "subject_user_id": "u", "data_categories": ["usage"] }),
            false,
        ),
        (json!({ "subject_user_id": "u" }), json!({ "data_categories": ["usage"] }), true),
        (
            json!({ "subject_user_id": "u", "data_categories": ["content"] }),
            json!({ "data_categories": ["usage"] }),
            false,
        ),
        (json!({ "data_categories": ["personal"] }), json!({ "data_categories": ["contact"] }), true),
        (record("auth", "account", "1"), record("auth", "account", "1"), true),
        (record("auth", "account", "1"), record("auth", "account", "2"), false),
        (record("auth", "account", "1"), json!({ "subject_user_id": "u" }), true),
        (record("auth", "account", "1"), json!({ "data_categories": ["personal"] }), true),
        (record("auth", "account", "1"), json!({ "data_categories": ["usage"] }), false),
        (record("file", "file", "1"), json!({ "subject_user_id": "u", "data_categories": ["content"] }), true),
        (record("file", "file", "1"), json!({ "subject_user_id": "u", "data_categories": ["credential"] }), false),
    ] {
        let (left, right) = (hold(one.clone()), hold(other.clone()));
        assert_eq!(left.overlaps(&right, &dataset()), expected, "{one} {other}");
        assert_eq!(right.overlaps(&left, &dataset()), expected, "{other} {one}");
    }
}

#[test]
fn a_hold_holds_until_its_time_is_up_or_it_is_released() {
    let at = |text: &str| text.parse::<Timestamp>().expect("a moment");
    let mut hold = hold(json!({ "subject_user_id": "u" }));
    assert_eq!(hold.state(at("2126-01-01T00:00:00Z")), HoldState::Active);
    hold.until = Some(at("2026-02-01T00:00:00Z"));
    assert_eq!(hold.state(at("2026-01-31T23:59:59Z")), HoldState::Active);
    assert_eq!(hold.state(at("2026-02-01T00:00:00Z")), HoldState::Expired);
    hold.released = Some(Release { at: now(), by: None, reason: "it is over".to_owned() });
    assert_eq!(hold.state(at("2026-02-01T00:00:00Z")), HoldState::Released);
}

#[test]
fn states_have_names() {
    for state in HoldState::ALL {
        assert_eq!(serde_json::to_value(state).expect("JSON"), state.as_str());
        assert_eq!(state.as_str().parse(), Ok(state));
    }
}

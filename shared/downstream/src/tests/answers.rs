//! What answers mean.

use super::*;
use crate::tenant::NoAccess;

/// The call takes the answer as it is, and does not trust it with another id at any of these places.
async fn checks_ids<T>(answer: Value, places: &[&str], call: impl AsyncFn(&Downstream) -> Result<T, ActivityError>) {
    let (_, downstream) = scripted(200, answer.clone());
    assert_eq!(name_of(call(&downstream).await), None, "{answer}");
    for place in places {
        let mut other = answer.clone();
        *other.pointer_mut(place).expect("the place") = json!("somebody-else");
        let (_, downstream) = scripted(200, other);
        let error = call(&downstream).await.err().expect("an error");
        assert_eq!(error.error, ErrorName::IntegrityViolation.to_string(), "{place} of {answer}");
        assert!(!error.cause.message.contains("somebody-else"), "the service's words stay here");
    }
}

#[tokio::test]
async fn answers_about_something_else_are_not_trusted() {
    let created = json!({ "user_id": "u", "email": "e@example.com", "created_at": NOW });
    checks_ids(created, &["/user_id"], async |d| auth::create_user(d, &account(), key()).await).await;
    let valid = json!({ "valid": true, "user_id": "u", "permissions": [] });
    checks_ids(valid, &["/user_id"], async |d| auth::validate(d, "t", "u").await).await;
    let put = json!({ "session_id": "s", "updated_at": NOW });
    checks_ids(put, &["/session_id"], async |d| auth::put_session(d, &session(), key()).await).await;
    let created = json!({ "profile_id": "p", "created_at": NOW });
    let call = async |d: &Downstream| user::create_profile(d, "t", "u", "p", &Default::default(), key()).await;
    checks_ids(created, &["/profile_id"], call).await;
    let switched = json!({ "updated_at": NOW, "new_context": { "user_id": "u", "tenant_id": "t2" } });
    let places = ["/new_context/user_id", "/new_context/tenant_id"];
    checks_ids(switched, &places, async |d| user::put_tenant_context(d, &switch(), key()).await).await;
    let context = json!({ "tenant_context": {
        "tenant_id": "t", "tenant_name": "n", "subscription_tier": "x", "features": [], "quotas": {}, "settings": {},
    }});
    checks_ids(context, &["/tenant_context/tenant_id"], async |d| tenant::context(d, "t").await).await;
    let created = json!({ "workspace_id": "w", "created_at": NOW });
    let call = async |d: &Downstream| file::create_workspace(d, "t", "u", "w", key()).await;
    checks_ids(created, &["/workspace_id"], call).await;
}

/// Whatever the next page is called: pages that hold nothing and lead on could be read for ever.
#[tokio::test]
async fn only_the_last_page_may_hold_nothing() {
    let thing = json!({ "id": "p", "data": {}, "references": [] });
    let gone = json!({ "id": "p", "deleted_at": NOW });
    for (items, deletions, next, expected) in [
        (json!([]), json!([]), json!("fresh"), Some(ErrorName::IntegrityViolation)),
        (json!([]), json!([]), Value::Null, None),
        (json!([thing]), json!([]), json!("fresh"), None),
        (json!([]), json!([gone]), json!("fresh"), None),
    ] {
        let page = json!({ "items": items, "deletions": deletions, "next_cursor": next, "watermark": "w" });
        let (_, downstream) = scripted(200, page.clone());
        let read = crate::data::page(&downstream, Service::User, "profile", "t", crate::data::PageOf::default()).await;
        assert_eq!(name_of(read), expected.and_then(named), "{page}");
    }
}

#[tokio::test]
async fn a_context_need_not_name_user_and_tenant() {
    let (_, downstream) = scripted(200, json!({ "updated_at": NOW, "new_context": {} }));
    assert_eq!(name_of(user::put_tenant_context(&downstream, &switch(), key()).await), None);
}

#[tokio::test]
async fn every_status_has_its_name() {
    for (status, name) in [
        (302, ErrorName::ServiceRejected),
        (400, ErrorName::ServiceRejected),
        (401, ErrorName::AccessDenied),
        (403, ErrorName::AccessDenied),
        (404, ErrorName::NotFound),
        (408, ErrorName::ServiceTimeout),
        (409, ErrorName::Conflict),
        (410, ErrorName::ServiceRejected),
        (422, ErrorName::ServiceRejected),
        (429, ErrorName::ServiceThrottled),
        (500, ErrorName::ServiceUnavailable),
        (503, ErrorName::ServiceUnavailable),
        (504, ErrorName::ServiceTimeout),
    ] {
        let (_, downstream) = scripted(status, json!({ "detail": "private words" }));
        for (call, outcome) in every_call(&downstream).await {
            let error = outcome.expect_err(call);
            assert_eq!((error.error, error.cause.http_status), (name.to_string(), Some(status)), "{call}");
            assert!(!error.cause.message.contains("private words"), "{call}");
        }
    }
}

#[tokio::test]
async fn answers_without_the_contracts_fields_are_unusable() {
    for answer in [json!({}), json!("words"), json!({ "updated_at": 3, "has_access": "yes" })] {
        let (_, downstream) = scripted(200, answer);
        for (call, outcome) in every_call(&downstream).await {
            assert_eq!(name_of(outcome), named(ErrorName::ServiceUnavailable), "{call}");
        }
    }
}

#[tokio::test]
async fn access_is_read_with_or_without_a_reason() {
    for (reason, expected) in [
        (json!("tenant_suspended"), Some(NoAccess::TenantSuspended)),
        (json!("not_a_member"), Some(NoAccess::NotAMember)),
        (json!("membership_inactive"), Some(NoAccess::MembershipInactive)),
        (json!("an e-mail address"), Some(NoAccess::Other)),
        (Value::Null, None),
    ] {
        let answer = json!({ "has_access": false, "role": null, "permissions": [], "reason": reason });
        let (_, downstream) = scripted(200, answer);
        let access = tenant::access(&downstream, "t", "u").await.expect("an answer");
        assert_eq!((access.has_access, access.reason), (false, expected));
        if let Some(known) = expected.filter(|reason| *reason != NoAccess::Other) {
            assert_eq!(json!(known.as_str()), reason);
        }
    }
    let older = json!({ "has_access": true, "role": "user", "permissions": ["tenant:read"] });
    let (_, downstream) = scripted(200, older);
    let access = tenant::access(&downstream, "t", "u").await.expect("an answer");
    assert_eq!((access.role.as_deref(), access.permissions.len(), access.reason), (Some("user"), 1, None));
}

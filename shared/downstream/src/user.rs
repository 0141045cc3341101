//! The User service: profiles, and the tenant that each user works in.

use std::collections::BTreeMap;

use contracts::{ActivityError, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::client::expect_same;
use crate::{Call, Downstream, Service};

/// The answer to a new profile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Profile {
    /// The id we chose.
    pub profile_id: String,
    /// When.
    pub created_at: Timestamp,
}

/// Creates the profile of a user.
pub async fn create_profile(
    downstream: &Downstream,
    tenant_id: &str,
    user_id: &str,
    profile_id: &str,
    profile_data: &BTreeMap<&str, &str>,
    idempotency_key: String,
) -> Result<Profile, ActivityError> {
    let body = json!({
        "profile_id": profile_id, "user_id": user_id, "profile_data": profile_data, "preferences": {},
    });
    let call = Call::post(Service::User, &["profiles"], tenant_id, idempotency_key);
    let created: Profile = downstream.call(call.of_user(user_id).with_body(body)).await?;
    let message = "created the profile under another id than the one asked for";
    expect_same(Service::User, profile_id, &created.profile_id, message)?;
    Ok(created)
}

/// A user's move from the tenant that they work in to another one.
#[derive(Debug, Clone)]
pub struct ContextSwitch<'a> {
    /// The user.
    pub user_id: &'a str,
    /// The tenant that the user must be in for the move to happen.
    pub expected_tenant_id: &'a str,
    /// The tenant that the user moves to.
    pub new_tenant_id: &'a str,
    /// Whether the user's preferences stay; otherwise they become the new tenant's defaults.
    pub preserve_preferences: bool,
}

/// The answer to a move.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SwitchedContext {
    /// When.
    pub updated_at: Timestamp,
    /// What the service keeps of where the user is.
    pub new_context: BTreeMap<String, String>,
}

/// Moves the user. `Conflict` when they are not in the expected tenant, `NotFound` when the new one does not know them.
pub async fn put_tenant_context(
    downstream: &Downstream,
    switch: &ContextSwitch<'_>,
    idempotency_key: String,
) -> Result<SwitchedContext, ActivityError> {
    let body = json!({
        "new_tenant_id": switch.new_tenant_id,
        "preserve_preferences": switch.preserve_preferences,
        "expected_tenant_id": switch.expected_tenant_id,
    });
    let path = ["users", switch.user_id, "tenant-context"];
    let call = Call::put(Service::User, &path, switch.new_tenant_id, idempotency_key);
    let switched: SwitchedContext = downstream.call(call.of_user(switch.user_id).with_body(body)).await?;
    // What a context says is the service's own matter; where it names user and tenant, they are those asked for.
    for (field, asked) in [("user_id", switch.user_id), ("tenant_id", switch.new_tenant_id)] {
        let answered = switched.new_context.get(field).map_or(asked, String::as_str);
        expect_same(Service::User, asked, answered, "answered with another user or tenant than the one asked for")?;
    }
    Ok(switched)
}

//! The User service.

use std::collections::BTreeMap;

use contracts::{ActivityError, ErrorName, Timestamp};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure;
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
    let call = Call {
        service: Service::User,
        method: Method::POST,
        path: "/api/v1/profiles".to_owned(),
        tenant_id,
        user_id: Some(user_id),
        idempotency_key: Some(idempotency_key),
        body: Some(json!({
            "profile_id": profile_id, "user_id": user_id, "profile_data": profile_data, "preferences": {},
        })),
    };
    let created: Profile = downstream.call(call).await?;
    if created.profile_id != profile_id {
        let message = "created the profile under another id than the one asked for";
        return Err(failure(Service::User, ErrorName::IntegrityViolation, message));
    }
    Ok(created)
}

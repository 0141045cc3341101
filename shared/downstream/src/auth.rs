//! The Auth service.

use contracts::{ActivityError, ErrorName, Timestamp};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure;
use crate::{Call, Downstream, Service};

/// A new account.
#[derive(Debug, Clone)]
pub struct NewAccount<'a> {
    /// The tenant.
    pub tenant_id: &'a str,
    /// The id we chose.
    pub user_id: &'a str,
    /// The address that signs in.
    pub email: &'a str,
    /// The display name.
    pub name: &'a str,
    /// The role.
    pub role: &'a str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// The id we chose.
    pub user_id: String,
    /// The address.
    pub email: String,
    /// When.
    pub created_at: Timestamp,
}

/// Creates an account. `Conflict` when the address already has one.
pub async fn create_user(
    downstream: &Downstream,
    account: &NewAccount<'_>,
    idempotency_key: String,
) -> Result<Account, ActivityError> {
    let body = json!({
        "user_id": account.user_id,
        "email": account.email,
        "name": account.name,
        "role": account.role,
        "tenant_id": account.tenant_id,
        // The welcome mail is a step of its own.
        "send_welcome_email": false,
    });
    let call = Call {
        service: Service::Auth,
        method: Method::POST,
        path: "/api/v1/users".to_owned(),
        tenant_id: account.tenant_id,
        user_id: None,
        idempotency_key: Some(idempotency_key),
        body: Some(body),
    };
    let created: Account = downstream.call(call).await?;
    if created.user_id != account.user_id {
        let message = "created the account under another id than the one asked for";
        return Err(failure(Service::Auth, ErrorName::IntegrityViolation, message));
    }
    Ok(created)
}

//! The Auth service: accounts and sessions.

use contracts::{ActivityError, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::client::expect_same;
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

/// Creates an account. `Conflict` when the address already has one in the tenant. Addresses are the same if they differ only in
/// case (by Unicode case folding) or in how their letters are composed (NFC, NFD), and if their domains do only in being
/// written in ASCII (`xn--`): the service must not keep two accounts for `usér@exämple.com` and `USÉR@xn--exmple-cua.com`.
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
    let call = Call::post(Service::Auth, &["users"], account.tenant_id, idempotency_key).with_body(body);
    let created: Account = downstream.call(call).await?;
    let message = "created the account under another id than the one asked for";
    expect_same(Service::Auth, account.user_id, &created.user_id, message)?;
    Ok(created)
}

/// What the service says of a user's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Validity {
    /// Whether the user may be let in at all.
    pub valid: bool,
    /// The user.
    pub user_id: String,
    /// What they may do in the tenant.
    pub permissions: Vec<String>,
}

/// Asks whether the user may be let in. `NotFound` when the tenant does not know the user.
pub async fn validate(downstream: &Downstream, tenant_id: &str, user_id: &str) -> Result<Validity, ActivityError> {
    let call = Call::get(Service::Auth, &["users", user_id, "validate"], tenant_id).of_user(user_id);
    let validity: Validity = downstream.call(call).await?;
    let message = "answered about another user than the one asked for";
    expect_same(Service::Auth, user_id, &validity.user_id, message)?;
    Ok(validity)
}

/// A new session of a user who comes from another tenant.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    /// The tenant that the session is in.
    pub tenant_id: &'a str,
    /// The tenant that the user comes from.
    pub source_tenant_id: &'a str,
    /// The user.
    pub user_id: &'a str,
    /// The id we chose.
    pub session_id: &'a str,
    /// Whether the data of the user's newest session in the source tenant come along.
    pub preserve_data: bool,
}

/// The answer to a new session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// The id we chose.
    pub session_id: String,
    /// When.
    pub updated_at: Timestamp,
}

/// Creates a session. `NotFound` when the user has no access to its tenant.
pub async fn put_session(
    downstream: &Downstream,
    session: &NewSession<'_>,
    idempotency_key: String,
) -> Result<Session, ActivityError> {
    let data = if session.preserve_data { json!({ "preserve_data": "true" }) } else { json!({}) };
    let body = json!({
        "session_id": session.session_id,
        "tenant_id": session.tenant_id,
        "source_tenant_id": session.source_tenant_id,
        "session_data": data,
    });
    let path = ["users", session.user_id, "session"];
    let call = Call::put(Service::Auth, &path, session.tenant_id, idempotency_key);
    let created: Session = downstream.call(call.of_user(session.user_id).with_body(body)).await?;
    let message = "created the session under another id than the one asked for";
    expect_same(Service::Auth, session.session_id, &created.session_id, message)?;
    Ok(created)
}

/// The answer to a revocation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Revoked {
    /// How many sessions were valid until then.
    pub sessions_revoked: u32,
    /// When.
    pub revoked_at: Timestamp,
}

/// Revokes the user's sessions in this tenant, and in no other.
pub async fn revoke_sessions(
    downstream: &Downstream,
    tenant_id: &str,
    user_id: &str,
    idempotency_key: String,
) -> Result<Revoked, ActivityError> {
    let call = Call::delete(Service::Auth, &["users", user_id, "sessions"], tenant_id, idempotency_key);
    downstream.call(call.of_user(user_id)).await
}

//! Who calls, and for which tenant.

use std::collections::BTreeMap;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use contracts::access::Access;
use contracts::ids::{PLAIN_ID, SUBJECT, is_plain_id, is_subject, traceparent};

use crate::audit::{KnownCaller, RequestFacts};
use crate::{Api, Problem, headers};

/// The claims of a verified token, as API Gateway hands them on: an array comes as text, `[a b]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayClaims(pub BTreeMap<String, String>);

/// The role that may act for other users.
const ADMIN: &str = "workflow-admin";

/// What a token says about the caller.
#[derive(Debug, Clone)]
struct Identity {
    subject: String,
    tenants: Vec<String>,
    is_admin: bool,
}

impl Identity {
    /// Fails closed: whatever is missing or odd is no permission.
    fn of(claims: Option<&GatewayClaims>, tenants_claim: &str, roles_claim: &str) -> Result<Self, Problem> {
        let unusable = |claim: &str| Problem::unauthenticated(format!("The token has no usable claim '{claim}'."));
        let claims = claims.ok_or_else(|| Problem::unauthenticated("No verified token came with the request."))?;
        let claim = |name: &str| claims.0.get(name).map(String::as_str);
        let subject = claim("sub").filter(|subject| is_subject(subject)).ok_or_else(|| unusable("sub"))?;
        let tenants = claim(tenants_claim).and_then(listed).filter(|tenants| !tenants.is_empty());
        let tenants = tenants.filter(|tenants| tenants.iter().all(|tenant| is_plain_id(tenant)));
        let tenants = tenants.ok_or_else(|| unusable(tenants_claim))?;
        let is_admin = claim(roles_claim).and_then(listed).is_some_and(|roles| roles.iter().any(|role| role == ADMIN));
        Ok(Self { subject: subject.to_owned(), tenants, is_admin })
    }
}

/// The members of a claim that is a list: `["a","b"]`, `[a b]` as HTTP APIs write it, or a single plain value.
fn listed(claim: &str) -> Option<Vec<String>> {
    if let Ok(members) = serde_json::from_str(claim) {
        return Some(members);
    }
    let inner = claim.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some("") => Some(Vec::new()),
        Some(inner) => {
            let members: Vec<String> = inner.split(' ').map(str::to_owned).collect();
            (!members.iter().any(String::is_empty)).then_some(members)
        }
        None if claim.contains(['[', ']', ' ', ',', '"']) => None,
        None => Some(vec![claim.to_owned()]),
    }
}

/// Who calls, as far as it is known.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant_id: String,
    pub(crate) user_id: Option<String>,
    pub(crate) traceparent: Option<String>,
    /// What a verified token allows; none where callers are not authenticated.
    identity: Option<Identity>,
    /// The request, for the audit log.
    pub(crate) request: RequestFacts,
}

impl Caller {
    /// Nobody: what is done by a schedule, in this tenant.
    pub(crate) fn schedule(tenant_id: &str) -> Self {
        let request = RequestFacts::of_schedule();
        Self { tenant_id: tenant_id.to_owned(), user_id: None, traceparent: None, identity: None, request }
    }

    /// Whether the caller may act in this tenant.
    pub(crate) fn may_act_in(&self, tenant_id: &str) -> bool {
        self.identity.as_ref().is_none_or(|identity| identity.tenants.iter().any(|tenant| tenant == tenant_id))
    }

    /// Whether the caller may act for this user: it is the acting user, or an administrator acts.
    pub(crate) fn may_act_for(&self, user_id: &str) -> bool {
        let is_admin = self.identity.as_ref().is_some_and(|identity| identity.is_admin);
        is_admin || self.user_id.as_deref().is_none_or(|acting| acting == user_id)
    }

    /// Who this is, for the audit log.
    pub(crate) fn known(&self) -> KnownCaller {
        known(self.identity.as_ref(), &self.tenant_id, self.user_id.as_deref())
    }
}

/// Who calls for this tenant, for the audit log: whoever the token says it is, whomever it acts for.
fn known(identity: Option<&Identity>, tenant_id: &str, user_id: Option<&str>) -> KnownCaller {
    let actor = identity.map(|identity| identity.subject.as_str()).or(user_id);
    KnownCaller {
        tenant_id: tenant_id.to_owned(),
        actor: actor.map(str::to_owned),
        is_admin: identity.is_some_and(|identity| identity.is_admin),
    }
}

/// Whose audit log tells of a caller with this token: that of the tenant the request is for, if it is one of the token's.
fn log_of<'a>(identity: &'a Identity, asked: Option<&'a str>) -> Option<&'a str> {
    let own = asked.filter(|asked| identity.tenants.iter().any(|tenant| tenant == asked));
    own.or(identity.tenants.first().map(String::as_str))
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Api: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let api = Api::from_ref(state);
        if let Access::Closed(reason) = &api.access {
            return Err(Problem::unauthenticated(reason.as_str()));
        }
        // Validate only after authentication.
        let identity = match &api.access {
            Access::Gateway { tenants_claim, roles_claim } => {
                Some(Identity::of(parts.extensions.get(), tenants_claim, roles_claim)?)
            }
            Access::Open | Access::Closed(_) => None,
        };
        let request: RequestFacts = parts.extensions.get().cloned().ok_or_else(Problem::internal)?;
        let tenant_id = id(&parts.headers, "x-tenant-id", is_plain_id, PLAIN_ID);
        let user_id = id(&parts.headers, "x-user-id", is_subject, SUBJECT);
        // Noted before anything is refused: every denial from here on has a log to be told in.
        let asked = tenant_id.as_ref().ok().and_then(Option::as_deref);
        if let Some(log) = identity.as_ref().map_or(asked, |identity| log_of(identity, asked)) {
            request.know(known(identity.as_ref(), log, user_id.as_ref().ok().and_then(Option::as_deref)));
        }
        let tenant_id = tenant_id
            .map_err(Problem::tenant_context)?
            .ok_or_else(|| Problem::tenant_context("Say for which tenant: send one X-Tenant-ID header."))?;
        let user_id = user_id.map_err(Problem::malformed)?;
        headers::single(&parts.headers, "x-request-id").map_err(Problem::malformed)?;
        let user_id = match &identity {
            Some(identity) => {
                if !identity.tenants.contains(&tenant_id) {
                    return Err(Problem::forbidden("The token is not for the tenant of the X-Tenant-ID header."));
                }
                match user_id {
                    Some(user_id) if user_id != identity.subject && !identity.is_admin => {
                        return Err(Problem::forbidden("The X-User-ID is not the token's subject."));
                    }
                    user_id => Some(user_id.unwrap_or_else(|| identity.subject.clone())),
                }
            }
            None => user_id,
        };
        // One that cannot be used, or comes more than once, is ignored: the trace begins anew.
        let traceparent = headers::single(&parts.headers, "traceparent").ok().flatten().and_then(traceparent);
        Ok(Self { tenant_id, user_id, traceparent, identity, request })
    }
}

/// The value of a header that holds an id and may come once.
fn id(headers: &HeaderMap, name: &str, is_good: fn(&str) -> bool, expected: &str) -> Result<Option<String>, String> {
    match headers::single(headers, name)? {
        Some(id) if !is_good(id) => Err(format!("The header {name} must be {expected}.")),
        id => Ok(id.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_claims() {
        let members = |claim: &str| listed(claim);
        assert_eq!(members("[a b]"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(members(r#"["a","b"]"#), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(members("a"), Some(vec!["a".to_owned()]));
        assert_eq!(members("[]"), Some(vec![]));
        for odd in ["a b", "a,b", "[a", "a]", r#"["a""#, "{\"a\":1}", "[ a]", "[a ]", "[a  b]"] {
            assert_eq!(members(odd), None, "{odd}");
        }
    }
}

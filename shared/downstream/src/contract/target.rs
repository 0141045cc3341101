//! The service that is checked.

use std::fmt;
use std::sync::Arc;

use clock::SharedClock;
use contracts::ids::{PLAIN_ID, is_plain_id};
use http::HeaderValue;

use crate::{Endpoints, InvalidEndpoint, Service, Transport};

/// The service that is checked, and for whom.
#[derive(Clone)]
pub struct Target {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: SharedClock,
    pub(super) service: Service,
    /// Without a slash at the end.
    pub(super) base: String,
    pub(super) tenant_id: String,
    pub(super) authorization: Option<HeaderValue>,
}

/// Why a service cannot be checked so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// The address.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// The tenant.
    #[error("a tenant's id is {PLAIN_ID}")]
    Tenant,
    /// The token, which is not repeated.
    #[error("the token has characters that no header can hold")]
    Token,
}

impl Target {
    /// The service at this base URL, `https` only except on a loopback address, asked for this tenant.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn new(
        transport: Arc<dyn Transport>,
        clock: SharedClock,
        service: Service,
        url: &str,
        tenant_id: &str,
    ) -> Result<Self, InvalidTarget> {
        let endpoints = Endpoints::new([url; 5]).map_err(|mut bad| InvalidTarget::Endpoint(bad.remove(0).1))?;
        if !is_plain_id(tenant_id) {
            return Err(InvalidTarget::Tenant);
        }
        let base = endpoints.base(service).to_owned();
        Ok(Self { transport, clock, service, base, tenant_id: tenant_id.to_owned(), authorization: None })
    }

    /// The same, let in by this bearer token.
    ///
    /// # Errors
    /// No header can hold the token.
    pub fn with_token(self, token: &str) -> Result<Self, InvalidTarget> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| InvalidTarget::Token)?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("service", &self.service).field("base", &self.base).finish_non_exhaustive()
    }
}

//! Whether a service works: what it answers at `GET /health`, and what it depends on.

use contracts::services::service_named;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::{Downstream, Service, TransportFault};

/// How long a service may take to say that it is healthy. Whoever asks behind API Gateway has 30 s in all.
pub const HEALTH_TIME: Duration = Duration::from_secs(5);

/// What came of asking a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// How long it took.
    pub latency: Duration,
    /// Why the service counts as unhealthy, if it does.
    pub fault: Option<HealthFault>,
}

/// Why a service counts as unhealthy. Never in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthFault {
    /// There is no answer.
    Transport(TransportFault),
    /// There was no answer within [`HEALTH_TIME`].
    TimedOut,
    /// The answer's status is no success.
    Answered(u16),
}

impl fmt::Display for HealthFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(fault) => fault.fmt(f),
            Self::TimedOut => write!(f, "did not answer within {} s", HEALTH_TIME.as_secs()),
            Self::Answered(status) => write!(f, "answered {status}"),
        }
    }
}

impl Service {
    /// The service of this name: `auth`, `auth-service` and `auth_service` are the same one.
    pub fn named(name: &str) -> Option<Self> {
        let name = service_named(name)?;
        Self::ALL.into_iter().find(|service| service.as_str() == name)
    }

    /// The services that it calls itself; they stand before it in [`Service::ALL`].
    pub fn depends_on(self) -> &'static [Self] {
        match self {
            Self::Auth | Self::Tenant | Self::Notifications => &[],
            Self::User => &[Self::Auth],
            Self::File => &[Self::User, Self::Tenant],
        }
    }
}

impl Downstream {
    /// Asks a service whether it is healthy.
    pub async fn health(&self, service: Service) -> Health {
        let asked_at = self.clock.instant();
        let fault = match clock::timeout(&*self.clock, HEALTH_TIME, self.ask(service)).await {
            None => Some(HealthFault::TimedOut),
            Some(Err(fault)) => Some(HealthFault::Transport(fault)),
            Some(Ok(status)) if status.is_success() => None,
            Some(Ok(status)) => Some(HealthFault::Answered(status.as_u16())),
        };
        Health { latency: self.clock.instant().since(asked_at), fault }
    }

    async fn ask(&self, service: Service) -> Result<http::StatusCode, TransportFault> {
        let uri = format!("{}/health", self.endpoints.base(service));
        let request = http::Request::get(uri).header("accept", "application/json").body(Bytes::new());
        let request = request.map_err(|_| TransportFault::Unreachable)?;
        self.transport.send(request).await.map(|answer| answer.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_in_every_form_of_its_name() {
        for service in Service::ALL {
            for suffix in ["", "-service", "_service"] {
                assert_eq!(Service::named(&format!("{}{suffix}", service.as_str())), Some(service));
            }
        }
        for unknown in ["", "-service", "service", "Auth", "auth-service-service", "auth ", "billing"] {
            assert_eq!(Service::named(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_service_depends_on_those_before_it_only() {
        for (index, service) in Service::ALL.into_iter().enumerate() {
            let is_before = |other: &Service| Service::ALL[..index].contains(other);
            assert!(service.depends_on().iter().all(is_before), "{}", service.as_str());
        }
    }
}

//! Typed clients of the Auth, User, Tenant and File services and of the notification endpoint, one module each.
//!
//! A call is one attempt with one deadline: retries belong to the state machine alone, but for a call that this process has
//! nothing to send with, such as a file descriptor. Every mutating call carries an `Idempotency-Key`. Failures are sorted by what the caller can do (see [`contracts::ErrorName`]); a service's own
//! words never travel further than this crate, since they may hold personal data.

pub mod auth;
mod call;
mod client;
pub mod contract;
pub mod data;
pub mod effects;
mod fault;
pub mod file;
mod health;
pub mod logs;
pub mod notifications;
pub mod operations;
mod retry_after;
pub mod tenant;
mod transport;
pub mod user;

pub use call::Call;
pub use client::{Downstream, Endpoints, InvalidEndpoint, Service};
pub use fault::{Shortage, TransportFault};
pub use health::{HEALTH_TIME, Health, HealthFault};
pub use transport::{Body, HttpTransport, Transport, whole};

#[cfg(test)]
mod tests;

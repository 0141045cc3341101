//! AWS as the functions reach it, and a worker beside them: the clients of its SDKs and how they are configured, secrets,
//! keys, functions that are called, Temporal behind one of those, and the logs of a function.

mod causes;
mod clients;
mod functions;
pub mod gateway;
mod http;
mod invoked_activities;
mod kms_keys;
mod logs;
#[cfg(test)]
mod scripted;
mod secrets;

pub use clients::Clients;
pub use functions::{CallFailed, Functions};
pub use http::http_client;
pub use invoked_activities::InvokedActivities;
pub use kms_keys::KmsKeys;
pub use logs::log;
pub use secrets::Secrets;

/// Whatever ends a function at its start.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

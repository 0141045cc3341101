//! The vocabulary that every part of the service shares: wire types, ids, statuses, error names, limits.
//!
//! Nothing here does anything: no clock, no socket, no storage.

pub mod access;
pub mod audit;
pub mod backup;
pub mod bulk_operation;
pub mod characters;
pub mod compliance;
pub mod data_migration;
pub mod data_requests;
pub mod dataset;
pub mod document;
pub mod effect;
pub mod email;
pub mod error;
pub mod fields;
pub mod history;
pub mod holds;
pub mod ids;
pub mod limits;
pub mod recipient;
mod redacted;
pub mod request;
pub mod responses;
pub mod services;
pub mod status;
pub mod step;
pub mod tenant_switching;
pub mod user_onboarding;

pub use error::{ActivityError, Cause, ErrorName};
pub use history::{Event, EventType};
pub use ids::{EngineKind, WorkflowKind};
pub use jiff::Timestamp;
pub use redacted::redacted;
pub use status::Status;

//! The service on one machine, put together: embedded engine, SQLite, the API, workers of Temporal, and for
//! trials the reference services.

pub mod app;
mod aws;
pub mod doctor;
pub mod edge;
mod link_key;

pub use ::settings::Settings;
pub use app::{App, Surroundings, Worker};

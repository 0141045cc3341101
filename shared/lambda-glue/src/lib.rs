//! What the Lambda functions share: their environment, their clients, their logs.

mod clients;
mod environment;
mod functions;
pub mod gateway;
mod s3_http;
mod secrets;
mod signed;

pub use clients::{Clients, http_client};
pub use environment::{Environment, InvalidEnvironment, TemporalServer};
pub use functions::{Functions, InvokedActivities};
pub use secrets::Secrets;

/// Whatever ends a function at its start.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// JSON lines on stdout, which is where CloudWatch Logs finds them. `RUST_LOG` is a plain level: `info` unless set.
#[expect(clippy::disallowed_methods, reason = "logging begins before the configuration is read")]
pub fn log() {
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .json()
        .with_max_level(level.unwrap_or(tracing::Level::INFO))
        .with_current_span(false)
        .with_ansi(false)
        // CloudWatch stamps every line itself.
        .without_time()
        .init();
}

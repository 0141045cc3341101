//! The logs of a function.

/// JSON lines on stdout, which is where CloudWatch Logs finds them. `RUST_LOG` is a plain level: `info` unless set.
#[expect(clippy::disallowed_methods, reason = "logging begins before the settings are read")]
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

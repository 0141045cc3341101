//! The log on standard error.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// What is logged where `RUST_LOG` is not set.
const DEFAULT_DIRECTIVES: &str = "warn,sqlx=error";

/// Starts to log, as text or as JSON lines, as much as `RUST_LOG` says.
///
/// # Errors
/// The directive of `RUST_LOG` that cannot be used.
pub(crate) fn start(as_json: bool) -> anyhow::Result<()> {
    let filter = filter(std::env::var_os("RUST_LOG").as_deref())?;
    let wants_no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !wants_no_color)
        // It would report on standard error that standard error cannot be written, and panic.
        .log_internal_errors(false);
    if as_json {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
    Ok(())
}

fn filter(variable: Option<&OsStr>) -> anyhow::Result<EnvFilter> {
    let directives = match variable {
        None => DEFAULT_DIRECTIVES,
        Some(value) => value.to_str().context("RUST_LOG is not UTF-8")?,
    };
    let mut filter = EnvFilter::new("off");
    let mut is_empty = true;
    for directive in split(directives).map(str::trim).filter(|directive| !directive.is_empty()) {
        // A lone word that is no level would be a target, so that a misspelt level would turn the log off.
        if !directive.contains(['=', '[']) && directive.parse::<LevelFilter>().is_err() {
            bail!(
                "RUST_LOG: '{directive}' is not a level (off, error, warn, info, debug, trace); for everything of a \
                 module write {directive}=trace"
            );
        }
        let parsed = directive.parse().map_err(|error| {
            anyhow::anyhow!("RUST_LOG: '{directive}' cannot be used ({error}); a directive is LEVEL or TARGET=LEVEL")
        })?;
        filter = filter.add_directive(parsed);
        is_empty = false;
    }
    Ok(if is_empty { EnvFilter::new(DEFAULT_DIRECTIVES) } else { filter })
}

/// At commas, but not at those between the fields of a span.
fn split(directives: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    directives.split(move |character| {
        match character {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn refusal(value: &str) -> String {
        filter(Some(OsStr::new(value))).unwrap_err().to_string()
    }

    #[test]
    fn levels_and_targets_are_directives() {
        for good in ["", " ", "info", "WARN, sqlx=error", "engine_embedded=debug", "a[span{field=1,other=2}]=info"] {
            assert!(filter(Some(OsStr::new(good))).is_ok(), "{good}");
        }
        assert_eq!(filter(None).unwrap().to_string(), filter(Some(OsStr::new(""))).unwrap().to_string());
    }

    #[test]
    fn a_directive_that_cannot_be_used_is_named() {
        assert!(refusal("info,inof").contains("'inof' is not a level"));
        assert!(refusal("info,sqlx=loud").contains("'sqlx=loud' cannot be used"));
        assert!(filter(Some(OsStr::from_bytes(b"info\xff"))).unwrap_err().to_string().contains("not UTF-8"));
    }
}

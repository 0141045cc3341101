//! Errors in words.

use std::error::Error;

/// An error and what it came from, as they are shown: what is printed for developers may hold what was answered.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

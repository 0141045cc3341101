//! Progress bars, which are drawn on a terminal only.

use std::time::Duration;

use clock::{Clock as _, SystemClock, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{printable, say};

/// How often rate and remaining time are drawn anew while nothing else happens.
const TICK: Duration = Duration::from_millis(500);

/// A bar on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for something whose size is not yet known.
    pub(crate) fn begin() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self { bar }
    }

    /// No bar.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// So many of so many are done. The end is the estimated one, if there is one, or follows from the rate.
    pub(crate) fn set(&self, done: u64, total: u64, estimated_end: Option<Timestamp>, message: &str) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        let remaining = match estimated_end {
            Some(end) => end.duration_since(SystemClock.now()).try_into().unwrap_or_default(),
            None => self.bar.eta(),
        };
        let mut text = String::new();
        if done > 0 && done < total {
            text = format!("{:.1}/s, ETA {} s  ", self.bar.per_sec(), remaining.as_secs());
        }
        text.push_str(&printable(message).replace('\n', " "));
        self.bar.set_message(text);
    }

    /// Writes a line to standard error, above the bar.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        self.bar.suspend(|| say(text));
    }

    /// Does something with standard output while the bar is out of the way.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

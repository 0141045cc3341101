//! Progress bars, which are drawn on a terminal only.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use clock::{Clock as _, SystemClock, Timestamp};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::output::{printable, say};

/// How often rate and remaining time are drawn anew while nothing else happens.
const TICK: Duration = Duration::from_millis(500);

/// A bar on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    ticking: Once,
    /// When the server says that it should be over.
    estimated_end: Arc<Mutex<Option<Timestamp>>>,
}

impl Progress {
    /// A bar, drawn once it is known how much there is to do.
    pub(crate) fn begin() -> Self {
        let progress = Self::of(ProgressBar::new(0));
        let estimated_end = Arc::clone(&progress.estimated_end);
        let draw_pace = move |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let estimated_end = *estimated_end.lock().unwrap_or_else(PoisonError::into_inner);
            let remaining = estimated_end.and_then(|end| end.duration_since(SystemClock.now()).try_into().ok());
            let _ = text.write_str(&pace(state.pos(), state.len().unwrap_or_default(), state.elapsed(), remaining));
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {pace}{msg}") {
            progress.bar.set_style(style.with_key("pace", draw_pace));
        }
        progress
    }

    /// No bar.
    pub(crate) fn hidden() -> Self {
        Self::of(ProgressBar::hidden())
    }

    fn of(bar: ProgressBar) -> Self {
        Self { bar, ticking: Once::new(), estimated_end: Arc::default() }
    }

    /// So many of so many are done.
    pub(crate) fn set(&self, done: u64, total: u64, estimated_end: Option<Timestamp>, message: &str) {
        *self.estimated_end.lock().unwrap_or_else(PoisonError::into_inner) = estimated_end;
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(printable(message).replace('\n', " "));
        if !self.bar.is_hidden() {
            self.ticking.call_once(|| self.bar.enable_steady_tick(TICK));
        }
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

/// Rate and remaining time: the estimated one while it lasts, else as the rate has it.
fn pace(done: u64, total: u64, elapsed: Duration, estimated: Option<Duration>) -> String {
    let mut text = String::new();
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    if done > 0 {
        let _ = if rate >= 1.0 { write!(text, "{rate:.1}/s  ") } else { write!(text, "{:.1}/min  ", rate * 60.0) };
    }
    let by_rate = || Duration::try_from_secs_f64(total.saturating_sub(done) as f64 / rate).ok();
    let remaining = estimated.filter(|remaining| *remaining >= Duration::from_secs(1)).or_else(by_rate);
    if let Some(remaining) = remaining.filter(|_| done < total) {
        let seconds = remaining.as_secs();
        let _ = match seconds {
            0..120 => write!(text, "ETA {seconds} s  "),
            120..7_200 => write!(text, "ETA {} min  ", seconds / 60),
            _ => write!(text, "ETA {} h  ", seconds / 3_600),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_remaining_time_are_told_where_they_are_known() {
        let seconds = Duration::from_secs;
        assert_eq!(pace(0, 7, seconds(3), None), "");
        assert_eq!(pace(0, 7, seconds(3), Some(seconds(9))), "ETA 9 s  ");
        assert_eq!(pace(4, 8, seconds(2), None), "2.0/s  ETA 2 s  ");
        assert_eq!(pace(4, 8, seconds(2), Some(seconds(300))), "2.0/s  ETA 5 min  ");
        assert_eq!(pace(4, 8, seconds(2), Some(seconds(0))), "2.0/s  ETA 2 s  ");
        assert_eq!(pace(1, 100_000, seconds(2), None), "30.0/min  ETA 55 h  ");
        assert_eq!(pace(8, 8, seconds(4), Some(seconds(5))), "2.0/s  ");
    }
}

//! What a connection does at the moment, since when, and for how long it may.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Instant, SharedClock};

use super::connections::Slot;

/// How long a connection may do what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Until a request has begun: longer than load balancers keep their connections, which close before.
    pub(super) idle: Duration,
    /// From the first byte of a request to the end of its headers.
    pub(super) head: Duration,
    /// Until the client takes more of its answer.
    pub(super) write: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { idle: Duration::from_secs(75), head: Duration::from_secs(10), write: Duration::from_secs(30) }
    }
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    Idle,
    Head,
    Write,
}

/// Shared by what reads and writes a connection's bytes, what answers its requests, and what watches its time.
pub(super) struct Doing {
    pub(super) slot: Slot,
    times: Times,
    clock: SharedClock,
    state: Mutex<State>,
}

struct State {
    stage: Stage,
    since: Instant,
    /// Since when the client does not take its answer.
    blocked_since: Option<Instant>,
    /// Whether all of the last answer has been written.
    is_written: bool,
    /// Whether the first line of the request is there.
    has_line: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits for a request.
    Idle,
    /// Reads its headers.
    Head,
    /// Answers it.
    Request,
}

impl Doing {
    pub(super) fn new(slot: Slot, times: Times, clock: SharedClock) -> Self {
        let since = clock.instant();
        let state = State { stage: Stage::Idle, since, blocked_since: None, is_written: true, has_line: false };
        Self { slot, times, clock, state: Mutex::new(state) }
    }

    pub(super) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes have arrived.
    pub(super) fn received(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if state.stage == Stage::Idle && !bytes.is_empty() {
            *state = State { stage: Stage::Head, since: self.clock.instant(), has_line: false, ..*state };
        }
        if state.stage == Stage::Head {
            state.has_line |= bytes.contains(&b'\n');
        }
    }

    /// A request is there. It is under way until what this returns is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.lock();
        *state = State { stage: Stage::Request, since: self.clock.instant(), is_written: false, ..*state };
        drop(state);
        self.slot.set_busy();
        UnderWay(Arc::clone(self))
    }

    fn end(&self) {
        let mut state = self.lock();
        *state = State { stage: Stage::Idle, since: self.clock.instant(), ..*state };
        drop(state);
        self.slot.set_idle();
    }

    /// All that was to be written is written.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        state.is_written |= state.stage != Stage::Request;
    }

    /// Whether the client takes what is written.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        let mut state = self.lock();
        state.blocked_since = is_blocked.then(|| state.blocked_since.unwrap_or_else(|| self.clock.instant()));
    }

    /// Whether a request is under way, or its answer is not written yet.
    pub(super) fn is_answering(&self) -> bool {
        let state = self.lock();
        state.stage == Stage::Request || !state.is_written
    }

    /// Whether the first line of a request is there.
    pub(super) fn has_line(&self) -> bool {
        self.lock().has_line
    }

    /// Waits until something takes too long.
    pub(super) async fn overdue(&self) -> Overdue {
        // A shorter time may begin while a longer one is waited for.
        let step = self.times.head.min(self.times.write) / 2;
        loop {
            let now = self.clock.instant();
            let next = now + step;
            let next = match self.due() {
                Some((at, overdue)) if at <= now => return overdue,
                Some((at, _)) => next.min(at),
                None => next,
            };
            clock::sleep_until(&*self.clock, next).await;
        }
    }

    fn due(&self) -> Option<(Instant, Overdue)> {
        let state = self.lock();
        let (since, time, overdue) = match (state.blocked_since, state.stage) {
            (Some(since), _) => (since, self.times.write, Overdue::Write),
            (None, Stage::Idle) => (state.since, self.times.idle, Overdue::Idle),
            (None, Stage::Head) => (state.since, self.times.head, Overdue::Head),
            // The routes keep the time.
            (None, Stage::Request) => return None,
        };
        Some((since + time, overdue))
    }
}

/// A request that is under way.
pub(super) struct UnderWay(Arc<Doing>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end();
    }
}

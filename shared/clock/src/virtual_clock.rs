//! A clock for tests that jumps to the next alarm whenever nobody is busy.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::{Busy, Clock, Instant};

/// Virtual time. Use on a current-thread runtime: the guard accounting relies on a task not being preempted between
/// the polls of one `select`.
#[derive(Clone)]
pub struct VirtualClock(Arc<Inner>);

pub(crate) struct Inner(Mutex<State>);

struct State {
    now: Timestamp,
    instant: Instant,
    /// Guards alive, plus alarms that fired and have not been taken yet, minus parked tasks.
    busy: i64,
    next_id: u64,
    alarms: BTreeMap<(Instant, u64), Option<Waker>>,
    fired: BTreeMap<u64, ()>,
}

impl VirtualClock {
    /// A clock that stands at `start`; the caller counts as busy from the start (see [`crate::park`]).
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(Inner(Mutex::new(State {
            now: start,
            instant: Instant::after_beginning(Duration::ZERO),
            busy: 1,
            next_id: 0,
            alarms: BTreeMap::new(),
            fired: BTreeMap::new(),
        }))))
    }

    /// Sets the clock, forward or back, as a machine's is set. Instants go on as if nothing had happened, and alarms go by
    /// them.
    pub fn jump_to(&self, now: Timestamp) {
        self.0.lock().now = now;
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }

    fn instant(&self) -> Instant {
        self.0.lock().instant
    }

    fn alarm(&self, at: Instant) -> BoxFuture<'static, ()> {
        let mut state = self.0.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.alarms.insert((at, id), None);
        Box::pin(Alarm { inner: Arc::clone(&self.0), at, id, done: false })
    }

    fn busy(&self) -> Busy {
        self.0.lock().busy += 1;
        Busy(Some(Arc::clone(&self.0)))
    }

    fn set_parked(&self, parked: bool) {
        if parked {
            self.0.release();
        } else {
            self.0.lock().busy += 1;
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panicking test must not hide its own message behind a poisoned lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up one guard; the last one to go moves time to the next alarm and hands it the turn.
    pub(crate) fn release(&self) {
        let waker = {
            let mut state = self.lock();
            state.busy -= 1;
            assert!(state.busy >= 0, "a task parked without holding a guard");
            state.fire_next()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// Fires the earliest alarm if nobody is busy. One at a time: its owner runs before the next one is considered.
    fn fire_next(&mut self) -> Option<Waker> {
        if self.busy > 0 {
            return None;
        }
        let ((at, id), waker) = self.alarms.pop_first()?;
        self.now = self.now.checked_add(at.since(self.instant)).unwrap_or(Timestamp::MAX);
        self.instant = self.instant.max(at);
        self.fired.insert(id, ());
        self.busy += 1;
        waker
    }
}

struct Alarm {
    inner: Arc<Inner>,
    at: Instant,
    id: u64,
    done: bool,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.inner.lock();
        if state.fired.remove(&self.id).is_some() {
            // The turn passes to the task that polls: `park` counts it busy again in this same poll.
            state.busy -= 1;
            drop(state);
            self.done = true;
            return Poll::Ready(());
        }
        let key = (self.at, self.id);
        if let Some(waker) = state.alarms.get_mut(&key) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let had_fired = {
            let mut state = self.inner.lock();
            state.alarms.remove(&(self.at, self.id));
            state.fired.remove(&self.id).is_some()
        };
        if had_fired {
            self.inner.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{SharedClock, park, sleep, spawn, spawn_all, timeout};

    fn clock() -> (VirtualClock, SharedClock) {
        let clock = VirtualClock::new(Timestamp::UNIX_EPOCH);
        (clock.clone(), Arc::new(clock))
    }

    #[tokio::test]
    async fn sleeps_run_in_order_and_take_no_time() {
        let (_, clock) = clock();
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        for seconds in [30_u64, 10, 20] {
            let (tx, task_clock) = (tx.clone(), Arc::clone(&clock));
            spawn(&clock, async move {
                sleep(&*task_clock, Duration::from_secs(seconds)).await;
                let _ = tx.send((seconds, task_clock.now().as_second(), task_clock.busy()));
            });
        }
        for expected in [10, 20, 30] {
            let (seconds, at, _busy) = park(&*clock, rx.recv()).await.expect("three tasks send");
            assert_eq!((seconds, at), (expected, expected as i64));
        }
    }

    #[tokio::test]
    async fn what_is_done_at_once_takes_as_long_as_the_longest() {
        let (_, clock) = clock();
        let sleeps = [30_u64, 0, 20].map(|seconds| {
            let clock = Arc::clone(&clock);
            async move {
                assert_ne!(seconds, 0, "the second one panics");
                sleep(&*clock, Duration::from_secs(seconds)).await;
                clock.now().as_second()
            }
        });
        assert_eq!(spawn_all(&clock, sleeps).await, [Some(30), None, Some(20)]);
        assert_eq!(clock.now().as_second(), 30);
        // The guards are back: a further sleep works the same way.
        sleep(&*clock, Duration::from_secs(5)).await;
        assert_eq!(clock.now().as_second(), 35);
    }

    #[tokio::test]
    async fn a_deadline_ends_a_sleep_inside_it() {
        let (_, clock) = clock();
        let outcome = timeout(&*clock, Duration::from_secs(10), sleep(&*clock, Duration::from_secs(45))).await;
        assert_eq!((outcome, clock.now().as_second()), (None, 10));
        // The guard is back: a further sleep works the same way.
        sleep(&*clock, Duration::from_secs(5)).await;
        assert_eq!(clock.now().as_second(), 15);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_holds_no_wait_up() {
        for jump in [-3_600, 3_600] {
            let (virtual_clock, clock) = clock();
            let beginning = clock.instant();
            let set = async {
                sleep(&*clock, Duration::from_secs(1)).await;
                virtual_clock.jump_to(Timestamp::from_second(jump).expect("a second"));
                sleep(&*clock, Duration::from_secs(9)).await;
            };
            assert_eq!(timeout(&*clock, Duration::from_secs(20), set).await, Some(()));
            assert_eq!((clock.now().as_second(), clock.instant().since(beginning).as_secs()), (jump + 9, 10));
        }
    }

    #[tokio::test]
    async fn time_stands_still_while_somebody_works() {
        let (_, clock) = clock();
        let worked = timeout(&*clock, Duration::from_secs(1), async {
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))).await
        })
        .await;
        assert!(worked.is_some());
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
    }
}

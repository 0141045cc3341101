//! Time as a dependency: every timer, timeout and deadline of the service goes through a [`Clock`].
//!
//! In production that is [`SystemClock`]. Tests use [`VirtualClock`], which jumps to the next alarm as soon as no
//! work is under way, so that a 45 s timeout costs microseconds although real sockets, real SQLite threads and
//! real files are in play (tokio's own paused clock counts a task that waits for those as idle and jumps too early).
//!
//! The contract that makes this exact: **whoever does work holds a [`Busy`] guard; whoever only waits gives it up.**
//!
//! - Every independent task (each `tokio::spawn`) holds a guard for its lifetime: use [`spawn`].
//! - A task that waits for something *another task or the clock* will bring about waits inside [`park`].
//! - A message between tasks carries a guard ([`Clock::busy`]) until the receiver has taken it, so that there is no
//!   instant at which neither side is counted.
//! - A wait for real I/O (database, socket, file) is work: it is not parked.
//!
//! On the system clock all of this compiles down to nothing.
//!
//! A clock has two faces. [`Clock::now`] is what people read and what deadlines are compared with; somebody may set it,
//! forward or back. [`Clock::instant`] only ever moves on: **waits, ages and caches go by instants**, so that a clock
//! that is set back holds nothing up. [`SteadyTime`] is for what has to tell moments and must not go back.

mod instant;
mod steady;
mod system;
mod virtual_clock;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
pub use jiff::Timestamp;
use tokio::sync::oneshot;

pub use instant::Instant;
pub use steady::{Reading, SteadyTime};
pub use system::SystemClock;
pub use virtual_clock::VirtualClock;

/// Where "now" and every wait come from.
pub trait Clock: Send + Sync + 'static {
    /// The current time, as people read it; it may be set back.
    fn now(&self) -> Timestamp;

    /// The current instant; it never goes back.
    fn instant(&self) -> Instant;

    /// Completes once `at` has been reached. Does not give up the caller's [`Busy`] guard: see [`sleep`].
    fn alarm(&self, at: Instant) -> BoxFuture<'static, ()>;

    /// A guard that keeps virtual time from moving while it lives.
    fn busy(&self) -> Busy;

    /// Gives up (`true`) or takes back (`false`) the calling task's guard; only [`park`] calls this.
    fn set_parked(&self, parked: bool);
}

/// The shared handle that components keep.
pub type SharedClock = Arc<dyn Clock>;

/// Keeps virtual time from moving while it lives; nothing on the system clock.
#[must_use]
pub struct Busy(Option<Arc<virtual_clock::Inner>>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            inner.release();
        }
    }
}

/// Waits for `future` while counting as idle.
pub async fn park<F: Future>(clock: &dyn Clock, future: F) -> F::Output {
    struct Parked<'a>(&'a dyn Clock);
    impl Drop for Parked<'_> {
        fn drop(&mut self) {
            self.0.set_parked(false);
        }
    }
    clock.set_parked(true);
    let _parked = Parked(clock);
    future.await
}

/// Waits until `at`, counting as idle.
pub async fn sleep_until(clock: &dyn Clock, at: Instant) {
    park(clock, clock.alarm(at)).await;
}

/// Waits for `duration`, counting as idle.
pub async fn sleep(clock: &dyn Clock, duration: Duration) {
    sleep_until(clock, clock.instant() + duration).await;
}

/// Runs `future` for at most `duration`; `None` when the time was up first.
pub async fn timeout<F: Future>(clock: &dyn Clock, duration: Duration, future: F) -> Option<F::Output> {
    let future = std::pin::pin!(future);
    match select(future, clock.alarm(clock.instant() + duration)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}

/// The moment `duration` from now, for people and for deadlines that are stored; the end of time where that cannot be
/// represented. A wait ends at an [`Instant`].
pub fn after(clock: &dyn Clock, duration: Duration) -> Timestamp {
    clock.now().checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// How long it is until `at`, going by what the clock says now; zero once it has passed.
pub fn until(clock: &dyn Clock, at: Timestamp) -> Duration {
    at.duration_since(clock.now()).try_into().unwrap_or_default()
}

/// Spawns an independent task that counts as busy until it ends or parks.
pub fn spawn<F>(clock: &SharedClock, future: F) -> tokio::task::JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let guarded = Guarded { busy: clock.busy(), future: Box::pin(future) };
    tokio::spawn(guarded)
}

/// Runs all of these at once, each in a task of its own, and waits for their outputs, counting as idle. They go on if nobody
/// waits any more. The output of one that panics is missing.
pub async fn spawn_all<F>(clock: &SharedClock, futures: impl IntoIterator<Item = F>) -> Vec<Option<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    let futures: Vec<F> = futures.into_iter().collect();
    let (done, outputs) = oneshot::channel();
    let none = futures.iter().map(|_| None).collect();
    let gathered = Arc::new(Gathered { clock: Arc::clone(clock), outputs: Mutex::new(none), done: Some(done) });
    for (index, future) in futures.into_iter().enumerate() {
        let gathered = Arc::clone(&gathered);
        spawn(clock, async move {
            let output = future.await;
            gathered.lock()[index] = Some(output);
        });
    }
    drop(gathered);
    park(&**clock, outputs).await.map(|(outputs, _busy)| outputs).unwrap_or_default()
}

/// The outputs of tasks, sent by the last of them to end.
struct Gathered<T> {
    clock: SharedClock,
    outputs: Mutex<Vec<Option<T>>>,
    done: Option<oneshot::Sender<(Vec<Option<T>>, Busy)>>,
}

impl<T> Gathered<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<T>>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Gathered<T> {
    fn drop(&mut self) {
        let outputs = std::mem::take(&mut *self.lock());
        if let Some(done) = self.done.take() {
            let _ = done.send((outputs, self.clock.busy()));
        }
    }
}

/// A task's future together with the guard it holds; the future (which may be parked) goes first.
struct Guarded {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    #[expect(dead_code, reason = "held for its Drop, after the future's")]
    busy: Busy,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.future.as_mut().poll(cx)
    }
}

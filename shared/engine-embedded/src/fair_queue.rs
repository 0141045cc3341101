//! A bounded number of activities at once, with the tenants taking turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clock::{Busy, SharedClock};
use store::Turns;
use tokio::sync::oneshot;

/// Hands out permits.
#[derive(Clone)]
pub(crate) struct FairQueue(Arc<Inner>);

struct Inner {
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: usize,
    /// Permits that are out.
    taken: usize,
    waiting: Turns<oneshot::Sender<(Permit, Busy)>>,
}

/// The right to run one activity; given back when dropped.
pub(crate) struct Permit(Option<Arc<Inner>>);

impl FairQueue {
    pub(crate) fn new(permits: usize, clock: SharedClock) -> Self {
        Self(Arc::new(Inner { clock, state: Mutex::new(State { free: permits.max(1), ..State::default() }) }))
    }

    /// How many have a permit or wait for one.
    pub(crate) fn len(&self) -> usize {
        let state = self.0.lock();
        state.taken + state.waiting.len()
    }

    /// Waits for this tenant's turn.
    pub(crate) async fn acquire(&self, tenant_id: &str) -> Permit {
        loop {
            let waiting = {
                let mut state = self.0.lock();
                if state.free > 0 {
                    state.free -= 1;
                    state.taken += 1;
                    return Permit(Some(Arc::clone(&self.0)));
                }
                let (sender, receiver) = oneshot::channel();
                state.waiting.push(tenant_id, sender);
                receiver
            };
            if let Ok((permit, _busy)) = clock::park(&*self.0.clock, waiting).await {
                return permit;
            }
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(inner) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = inner.lock();
                let next = state.waiting.pop();
                if next.is_none() {
                    state.free += 1;
                    state.taken -= 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send((Permit(Some(Arc::clone(&inner))), inner.clock.busy())) {
                Ok(()) => return,
                // Its task is gone: disarm the permit that came back, and serve the next one.
                Err((mut permit, _)) => drop(permit.0.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tenants_take_turns() {
        let queue = FairQueue::new(1, Arc::new(clock::SystemClock));
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = queue.acquire("a").await;
        let mut tasks = Vec::new();
        for tenant in ["a", "a", "a", "b", "c"] {
            let (task_queue, order) = (queue.clone(), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let _permit = task_queue.acquire(tenant).await;
                order.lock().unwrap().push(tenant);
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), ["a", "b", "c", "a", "a"]);
    }
}

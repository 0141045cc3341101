//! All connections that share a limit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Connections beyond the limit, when none of the others is idle: for those who ask how the server is.
const SPARE: usize = 8;

/// The connections that are open.
pub struct Connections {
    limit: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Open>,
    ordinary: Kind,
    spare: Kind,
    next: u64,
}

/// The connections of one kind: those within the limit, or the spare ones.
#[derive(Default)]
struct Kind {
    /// How many are open and not told to close.
    count: usize,
    /// Idle ones, by when they came to be so.
    idle: BTreeMap<u64, u64>,
}

struct Open {
    /// Tells it to close.
    close: Arc<Notify>,
    is_told: bool,
    is_spare: bool,
    idle_since: Option<u64>,
}

/// The right to have a connection open; given back when dropped.
pub(super) struct Slot {
    connections: Arc<Connections>,
    id: u64,
    close: Arc<Notify>,
    is_spare: bool,
}

impl Connections {
    /// At most so many, and a few that are only answered about the health.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), state: Mutex::default(), freed: Notify::new() })
    }

    /// Waits until there is room for one more. It begins idle.
    pub(super) async fn admit(self: &Arc<Self>) -> Slot {
        loop {
            let freed = self.freed.notified();
            if let Some(slot) = self.try_admit() {
                return slot;
            }
            freed.await;
        }
    }

    /// Tells the connection to close that has been idle for longest, if one is idle.
    pub(super) fn close_oldest_idle(&self) -> bool {
        let mut state = self.lock();
        state.close_oldest_idle(false) || state.close_oldest_idle(true)
    }

    fn try_admit(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.lock();
        // One that is told to close counts no more, so that no newcomer closes two.
        let is_spare = state.ordinary.count >= self.limit && !state.close_oldest_idle(false);
        if is_spare && state.spare.count >= SPARE && !state.close_oldest_idle(true)
            || state.open.len() >= self.limit + SPARE
        {
            return None;
        }
        let id = state.number();
        let close = Arc::new(Notify::new());
        let open = Open { close: Arc::clone(&close), is_told: false, is_spare, idle_since: None };
        state.open.insert(id, open);
        state.kind(is_spare).count += 1;
        state.set_idle(id);
        Some(Slot { connections: Arc::clone(self), id, close, is_spare })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn kind(&mut self, is_spare: bool) -> &mut Kind {
        if is_spare { &mut self.spare } else { &mut self.ordinary }
    }

    fn close_oldest_idle(&mut self, is_spare: bool) -> bool {
        let Some((_, id)) = self.kind(is_spare).idle.pop_first() else { return false };
        self.kind(is_spare).count -= 1;
        if let Some(open) = self.open.get_mut(&id) {
            open.idle_since = None;
            open.is_told = true;
            open.close.notify_one();
        }
        true
    }

    fn set_idle(&mut self, id: u64) {
        let turn = self.number();
        let Some(open) = self.open.get_mut(&id).filter(|open| !open.is_told) else { return };
        open.idle_since = Some(turn);
        let is_spare = open.is_spare;
        self.kind(is_spare).idle.insert(turn, id);
    }

    fn set_busy(&mut self, id: u64) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let (is_spare, turn) = (open.is_spare, open.idle_since.take());
        if let Some(turn) = turn {
            self.kind(is_spare).idle.remove(&turn);
        }
    }

    fn remove(&mut self, id: u64) {
        self.set_busy(id);
        if let Some(Open { is_told: false, is_spare, .. }) = self.open.remove(&id) {
            self.kind(is_spare).count -= 1;
        }
    }
}

impl Slot {
    /// Whether it is there to answer about the health only.
    pub(super) fn is_spare(&self) -> bool {
        self.is_spare
    }

    /// Waits until the connection is to close in favour of another one.
    pub(super) async fn until_closed(&self) {
        self.close.notified().await;
    }

    pub(super) fn set_idle(&self) {
        self.connections.lock().set_idle(self.id);
    }

    pub(super) fn set_busy(&self) {
        self.connections.lock().set_busy(self.id);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.lock().remove(self.id);
        self.connections.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn is_closed(slot: &Slot) -> bool {
        slot.until_closed().now_or_never().is_some()
    }

    #[tokio::test]
    async fn the_oldest_idle_connection_makes_room() {
        let connections = Connections::new(3);
        let slots = [connections.admit().await, connections.admit().await, connections.admit().await];
        slots[0].set_busy();
        slots[1].set_busy();
        slots[1].set_idle();
        let newer = connections.admit().await;
        assert_eq!(
            slots.each_ref().map(is_closed),
            [false, false, true],
            "the first one works, the second was busy later"
        );
        let newest = connections.admit().await;
        assert_eq!(slots.each_ref().map(is_closed), [false, true, false], "each is told once");
        assert!(!newer.is_spare() && !newest.is_spare());
    }

    #[tokio::test]
    async fn where_all_are_busy_a_few_more_are_let_in() {
        let connections = Connections::new(2);
        let busy = async || {
            let slot = connections.admit().await;
            slot.set_busy();
            slot
        };
        let slots = [busy().await, busy().await];
        assert!(slots.iter().all(|slot| !slot.is_spare()));
        let mut spare = Vec::new();
        for _ in 0..SPARE {
            spare.push(busy().await);
        }
        assert!(spare.iter().all(Slot::is_spare));
        assert!(!slots.iter().chain(&spare).any(is_closed));
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.admit().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "there is no room at all");
        spare.pop();
        assert!(waiting.await.unwrap().is_spare());
    }

    #[tokio::test]
    async fn a_spare_connection_gives_way_to_a_spare_one() {
        let connections = Connections::new(1);
        let only = connections.admit().await;
        only.set_busy();
        // They begin idle, and are so again after their answer.
        let mut spare = Vec::new();
        for _ in 0..SPARE {
            spare.push(connections.admit().await);
        }
        assert!(connections.admit().now_or_never().is_none(), "there is no room until the oldest one is closed");
        assert_eq!(spare.iter().filter(|slot| is_closed(slot)).count(), 1, "one newcomer closes one");
        assert!(connections.admit().now_or_never().is_none());
        drop(spare.remove(0));
        let newest = connections.admit().await;
        assert!(newest.is_spare() && spare.iter().all(Slot::is_spare) && !is_closed(&only));
        only.set_idle();
        drop(newest);
        assert!(!connections.admit().await.is_spare(), "an idle one within the limit makes room within the limit");
    }
}

//! The connections that read, and how tenants share them.
//!
//! A tenant's reads have [`OF_ONE`] of the connections at once; what else it wants to read waits for its own reads. So
//! tenants find a connection free, or wait for a few reads of each other tenant, however many reads one of them asks
//! for. The engine's own reads are limited in the same way.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool};
use store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::unavailable;

/// Connections that read.
pub(crate) const CONNECTIONS: u32 = 4;

/// Of these, those that the reads of one tenant have at most.
const OF_ONE: usize = 2;

/// Stands for the engine beside the tenants: no tenant's id is empty.
const ENGINE: &str = "";

/// From so many tenants on, those that read nothing now are forgotten.
const MANY_TENANTS: usize = 1_000;

/// Hands out connections.
#[derive(Clone)]
pub(crate) struct Readers {
    pool: AnyPool,
    turns: Arc<Turns>,
}

/// A connection for one read, or for several that follow each other.
pub(crate) struct Reader {
    connection: PoolConnection<Any>,
    _turn: OwnedSemaphorePermit,
}

impl Readers {
    pub(crate) fn new(pool: AnyPool) -> Self {
        Self { pool, turns: Arc::default() }
    }

    /// For a read of this tenant's.
    pub(crate) async fn of(&self, tenant_id: &str) -> Result<Reader, StoreError> {
        let turn = self.turns.of(tenant_id).acquire_owned().await.map_err(unavailable)?;
        Ok(Reader { connection: self.pool.acquire().await.map_err(unavailable)?, _turn: turn })
    }

    /// For a read of the engine's.
    pub(crate) async fn of_engine(&self) -> Result<Reader, StoreError> {
        self.of(ENGINE).await
    }

    /// For what is asked about the database itself, which does not wait for a turn.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }
}

impl Deref for Reader {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

/// The turns of each tenant that reads.
#[derive(Default)]
struct Turns(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Turns {
    fn of(&self, tenant_id: &str) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_tenant) = turns.get(tenant_id) {
            return Arc::clone(of_tenant);
        }
        if turns.len() >= MANY_TENANTS {
            turns.retain(|_, of_tenant| Arc::strong_count(of_tenant) > 1);
        }
        let of_tenant = Arc::new(Semaphore::new(OF_ONE));
        turns.insert(tenant_id.to_owned(), Arc::clone(&of_tenant));
        of_tenant
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clock::SystemClock;

    use super::*;
    use crate::{Durability, SqlStore};

    #[tokio::test]
    async fn a_tenant_waits_for_its_own_reads_and_for_nobody_elses() {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(SystemClock);
        let store = SqlStore::open(&directory.path().join("x.db"), Durability::Process, clock).await.expect("it opens");
        let readers = store.readers.clone();
        let a_moment = Duration::from_millis(200);
        let is_free = async |tenant_id| clock::timeout(&SystemClock, a_moment, readers.of(tenant_id)).await.is_some();
        let mut held = Vec::new();
        for _ in 0..OF_ONE {
            held.push(readers.of("busy").await.expect("it is there"));
        }
        assert!(!is_free("busy").await, "it has all of its turns");
        assert!(is_free("other").await, "the other tenant waits for none of them");
        assert!(is_free(ENGINE).await, "nor does the engine");
        held.pop();
        assert!(is_free("busy").await, "its next read follows");
    }

    #[tokio::test]
    async fn tenants_that_read_nothing_are_forgotten() {
        let turns = Turns::default();
        let reading = turns.of("reading").acquire_owned().await.expect("it is free");
        for number in 0..3 * MANY_TENANTS {
            turns.of(&number.to_string());
        }
        let kept = turns.0.lock().expect("nobody panicked").len();
        assert!(kept <= MANY_TENANTS, "{kept}");
        assert_eq!(turns.of("reading").available_permits(), OF_ONE - 1, "who reads is not forgotten");
        drop(reading);
    }
}

//! Legal holds: data that must not be erased, because a court or a law needs it.

use async_trait::async_trait;
use contracts::Timestamp;
use contracts::holds::{Hold, HoldScope, HoldState, Release};

use crate::{NewAuditRow, StoreError};

/// Holds of a tenant that hold at once at most: who erases something reads them all.
pub const MAX_ACTIVE_HOLDS: usize = 10_000;

/// What became of the wish to place a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It holds from now on.
    New,
    /// It was placed before; this is what is known of it, also when it was released since then.
    Before(Box<Hold>),
    /// There is another hold of this name.
    Taken,
    /// The tenant has as many as it may have: [`MAX_ACTIVE_HOLDS`].
    Full,
}

/// What became of the wish to release a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// It holds no more.
    Now(Hold),
    /// It was released before, as it says.
    Before(Hold),
    /// Its time was up before.
    Expired(Hold),
    /// There is no such hold.
    Missing,
}

/// Which holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoldFilter {
    /// Those in this state.
    pub state: Option<HoldState>,
    /// Those that name this person.
    pub subject_user_id: Option<String>,
}

impl HoldFilter {
    /// Whether all holds fit.
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.subject_user_id.is_none()
    }

    /// Whether this one fits.
    pub fn fits(&self, hold: &Hold, now: Timestamp) -> bool {
        let names = |person: &String| match &hold.scope {
            HoldScope::Subject { subject_user_id, .. } => subject_user_id == person,
            HoldScope::Categories { .. } | HoldScope::Record { .. } => false,
        };
        self.state.is_none_or(|state| hold.state(now) == state) && self.subject_user_id.as_ref().is_none_or(names)
    }
}

/// A part of a tenant's holds, newest first. Where few fit the filter it may end before it is full, and still go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldPage {
    /// The holds.
    pub holds: Vec<Hold>,
    /// Where the next part begins, as only the store understands it; none at the end.
    pub next: Option<String>,
}

/// Legal holds. They are never removed.
#[async_trait]
pub trait Holds: Send + Sync {
    /// Places a hold, together with its row of the audit log. The same hold may be placed again: one with the same scope, reason
    /// and end.
    async fn place(&self, hold: &Hold, audit: NewAuditRow) -> Result<Placed, StoreError>;

    /// The hold, if there is one.
    async fn hold(&self, tenant_id: &str, hold_id: &str) -> Result<Option<Hold>, StoreError>;

    /// The tenant's holds that fit, newest first: `limit` of them at most, those older than `before` (a [`HoldPage::next`]).
    async fn holds(
        &self,
        tenant_id: &str,
        filter: &HoldFilter,
        now: Timestamp,
        before: Option<&str>,
        limit: u32,
    ) -> Result<HoldPage, StoreError>;

    /// All holds of the tenant that hold at this moment, by their names. One whose placing has returned is among them.
    ///
    /// # Errors
    /// One of them cannot be read: nobody knows then what must not be erased.
    async fn active(&self, tenant_id: &str, now: Timestamp) -> Result<Vec<Hold>, StoreError>;

    /// Releases a hold of the row's tenant, together with that row of the audit log.
    async fn release(&self, hold_id: &str, release: &Release, audit: NewAuditRow) -> Result<Released, StoreError>;
}

/// What it means to place a hold whose name is in use.
pub fn placed_again(hold: &Hold, placed: Hold) -> Placed {
    let is_same = placed.scope == hold.scope && placed.reason == hold.reason && placed.until == hold.until;
    if is_same { Placed::Before(Box::new(placed)) } else { Placed::Taken }
}

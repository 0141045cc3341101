//! Undoing what a call did, by the key of that call; the same on every service.

use contracts::{ActivityError, Timestamp};
use serde::Deserialize;

use crate::{Call, Downstream, Service};

/// The answer to an undo.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Undone {
    /// Whether there was anything to undo. A call that comes after its undo is refused either way.
    pub undone: bool,
    /// When.
    pub undone_at: Timestamp,
}

/// Undoes what the call with the key `effect` did at this service; `idempotency_key` is this call's own, the tenant is
/// the one which that call named. `Conflict` when somebody has changed the same thing since.
pub async fn undo(
    downstream: &Downstream,
    service: Service,
    tenant_id: &str,
    effect: &str,
    idempotency_key: String,
) -> Result<Undone, ActivityError> {
    downstream.call(Call::delete(service, &["effects", effect], tenant_id, idempotency_key)).await
}

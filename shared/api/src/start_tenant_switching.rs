//! `POST /api/v1/workflows/tenant-switching`

use axum::Router;
use contracts::tenant_switching::TenantSwitchingRequest;

use crate::{Starting, start};

/// The route.
pub fn route() -> Router<Starting> {
    start::route::<TenantSwitchingRequest>("/api/v1/workflows/tenant-switching")
}

//! `POST /api/v1/coordination/restore`

use axum::Router;
use contracts::backup::RestoreRequest;

use crate::{Starting, start};

/// The route.
pub fn route() -> Router<Starting> {
    start::route::<RestoreRequest>("/api/v1/coordination/restore")
}

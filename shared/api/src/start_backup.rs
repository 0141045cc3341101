//! `POST /api/v1/coordination/backup`

use axum::Router;
use contracts::backup::BackupRequest;

use crate::{Starting, start};

/// The route.
pub fn route() -> Router<Starting> {
    start::route::<BackupRequest>("/api/v1/coordination/backup")
}

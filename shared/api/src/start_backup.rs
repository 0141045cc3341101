//! `POST /api/v1/coordination/backup`

use axum::Router;
use contracts::backup::BackupRequest;

use crate::{Starting, start};

pub(crate) const PATH: &str = "/api/v1/coordination/backup";

/// The route.
pub fn route() -> Router<Starting> {
    start::route::<BackupRequest>(PATH)
}

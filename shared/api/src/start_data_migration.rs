//! `POST /api/v1/workflows/data-migration`

use axum::Router;
use contracts::data_migration::DataMigrationRequest;

use crate::{Starting, start};

/// The route.
pub fn route() -> Router<Starting> {
    start::route::<DataMigrationRequest>("/api/v1/workflows/data-migration")
}

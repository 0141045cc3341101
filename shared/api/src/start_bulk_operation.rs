//! `POST /api/v1/workflows/bulk-operation`

use axum::Router;
use contracts::bulk_operation::BulkOperationRequest;

use crate::{Starting, start};

/// The route.
pub fn route() -> Router<Starting> {
    start::route::<BulkOperationRequest>("/api/v1/workflows/bulk-operation")
}

//! `POST /api/v1/workflows/compliance`

use axum::Router;
use contracts::compliance::ComplianceWorkflowRequest;

use crate::{Starting, start};

/// The route.
pub fn route() -> Router<Starting> {
    start::route::<ComplianceWorkflowRequest>("/api/v1/workflows/compliance")
}

//! `POST /api/v1/workflows/compliance`

use axum::Router;
use contracts::compliance::ComplianceWorkflowRequest;

use crate::{Starting, start};

pub(crate) const PATH: &str = "/api/v1/workflows/compliance";

/// The route.
pub fn route() -> Router<Starting> {
    start::route::<ComplianceWorkflowRequest>(PATH)
}

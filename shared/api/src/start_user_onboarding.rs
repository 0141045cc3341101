//! `POST /api/v1/workflows/user-onboarding`

use axum::Router;
use contracts::user_onboarding::UserOnboardingRequest;

use crate::{Starting, start};

/// The route.
pub fn route() -> Router<Starting> {
    start::route::<UserOnboardingRequest>("/api/v1/workflows/user-onboarding")
}

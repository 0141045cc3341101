//! How a failure travels on Temporal.

use temporalio_common::ActivityError;
use temporalio_common::error::ApplicationFailure;

/// A failure that the state machine's own `Retry` and `Catch` look at.
pub(crate) fn failure(error: &str, cause: &str) -> ActivityError {
    let failure = ApplicationFailure::builder(cause.to_owned()).type_name(error.to_owned()).non_retryable(true);
    ActivityError::application(failure.build())
}

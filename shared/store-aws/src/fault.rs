//! What a failed request means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use store::StoreError;

/// Watches the tries of a write, of which the client reports the last one only: an earlier one whose answer was lost may
/// have taken place, or may yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tries {
    is_in_doubt: Arc<AtomicBool>,
}

impl Intercept for Tries {
    fn name(&self) -> &'static str {
        "Tries"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_done = matches!(context.output_or_error(), Some(Ok(_)));
        let is_refused = context.response().is_some_and(|response| response.status().is_client_error());
        if !(is_done || is_refused) {
            self.is_in_doubt.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Tries {
    /// What it means for the write that it failed like this in the end.
    pub(crate) fn failed(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Unavailable(reason) if self.is_in_doubt.load(Ordering::Relaxed) => StoreError::InDoubt(reason),
            other => other,
        }
    }

    /// What it means for the write that the client gave it up.
    pub(crate) fn write<E>(&self, error: SdkError<E>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.failed(write(error))
    }
}

/// Of a read: nothing happened.
pub(crate) fn read<E>(error: SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match write(error) {
        StoreError::InDoubt(reason) => StoreError::Unavailable(reason),
        other => other,
    }
}

/// Of a write's last try: what DynamoDB refused did not happen, all else is in doubt.
pub(crate) fn write<E>(error: SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    // A transaction in progress is an earlier try of the very same.
    let is_doubtful = code.starts_with("Internal") || code == "TransactionInProgressException";
    let is_refusal = matches!(error, SdkError::ServiceError(_)) && !is_doubtful;
    let is_ours = code == "ValidationException" || matches!(error, SdkError::ConstructionFailure(_));
    let reason = DisplayErrorContext(error).to_string();
    match (is_ours, is_refusal) {
        (true, _) => StoreError::Inconsistent(reason),
        (false, true) => StoreError::Unavailable(reason),
        (false, false) => StoreError::InDoubt(reason),
    }
}

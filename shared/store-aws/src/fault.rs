//! What a failed request means.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use store::StoreError;

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

/// Of a write: what DynamoDB refused did not happen, all else is in doubt.
pub(crate) fn write<E>(error: SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let is_refusal = matches!(error, SdkError::ServiceError(_)) && !code.starts_with("Internal");
    let is_ours = code == "ValidationException" || matches!(error, SdkError::ConstructionFailure(_));
    let reason = DisplayErrorContext(error).to_string();
    match (is_ours, is_refusal) {
        (true, _) => StoreError::Inconsistent(reason),
        (false, true) => StoreError::Unavailable(reason),
        (false, false) => StoreError::InDoubt(reason),
    }
}

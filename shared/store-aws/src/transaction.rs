//! Transactions, repeated while they meet others.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};
use store::StoreError;

use crate::DynamoStore;
use crate::fault::Tries;
use crate::item::Item;
use crate::patience::Patience;

/// What became of a transaction.
pub(crate) enum Transacted {
    /// It is durable.
    Done,
    /// A condition did not hold. For each write of the transaction the item that stood against it, if it did.
    Refused(Vec<Option<Item>>),
}

impl DynamoStore {
    /// Writes all or nothing.
    pub(crate) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<Transacted, StoreError> {
        let (mut patience, watched) = (Patience::with_others(), Tries::default());
        loop {
            let request = self.client().transact_write_items().set_transact_items(Some(writes.clone()));
            let sent = request.customize().interceptor(watched.clone()).send().await;
            let error = match sent {
                Ok(_) => return Ok(Transacted::Done),
                Err(error) => error,
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
            else {
                return Err(watched.write(error));
            };
            let reasons = cancelled.cancellation_reasons();
            if reasons.iter().any(|reason| code(reason) == "ConditionalCheckFailed") {
                return Ok(Transacted::Refused(reasons.iter().map(stood_against).collect()));
            }
            if reasons.iter().any(|reason| code(reason) == "ValidationError") {
                return Err(StoreError::Inconsistent(format!("a transaction is malformed: {reasons:?}")));
            }
            if !self.wait(&mut patience).await {
                let codes: Vec<&str> = reasons.iter().map(code).collect();
                let reason = format!("a transaction met others too often: {codes:?}");
                return Err(watched.failed(StoreError::Unavailable(reason)));
            }
        }
    }
}

fn code(reason: &CancellationReason) -> &str {
    reason.code().unwrap_or_default()
}

fn stood_against(reason: &CancellationReason) -> Option<Item> {
    (code(reason) == "ConditionalCheckFailed").then(|| Item(reason.item().cloned().unwrap_or_default()))
}

//! Transactions, repeated while they meet others.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};
use store::StoreError;

use crate::DynamoStore;
use crate::fault::Tries;
use crate::item::Item;

/// How often a transaction is tried that meets others or is throttled; waits double from [`FIRST_WAIT`], about 5 s in all.
const MAX_TRIES: u32 = 9;
const FIRST_WAIT: Duration = Duration::from_millis(20);

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
        let (mut wait, watched) = (FIRST_WAIT, Tries::default());
        for tries in 1.. {
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
            if tries == MAX_TRIES {
                let codes: Vec<&str> = reasons.iter().map(code).collect();
                let reason = format!("a transaction met others too often: {codes:?}");
                return Err(watched.failed(StoreError::Unavailable(reason)));
            }
            // Those that met must not meet again: each waits its own part of the doubled time.
            let spread = f64::from(self.clock.now().subsec_nanosecond() % 1_000) / 1_000.0;
            clock::sleep(&*self.clock, wait.mul_f64(0.5 + spread)).await;
            wait *= 2;
        }
        unreachable!("the last try returns")
    }
}

fn code(reason: &CancellationReason) -> &str {
    reason.code().unwrap_or_default()
}

fn stood_against(reason: &CancellationReason) -> Option<Item> {
    (code(reason) == "ConditionalCheckFailed").then(|| Item(reason.item().cloned().unwrap_or_default()))
}

//! Leases, each an item that names its holder.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::TransactWriteItem;
use store::{Holder, Leased, Leases, StoreError};

use crate::DynamoStore;
use crate::change::Change;
use crate::executions::Updated;
use crate::item::{Item, number, text};
use crate::keys;

/// Who had a lease when it was read: the execution, and the tenant that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Had {
    tenant_id: String,
    pub(crate) execution_id: String,
    /// The number of the lease; none for one from before there were numbers.
    fence: Option<u64>,
}

#[async_trait]
impl Leases for DynamoStore {
    async fn lease(&self, tenant_id: &str, data_sets: &[String], holder: Holder<'_>) -> Result<Leased, StoreError> {
        // Nothing is taken where one is held: who is refused ends, and loses what it has anyway.
        let (mut free, mut fence) = (Vec::new(), 0);
        for data_set in data_sets {
            match self.had(tenant_id, data_set).await? {
                Some(had) if had.execution_id == holder.execution_id => {
                    fence = fence.max(had.fence.unwrap_or_default())
                }
                Some(had) if self.is_open(&had).await? => {
                    return Ok(Leased::Held { data_set: data_set.clone(), by: had.execution_id });
                }
                had => free.push((data_set, had)),
            }
        }
        if free.is_empty() {
            return Ok(Leased::Granted { fence });
        }
        let mut fence = self.next_fence(tenant_id).await?;
        for (data_set, had) in free {
            let mut change = take(had.as_ref(), holder.tenant_id, holder.execution_id);
            change.set("fence", number(fence));
            match self.update_item(&keys::leases(tenant_id), data_set, change).await? {
                Updated::Done(_) => {}
                // Another one was faster, or the client repeated what had no answer.
                Updated::Refused(item) => {
                    let item = item.unwrap_or_default();
                    let by = item.text("execution_id")?;
                    if by != holder.execution_id {
                        return Ok(Leased::Held { data_set: data_set.clone(), by: by.to_owned() });
                    }
                    fence = fence.max(item.optional_number("fence").unwrap_or_default());
                }
            }
        }
        Ok(Leased::Granted { fence })
    }
}

impl DynamoStore {
    pub(crate) async fn had(&self, tenant_id: &str, data_set: &str) -> Result<Option<Had>, StoreError> {
        let item = self.read(&keys::leases(tenant_id), data_set).await?;
        let had = |item: Item| {
            let of = item.optional_text("holder_tenant_id").unwrap_or(tenant_id).to_owned();
            let (execution_id, fence) = (item.text("execution_id")?.to_owned(), item.optional_number("fence"));
            Ok(Had { tenant_id: of, execution_id, fence })
        };
        item.map(had).transpose()
    }

    /// The number of the tenant's next lease. None comes twice, however many ask at once.
    async fn next_fence(&self, tenant_id: &str) -> Result<u64, StoreError> {
        let now = self.clock.now().as_millisecond();
        let mut change = Change::default();
        change.set("last", number(now));
        let (last, limit) = (change.name("last"), change.value(number(now)));
        change.only_if(format!("attribute_not_exists({last}) OR {last} < {limit}"));
        let partition = keys::leases(tenant_id);
        let item = match self.update_item(&partition, keys::LAST_FENCE, change).await? {
            Updated::Done(item) => item,
            // The clock has not gone on since the last one, or was set back.
            Updated::Refused(_) => {
                let mut change = Change::default();
                change.add("last", 1);
                match self.update_item(&partition, keys::LAST_FENCE, change).await? {
                    Updated::Done(item) => item,
                    Updated::Refused(_) => return Err(StoreError::Inconsistent("a count was refused".to_owned())),
                }
            }
        };
        item.number("last")
    }

    /// Whether an execution has not ended. One that nobody knows holds nothing.
    pub(crate) async fn is_open(&self, had: &Had) -> Result<bool, StoreError> {
        let execution = self.execution(&had.tenant_id, &had.execution_id).await?;
        Ok(execution.is_some_and(|execution| !execution.has("ended_at")))
    }

    /// The write that takes a lease for no execution, as long as it is as it was read: whoever tries to hold it meanwhile is
    /// refused.
    pub(crate) fn take_from(&self, tenant_id: &str, data_set: &str, had: Option<&Had>) -> TransactWriteItem {
        take(had, tenant_id, "-").into_write(&self.table, &keys::leases(tenant_id), data_set)
    }
}

/// Takes a lease that is as it was read.
fn take(had: Option<&Had>, tenant_id: &str, execution_id: &str) -> Change {
    let mut change = Change::default();
    change.set("execution_id", text(execution_id));
    change.set("holder_tenant_id", text(tenant_id));
    match had {
        Some(had) => change.only_if_equal("execution_id", text(had.execution_id.as_str())),
        None => change.only_if_absent("execution_id"),
    }
    change
}

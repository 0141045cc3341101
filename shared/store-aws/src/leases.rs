//! Leases, each an item that names its holder.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::TransactWriteItem;
use store::{Holder, Leased, Leases, StoreError};

use crate::DynamoStore;
use crate::change::Change;
use crate::executions::Updated;
use crate::item::{Item, text};
use crate::keys;

/// Who had a lease when it was read: the execution, and the tenant that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Had {
    tenant_id: String,
    pub(crate) execution_id: String,
}

#[async_trait]
impl Leases for DynamoStore {
    async fn lease(&self, tenant_id: &str, data_sets: &[String], holder: Holder<'_>) -> Result<Leased, StoreError> {
        // Nothing is taken where one is held: who is refused ends, and loses what it has anyway.
        let mut free = Vec::new();
        for data_set in data_sets {
            match self.had(tenant_id, data_set).await? {
                Some(had) if had.execution_id == holder.execution_id => {}
                Some(had) if self.is_open(&had).await? => {
                    return Ok(Leased::Held { data_set: data_set.clone(), by: had.execution_id });
                }
                had => free.push((data_set, had)),
            }
        }
        for (data_set, had) in free {
            let change = take(had.as_ref(), holder.tenant_id, holder.execution_id);
            match self.update_item(&keys::leases(tenant_id), data_set, change).await? {
                Updated::Done(_) => {}
                // Another one was faster, or the client repeated what had no answer.
                Updated::Refused(item) => {
                    let item = item.unwrap_or_default();
                    let by = item.text("execution_id")?;
                    if by != holder.execution_id {
                        return Ok(Leased::Held { data_set: data_set.clone(), by: by.to_owned() });
                    }
                }
            }
        }
        Ok(Leased::Granted)
    }
}

impl DynamoStore {
    pub(crate) async fn had(&self, tenant_id: &str, data_set: &str) -> Result<Option<Had>, StoreError> {
        let item = self.read(&keys::leases(tenant_id), data_set).await?;
        let had = |item: Item| {
            let of = item.optional_text("holder_tenant_id").unwrap_or(tenant_id).to_owned();
            Ok(Had { tenant_id: of, execution_id: item.text("execution_id")?.to_owned() })
        };
        item.map(had).transpose()
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

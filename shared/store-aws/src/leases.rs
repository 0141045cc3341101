//! Leases, each an item that names its holder.

use async_trait::async_trait;
use store::{Leased, Leases, StoreError};

use crate::DynamoStore;
use crate::change::Change;
use crate::executions::Updated;
use crate::item::text;
use crate::keys;

#[async_trait]
impl Leases for DynamoStore {
    async fn lease(&self, tenant_id: &str, data_sets: &[String], execution_id: &str) -> Result<Leased, StoreError> {
        // Nothing is taken where one is held: who is refused ends, and loses what it has anyway.
        let mut free = Vec::new();
        for data_set in data_sets {
            match self.holder(tenant_id, data_set).await? {
                Some(holder) if holder == execution_id => {}
                Some(holder) if self.is_open(tenant_id, &holder).await? => {
                    return Ok(Leased::Held { data_set: data_set.clone(), by: holder });
                }
                holder => free.push((data_set, holder)),
            }
        }
        for (data_set, earlier) in free {
            let mut change = Change::default();
            change.set("execution_id", text(execution_id));
            match &earlier {
                Some(earlier) => change.only_if_equal("execution_id", text(earlier.as_str())),
                None => change.only_if_absent("execution_id"),
            }
            match self.update_item(&keys::leases(tenant_id), data_set, change).await? {
                Updated::Done(_) => {}
                // Another one was faster, or the client repeated what had no answer.
                Updated::Refused(item) => {
                    let item = item.unwrap_or_default();
                    let by = item.text("execution_id")?;
                    if by != execution_id {
                        return Ok(Leased::Held { data_set: data_set.clone(), by: by.to_owned() });
                    }
                }
            }
        }
        Ok(Leased::Granted)
    }
}

impl DynamoStore {
    async fn holder(&self, tenant_id: &str, data_set: &str) -> Result<Option<String>, StoreError> {
        let item = self.read(&keys::leases(tenant_id), data_set).await?;
        item.map(|item| item.text("execution_id").map(str::to_owned)).transpose()
    }

    async fn is_open(&self, tenant_id: &str, id: &str) -> Result<bool, StoreError> {
        Ok(self.execution(tenant_id, id).await?.is_some_and(|execution| !execution.has("ended_at")))
    }
}

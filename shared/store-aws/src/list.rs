//! Lists of executions, and the totals that go with them.

use std::collections::BTreeSet;

use contracts::{Status, WorkflowKind};
use futures::future::{try_join, try_join_all};
use store::{ListFilter, ListPage, StoreError};

use crate::item::{Item, record, text};
use crate::{DynamoStore, batch, fault, keys};

impl DynamoStore {
    pub(crate) async fn list_page(
        &self,
        tenant_id: &str,
        filter: &ListFilter,
        before: Option<&str>,
        skip: u64,
        limit: u32,
    ) -> Result<ListPage, StoreError> {
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        // One more than is shown tells whether there is a next page.
        let wanted = skip.saturating_add(limit as usize + 1);
        let parts = parts(tenant_id, filter);
        let found = try_join_all(parts.iter().map(|part| self.list_keys(part, before, wanted)));
        let (found, total) = try_join(found, self.total(tenant_id, filter)).await?;
        let mut found: Vec<Item> = found.into_iter().flatten().collect();
        found.sort_by(|left, right| right.optional_text("list_sk").cmp(&left.optional_text("list_sk")));
        let shown: Vec<&Item> = found.iter().skip(skip).take(limit as usize).collect();
        let more = found.len() > skip.saturating_add(limit as usize);
        let next = shown.last().filter(|_| more).and_then(|item| item.optional_text("list_sk")).map(str::to_owned);
        let partitions = shown.iter().map(|item| item.text("pk").map(str::to_owned)).collect::<Result<_, _>>()?;
        let mut executions = self.batch(partitions).await?.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        executions.sort_by_cached_key(|record| std::cmp::Reverse(keys::list(record.started_at, &record.id)));
        Ok(ListPage { executions, total, next })
    }

    /// The newest `wanted` keys of a part.
    async fn list_keys(&self, part: &Part, before: Option<&str>, wanted: usize) -> Result<Vec<Item>, StoreError> {
        let mut found: Vec<Item> = Vec::new();
        let mut from = None;
        loop {
            let mut query = self
                .client()
                .query()
                .table_name(&self.table)
                .index_name(part.index)
                .scan_index_forward(false)
                .set_exclusive_start_key(from)
                .expression_attribute_values(":partition", text(&part.partition));
            let condition = format!("{} = :partition", part.attribute);
            query = match before {
                Some(before) => query
                    .key_condition_expression(format!("{condition} AND list_sk < :before"))
                    .expression_attribute_values(":before", text(before)),
                None => query.key_condition_expression(condition),
            };
            query = query.limit(i32::try_from(wanted - found.len()).unwrap_or(i32::MAX));
            let page = query.send().await.map_err(fault::read)?;
            found.extend(page.items.unwrap_or_default().into_iter().map(Item));
            from = page.last_evaluated_key;
            if from.is_none() || found.len() >= wanted {
                return Ok(found);
            }
        }
    }

    /// How many executions match.
    async fn total(&self, tenant_id: &str, filter: &ListFilter) -> Result<u64, StoreError> {
        let shards = self.total_shards(tenant_id).await?;
        let matches = |counter: &str| {
            let Some((kind, status)) = counter.split_once('#') else { return false };
            filter.kind.is_none_or(|wanted| wanted.as_str() == kind)
                && (filter.statuses.is_empty() || filter.statuses.iter().any(|s| s.reported().as_str() == status))
        };
        let counters = shards.iter().flat_map(|shard| shard.0.keys().map(move |name| (shard, name)));
        let total: i64 = counters
            .filter(|(_, name)| matches(name))
            .filter_map(|(shard, name)| shard.optional_number::<i64>(name))
            .sum();
        Ok(total.try_into().unwrap_or(0))
    }

    pub(crate) async fn total_shards(&self, tenant_id: &str) -> Result<Vec<Item>, StoreError> {
        let found = self
            .client()
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :totals")
            .expression_attribute_values(":totals", text(keys::totals(tenant_id)))
            .send()
            .await
            .map_err(fault::read)?;
        Ok(found.items.unwrap_or_default().into_iter().map(Item).collect())
    }

    /// The partitions of the executions in these parts of an index.
    pub(crate) async fn partitions(&self, parts: &[(Part, u64)]) -> Result<Vec<String>, StoreError> {
        let keys = parts.iter().map(|(part, count)| self.list_keys(part, None, *count as usize));
        let found = try_join_all(keys).await?;
        // What began meanwhile would make more than one batch of them.
        let found = found.iter().flatten().take(batch::READS);
        found.map(|item| item.text("pk").map(str::to_owned)).collect()
    }
}

/// The parts of an index that hold open executions, and how many, going by the tenant's totals.
pub(crate) fn open_parts(tenant_id: &str, count: impl Fn(&str) -> u64) -> Vec<(Part, u64)> {
    let statuses = [Status::Running, Status::Paused];
    let all = WorkflowKind::ALL.into_iter().flat_map(|kind| statuses.map(|status| (kind, status)));
    let counted = all.map(|(kind, status)| (by_status(tenant_id, status, kind), count(&keys::counter(kind, status))));
    counted.filter(|(_, count)| *count > 0).collect()
}

fn by_status(tenant_id: &str, status: Status, kind: WorkflowKind) -> Part {
    Part { index: "by_status", attribute: "status_pk", partition: keys::of_status(tenant_id, status, kind) }
}

/// One partition of an index.
pub(crate) struct Part {
    index: &'static str,
    attribute: &'static str,
    partition: String,
}

/// The partitions that a filter needs: one by tenant or kind, or one for each status, as clients see it, and kind.
fn parts(tenant_id: &str, filter: &ListFilter) -> Vec<Part> {
    if filter.statuses.is_empty() {
        return vec![match filter.kind {
            Some(kind) => Part { index: "by_kind", attribute: "kind_pk", partition: keys::of_kind(tenant_id, kind) },
            None => Part { index: "by_tenant", attribute: "tenant_pk", partition: tenant_id.to_owned() },
        }];
    }
    let kinds = filter.kind.map_or(WorkflowKind::ALL.to_vec(), |kind| vec![kind]);
    let partitions: BTreeSet<String> = filter
        .statuses
        .iter()
        .flat_map(|status| kinds.iter().map(|kind| keys::of_status(tenant_id, *status, *kind)))
        .collect();
    partitions.into_iter().map(|partition| Part { index: "by_status", attribute: "status_pk", partition }).collect()
}

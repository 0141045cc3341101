//! Lists of executions, and the totals that go with them.
//!
//! The keys of a page come from an index, its records by a batch, how many there are from the tenant's totals. Totals are
//! by kind and status: where a list is narrowed by user or by time, entries of an index are counted, [`MAX_COUNTED`] of
//! them at most.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::Select;
use contracts::{Status, WorkflowKind};
use futures::future::{try_join, try_join_all};
use store::{Counts, Damage, ListFilter, ListPage, StoreError};

use crate::item::{Item, record, text};
use crate::{DynamoStore, batch, fault, keys};

/// Entries of an index that are counted at most, of one user or of one kind and status: about 30 read units.
const MAX_COUNTED: i32 = 1_000;

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
        let range = Range::of(filter, before);
        let found = try_join_all(parts.iter().map(|part| self.list_keys(part, &range, wanted)));
        let (found, counts) = try_join(found, self.counts(tenant_id, filter)).await?;
        let mut found: Vec<Item> = found.into_iter().flatten().collect();
        found.sort_by(|left, right| right.optional_text("list_sk").cmp(&left.optional_text("list_sk")));
        let shown: Vec<&Item> = found.iter().skip(skip).take(limit as usize).collect();
        let more = found.len() > skip.saturating_add(limit as usize);
        let next = shown.last().filter(|_| more).and_then(|item| item.optional_text("list_sk")).map(str::to_owned);
        let partitions = shown.iter().map(|item| item.text("pk").map(str::to_owned)).collect::<Result<_, _>>()?;
        let mut executions: Vec<_> = self.batch(partitions).await?.iter().map(record).collect();
        executions.sort_by_cached_key(|record| std::cmp::Reverse(keys::list(record.started_at, &record.id)));
        Ok(ListPage { executions, total: counts.total(filter), counts, next })
    }

    /// The keys of the newest items of a partition of the index by tenant, of those before a place.
    pub(crate) async fn list_of(
        &self,
        partition: String,
        before: Option<&str>,
        wanted: usize,
    ) -> Result<Vec<Item>, StoreError> {
        let part = Part { index: "by_tenant", attribute: "tenant_pk", partition, filter: None };
        let range = Range { from: None, to: before.map(str::to_owned) };
        self.list_keys(&part, &range, wanted).await
    }

    /// What stands in the items of these keys, in no order. An item that is damaged keeps nobody from the others.
    pub(crate) async fn read_sound<T>(
        &self,
        tenant_id: &str,
        what: &str,
        keys: &[Item],
        read: impl Fn(&Item) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let key = |item: &Item| Ok((item.text("pk")?.to_owned(), item.text("sk")?.to_owned()));
        let keys = keys.iter().map(key).collect::<Result<_, StoreError>>()?;
        let found = self.batch_of(keys).await?;
        let found = found.iter().map(read);
        let found =
            found.map(|read| read.inspect_err(|error| tracing::error!(tenant_id, %error, "a {what} is left out")));
        Ok(found.filter_map(Result::ok).collect())
    }

    /// The newest `wanted` keys of a part.
    async fn list_keys(&self, part: &Part, range: &Range, wanted: usize) -> Result<Vec<Item>, StoreError> {
        let mut found: Vec<Item> = Vec::new();
        if range.is_empty() {
            return Ok(found);
        }
        let mut from = None;
        loop {
            let query = self.query_part(part, range).scan_index_forward(false).set_exclusive_start_key(from);
            // What is filtered out counts for the limit too.
            let limit = i32::try_from(wanted - found.len()).unwrap_or(i32::MAX).saturating_add(1);
            let page = query.set_limit(part.filter.is_none().then_some(limit)).send().await.map_err(fault::read)?;
            found.extend(page.items.unwrap_or_default().into_iter().map(Item).filter(|item| !range.ends_at(item)));
            from = page.last_evaluated_key;
            if from.is_none() || found.len() >= wanted {
                found.truncate(wanted);
                return Ok(found);
            }
        }
    }

    fn query_part(&self, part: &Part, range: &Range) -> QueryFluentBuilder {
        let query = self.client().query().table_name(&self.table).index_name(part.index);
        let query = query.expression_attribute_values(":partition", text(&part.partition));
        let condition = format!("{} = :partition", part.attribute);
        let query = match (&range.from, &range.to) {
            (None, None) => query.key_condition_expression(condition),
            (Some(_), None) => query.key_condition_expression(format!("{condition} AND list_sk >= :from")),
            (None, Some(_)) => query.key_condition_expression(format!("{condition} AND list_sk < :to")),
            (Some(_), Some(_)) => {
                query.key_condition_expression(format!("{condition} AND list_sk BETWEEN :from AND :to"))
            }
        };
        let bounds = [(":from", &range.from), (":to", &range.to)];
        let query = bounds.into_iter().fold(query, |query, (name, bound)| match bound {
            Some(bound) => query.expression_attribute_values(name, text(bound)),
            None => query,
        });
        match &part.filter {
            Some(filter) => filter.apply(query),
            None => query,
        }
    }

    /// How many executions match, whatever their status.
    async fn counts(&self, tenant_id: &str, filter: &ListFilter) -> Result<Counts, StoreError> {
        if let Some(user_id) = &filter.user_id {
            return self.counts_of_user(tenant_id, user_id, filter).await;
        }
        let totals = self.totals(tenant_id).await?;
        let of_kind = totals.into_iter().filter(|((kind, _), _)| filter.kind.is_none_or(|wanted| wanted == *kind));
        let mut counts = Counts::default();
        if filter.is_by_totals() {
            of_kind.for_each(|((_, status), executions)| counts.add(status, executions));
            return Ok(counts);
        }
        let range = Range::of(filter, None);
        let counted = of_kind.map(|((kind, status), _)| {
            let part = by_status(tenant_id, status, kind);
            let range = &range;
            async move { Ok::<_, StoreError>((status, self.count(&part, range).await?)) }
        });
        for (status, (executions, is_exact)) in try_join_all(counted).await? {
            counts.add(status, executions);
            counts.is_exact &= is_exact;
        }
        Ok(counts)
    }

    /// How many entries of an index there are in a range, and whether that is all of them.
    async fn count(&self, part: &Part, range: &Range) -> Result<(u64, bool), StoreError> {
        if range.is_empty() {
            return Ok((0, true));
        }
        let query = self.query_part(part, range).select(Select::Count).limit(MAX_COUNTED);
        let counted = query.send().await.map_err(fault::read)?;
        Ok((u64::try_from(counted.count).unwrap_or(0), counted.last_evaluated_key.is_none()))
    }

    /// Counts the entries of a user's part of the index, which say of which status they are.
    async fn counts_of_user(&self, tenant_id: &str, user_id: &str, filter: &ListFilter) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        let range = Range::of(filter, None);
        if range.is_empty() {
            return Ok(counts);
        }
        let of_any_status = ListFilter { statuses: Vec::new(), ..filter.clone() };
        let part = by_user(tenant_id, user_id, &of_any_status);
        let found = self.query_part(&part, &range).limit(MAX_COUNTED).send().await.map_err(fault::read)?;
        counts.is_exact = found.last_evaluated_key.is_none();
        for entry in found.items.unwrap_or_default().into_iter().map(Item) {
            counts.add(crate::item::status(&entry).unwrap_or(Damage::status(entry.has("ended_at"))), 1);
        }
        Ok(counts)
    }

    /// The tenant's totals by kind and status; those that are not zero.
    pub(crate) async fn totals(&self, tenant_id: &str) -> Result<BTreeMap<(WorkflowKind, Status), u64>, StoreError> {
        let mut sums = BTreeMap::<_, i64>::new();
        for shard in self.total_shards(tenant_id).await? {
            for name in shard.0.keys() {
                let Some((kind, status)) = name.split_once('#') else { continue };
                if let (Ok(kind), Ok(status)) = (kind.parse(), status.parse()) {
                    *sums.entry((kind, status)).or_default() += shard.optional_number::<i64>(name).unwrap_or_default();
                }
            }
        }
        let counted =
            sums.into_iter().filter_map(|(of, sum)| Some((of, u64::try_from(sum).ok().filter(|sum| *sum > 0)?)));
        Ok(counted.collect())
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
        let all = Range::default();
        let keys = parts.iter().map(|(part, count)| self.list_keys(part, &all, *count as usize));
        let found = try_join_all(keys).await?;
        // What began meanwhile would make more than one batch of them.
        let found = found.iter().flatten().take(batch::READS);
        found.map(|item| item.text("pk").map(str::to_owned)).collect()
    }
}

/// Shortens keys to a page, and says where the next one begins: one key more than a page has tells whether there is one.
pub(crate) fn cut_page(keys: &mut Vec<Item>, limit: u32) -> Result<Option<String>, StoreError> {
    let more = keys.len() > limit as usize;
    keys.truncate(limit as usize);
    keys.last().filter(|_| more).map(|item| item.text("list_sk").map(str::to_owned)).transpose()
}

/// The parts of an index that hold open executions, and how many, going by the tenant's totals.
pub(crate) fn open_parts(tenant_id: &str, count: impl Fn(&str) -> u64) -> Vec<(Part, u64)> {
    let statuses = [Status::Running, Status::Paused];
    let all = WorkflowKind::ALL.into_iter().flat_map(|kind| statuses.map(|status| (kind, status)));
    let counted = all.map(|(kind, status)| (by_status(tenant_id, status, kind), count(&keys::counter(kind, status))));
    counted.filter(|(_, count)| *count > 0).collect()
}

fn by_status(tenant_id: &str, status: Status, kind: WorkflowKind) -> Part {
    let partition = keys::of_status(tenant_id, status, kind);
    Part { index: "by_status", attribute: "status_pk", partition, filter: None }
}

/// The entries of a user say of which kind and status they are, so that these need no partitions of their own.
fn by_user(tenant_id: &str, user_id: &str, filter: &ListFilter) -> Part {
    let entries = EntryFilter { kind: filter.kind, statuses: filter.statuses.clone() };
    let is_needed = entries.kind.is_some() || !entries.statuses.is_empty();
    Part {
        index: "by_user",
        attribute: "user_pk",
        partition: keys::of_user(tenant_id, user_id),
        filter: is_needed.then_some(entries),
    }
}

/// One partition of an index, or some of its entries.
pub(crate) struct Part {
    index: &'static str,
    attribute: &'static str,
    partition: String,
    filter: Option<EntryFilter>,
}

/// Which entries of the index by user.
struct EntryFilter {
    kind: Option<WorkflowKind>,
    statuses: Vec<Status>,
}

impl EntryFilter {
    fn apply(&self, mut query: QueryFluentBuilder) -> QueryFluentBuilder {
        let mut conditions = Vec::new();
        if let Some(kind) = self.kind {
            conditions.push("#kind = :kind".to_owned());
            query = query
                .expression_attribute_names("#kind", "kind")
                .expression_attribute_values(":kind", text(kind.as_str()));
        }
        if !self.statuses.is_empty() {
            let mut places = Vec::new();
            query = query.expression_attribute_names("#status", "status");
            for (number, status) in self.statuses.iter().enumerate() {
                let place = format!(":status{number}");
                query = query.expression_attribute_values(&place, text(status.as_str()));
                places.push(place);
            }
            conditions.push(format!("#status IN ({})", places.join(", ")));
        }
        query.filter_expression(conditions.join(" AND "))
    }
}

/// A range of an index's sort keys.
#[derive(Default)]
struct Range {
    from: Option<String>,
    /// Where it ends; not in it itself.
    to: Option<String>,
}

impl Range {
    fn of(filter: &ListFilter, before: Option<&str>) -> Self {
        // A key is longer than its moment, and so behind it.
        let to = filter.started_before.map(keys::moment).into_iter().chain(before.map(str::to_owned)).min();
        Self { from: filter.started_after.map(keys::moment), to }
    }

    fn is_empty(&self) -> bool {
        self.from.as_ref().zip(self.to.as_ref()).is_some_and(|(from, to)| from >= to)
    }

    /// Whether this is the key where it ends: DynamoDB has no range between two keys without the second.
    fn ends_at(&self, item: &Item) -> bool {
        self.to.as_deref().is_some_and(|to| item.optional_text("list_sk") == Some(to))
    }
}

/// The partitions that a filter needs: one by user, tenant or kind, or one for each status, as clients see it, and kind.
fn parts(tenant_id: &str, filter: &ListFilter) -> Vec<Part> {
    if let Some(user_id) = &filter.user_id {
        return vec![by_user(tenant_id, user_id, filter)];
    }
    if filter.statuses.is_empty() {
        let (index, attribute, partition) = match filter.kind {
            Some(kind) => ("by_kind", "kind_pk", keys::of_kind(tenant_id, kind)),
            None => ("by_tenant", "tenant_pk", tenant_id.to_owned()),
        };
        return vec![Part { index, attribute, partition, filter: None }];
    }
    let kinds = filter.kind.map_or(WorkflowKind::ALL.to_vec(), |kind| vec![kind]);
    let statuses: BTreeSet<Status> = filter.statuses.iter().map(|status| status.reported()).collect();
    let all = statuses.into_iter().flat_map(|status| kinds.iter().map(move |kind| (status, *kind)));
    all.map(|(status, kind)| by_status(tenant_id, status, kind)).collect()
}

#[cfg(test)]
mod tests {
    use contracts::Timestamp;

    use super::*;

    #[test]
    fn a_range_is_that_of_its_window_and_its_page() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let filter = ListFilter { started_after: Some(at(10)), started_before: Some(at(20)), ..ListFilter::default() };
        let window = Range::of(&filter, None);
        let is_in = |second| {
            let key = keys::list(at(second), "e-1");
            window.from.as_ref().is_some_and(|from| *from <= key) && window.to.as_ref().is_some_and(|to| key < *to)
        };
        assert_eq!([9, 10, 19, 20].map(is_in), [false, true, true, false]);
        let cursor = keys::list(at(15), "e-1");
        let page = Range::of(&filter, Some(&cursor));
        assert_eq!(page.to.as_ref(), Some(&cursor));
        assert!(!page.is_empty() && Range::of(&filter, Some(&keys::list(at(9), "e-1"))).is_empty());
        assert!(!Range::default().is_empty());
    }
}

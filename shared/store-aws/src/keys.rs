//! Keys of items and indices; the crate's documentation lists them.

use contracts::data_requests::RequestState;
use contracts::{Status, Timestamp, WorkflowKind};
use store::IdempotencyKey;

/// The sort key of every item that is alone in its sort of partition, and of an execution before its events.
pub(crate) const ALONE: &str = "A";

/// Shards of a tenant's totals.
pub(crate) const TOTAL_SHARDS: u64 = 16;

/// Shards of each part of the index of what is due.
pub(crate) const DUE_SHARDS: u64 = 4;

/// Shards of a tenant's feed: each is a partition, which takes 1,000 writes a second.
pub(crate) const FEED_SHARDS: u64 = 4;

const EXECUTION: &str = "#E#";

pub(crate) fn execution(tenant_id: &str, id: &str) -> String {
    format!("{tenant_id}{EXECUTION}{id}")
}

/// The tenant and id in an execution's partition key.
pub(crate) fn parse_execution(pk: &str) -> Option<(&str, &str)> {
    pk.split_once(EXECUTION)
}

pub(crate) fn event(event_id: u64) -> String {
    format!("EV#{event_id:010}")
}

pub(crate) fn parse_event(sk: &str) -> Option<u64> {
    sk.strip_prefix("EV#")?.parse().ok()
}

/// The partition of an execution's batches, each of which is an item sorted by its path.
pub(crate) fn batches(tenant_id: &str, id: &str) -> String {
    format!("{tenant_id}#B#{id}")
}

/// The sort key of a shard of what is counted of batches. No path begins like that.
pub(crate) fn batches_shard(shard: u64) -> String {
    format!("#{shard:02}")
}

pub(crate) fn batches_shard_of(path: &str) -> String {
    batches_shard(hash(path) % TOTAL_SHARDS)
}

pub(crate) fn idempotency(tenant_id: &str, key: &IdempotencyKey) -> String {
    format!("{tenant_id}#I#{}#{}", key.route, key.key)
}

/// The item that names the execution which uses an upload.
pub(crate) fn upload(tenant_id: &str, upload_id: &str) -> String {
    format!("{tenant_id}#U#{upload_id}")
}

pub(crate) fn totals(tenant_id: &str) -> String {
    format!("{tenant_id}#C")
}

pub(crate) fn totals_shard(id: &str) -> String {
    format!("{:02}", hash(id) % TOTAL_SHARDS)
}

/// The total that executions of this kind in this status count into.
pub(crate) fn counter(kind: WorkflowKind, status: Status) -> String {
    format!("{kind}#{}", status.reported())
}

/// The same, by the partition of [`of_status`] that it is in.
pub(crate) fn counter_of_status(status_pk: &str) -> Option<String> {
    let mut parts = status_pk.rsplit('#');
    let (kind, status) = (parts.next()?, parts.next()?);
    Some(format!("{kind}#{status}"))
}

/// The partition of a tenant's leases, each sorted by its data set.
pub(crate) fn leases(tenant_id: &str) -> String {
    format!("{tenant_id}#L")
}

/// The sort key of the number that the tenant's last lease got. No data set is called so.
pub(crate) const LAST_FENCE: &str = "#";

const BACKUPS: &str = "#K";

/// The partition of a tenant's backups, each sorted by its name.
pub(crate) fn backups(tenant_id: &str) -> String {
    format!("{tenant_id}{BACKUPS}")
}

/// The tenant in the partition key of backups.
pub(crate) fn parse_backups(pk: &str) -> Option<&str> {
    pk.strip_suffix(BACKUPS)
}

/// The partition of a tenant's legal holds, each sorted by its name.
pub(crate) fn holds(tenant_id: &str) -> String {
    format!("{tenant_id}#H")
}

/// The partition of those of them that are not released.
pub(crate) fn holds_in_force(tenant_id: &str) -> String {
    format!("{tenant_id}#H#F")
}

/// The sort key of the number of these. It comes before every name.
pub(crate) const HOLDS_COUNT: &str = "#";
/// The partition of a tenant's erasures, each sorted by its name.
pub(crate) fn erasures(tenant_id: &str) -> String {
    format!("{tenant_id}#R")
}

/// The sort key of the key that the tenant's persons are hashed with. It comes before every name.
pub(crate) const ERASURE_KEY: &str = "#";

const DATA_REQUESTS: &str = "#Q";

/// The partition of the requests of a tenant's persons, each sorted by its name.
pub(crate) fn data_requests(tenant_id: &str) -> String {
    format!("{tenant_id}{DATA_REQUESTS}")
}

/// The tenant in the partition key of requests.
pub(crate) fn parse_data_requests(pk: &str) -> Option<&str> {
    pk.strip_suffix(DATA_REQUESTS)
}

/// The requests of which this became.
pub(crate) fn data_requests_in(tenant_id: &str, state: RequestState) -> String {
    format!("{tenant_id}{DATA_REQUESTS}#{state}")
}

pub(crate) fn durations(tenant_id: &str) -> String {
    format!("{tenant_id}#D")
}

/// The partition of a tenant's audit log.
pub(crate) fn audit(tenant_id: &str) -> String {
    format!("{tenant_id}#A")
}

/// A moment that sorts as text: microseconds in 20 digits.
pub(crate) fn moment(at: Timestamp) -> String {
    format!("{:020}", at.as_microsecond())
}

pub(crate) fn list(started_at: Timestamp, id: &str) -> String {
    format!("{}#{id}", moment(started_at))
}

pub(crate) fn of_kind(tenant_id: &str, kind: WorkflowKind) -> String {
    format!("{tenant_id}#{kind}")
}

pub(crate) fn of_user(tenant_id: &str, user_id: &str) -> String {
    format!("{tenant_id}#{user_id}")
}

pub(crate) fn of_status(tenant_id: &str, status: Status, kind: WorkflowKind) -> String {
    format!("{tenant_id}#{}#{kind}", status.reported())
}

pub(crate) fn pending(shard: u64) -> String {
    format!("pending#{shard}")
}

pub(crate) fn pending_shard(id: &str) -> String {
    pending(hash(id) % DUE_SHARDS)
}

pub(crate) fn open(shard: u64) -> String {
    format!("open#{shard}")
}

pub(crate) fn open_shard(id: &str) -> String {
    open(hash(id) % DUE_SHARDS)
}

pub(crate) fn ended(shard: u64) -> String {
    format!("ended#{shard}")
}

pub(crate) fn ended_shard(id: &str) -> String {
    ended(hash(id) % DUE_SHARDS)
}

pub(crate) fn kept(shard: u64) -> String {
    format!("kept#{shard}")
}

pub(crate) fn kept_shard(backup_id: &str) -> String {
    kept(hash(backup_id) % DUE_SHARDS)
}

pub(crate) fn asked(shard: u64) -> String {
    format!("asked#{shard}")
}

pub(crate) fn asked_shard(compliance_id: &str) -> String {
    asked(hash(compliance_id) % DUE_SHARDS)
}

/// The first one has the name that a feed in one piece had.
pub(crate) fn feed_shard(tenant_id: &str, shard: u64) -> String {
    if shard == 0 { tenant_id.to_owned() } else { format!("{tenant_id}#F#{shard}") }
}

pub(crate) fn feed_shard_of(tenant_id: &str, id: &str) -> String {
    feed_shard(tenant_id, hash(id) % FEED_SHARDS)
}

pub(crate) fn feed(at: Timestamp, id: &str, event_id: u64) -> String {
    format!("{}#{id}#{event_id:010}", moment(at))
}

/// FNV-1a: the same in every process and version, as it is part of what is stored.
fn hash(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

//! The store on AWS: every port of `store` but the journal, on one DynamoDB table and S3.
//!
//! # Keys
//! `E` is an execution's partition, `<tenant>#E#<id>`; no key is without its tenant but those of `due`.
//!
//! | item | pk | sk |
//! |---|---|---|
//! | the execution: record, request, control flags, attempts under way | `E` | `A` |
//! | an event of its history | `E` | `EV#<event id, 10 digits>` |
//! | a batch of a distributed Map | `<tenant>#B#<id>` | its path |
//! | how far batches are, in 16 shards | `<tenant>#B#<id>` | `#<shard>` |
//! | an `Idempotency-Key` | `<tenant>#I#<route>#<key>` | `A` |
//! | the execution that uses an upload | `<tenant>#U#<upload>` | `A` |
//! | totals, in 16 shards so that starts and ends do not wait for each other | `<tenant>#C` | `<shard>` |
//! | durations of completed executions by kind | `<tenant>#D` | `A` |
//! | a lease of a data set | `<tenant>#L` | the data set |
//! | the number of the tenant's last lease | `<tenant>#L` | `#` |
//! | a backup | `<tenant>#K` | its name |
//! | a legal hold, which never goes | `<tenant>#H` | its name |
//! | the same, until it is released or others need the room of one whose time is up | `<tenant>#H#F` | its name |
//! | the number of these | `<tenant>#H#F` | `#` |
//! | a request of a person, which never goes | `<tenant>#Q` | its name |
//! | an erasure | `<tenant>#R` | its name |
//! | the wrapped key that the tenant's persons are hashed with | `<tenant>#R` | `#` |
//! | a row of the audit log, which never goes | `<tenant>#A` | time, id |
//!
//! | index | of | partition | sorted by |
//! |---|---|---|---|
//! | `by_tenant`, `by_kind`, `by_status` | executions | tenant (and kind, or status and kind) | start, id |
//! | `by_tenant` | backups | `<tenant>#K` | when they were complete, name |
//! | `by_tenant` | legal holds | `<tenant>#H` | when they were placed, name |
//! | `by_tenant`, `by_status` | requests of persons | `<tenant>#Q`, `<tenant>#Q#<state>` | by when they are due, name |
//! | `by_user` | executions that a user asked for | tenant and user | start, id |
//! | `due` | executions | `pending#<shard>` until they begin, `open#<shard>` until they end, `ended#<shard>` until they are archived | start or when they were put off to, then end |
//! | `due` | backups that are not kept for ever | `kept#<shard>` | until when they are kept |
//! | `due` | requests of persons that are not answered | `asked#<shard>` | when to look whether somebody is to be told |
//! | `feed` | events | tenant, in 4 shards by execution (`<tenant>`, `<tenant>#F#<shard>`) | time |
//!
//! # Requests
//! A start is one transaction, before which a process reads the tenant's totals unless it has done so within five seconds;
//! reading a status one batch read of two items; an attempt one conditional update to begin
//! and one transaction to finish; an end one read, one transaction and the addition of its duration. A refused condition
//! comes back with the item, so that the reason needs no further read. A list is three requests: keys, totals (or what is
//! counted of a user's), records. Statuses without a kind, and windows of time, ask several parts of `by_status` at once.
//!
//! An attempt under way lives in the execution's item, where its event ids are reserved; its events become rows when it
//! ends. Readers put both together, so an earlier read of a history is a prefix of every later one.
//!
//! An execution that ended long ago moves to S3 ([`DynamoStore::archive`]). Its items then go by their time to live,
//! `expires_at`; it is in no list from then on, but its status and its history are still read by its id.
//!
//! # What is retried
//! The client repeats what DynamoDB throttles, and every write carries what tells its own repetition from another's: a
//! transaction its token, a begin its nonce. What meets a transaction of others is repeated here.

mod archive;
mod audit;
mod backups;
mod batch;
mod batches;
mod blobs;
mod change;
mod data_requests;
mod ends;
mod erasures;
mod executions;
mod fault;
mod history;
mod holds;
mod item;
mod keys;
mod leases;
mod links;
mod list;
mod open;
mod patience;
mod steps;
mod table;
mod transaction;
mod upload;

use std::sync::{Arc, LazyLock};

use aws_sdk_dynamodb::Client;
use clock::SharedClock;
use store::{BlobReader, MAX_ACTIVE_HOLDS, OpenLimits};

use open::Open;

pub use archive::{Archived, MAX_ARCHIVING_BYTES};
pub use blobs::S3Blobs;
pub use links::S3Links;
pub use table::{Holds, INDICES, TIME_TO_LIVE, create_table};

/// The store.
#[derive(Clone)]
pub struct DynamoStore {
    client: Arc<LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>>,
    table: String,
    clock: SharedClock,
    /// Where large requests are, and executions that are too old for the table.
    blobs: Option<Arc<dyn BlobReader>>,
    limits: OpenLimits,
    open: Arc<Open>,
    most_holds: usize,
}

impl DynamoStore {
    /// A store on this table, which must exist. The client is made with the first request: reading the machine's root
    /// certificates is the larger part of a function's start.
    pub fn new(client: impl FnOnce() -> Client + Send + 'static, table: impl Into<String>, clock: SharedClock) -> Self {
        let client: Box<dyn FnOnce() -> Client + Send> = Box::new(client);
        Self {
            client: Arc::new(LazyLock::new(client)),
            table: table.into(),
            clock,
            blobs: None,
            limits: OpenLimits::NONE,
            open: Arc::default(),
            most_holds: MAX_ACTIVE_HOLDS,
        }
    }

    /// The same store, which reads here what is too large or too old for the table.
    pub fn with_blobs(self, blobs: Arc<dyn BlobReader>) -> Self {
        Self { blobs: Some(blobs), ..self }
    }

    /// The same store, which refuses starts of a tenant that has so many open executions.
    pub fn with_limit(self, of_tenant: u64) -> Self {
        Self { limits: OpenLimits { of_tenant, ..OpenLimits::NONE }, ..self }
    }

    /// The same store, where a tenant has so many active legal holds at most.
    pub fn with_most_holds(self, most_holds: usize) -> Self {
        Self { most_holds, ..self }
    }

    fn client(&self) -> &Client {
        &self.client
    }
}

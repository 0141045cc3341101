//! Limits, each with its source.

/// Largest request body. API Gateway would take 10 MB; nothing we accept needs more than this.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Most bytes of larger bodies that a process holds at once; each of them becomes several times as much JSON.
pub const MAX_BODIES_BYTES: usize = 32 * 1024 * 1024;
/// The first bytes of a body, which do not count: most requests are smaller, and larger ones must not keep them out.
pub const UNCOUNTED_BODY_BYTES: usize = 16 * 1024;
/// Deepest nesting of a request's JSON.
pub const MAX_JSON_DEPTH: usize = 32;
/// Longest `Prefer: wait` and `?wait`: API Gateway gives 30 s in all. A deployment of functions may allow less.
pub const MAX_WAIT_SECONDS: u64 = 25;
/// Largest page of a list.
pub const MAX_PAGE_SIZE: u32 = 200;
/// Page of a list when none is asked for (existing clients expect 50).
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// How far `page` reaches; beyond it only page tokens do (a store cannot skip cheaply).
pub const MAX_PAGED_ROWS: u64 = 10_000;
/// Longest e-mail address (RFC 5321: 64 + 1 + 255, less the angle brackets of a path).
pub const MAX_EMAIL_CHARS: usize = 254;
/// Longest id of a tenant.
pub const MAX_TENANT_CHARS: usize = 64;
/// Longest id of a user.
pub const MAX_SUBJECT_CHARS: usize = 128;
/// Largest request that a record holds; a larger one is a blob beside it. DynamoDB bills an item by its size, and the item
/// is written with every step.
pub const MAX_INLINE_REQUEST_BYTES: usize = 32 * 1024;
/// Largest result that a step may hand to its engine: ids and counts take less. Step Functions ends an execution whose
/// state has more than 256 KiB with an error that no state machine can catch, and results add up.
pub const MAX_STEP_RESULT_BYTES: usize = 32 * 1024;
/// Largest part of an execution's result that one step may report: it is kept in the record.
pub const MAX_REPORT_BYTES: usize = 64 * 1024;
/// Longest display name.
pub const MAX_NAME_CHARS: usize = 200;
/// Most executions that one request acts on.
pub const MAX_ACTIONS: usize = 100;
/// Longest reason that a caller gives for what it asks.
pub const MAX_REASON_CHARS: usize = 500;
/// Longest role name.
pub const MAX_ROLE_CHARS: usize = 64;
/// Longest `Idempotency-Key` we accept.
pub const MAX_IDEMPOTENCY_KEY_CHARS: usize = 255;
/// Largest answer of a service that we read; all that a workflow needs of one answer are ids and counts.
pub const MAX_SERVICE_REPLY_BYTES: usize = 1024 * 1024;
/// Longest sleep for a service's `Retry-After` within an attempt; the Lambda's own timeout leaves room for it.
pub const MAX_RETRY_AFTER_SECONDS: u64 = 20;
/// Most services that one health check names; there are fewer, so that a longer list is a mistake.
pub const MAX_CHECKED_SERVICES: usize = 16;
/// Most entities in one batch of a bulk operation.
pub const MAX_BATCH_SIZE: u64 = 10_000;
/// Most batches of one job: a distributed Map of Step Functions has at most 10,000 children at once, and their outputs
/// together must fit its payload.
pub const MAX_BATCHES: u64 = 10_000;
/// Most batches at once.
pub const MAX_PARALLEL_BATCHES: u64 = 100;
/// Longest rest after a batch: it is part of the attempt, which has a time limit.
pub const MAX_BATCH_DELAY_MS: u64 = 30_000;
/// Most entities in a request's body, whose bytes are the closer limit.
pub const MAX_INLINE_ENTITIES: usize = 50_000;
/// Largest file of entities; S3 takes 5 GB in one request.
pub const MAX_UPLOAD_BYTES: u64 = 1024 * 1024 * 1024;
/// Most retries of one entity.
pub const MAX_ITEM_RETRIES: u64 = 10;

//! What all requests that start a workflow have in common.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::document::Document;
use crate::fields::{BadField, Fields};
use crate::ids::WorkflowKind;

/// A request that starts a workflow. It reads itself from JSON, and what is kept of a body is this type: unknown fields
/// are accepted and forgotten.
pub trait Request: Serialize + DeserializeOwned + Send + Sync {
    /// What it starts.
    const KIND: WorkflowKind;

    /// Whether it ends after the time limit of workflows, unless it has ended before.
    const HAS_DEADLINE: bool = true;

    /// Whether the answer to the start waits for the end as long as it may, and has the members of the result at its top.
    const IS_AWAITED: bool = false;

    /// Reads it. A bad field is reported to `fields`, and the value returned is then of no use.
    fn read(fields: &mut Fields<'_>) -> Self;

    /// What the state machine branches on: flags, sizes and ids, nothing personal.
    fn options(&self) -> Value;

    /// The tenants that it is about, each with the pointer of its field. The `X-Tenant-ID` header must be one of them, and
    /// all must be the caller's.
    fn tenants(&self) -> Vec<(&'static str, &str)>;

    /// The tenant among these that must be the header's, if not any of them may be.
    fn own_tenant(&self) -> Option<(&'static str, &str)> {
        None
    }

    /// Why nobody can do it yet, if nobody can.
    fn unavailable(&self) -> Option<String> {
        None
    }

    /// What is wrong with it at this time, though it is good at another.
    fn bad_at(&self, _now: Timestamp) -> Vec<BadField> {
        Vec::new()
    }

    /// The user for whom it acts, if it acts for one: the caller, unless the caller is an administrator.
    fn acts_for(&self) -> Option<&str> {
        None
    }

    /// The field and the id by which a start is idempotent without an `Idempotency-Key`, if it has one.
    fn own_id(&self) -> Option<(&'static str, &str)> {
        None
    }

    /// The field and the id of the upload that it is about, if it is about one: it must be there when it starts.
    fn upload(&self) -> Option<(&'static str, &str)> {
        None
    }

    /// The tenant and the id of the backup that it reads, if it reads one that it names.
    fn read_backup(&self) -> Option<(&str, &str)> {
        None
    }

    /// The tenant and the id of the backup that it makes, if that is what it is for.
    fn made_backup(&self) -> Option<(&str, &str)> {
        None
    }

    /// What is done in another way than asked for, for people.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Reads a request from a body.
///
/// # Errors
/// Every bad field.
pub fn read<R: Request>(body: &Document) -> Result<R, Vec<BadField>> {
    let mut fields = body.fields();
    let request = R::read(&mut fields);
    fields.finish().map(|()| request)
}

//! The logs of a service: who saw, changed, deleted or took out what.

use contracts::{ActivityError, ErrorName, Timestamp};
use serde::Deserialize;

use crate::call::percent_encoded;
use crate::client::failure;
use crate::{Call, Downstream, Service};

/// Entries on a page.
const PAGE_ENTRIES: u32 = 500;
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Which entries.
#[derive(Debug, Clone, Copy)]
pub struct LogsOf<'a> {
    /// `access`, `modification`, `deletion` or `export`.
    pub kind: &'a str,
    /// About this user.
    pub subject: &'a str,
    /// From then on.
    pub from: Option<Timestamp>,
    /// Before then.
    pub to: Timestamp,
    /// Where the page begins; none for the first.
    pub cursor: Option<&'a str>,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogEntry {
    /// Its number in the service.
    pub seq: u64,
    /// The kind of log.
    pub kind: String,
    /// When.
    pub at: Timestamp,
    /// The type of the thing.
    pub entity_type: String,
    /// The thing.
    pub entity_id: String,
    /// What was done.
    pub action: String,
    /// Who did it.
    pub actor: Option<String>,
}

/// Some entries, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogPage {
    /// The entries.
    pub entries: Vec<LogEntry>,
    /// Where the next page begins; none on the last page.
    pub next_cursor: Option<String>,
}

/// One page of a service's logs.
///
/// # Errors
/// The service does not answer with a page, or the next page would be this one again.
pub async fn logs(
    downstream: &Downstream,
    service: Service,
    tenant_id: &str,
    of: LogsOf<'_>,
) -> Result<LogPage, ActivityError> {
    let (from, to) = (of.from.map(|from| from.to_string()), of.to.to_string());
    let mut query = format!("limit={PAGE_ENTRIES}&kind={}&subject={}", of.kind, percent_encoded(of.subject));
    for (name, value) in [("from", from.as_deref()), ("to", Some(&*to)), ("cursor", of.cursor)] {
        query.extend(value.map(|value| format!("&{name}={}", percent_encoded(value))));
    }
    let call = Call::get(service, &["logs"], tenant_id).with_query(&query);
    let page = downstream.call_within::<LogPage>(call, MAX_PAGE_BYTES).await?;
    let page = page.ok_or_else(|| failure(service, ErrorName::PayloadTooLarge, "a page of its logs is too large"))?;
    match &page.next_cursor {
        // It would be read for ever.
        Some(next) if of.cursor == Some(next) => {
            Err(failure(service, ErrorName::IntegrityViolation, "pages of its logs lead back to where they came from"))
        }
        _ => Ok(page),
    }
}

//! The ledger of erasures: who has been erased, without saying who. Restores leave out whom it knows.

use std::collections::BTreeSet;

use async_trait::async_trait;
use contracts::compliance::ERASURE_BACKUP;
use contracts::{Timestamp, WorkflowKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{StoreError, StoredRequest};

/// An erasure of a person. It is written before the first thing of theirs goes, and stays for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Whose person it is.
    pub tenant_id: String,
    /// What the erasure is called; a tenant has one of each name.
    pub compliance_id: String,
    /// The person, as a keyed hash: 64 hexadecimal digits. It tells nobody who it is that does not know the person and the key.
    pub subject: String,
    /// The execution that does it; of one that was retried the last one.
    pub execution_id: String,
    /// The backup that was made before; none if there was nothing to keep.
    pub backup_id: Option<String>,
    /// Until when that backup is kept.
    pub backup_until: Option<Timestamp>,
    /// When it was written down. What was backed up before holds the person still.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Whether nothing was left but what is retained or held.
    pub is_complete: bool,
    /// The legal holds because of which something stayed.
    #[serde(default)]
    pub held_by: BTreeSet<String>,
    /// What stands for the things that stayed: a restore brings these back.
    #[serde(default)]
    pub held_marks: BTreeSet<String>,
    /// What it was asked for, as long as a legal hold keeps something of the person: the rest is erased by it later.
    #[serde(default)]
    pub kept_request: Option<Value>,
}

/// An execution that may name a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The execution.
    pub id: String,
    /// Which workflow.
    pub kind: WorkflowKind,
    /// Whether it has ended.
    pub has_ended: bool,
    /// What it was asked for.
    pub request: StoredRequest,
    /// Whether it names the person for sure. If not, only the blob of its request can tell.
    pub is_sure: bool,
}

/// Some executions that may name a person.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedPage {
    /// The executions; perhaps none, and there are more all the same.
    pub named: Vec<Named>,
    /// Where the next ones begin, as only the store understands it; none at the end.
    pub next: Option<String>,
}

/// Who is forgotten.
#[derive(Debug, Clone, Copy)]
pub struct Forgotten<'a> {
    /// The person.
    pub person: &'a str,
    /// What stands where the person stood.
    pub pseudonym: &'a str,
    /// Whether the key under which the execution was started is kept.
    pub keeps_key: bool,
}

/// How a person's id, or an e-mail address of theirs, stands in what is stored.
#[derive(Debug, Clone)]
pub struct Naming {
    /// In JSON.
    pub quoted: String,
    /// In JSON that is a text within JSON: there the quotation marks are escaped.
    pub escaped: String,
}

impl Naming {
    /// Of this id.
    pub fn of(id: &str) -> Self {
        let quoted = Value::from(id).to_string();
        Self { escaped: quoted.replace('"', "\\\""), quoted }
    }

    /// Whether a text names the person. An address is the same in capital letters.
    pub fn is_in(&self, text: &str) -> bool {
        let is_in = |text: &str, quoted: &str, escaped: &str| text.contains(quoted) || text.contains(escaped);
        match self.is_address() {
            false => is_in(text, &self.quoted, &self.escaped),
            true => is_in(&text.to_lowercase(), &self.quoted.to_lowercase(), &self.escaped.to_lowercase()),
        }
    }

    /// Whether it may be an e-mail address.
    pub fn is_address(&self) -> bool {
        self.quoted.contains('@')
    }

    /// The text with somebody else's id in the place of this one.
    pub fn replaced(&self, text: &str, other: &Self) -> String {
        text.replace(&self.escaped, &other.escaped).replace(&self.quoted, &other.quoted)
    }
}

/// Whether executions of a workflow leave files that name whom they were about.
pub fn leaves_files(kind: WorkflowKind) -> bool {
    match kind {
        WorkflowKind::BulkOperation
        | WorkflowKind::DataMigration
        | WorkflowKind::CrossServiceBackup
        | WorkflowKind::CrossServiceRestore => true,
        // Those of exports and erasures go with the execution that names the person.
        WorkflowKind::UserOnboarding | WorkflowKind::TenantSwitching | WorkflowKind::Compliance => false,
    }
}

/// When the backup went that an erasure had made, if this is the id of one whose time is over.
///
/// # Errors
/// As the port's.
pub async fn ended_backup(
    erasures: &dyn Erasures,
    tenant_id: &str,
    backup_id: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let Some(compliance_id) = backup_id.strip_prefix(ERASURE_BACKUP) else { return Ok(None) };
    let erasure = erasures.erasure(tenant_id, compliance_id).await?;
    Ok(erasure.and_then(|erasure| erasure.backup_until).filter(|until| *until <= now))
}

/// What erasures need of a store: their ledger, and that records of executions forget a person.
#[async_trait]
pub trait Erasures: Send + Sync {
    /// The wrapped key that the tenant's persons are hashed with, if there is one.
    async fn erasure_key(&self, tenant_id: &str) -> Result<Option<String>, StoreError>;

    /// Keeps a wrapped key, unless there is one. The one that is kept: of two at once the first.
    async fn keep_erasure_key(&self, tenant_id: &str, wrapped: &str) -> Result<String, StoreError>;

    /// Writes an erasure down, in the place of what was written of it before.
    async fn note_erasure(&self, erasure: &Erasure) -> Result<(), StoreError>;

    /// The erasure of this name, if there is one.
    async fn erasure(&self, tenant_id: &str, compliance_id: &str) -> Result<Option<Erasure>, StoreError>;

    /// The tenant's erasures by name: `limit` of them at most, those whose names come after `after`.
    async fn erasures(&self, tenant_id: &str, after: Option<&str>, limit: u32) -> Result<Vec<Erasure>, StoreError>;

    /// The tenant's executions that name a person, in their request, their result or as who asked for them, and those whose
    /// request is a blob or whose files may name somebody ([`leaves_files`]): `limit` of them at most, those behind `after` (a [`NamedPage::next`]). What was archived is not among
    /// them.
    async fn naming(
        &self,
        tenant_id: &str,
        person: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<NamedPage, StoreError>;

    /// Forgets what an execution was asked for; its result and history name the pseudonym instead of the person from then on.
    /// The key under which it was started is forgotten as well, unless it is kept: so a repeated start of it is still one. May
    /// be repeated.
    async fn forget(&self, tenant_id: &str, id: &str, who: Forgotten<'_>) -> Result<(), StoreError>;

    /// For how many days older states of what is stored can be brought back by whoever runs the storage.
    fn recoverable_days(&self) -> u32;
}

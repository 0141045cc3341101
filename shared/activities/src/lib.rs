//! The activities: one file each, called by every engine through the same harness.
//!
//! Doing and undoing are one activity. An activity never knows which engine runs it, and never decides whether to
//! retry: it makes one attempt and names its error.

mod back_up_data_set;
mod backup;
mod begin_erasure;
mod bulk;
mod collect_data_set;
mod complete_backup;
mod complete_bulk_operation;
mod complete_compliance;
mod complete_migration;
mod complete_restore;
mod compliance;
mod context;
mod create_sample_data;
mod create_user_account;
mod create_user_profile;
mod end_drill;
mod erase_data_set;
mod files;
mod forget_person;
mod get_tenant_context;
mod harness;
mod input;
mod leases;
mod migrate_batch;
mod migration;
mod pack_export;
mod plan_backup;
mod plan_bulk_operation;
mod plan_erasure;
mod plan_export;
mod plan_migration;
mod plan_restore;
mod process_bulk_batch;
mod restore;
mod restore_part;
mod revoke_user_sessions;
mod send_notification;
mod sets;
mod setup_user_file_workspace;
mod things;
mod update_tenant_user_membership;
mod update_user_session;
mod update_user_tenant_context;
mod validate_tenant_access;
mod verify_erasure;
mod verify_restore;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use contracts::dataset::Dataset;
use downstream::Service;
use store::StepOutcome;

pub use back_up_data_set::BACK_UP_DATA_SET;
pub use begin_erasure::BEGIN_ERASURE;
pub use collect_data_set::COLLECT_DATA_SET;
pub use complete_backup::COMPLETE_BACKUP;
pub use complete_bulk_operation::COMPLETE_BULK_OPERATION;
pub use complete_compliance::COMPLETE_COMPLIANCE;
pub use complete_migration::COMPLETE_MIGRATION;
pub use complete_restore::COMPLETE_RESTORE;
pub use context::Context;
pub use create_sample_data::CREATE_SAMPLE_DATA;
pub use create_user_account::CREATE_USER_ACCOUNT;
pub use create_user_profile::CREATE_USER_PROFILE;
pub use end_drill::END_DRILL;
pub use erase_data_set::ERASE_DATA_SET;
pub use forget_person::FORGET_PERSON;
pub use get_tenant_context::GET_TENANT_CONTEXT;
pub use harness::{Activities, Records};
pub use migrate_batch::MIGRATE_BATCH;
pub use pack_export::PACK_EXPORT;
pub use plan_backup::PLAN_BACKUP;
pub use plan_bulk_operation::PLAN_BULK_OPERATION;
pub use plan_erasure::PLAN_ERASURE;
pub use plan_export::PLAN_EXPORT;
pub use plan_migration::PLAN_MIGRATION;
pub use plan_restore::PLAN_RESTORE;
pub use process_bulk_batch::PROCESS_BULK_BATCH;
pub use restore_part::RESTORE_PART;
pub use revoke_user_sessions::REVOKE_USER_SESSIONS;
pub use send_notification::SEND_NOTIFICATION;
pub use setup_user_file_workspace::SETUP_USER_FILE_WORKSPACE;
pub use update_tenant_user_membership::UPDATE_TENANT_USER_MEMBERSHIP;
pub use update_user_session::UPDATE_USER_SESSION;
pub use update_user_tenant_context::UPDATE_USER_TENANT_CONTEXT;
pub use validate_tenant_access::VALIDATE_TENANT_ACCESS;
pub use verify_erasure::VERIFY_ERASURE;
pub use verify_restore::VERIFY_RESTORE;

/// An attempt in progress.
pub type AttemptFuture<'a> = Pin<Box<dyn Future<Output = StepOutcome> + Send + 'a>>;

/// Where the dataset map comes from, or why there is none. Most attempts never ask.
pub type DatasetSource = Arc<dyn Fn() -> Result<Arc<Dataset>, String> + Send + Sync>;

/// One unit of side effect.
#[derive(Clone, Copy)]
pub struct Activity {
    /// E.g. `create_user_account`; also its file and, in kebab-case, its Lambda.
    pub name: &'static str,
    /// Does it.
    pub forward: for<'a> fn(&'a Context<'a>) -> AttemptFuture<'a>,
    /// The services that it calls, doing or undoing.
    pub calls: &'static [Service],
    /// Where to undo it, by the key of the doing; none if there is nothing to undo, or no way.
    pub undone_at: Option<Service>,
    /// The field of its input that names the tenant on whose behalf it acts; none if that is the execution's own.
    pub tenant_field: Option<&'static str>,
    /// What its Lambda function needs.
    pub function: Function,
}

/// What the Lambda function of an activity needs.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// It ends after so many seconds at the latest; its Task gives it a little longer.
    pub timeout_seconds: u32,
    /// Memory in MB, if it needs other than most.
    pub memory_mb: Option<u32>,
    /// The folders of blobs that it reads, those that it writes, and those that it removes blobs from.
    pub reads: &'static [&'static str],
    /// See above.
    pub writes: &'static [&'static str],
    /// See above.
    pub removes: &'static [&'static str],
    /// Whether it asks for leases.
    pub leases: bool,
    /// What it does with the records of backups.
    pub backups: BackupUse,
    /// What it does with the records of erasures.
    pub erasures: ErasureUse,
    /// Whether it uses the installation's keys.
    pub keys: bool,
}

/// What an activity does with the records of erasures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureUse {
    /// Nothing.
    Nothing,
    /// Looks who has been erased: `Erasures::erasure`, `Erasures::erasures`, `Erasures::erasure_key`.
    Looks,
    /// Asks for legal holds: `Holds::active`.
    Holds,
    /// Asks for the tenant's key, which it makes if there is none, for earlier erasures and for legal holds:
    /// `Erasures::keep_erasure_key`, `Erasures::erasure`, `Erasures::erasures`, `Holds::active`.
    Names,
    /// Writes an erasure down: `Erasures::erasure`, `Erasures::note_erasure`.
    Notes,
    /// Lets records of executions forget a person: `Erasures::naming`, `Erasures::forget`.
    Forgets,
    /// Writes down its end, looks for earlier ones that holds kept from their end (`Erasures::erasures`, `Holds::holds`), and lets
    /// its own record forget the person.
    Ends,
}

/// What an activity does with the records of backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupUse {
    /// Nothing.
    Nothing,
    /// Looks at one: `Backups::backup`.
    Looks,
    /// Lists them: `Backups::backups`.
    Lists,
    /// Notes what a drill came to: `Backups::note_drill`.
    Notes,
    /// Keeps one, and lets go of others: `Backups::keep_backup`, `Backups::keep_until`, `store::remove_backup`.
    Keeps,
}

impl Function {
    /// Longer than a call to a service (10 s) and the longest `Retry-After` granted (20 s), shorter than a Task's usual
    /// `TimeoutSeconds` (45 s).
    pub const USUAL: Self = Self {
        timeout_seconds: 40,
        memory_mb: None,
        reads: &[],
        writes: &[],
        removes: &[],
        leases: false,
        backups: BackupUse::Nothing,
        erasures: ErasureUse::Nothing,
        keys: false,
    };
}

impl Activity {
    /// One that calls nobody and does nothing, to be filled in.
    pub const NOTHING: Self = Self {
        name: "",
        forward: |_| Box::pin(async { Ok(serde_json::Value::Null) }),
        calls: &[],
        undone_at: None,
        tenant_field: None,
        function: Function::USUAL,
    };
}

/// Every activity.
pub static ALL: [&Activity; 34] = [
    &GET_TENANT_CONTEXT,
    &CREATE_USER_ACCOUNT,
    &CREATE_USER_PROFILE,
    &UPDATE_TENANT_USER_MEMBERSHIP,
    &SETUP_USER_FILE_WORKSPACE,
    &CREATE_SAMPLE_DATA,
    &SEND_NOTIFICATION,
    &VALIDATE_TENANT_ACCESS,
    &UPDATE_USER_TENANT_CONTEXT,
    &UPDATE_USER_SESSION,
    &REVOKE_USER_SESSIONS,
    &PLAN_BULK_OPERATION,
    &PROCESS_BULK_BATCH,
    &COMPLETE_BULK_OPERATION,
    &PLAN_BACKUP,
    &BACK_UP_DATA_SET,
    &COMPLETE_BACKUP,
    &PLAN_RESTORE,
    &RESTORE_PART,
    &VERIFY_RESTORE,
    &END_DRILL,
    &COMPLETE_RESTORE,
    &PLAN_MIGRATION,
    &MIGRATE_BATCH,
    &COMPLETE_MIGRATION,
    &PLAN_EXPORT,
    &COLLECT_DATA_SET,
    &PACK_EXPORT,
    &PLAN_ERASURE,
    &BEGIN_ERASURE,
    &ERASE_DATA_SET,
    &FORGET_PERSON,
    &VERIFY_ERASURE,
    &COMPLETE_COMPLIANCE,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let mut names = BTreeSet::new();
        for activity in super::ALL {
            assert!(names.insert(activity.name), "{} is in the list twice", activity.name);
        }
    }

    #[test]
    fn undoing_is_a_call_too() {
        for activity in super::ALL {
            assert!(activity.undone_at.is_none_or(|service| activity.calls.contains(&service)), "{}", activity.name);
        }
    }
}

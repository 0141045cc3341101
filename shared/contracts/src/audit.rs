//! What the audit log tells: what was asked for, and what became of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::UnknownName;

/// What a caller asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// A new execution.
    StartWorkflow,
    /// A cancel: no further step begins, what was done is undone.
    CancelWorkflow,
    /// A pause before the next step.
    PauseWorkflow,
    /// The end of a pause.
    ResumeWorkflow,
    /// An end at once, without undoing anything.
    TerminateWorkflow,
    /// A new execution of what did not complete.
    RetryWorkflow,
    /// A new execution that takes back one that has completed.
    ReverseWorkflow,
    /// The undoing of what an execution left.
    UndoWorkflow,
    /// One of these for several executions. Each execution that it changes has a row with its own action; this one is for
    /// each that was denied, and for a request that was denied as a whole.
    ActOnWorkflows,
    /// The removal of a backup. A row without a caller tells of one whose time was up.
    DeleteBackup,
    /// A new legal hold.
    PlaceHold,
    /// The release of a legal hold.
    ReleaseHold,
    /// More time for the answer to a person's request.
    ExtendRequest,
    /// Anything that changes nothing; only its denials are in the log.
    Read,
}

impl AuditAction {
    /// Every action.
    pub const ALL: [Self; 14] = [
        Self::StartWorkflow,
        Self::CancelWorkflow,
        Self::PauseWorkflow,
        Self::ResumeWorkflow,
        Self::TerminateWorkflow,
        Self::RetryWorkflow,
        Self::ReverseWorkflow,
        Self::UndoWorkflow,
        Self::ActOnWorkflows,
        Self::DeleteBackup,
        Self::PlaceHold,
        Self::ReleaseHold,
        Self::ExtendRequest,
        Self::Read,
    ];

    /// The name on the wire, e.g. `start_workflow`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartWorkflow => "start_workflow",
            Self::CancelWorkflow => "cancel_workflow",
            Self::PauseWorkflow => "pause_workflow",
            Self::ResumeWorkflow => "resume_workflow",
            Self::TerminateWorkflow => "terminate_workflow",
            Self::RetryWorkflow => "retry_workflow",
            Self::ReverseWorkflow => "reverse_workflow",
            Self::UndoWorkflow => "undo_workflow",
            Self::ActOnWorkflows => "act_on_workflows",
            Self::DeleteBackup => "delete_backup",
            Self::PlaceHold => "place_hold",
            Self::ReleaseHold => "release_hold",
            Self::ExtendRequest => "extend_request",
            Self::Read => "read",
        }
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AuditAction {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|action| action.as_str() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Accepted,
    /// The caller may not ask for it; nothing was done.
    Denied,
    /// It was a mistake, or could not be done at that time; nothing was done. Only what has to do with requests of persons and
    /// with legal holds is told so.
    Refused,
}

impl AuditOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Denied, Self::Refused];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Denied => "denied",
            Self::Refused => "refused",
        }
    }
}

impl FromStr for AuditOutcome {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_json_and_in_filters() {
        for action in AuditAction::ALL {
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        for outcome in AuditOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
        }
        assert!("Start".parse::<AuditAction>().is_err());
    }
}

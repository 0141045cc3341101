//! The status of an execution.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::UnknownName;

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Accepted, the engine has not begun.
    Pending,
    /// Under way, or being undone.
    Running,
    /// Held by an operator.
    Paused,
    /// Ended well.
    Completed,
    /// Ended by an error; what it did is undone, or listed.
    Failed,
    /// Ended by a cancel; what it did is undone.
    Cancelled,
    /// Ended by its deadline; what it did is undone.
    TimedOut,
    /// Ended by an operator without undoing anything.
    Terminated,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
        Self::Terminated,
    ];

    /// Whether the execution can still change.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running | Self::Paused)
    }

    /// What clients see: strict ones do not know `Pending`.
    pub fn reported(self) -> Self {
        if self == Self::Pending { Self::Running } else { self }
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::TimedOut => "TimedOut",
            Self::Terminated => "Terminated",
        }
    }

    /// The name in the answer to a start: `completed`, `timed_out`, ...
    pub fn as_snake_case(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Terminated => "terminated",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|status| status.as_str() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

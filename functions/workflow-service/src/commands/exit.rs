//! Exit codes, and the errors that have one of their own.

use std::process::ExitCode;
use std::time::Duration;

/// What `--help` tells of exit codes.
pub(crate) const HELP: &str = "Exit codes:
  0  done
  1  failed
  2  wrong usage: arguments, variables or input that cannot be used
  3  the workflow ended and did not complete (start --wait, history --follow)
  4  refused by the server (HTTP 4xx or 501), or for some of several workflows
  5  the server cannot be reached, or cannot serve now (HTTP 5xx)
`health` exits with 1 where others exit with 4 or 5, as health checks of containers want it.";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// Anything else than what follows.
    Failed = 1,
    /// Arguments, variables or input that cannot be used.
    WrongUsage = 2,
    /// The workflow ended, but did not complete.
    EndedOtherwise = 3,
    /// The server refused.
    Refused = 4,
    /// There is no server, or it cannot serve now.
    Unavailable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// An error with an exit code of its own; any other error is [`Exit::Failed`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// Arguments, variables or input that cannot be used.
    #[error("{0}")]
    WrongUsage(String),
    /// The server refused; where that passes, `retry_after` may say when.
    #[error("{text}")]
    Refused {
        /// What the server said.
        text: String,
        /// The HTTP status.
        status: u16,
        /// The server's `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// There is no server, or it cannot serve now.
    #[error("{text}")]
    Unavailable {
        /// What happened.
        text: String,
        /// The server's `Retry-After`.
        retry_after: Option<Duration>,
    },
}

impl CommandError {
    /// Wrong usage, as an error of a command.
    pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
        Self::WrongUsage(text.into()).into()
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::WrongUsage(_) => false,
            Self::Refused { status, .. } => matches!(status, 408 | 429),
            Self::Unavailable { .. } => true,
        }
    }

    /// When the server wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::WrongUsage(_) => None,
            Self::Refused { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::WrongUsage(_) => Exit::WrongUsage,
            Self::Refused { .. } => Exit::Refused,
            Self::Unavailable { .. } => Exit::Unavailable,
        }
    }
}

/// The exit code of an error.
pub(crate) fn of(error: &anyhow::Error) -> Exit {
    error.downcast_ref().map_or(Exit::Failed, CommandError::exit)
}

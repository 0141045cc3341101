//! The lines of parts: things, entries of logs, and the bytes of files in pieces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::ActivityError;
use downstream::logs::LogEntry;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::lost;

/// A thing, as far as it leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ThingLine {
    pub(super) id: String,
    pub(super) about: About,
    pub(super) data: Value,
}

/// Why a thing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum About {
    /// It is the person's own.
    Person,
    /// It mentions the person. Only that leaves.
    Mention,
}

/// An entry of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogLine {
    pub(super) seq: u64,
    pub(super) kind: String,
    pub(super) at: String,
    pub(super) entity_type: String,
    pub(super) entity_id: String,
    pub(super) action: String,
    pub(super) by: Option<By>,
}

/// Who did it. Others' ids are others' data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    Person,
    SomebodyElse,
}

impl LogLine {
    pub(super) fn of(entry: LogEntry, person: &str) -> Self {
        let LogEntry { seq, kind, at, entity_type, entity_id, action, actor } = entry;
        let by = actor.map(|actor| if actor == person { By::Person } else { By::SomebodyElse });
        Self { seq, kind, at: at.to_string(), entity_type, entity_id, action, by }
    }
}

/// A line of the bytes of files: first whose they are, then pieces, then the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ByteLine {
    File {
        id: String,
        /// What the person calls it.
        name: String,
    },
    /// Bytes, in base64.
    Piece(String),
    End {
        size: u64,
        sha256: String,
    },
}

impl ByteLine {
    pub(super) fn piece(bytes: &[u8]) -> Self {
        Self::Piece(STANDARD.encode(bytes))
    }

    /// The bytes of a piece.
    pub(super) fn decoded(piece: &str) -> Result<Vec<u8>, ActivityError> {
        STANDARD.decode(piece).map_err(|_| lost("the bytes of a file"))
    }
}

//! The lines of parts: things, and the bytes of files in pieces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::ActivityError;
use serde::{Deserialize, Serialize};

use crate::files::lost;

/// Bytes of a file in one line.
pub(crate) const PIECE_BYTES: usize = 192 * 1024;

/// A line of the bytes of files: a piece, or what stands after the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum ContentLine {
    /// Bytes of a file, in their order.
    Piece {
        /// The file.
        file: String,
        /// The bytes, in base64.
        bytes: String,
    },
    /// The end of a file's bytes.
    End {
        /// The file.
        file: String,
        /// How many bytes there are.
        size: u64,
        /// SHA-256 of them, 64 hexadecimal digits.
        sha256: String,
    },
}

impl ContentLine {
    pub(super) fn piece(file: &str, bytes: &[u8]) -> Self {
        Self::Piece { file: file.to_owned(), bytes: STANDARD.encode(bytes) }
    }

    pub(crate) fn file(&self) -> &str {
        match self {
            Self::Piece { file, .. } | Self::End { file, .. } => file,
        }
    }

    /// The file that a line is of. Its bytes, which are most of it, are not taken apart.
    pub(super) fn file_of(line: &[u8]) -> Result<String, ActivityError> {
        #[derive(Deserialize)]
        struct OfFile {
            file: String,
        }
        serde_json::from_slice::<OfFile>(line).map(|line| line.file).map_err(|_| lost("a line of a backup"))
    }

    pub(crate) fn read(line: &[u8]) -> Result<Self, ActivityError> {
        serde_json::from_slice(line).map_err(|_| lost("a line of a backup"))
    }

    /// The bytes of a piece.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, ActivityError> {
        match self {
            Self::Piece { bytes, .. } => STANDARD.decode(bytes).map_err(|_| lost("the bytes of a file")),
            Self::End { .. } => Ok(Vec::new()),
        }
    }

    pub(super) fn text(&self) -> Result<Vec<u8>, ActivityError> {
        serde_json::to_vec(self).map_err(|error| lost(&error.to_string()))
    }
}

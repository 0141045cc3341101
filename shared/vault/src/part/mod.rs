//! Sealed parts: a stream of lines, compressed and encrypted, so that no byte of it can be changed, moved, left out or
//! taken for a byte of another part.
//!
//! A part is a header and frames, without anything after the last one:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `WFSP` |
//! | 1 | the version, 1 |
//! | 32 | the salt: random, of this part only |
//! | 32 | the check: tells whether key and context are the right ones, before anything is read |
//! | frames | each 1 byte: 1 for the last, else 0; 4 bytes: the length, big-endian; that many bytes; a tag of 16 |
//!
//! All lines together are one stream of Zstandard, cut into frames of [`FRAME_BYTES`]; only the last may be shorter.
//! HKDF-SHA256 derives the part's key and its check from the data key, the salt and the context (RFC 5869). Each frame
//! is encrypted by AES-256-GCM. Its nonce is its number and whether it is the last one (the STREAM construction of
//! Hoang, Reyhanitabar, Rogaway and Vizár, 2015), and its first 5 bytes are associated data. As each part has a key of
//! its own, no nonce occurs twice. The check also binds the part to one key, which AES-GCM alone does not.

mod reader;
mod writer;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

pub use reader::PartReader;
pub use writer::PartWriter;

use crate::keys::DataKey;

/// How much of the compressed stream a frame holds, in bytes. A reader keeps one frame in memory.
pub const FRAME_BYTES: usize = 64 * 1024;

/// The longest line, in bytes and without its line break: a reader keeps one line in memory.
pub const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"WFSP";
const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const CHECK_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 1 + SALT_BYTES + CHECK_BYTES;

/// Whether a frame is the last one, and its length.
const FRAME_HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;

/// What is fed to or taken from Zstandard at once, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a part holds, as its writer and its reader count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSummary {
    /// How many lines.
    pub items: u64,
    /// How many bytes, line breaks included, before compression.
    pub bytes: u64,
    /// How many bytes the sealed part has.
    pub stored_bytes: u64,
    /// SHA-256 of the sealed part, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Why a part cannot be written or read. `part` is the context that the caller gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// The caller brought other bytes.
    #[error("'{part}' is not a sealed part: it begins differently")]
    NotAPart {
        /// Which part.
        part: String,
    },
    /// A newer version of this program has to read it.
    #[error("'{part}' is a sealed part of version {version}, which this version does not know")]
    UnknownVersion {
        /// Which part.
        part: String,
        /// The version it says it has.
        version: u8,
    },
    /// The caller brought another part or another key, or the first bytes are damaged.
    #[error("'{part}' does not open: it is another part, or of another key, or its header was changed")]
    Wrong {
        /// Which part.
        part: String,
    },
    /// The bytes are not the ones that were written: another copy is needed.
    #[error("'{part}' was changed or damaged in its frame {frame}")]
    Damaged {
        /// Which part.
        part: String,
        /// Which frame, from 1 on.
        frame: u64,
    },
    /// The end is missing: another copy is needed.
    #[error("'{part}' ends before its last frame: the end is missing")]
    Truncated {
        /// Which part.
        part: String,
    },
    /// Something was appended: another copy is needed.
    #[error("'{part}' goes on after its last frame")]
    TrailingBytes {
        /// Which part.
        part: String,
    },
    /// Whoever had the key wrote something else than this program does.
    #[error("'{part}' was sealed with content that does not decompress: {reason}")]
    Content {
        /// Which part.
        part: String,
        /// What is wrong.
        reason: String,
    },
    /// A line is longer than [`MAX_LINE_BYTES`].
    #[error("line {line} of '{part}' is longer than {MAX_LINE_BYTES} bytes")]
    LineTooLong {
        /// Which part.
        part: String,
        /// Which line, from 1 on.
        line: u64,
    },
    /// A line that was to be written has a line break within.
    #[error("line {line} of '{part}' has a line break within")]
    LineBreak {
        /// Which part.
        part: String,
        /// Which line, from 1 on.
        line: u64,
    },
    /// The part was not written in lines.
    #[error("the last line of '{part}', line {line}, has no line break at its end")]
    UnendedLine {
        /// Which part.
        part: String,
        /// Which line, from 1 on.
        line: u64,
    },
    /// The caller finished reading too early.
    #[error("'{part}' was not read to its end")]
    Unread {
        /// Which part.
        part: String,
    },
    /// It may be tried again.
    #[error("'{part}' cannot be sealed at the moment: {reason}")]
    Unavailable {
        /// Which part.
        part: String,
        /// What is wrong.
        reason: String,
    },
}

/// The key of a part, and how it tells that it is the right one.
struct PartKey {
    key: LessSafeKey,
    check: [u8; CHECK_BYTES],
}

impl PartKey {
    fn derive(data_key: &DataKey, salt: &[u8], context: &str) -> Option<Self> {
        let derived = Salt::new(HKDF_SHA256, salt).extract(data_key.as_bytes());
        let expand = |purpose: &str, bytes: &mut [u8]| {
            let info = [b"workflow-service/part/1/", purpose.as_bytes(), b"\n", context.as_bytes()];
            derived.expand(&info, HKDF_SHA256).and_then(|output| output.fill(bytes)).ok()
        };
        let (mut key, mut check) = (Zeroizing::new([0; DataKey::BYTES]), [0; CHECK_BYTES]);
        expand("key", key.as_mut_slice())?;
        expand("check", &mut check)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).ok()?;
        Some(Self { key: LessSafeKey::new(key), check })
    }
}

/// The nonce of a frame: three zeros, its number from 0 on, and whether it is the last one.
fn nonce(frame: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[3..11].copy_from_slice(&frame.to_be_bytes());
    bytes[11] = is_last.into();
    Nonce::assume_unique_for_key(bytes)
}

//! Random data by a seed, keys, and parts written and read in pieces.

use std::path::PathBuf;

use contracts::Timestamp;
use tempfile::TempDir;
use vault::{DataKey, FileKeys, PartError, PartReader, PartSummary, PartWriter};

/// Random numbers by a seed (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice of this seed, which is printed for when the test fails.
    pub(crate) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Bytes that do not compress.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A line: of any bytes, or of a few that compress well.
    pub(crate) fn line(&mut self, max_length: usize) -> Vec<u8> {
        let length = self.below(max_length + 1);
        let compresses = self.below(2) == 0;
        if compresses { vec![b'a' + self.below(3) as u8; length] } else { self.noise(length) }
    }

    /// A line of this length that does not compress.
    pub(crate) fn noise(&mut self, length: usize) -> Vec<u8> {
        self.bytes(length).into_iter().map(|byte| if byte == b'\n' { b'-' } else { byte }).collect()
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-11-29T03:08:58Z".parse().unwrap()
}

/// A key file in a folder of its own, which goes when the first of the two is dropped.
pub(crate) fn key_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    FileKeys::init(&path, now()).unwrap();
    (folder, path)
}

pub(crate) fn file_keys() -> FileKeys {
    let (_folder, path) = key_file();
    FileKeys::open(&path).unwrap()
}

pub(crate) fn data_key(byte: u8) -> DataKey {
    DataKey::from_bytes([byte; 32])
}

/// Writes a part of these lines.
pub(crate) fn seal(key: &DataKey, context: &str, lines: &[Vec<u8>]) -> (Vec<u8>, PartSummary) {
    let mut writer = PartWriter::new(key, context).unwrap();
    let mut stored = Vec::new();
    for line in lines {
        writer.write_line(line).unwrap();
        stored.extend(writer.take());
    }
    let (rest, summary) = writer.finish().unwrap();
    stored.extend(rest);
    (stored, summary)
}

/// Reads a part that is pushed in pieces of this many bytes; the lines that came before an error, too.
pub(crate) fn open(
    key: &DataKey,
    context: &str,
    stored: &[u8],
    piece_bytes: usize,
) -> (Vec<Vec<u8>>, Result<PartSummary, PartError>) {
    let mut reader = PartReader::new(key, context).unwrap();
    let mut lines = Vec::new();
    for piece in stored.chunks(piece_bytes) {
        reader.push(piece);
        loop {
            match reader.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next_line(), Err(error.clone()), "an error stays");
                    assert_eq!(reader.finish(), Err(error.clone()));
                    return (lines, Err(error));
                }
            }
        }
    }
    (lines, reader.finish())
}

/// Where the frames of a part begin, and where it ends.
pub(crate) fn frame_borders(stored: &[u8]) -> Vec<usize> {
    let mut borders = vec![HEADER_BYTES];
    let mut at = HEADER_BYTES;
    while at < stored.len() {
        let length = u32::from_be_bytes(stored[at + 1..at + 5].try_into().unwrap()) as usize;
        at += 5 + length + 16;
        borders.push(at);
    }
    assert_eq!(at, stored.len());
    borders
}

/// Magic, version, salt and check.
pub(crate) const HEADER_BYTES: usize = 4 + 1 + 32 + 32;

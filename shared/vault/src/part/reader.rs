//! Reads a sealed part.

use std::io;

use aws_lc_rs::aead::{Aad, LessSafeKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zstd::stream::raw::{DParameter, Decoder, Operation as _};

use super::{
    CHUNK_BYTES, FRAME_BYTES, FRAME_HEADER_BYTES, HEADER_BYTES, MAGIC, MAX_LINE_BYTES, PartError, PartKey, PartSummary,
    SALT_BYTES, TAG_BYTES, VERSION, nonce,
};
use crate::crypto::Sha256;
use crate::keys::DataKey;

/// How far back a compressed stream may refer, as a power of two: 8 MiB, which is how much the decompressor keeps. The
/// writer's level needs 2 MiB.
const MAX_WINDOW_LOG: u32 = 23;

/// Reads a sealed part. [`push`](Self::push) some of its bytes, call [`next_line`](Self::next_line) or
/// [`read`](Self::read) until there is nothing, push on, and call [`finish`](Self::finish) at the end. What is returned
/// before that is authentic, but perhaps not all: nothing is certain to be complete before `finish` says so.
///
/// Memory: what was pushed and not read yet, one frame, one line and the decompressor's, however much the part expands
/// to. After an error, every call gives it again.
pub struct PartReader {
    part: String,
    key: Key,
    decoder: Decoder<'static>,
    hash: Sha256,
    stored_bytes: u64,
    /// Pushed, from `stored_at` on not opened yet.
    stored: Vec<u8>,
    stored_at: usize,
    /// How many frames were opened, and whether the last one was.
    frames: u64,
    had_last: bool,
    /// The content of the current frame, from `compressed_at` on not decompressed yet.
    compressed: Vec<u8>,
    compressed_at: usize,
    /// The decompressor may have more without being fed.
    has_more: bool,
    /// The compressed stream has ended.
    is_over: bool,
    chunk: Vec<u8>,
    /// Decompressed, from `plain_at` on not returned yet, and without a line break before `searched_to`.
    plain: Vec<u8>,
    plain_at: usize,
    searched_to: usize,
    lines_returned: u64,
    items: u64,
    bytes: u64,
    failed: Option<PartError>,
}

/// The data key until the header is there, and then the part's.
enum Key {
    Data(DataKey),
    Part(LessSafeKey),
}

impl PartReader {
    /// A reader of the part that was written with this key and this context.
    ///
    /// # Errors
    /// [`PartError::Unavailable`].
    pub fn new(key: &DataKey, context: &str) -> Result<Self, PartError> {
        let decoder = limited_decoder()
            .map_err(|error| PartError::Unavailable { part: context.to_owned(), reason: error.to_string() })?;
        Ok(Self {
            part: context.to_owned(),
            key: Key::Data(key.clone()),
            decoder,
            hash: Sha256::new(),
            stored_bytes: 0,
            stored: Vec::new(),
            stored_at: 0,
            frames: 0,
            had_last: false,
            compressed: Vec::new(),
            compressed_at: 0,
            has_more: false,
            is_over: false,
            chunk: vec![0; CHUNK_BYTES],
            plain: Vec::new(),
            plain_at: 0,
            searched_to: 0,
            lines_returned: 0,
            items: 0,
            bytes: 0,
            failed: None,
        })
    }

    /// Takes the next bytes of the sealed part, as many as the caller likes to keep in memory.
    pub fn push(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.stored_bytes += bytes.len() as u64;
        self.stored.drain(..self.stored_at);
        self.stored_at = 0;
        self.stored.extend_from_slice(bytes);
    }

    /// The next line, without its line break; none if more has to be pushed first, or at the end.
    ///
    /// # Errors
    /// What is wrong with the part.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, PartError> {
        self.unless_failed(Self::line)
    }

    /// Fills `buffer` with the next bytes and says how many; 0 if more has to be pushed first, or at the end.
    ///
    /// # Errors
    /// What is wrong with the part.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PartError> {
        self.unless_failed(|reader| {
            if reader.plain_at == reader.plain.len() && !reader.fill()? {
                return Ok(0);
            }
            let unread = &reader.plain[reader.plain_at..];
            let length = unread.len().min(buffer.len());
            buffer[..length].copy_from_slice(&unread[..length]);
            reader.plain_at += length;
            reader.searched_to = reader.searched_to.max(reader.plain_at);
            Ok(length)
        })
    }

    /// What is in the whole part, which has been pushed and read to its end.
    ///
    /// # Errors
    /// What is wrong with the part; [`PartError::Unread`] if the caller is.
    pub fn finish(mut self) -> Result<PartSummary, PartError> {
        let has_more = self.unless_failed(Self::fill)?;
        if !has_more && !self.had_last {
            return Err(PartError::Truncated { part: self.part });
        }
        if has_more || self.plain_at < self.plain.len() {
            return Err(PartError::Unread { part: self.part });
        }
        let Self { items, bytes, stored_bytes, hash, .. } = self;
        Ok(PartSummary { items, bytes, stored_bytes, sha256: hash.finish() })
    }

    fn unless_failed<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, PartError>) -> Result<T, PartError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        read(self).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, PartError> {
        loop {
            let found = self.plain[self.searched_to..].iter().position(|byte| *byte == b'\n');
            let end = found.map_or(self.plain.len(), |index| self.searched_to + index);
            let number = self.lines_returned + 1;
            if end - self.plain_at > MAX_LINE_BYTES {
                return Err(PartError::LineTooLong { part: self.part.clone(), line: number });
            }
            if found.is_some() {
                let line = self.plain[self.plain_at..end].to_vec();
                self.plain_at = end + 1;
                self.searched_to = self.plain_at;
                self.lines_returned = number;
                return Ok(Some(line));
            }
            self.searched_to = end;
            if !self.fill()? {
                if self.had_last && self.plain_at < self.plain.len() {
                    return Err(PartError::UnendedLine { part: self.part.clone(), line: number });
                }
                return Ok(None);
            }
        }
    }

    /// Decompresses at most one chunk more; false if more has to be pushed first, or at the end.
    fn fill(&mut self) -> Result<bool, PartError> {
        loop {
            if self.compressed_at < self.compressed.len() || self.has_more {
                if self.decompress()? {
                    return Ok(true);
                }
            } else if !self.open_frame()? {
                return Ok(false);
            }
        }
    }

    fn decompress(&mut self) -> Result<bool, PartError> {
        if self.is_over {
            return Err(self.content("something comes after the end of the compressed stream"));
        }
        let status = self.decoder.run_on_buffers(&self.compressed[self.compressed_at..], &mut self.chunk);
        let status = status.map_err(|error| self.content(&error.to_string()))?;
        self.compressed_at += status.bytes_read;
        self.is_over = status.remaining == 0;
        self.has_more = !self.is_over && status.bytes_written == self.chunk.len();
        let decompressed = &self.chunk[..status.bytes_written];
        self.bytes += decompressed.len() as u64;
        self.items += decompressed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.plain.drain(..self.plain_at);
        self.searched_to -= self.plain_at;
        self.plain_at = 0;
        self.plain.extend_from_slice(decompressed);
        Ok(!decompressed.is_empty())
    }

    /// Opens the next frame if all of it is there.
    fn open_frame(&mut self) -> Result<bool, PartError> {
        let part_key = match &self.key {
            Key::Part(key) => key,
            Key::Data(data_key) => match self.open_header(data_key)? {
                Some(key) => {
                    self.key = Key::Part(key);
                    self.stored_at = HEADER_BYTES;
                    return self.open_frame();
                }
                None => return Ok(false),
            },
        };
        let stored = &self.stored[self.stored_at..];
        if self.had_last {
            return match (stored, self.is_over) {
                ([], true) => Ok(false),
                ([], false) => Err(self.content("the compressed stream has no end")),
                _ => Err(PartError::TrailingBytes { part: self.part.clone() }),
            };
        }
        let damaged = || PartError::Damaged { part: self.part.clone(), frame: self.frames + 1 };
        let Some((header, rest)) = stored.split_first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(false) };
        let [kind, length @ ..] = *header;
        let is_last = kind == 1;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let has_its_length = if is_last { (1..=FRAME_BYTES).contains(&length) } else { length == FRAME_BYTES };
        if kind > 1 || !has_its_length {
            return Err(damaged());
        }
        let Some(sealed) = rest.get(..length + TAG_BYTES) else { return Ok(false) };
        let (content, tag) = sealed.split_at(length);
        self.compressed.resize(length, 0);
        let nonce = nonce(self.frames, is_last);
        let opened = part_key.open_separate_gather(nonce, Aad::from(*header), content, tag, &mut self.compressed);
        opened.map_err(|_| damaged())?;
        self.compressed_at = 0;
        self.stored_at += FRAME_HEADER_BYTES + length + TAG_BYTES;
        self.frames += 1;
        self.had_last = is_last;
        Ok(true)
    }

    /// The key of the part, once its header is there.
    fn open_header(&self, data_key: &DataKey) -> Result<Option<LessSafeKey>, PartError> {
        let part = || self.part.clone();
        let begin = &self.stored[..self.stored.len().min(MAGIC.len())];
        if !MAGIC.starts_with(begin) {
            return Err(PartError::NotAPart { part: part() });
        }
        let Some(header) = self.stored.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let (version, header) = (header[MAGIC.len()], &header[MAGIC.len() + 1..]);
        if version != VERSION {
            return Err(PartError::UnknownVersion { part: part(), version });
        }
        let (salt, check) = header.split_at(SALT_BYTES);
        let derived = PartKey::derive(data_key, salt, &self.part);
        let derived = derived.filter(|derived| verify_slices_are_equal(&derived.check, check).is_ok());
        derived.map(|derived| Some(derived.key)).ok_or_else(|| PartError::Wrong { part: part() })
    }

    fn content(&self, reason: &str) -> PartError {
        PartError::Content { part: self.part.clone(), reason: reason.to_owned() }
    }
}

fn limited_decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
    Ok(decoder)
}

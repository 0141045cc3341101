//! Writes a sealed part.

use aws_lc_rs::aead::{Aad, LessSafeKey};
use zstd::stream::raw::{Encoder, Operation as _, OutBuffer};

use super::{
    CHUNK_BYTES, FRAME_BYTES, FRAME_HEADER_BYTES, MAGIC, MAX_LINE_BYTES, PartError, PartKey, PartSummary, SALT_BYTES,
    VERSION, nonce,
};
use crate::crypto::{self, Sha256};
use crate::keys::DataKey;

/// Fast, and most of what any level saves.
const LEVEL: i32 = 3;

/// Writes a sealed part. Call [`write_line`](Self::write_line) or [`write`](Self::write), now and then
/// [`take`](Self::take), and at the end [`finish`](Self::finish).
///
/// Memory: the compressor's, one frame, and what was not taken yet.
pub struct PartWriter {
    part: String,
    key: LessSafeKey,
    encoder: Encoder<'static>,
    /// Where the compressor writes to.
    chunk: Vec<u8>,
    /// Compressed, but not in a frame yet.
    compressed: Vec<u8>,
    /// Sealed, but not taken yet.
    ready: Vec<u8>,
    /// How many frames were sealed.
    frames: u64,
    hash: Sha256,
    items: u64,
    bytes: u64,
    stored_bytes: u64,
}

impl PartWriter {
    /// A part that opens with this key and this context only. The context names what the part is, e.g.
    /// [`part_context`](crate::part_context), so that no other part can take its place.
    ///
    /// # Errors
    /// [`PartError::Unavailable`].
    pub fn new(key: &DataKey, context: &str) -> Result<Self, PartError> {
        let unavailable = |reason: &str| PartError::Unavailable { part: context.to_owned(), reason: reason.to_owned() };
        let salt: [u8; SALT_BYTES] =
            crypto::random().map_err(|_| unavailable("the operating system gave no random bytes"))?;
        let PartKey { key, check } =
            PartKey::derive(key, &salt, context).ok_or_else(|| unavailable("no key can be derived"))?;
        let encoder = Encoder::new(LEVEL).map_err(|error| unavailable(&error.to_string()))?;
        let mut writer = Self {
            part: context.to_owned(),
            key,
            encoder,
            chunk: vec![0; CHUNK_BYTES],
            compressed: Vec::new(),
            ready: Vec::new(),
            frames: 0,
            hash: Sha256::new(),
            items: 0,
            bytes: 0,
            stored_bytes: 0,
        };
        for piece in [&MAGIC[..], &[VERSION], &salt, &check] {
            writer.emit(piece);
        }
        Ok(writer)
    }

    /// Writes a line, without a line break within or at its end.
    ///
    /// # Errors
    /// [`PartError::LineTooLong`] and [`PartError::LineBreak`], which leave the part as it was;
    /// [`PartError::Unavailable`].
    pub fn write_line(&mut self, line: &[u8]) -> Result<(), PartError> {
        if line.len() > MAX_LINE_BYTES {
            return Err(PartError::LineTooLong { part: self.part.clone(), line: self.items + 1 });
        }
        if line.contains(&b'\n') {
            return Err(PartError::LineBreak { part: self.part.clone(), line: self.items + 1 });
        }
        self.compress(line)?;
        self.compress(b"\n")?;
        self.items += 1;
        Ok(())
    }

    /// Writes bytes as they are. Each line break in them counts as an item.
    ///
    /// # Errors
    /// [`PartError::Unavailable`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PartError> {
        self.compress(bytes)?;
        self.items += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(())
    }

    /// What of the sealed part is ready to be stored and was not taken before.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ready)
    }

    /// The rest of the sealed part, and what is in the whole.
    ///
    /// # Errors
    /// [`PartError::Unavailable`].
    pub fn finish(mut self) -> Result<(Vec<u8>, PartSummary), PartError> {
        loop {
            let mut output = OutBuffer::around(self.chunk.as_mut_slice());
            let remaining = self.encoder.finish(&mut output, true);
            let written = output.pos();
            let remaining = remaining.map_err(|error| self.unavailable(&error))?;
            self.compressed.extend_from_slice(&self.chunk[..written]);
            self.seal_full_frames()?;
            if remaining == 0 {
                break;
            }
        }
        let last = std::mem::take(&mut self.compressed);
        self.seal(last, true)?;
        let Self { ready, hash, items, bytes, stored_bytes, .. } = self;
        Ok((ready, PartSummary { items, bytes, stored_bytes, sha256: hash.finish() }))
    }

    fn compress(&mut self, mut bytes: &[u8]) -> Result<(), PartError> {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let status = self.encoder.run_on_buffers(bytes, &mut self.chunk);
            let status = status.map_err(|error| self.unavailable(&error))?;
            bytes = &bytes[status.bytes_read..];
            self.compressed.extend_from_slice(&self.chunk[..status.bytes_written]);
            self.seal_full_frames()?;
        }
        Ok(())
    }

    /// Seals frames as long as more comes after them: only the end tells which one is the last.
    fn seal_full_frames(&mut self) -> Result<(), PartError> {
        while self.compressed.len() > FRAME_BYTES {
            let rest = self.compressed.split_off(FRAME_BYTES);
            let full = std::mem::replace(&mut self.compressed, rest);
            self.seal(full, false)?;
        }
        Ok(())
    }

    fn seal(&mut self, mut content: Vec<u8>, is_last: bool) -> Result<(), PartError> {
        let mut header = [u8::from(is_last); FRAME_HEADER_BYTES];
        header[1..].copy_from_slice(&(content.len() as u32).to_be_bytes());
        let nonce = nonce(self.frames, is_last);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut content);
        let tag = tag.map_err(|_| self.unavailable(&"the frame cannot be encrypted"))?;
        self.frames += 1;
        for piece in [&header, content.as_slice(), tag.as_ref()] {
            self.emit(piece);
        }
        Ok(())
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.stored_bytes += bytes.len() as u64;
        self.ready.extend_from_slice(bytes);
    }

    fn unavailable(&self, reason: &dyn ToString) -> PartError {
        PartError::Unavailable { part: self.part.clone(), reason: reason.to_string() }
    }
}

/// What this writer never seals, and somebody who has the key might.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::PartReader;

    /// A part with this content, whether it is compressed or not.
    fn sealed(content: &[&[u8]]) -> Vec<u8> {
        let mut writer = PartWriter::new(&DataKey::from_bytes([7; 32]), "odd").unwrap();
        for (index, frame) in content.iter().enumerate() {
            writer.seal(frame.to_vec(), index + 1 == content.len()).unwrap();
        }
        writer.take()
    }

    fn read(stored: &[u8]) -> Result<PartSummary, PartError> {
        let mut reader = PartReader::new(&DataKey::from_bytes([7; 32]), "odd").unwrap();
        reader.push(stored);
        while reader.next_line()?.is_some() {}
        reader.finish()
    }

    fn content_error(content: &[&[u8]]) -> String {
        match read(&sealed(content)) {
            Err(PartError::Content { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn content_that_is_no_single_stream_is_refused() {
        let stream = zstd::bulk::compress(b"a line\n", LEVEL).unwrap();
        assert_eq!(read(&sealed(&[&stream])).unwrap().items, 1);
        assert!(content_error(&[&[&stream[..], &stream].concat()]).contains("after the end"));
        assert!(content_error(&[&stream[..stream.len() - 1]]).contains("no end"));
        content_error(&[b"not compressed"]);
    }

    #[test]
    fn a_stream_that_needs_much_memory_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), LEVEL).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, b"a line\n").unwrap();
        let stream = encoder.finish().unwrap();
        assert!(content_error(&[&stream]).contains("memory"));
    }

    #[test]
    fn frames_of_another_length_are_refused() {
        let stream = zstd::bulk::compress(b"a line\n", LEVEL).unwrap();
        let damaged = |frame| Err(PartError::Damaged { part: "odd".to_owned(), frame });
        assert_eq!(read(&sealed(&[&stream, b""])), damaged(1), "a short frame that is not the last");
        assert_eq!(read(&sealed(&[b""])), damaged(1), "an empty frame");
        assert_eq!(read(&sealed(&[&[0; FRAME_BYTES + 1]])), damaged(1), "a frame that is too long");
    }
}

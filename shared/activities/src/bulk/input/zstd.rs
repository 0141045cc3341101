//! Unpacks what zstd has compressed, part by part.

use bytes::{Buf as _, Bytes};
use contracts::ActivityError;
use zstd::stream::raw::{Decoder, InBuffer, Operation as _, OutBuffer};

use super::{PART_BYTES, no_input};

/// What a compressed file begins with (RFC 8878, section 3.1.1).
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(super) struct Unpacker {
    decoder: Decoder<'static>,
    /// Whether the last frame has come to its end.
    is_whole: bool,
    /// Whether more may come of what the decoder has.
    has_more: bool,
}

impl Unpacker {
    pub(super) fn new() -> Result<Self, ActivityError> {
        let decoder = Decoder::new().map_err(|error| no_input(format!("the file cannot be unpacked: {error}")))?;
        Ok(Self { decoder, is_whole: false, has_more: false })
    }

    /// Takes some of the bytes: the next part of what they unpack to.
    pub(super) fn unpack(&mut self, bytes: &mut Bytes) -> Result<Bytes, ActivityError> {
        let mut part = vec![0; PART_BYTES];
        let (mut input, mut output) = (InBuffer::around(&bytes[..]), OutBuffer::around(&mut part[..]));
        let hint = self.decoder.run(&mut input, &mut output);
        let hint = hint.map_err(|_| no_input("the file is damaged: zstd cannot unpack it"))?;
        let (taken, written) = (input.pos(), output.pos());
        self.is_whole = hint == 0;
        self.has_more = written == PART_BYTES && !self.is_whole;
        bytes.advance(taken);
        part.truncate(written);
        Ok(part.into())
    }

    /// Whether more comes without more bytes.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// That was all.
    pub(super) fn finish(&self) -> Result<(), ActivityError> {
        match self.is_whole {
            true => Ok(()),
            false => Err(no_input("the file is cut off: zstd expects more of it")),
        }
    }
}

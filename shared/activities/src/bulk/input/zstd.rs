//! Unpacks what zstd has compressed, part by part.

use contracts::ActivityError;
use zstd::stream::raw::{Decoder, InBuffer, Operation as _, OutBuffer};

use super::no_input;

/// What a compressed file begins with (RFC 8878, section 3.1.1).
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes that are unpacked at once.
const PART_BYTES: usize = 128 * 1024;

pub(super) struct Unpacker {
    decoder: Decoder<'static>,
    part: Vec<u8>,
    /// Whether the last frame has come to its end.
    is_whole: bool,
}

impl Unpacker {
    pub(super) fn new() -> Result<Self, ActivityError> {
        let decoder = Decoder::new().map_err(|error| no_input(format!("the file cannot be unpacked: {error}")))?;
        Ok(Self { decoder, part: vec![0; PART_BYTES], is_whole: false })
    }

    /// Hands on what these bytes unpack to.
    pub(super) fn unpack(
        &mut self,
        bytes: &[u8],
        mut hand_on: impl FnMut(&[u8]) -> Result<(), ActivityError>,
    ) -> Result<(), ActivityError> {
        let mut input = InBuffer::around(bytes);
        loop {
            let mut output = OutBuffer::around(&mut self.part[..]);
            let hint = self.decoder.run(&mut input, &mut output);
            let hint = hint.map_err(|_| no_input("the file is damaged: zstd cannot unpack it"))?;
            let written = output.pos();
            self.is_whole = hint == 0;
            hand_on(&self.part[..written])?;
            if input.pos() == bytes.len() && written < PART_BYTES {
                return Ok(());
            }
        }
    }

    /// That was all.
    pub(super) fn finish(&self) -> Result<(), ActivityError> {
        match self.is_whole {
            true => Ok(()),
            false => Err(no_input("the file is cut off: zstd expects more of it")),
        }
    }
}

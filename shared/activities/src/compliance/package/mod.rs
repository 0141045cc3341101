//! A package being written: a zip file that is sent on while it is made, encrypted for a recipient if there is one.
//!
//! Nothing in it depends on when it is made: times are fixed, and everything has its order. So the same data gives the same
//! bytes, before encryption. What is in memory does not grow with the data but for the list of files.

pub(super) mod html;
pub(super) mod manifest;
pub(super) mod names;
pub(super) mod table;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::iter;
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamWriter as AgeWriter;
use age::x25519::Recipient;
use contracts::effect::hex;
use contracts::{ActivityError, ErrorName};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use store::BlobKey;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::files::BlobWriter;

/// Bytes that are compressed at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Who may read a file, where a system asks: its owner writes, everybody reads.
const PERMISSIONS: u32 = 0o644;

/// A file of the package, as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// Things, rows or entries in it, where it has such.
    pub(super) records: Option<u64>,
    /// The id of the file whose bytes it has, if it has such.
    pub(super) id: Option<String>,
}

/// What is made and not sent on yet.
#[derive(Clone, Default)]
struct Made(Arc<Mutex<Vec<u8>>>);

impl Made {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Made {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Encrypts what goes through it, or does not.
enum Layer {
    Plain(Made),
    Encrypted(Box<AgeWriter<Made>>),
}

impl Layer {
    fn new(made: Made, recipient: Option<&str>) -> Result<Self, ActivityError> {
        let Some(recipient) = recipient else { return Ok(Self::Plain(made)) };
        let recipient: Recipient =
            recipient.parse().map_err(|problem: &str| ActivityError::new(ErrorName::InvalidInput, problem))?;
        let encryptor = age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient));
        let encryptor = encryptor.map_err(|error| failed(&error))?;
        Ok(Self::Encrypted(Box::new(encryptor.wrap_output(made).map_err(|error| failed(&error))?)))
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Encrypted(writer) => writer.finish().map(drop),
        }
    }
}

impl Write for Layer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(made) => made.write(bytes),
            Self::Encrypted(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(made) => made.flush(),
            Self::Encrypted(writer) => writer.flush(),
        }
    }
}

/// A package being written, perhaps after others.
pub(super) struct Package<'a> {
    zip: ZipWriter<StreamWriter<Layer>>,
    made: Made,
    blob: &'a mut BlobWriter,
    /// Whose key opens it.
    recipient: Option<&'a str>,
    /// Of what is stored.
    hash: Sha256,
    bytes: u64,
    /// The file being written: its path, and what it has so far.
    open: Option<(String, Sha256, u64)>,
    pub(super) entries: Vec<Entry>,
}

impl<'a> Package<'a> {
    /// Begins a package that goes into the blob that is being written.
    pub(super) fn new(blob: &'a mut BlobWriter, recipient: Option<&'a str>) -> Result<Self, ActivityError> {
        let made = Made::default();
        let zip = ZipWriter::new_stream(Layer::new(made.clone(), recipient)?);
        Ok(Self { zip, made, blob, recipient, hash: Sha256::new(), bytes: 0, open: None, entries: Vec::new() })
    }

    /// How many bytes it has so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the package, and begins another one in this blob: the size of the one that has ended, and the SHA-256 of its bytes.
    pub(super) async fn next(&mut self, place: BlobKey) -> Result<(u64, String), ActivityError> {
        let made = Made::default();
        let zip = ZipWriter::new_stream(Layer::new(made.clone(), self.recipient)?);
        let zip = std::mem::replace(&mut self.zip, zip);
        let ended = self.end_zip(zip).await?;
        self.blob.begin(place).await?;
        (self.made, self.hash, self.bytes) = (made, Sha256::new(), 0);
        self.entries.clear();
        Ok(ended)
    }

    /// Begins a file.
    pub(super) fn begin(&mut self, path: String, is_large: bool) -> Result<(), ActivityError> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(PERMISSIONS)
            .large_file(is_large);
        self.zip.start_file(path.as_str(), options).map_err(|error| failed(&error))?;
        self.open = Some((path, Sha256::new(), 0));
        Ok(())
    }

    /// Goes on with the file.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), ActivityError> {
        if let Some((_, hash, size)) = &mut self.open {
            hash.update(bytes);
            *size += bytes.len() as u64;
        }
        for piece in bytes.chunks(PIECE_BYTES) {
            self.zip.write_all(piece).map_err(|error| failed(&error))?;
            self.send_on().await?;
        }
        Ok(())
    }

    /// Ends the file; the SHA-256 of its bytes.
    pub(super) fn end(&mut self, records: Option<u64>, id: Option<String>) -> Option<&Entry> {
        let (path, hash, bytes) = self.open.take()?;
        self.entries.push(Entry { path, bytes, sha256: hex(&hash.finalize()), records, id });
        self.entries.last()
    }

    /// Writes a file that is not listed.
    pub(super) async fn add(&mut self, path: &str, text: &[u8]) -> Result<(), ActivityError> {
        self.begin(path.to_owned(), false)?;
        self.write(text).await?;
        self.open = None;
        Ok(())
    }

    /// Ends the last package: its size, and the SHA-256 of its bytes.
    pub(super) async fn finish(mut self) -> Result<(u64, String), ActivityError> {
        let zip = std::mem::replace(&mut self.zip, ZipWriter::new_stream(Layer::Plain(Made::default())));
        self.end_zip(zip).await
    }

    async fn end_zip(&mut self, zip: ZipWriter<StreamWriter<Layer>>) -> Result<(u64, String), ActivityError> {
        let layer = zip.finish().map_err(|error| failed(&error))?.into_inner();
        layer.finish().map_err(|error| failed(&error))?;
        self.send_on().await?;
        Ok((self.bytes, hex(&std::mem::take(&mut self.hash).finalize())))
    }

    async fn send_on(&mut self) -> Result<(), ActivityError> {
        let made = self.made.take();
        self.hash.update(&made);
        self.bytes += made.len() as u64;
        self.blob.write(made).await
    }
}

fn failed(error: &dyn std::error::Error) -> ActivityError {
    ActivityError::new(ErrorName::Internal, format!("the package cannot be made: {error}"))
}

//! Blobs that are encrypted at rest, under the installation's keys.
//!
//! | bytes | of a sealed file |
//! |---|---|
//! | 4 | `WFSB` |
//! | 1 | the version, 2 |
//! | 4 | the length of the wrapped key, big-endian |
//! | that many | the wrapped key of this file, as JSON |
//! | up to the last 12 | its content, [sealed](PartWriter) under that key and with the blob's name |
//! | 8 | the length of the content, big-endian |
//! | 4 | `WFSE`, without which the file is cut off |
//!
//! In version 1 the last four bytes are missing.
//!
//! A file that begins otherwise is read as it is.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use store::{BlobBody, BlobKey, BlobReader, Blobs, StoreError};
use vault::{DataKey, Keys, PartReader, PartWriter, WrappedKey};

use crate::FileBlobs;

const MAGIC: [u8; 4] = *b"WFSB";
const VERSION: u8 = 2;
const END: [u8; 4] = *b"WFSE";
/// Up to the wrapped key.
const HEAD_BYTES: u64 = 9;
/// More than any wrapped key.
const MAX_KEY_BYTES: u64 = 64 * 1024;
const LENGTH_BYTES: u64 = 8;
/// What is opened at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The blobs of a folder, some of them sealed.
#[derive(Clone)]
pub struct SealedBlobs {
    files: Arc<FileBlobs>,
    keys: Arc<dyn Keys>,
    is_sealed: fn(&BlobKey) -> bool,
}

/// Where what of a sealed file is.
struct Sealed {
    key: WrappedKey,
    begins_at: u64,
    ends_at: u64,
    /// Bytes of its content.
    length: u64,
}

impl SealedBlobs {
    /// Seals the blobs for which `is_sealed` holds.
    pub fn new(files: Arc<FileBlobs>, keys: Arc<dyn Keys>, is_sealed: fn(&BlobKey) -> bool) -> Self {
        Self { files, keys, is_sealed }
    }

    /// How the file is sealed, if it is there and is.
    async fn sealed(&self, key: &BlobKey) -> Result<Option<Sealed>, StoreError> {
        if !(self.is_sealed)(key) {
            return Ok(None);
        }
        let (Some(size), Some(head)) = (self.files.size(key).await?, self.files.get_part(key, 0, HEAD_BYTES).await?)
        else {
            return Ok(None);
        };
        let Some(rest) = head.strip_prefix(&MAGIC) else { return Ok(None) };
        let (end, length) = match rest.split_first() {
            Some((1, length)) => (&[][..], length),
            Some((&VERSION, length)) => (&END[..], length),
            _ => {
                let problem = format!("{key} is sealed in a way that this version does not know");
                return Err(StoreError::Unavailable(problem));
            }
        };
        let key_bytes = u64::from(u32::from_be_bytes(length.try_into().map_err(|_| damaged(key))?));
        let ends_at = size.saturating_sub(LENGTH_BYTES + end.len() as u64);
        let begins_at = HEAD_BYTES + key_bytes;
        if key_bytes > MAX_KEY_BYTES || begins_at > ends_at {
            return Err(damaged(key));
        }
        let part = async |offset, length| self.files.get_part(key, offset, length).await?.ok_or_else(|| damaged(key));
        let wrapped = serde_json::from_slice(&part(HEAD_BYTES, key_bytes).await?).map_err(|_| damaged(key))?;
        let trailer = part(ends_at, LENGTH_BYTES + END.len() as u64).await?;
        let (length, found) = trailer.split_first_chunk().ok_or_else(|| damaged(key))?;
        if found != end {
            return Err(damaged(key));
        }
        let length = u64::from_be_bytes(*length);
        Ok(Some(Sealed { key: wrapped, begins_at, ends_at, length }))
    }

    async fn open(&self, key: &BlobKey, sealed: &Sealed) -> Result<Option<BlobBody>, StoreError> {
        let purpose = purpose(key);
        let data_key = self.keys.unwrap(&sealed.key, &purpose).await.map_err(unavailable)?;
        let Some(body) = self.files.get(key).await? else { return Ok(None) };
        let reader = PartReader::new(&data_key, &purpose).map_err(unavailable)?;
        let stored = within(body, sealed.begins_at, sealed.ends_at);
        Ok(Some(opened(stored, reader)))
    }
}

/// What a file's key is for.
fn purpose(key: &BlobKey) -> String {
    format!("blob/{key}")
}

fn damaged(key: &BlobKey) -> StoreError {
    StoreError::Inconsistent(format!("{key} is damaged"))
}

/// What is stored is not what was.
fn changed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent(error.to_string())
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// The bytes of a body between two places.
fn within(body: BlobBody, from: u64, to: u64) -> BlobBody {
    let cut = move |at: &mut u64, part: Bytes| {
        let (begin, end) = (*at, *at + part.len() as u64);
        *at = end;
        let place = |of: u64| usize::try_from(of.clamp(begin, end) - begin).unwrap_or(part.len());
        part.slice(place(from)..place(to).max(place(from)))
    };
    stream::try_unfold((body, 0), move |(mut body, mut at)| async move {
        let part = body.try_next().await?;
        Ok(part.map(|part| (cut(&mut at, part), (body, at))))
    })
    .boxed()
}

/// The content of a sealed body. It ends with an error unless all of it is there.
fn opened(stored: BlobBody, reader: PartReader) -> BlobBody {
    stream::try_unfold((stored, Some(reader)), async |(mut stored, reader)| {
        let Some(mut reader) = reader else { return Ok(None) };
        loop {
            let mut content = vec![0; CHUNK_BYTES];
            let read = reader.read(&mut content).map_err(changed)?;
            if read > 0 {
                content.truncate(read);
                return Ok(Some((Bytes::from(content), (stored, Some(reader)))));
            }
            match stored.try_next().await? {
                Some(part) => reader.push(&part),
                None => {
                    reader.finish().map_err(changed)?;
                    return Ok(None);
                }
            }
        }
    })
    .boxed()
}

/// A body in its sealed form.
fn sealed_body(body: BlobBody, key: &DataKey, wrapped: &WrappedKey, purpose: &str) -> Result<BlobBody, StoreError> {
    let wrapped = serde_json::to_vec(wrapped).map_err(unavailable)?;
    let key_bytes = u32::try_from(wrapped.len()).map_err(unavailable)?;
    let head = [&MAGIC[..], &[VERSION], &key_bytes.to_be_bytes(), &wrapped].concat();
    let writer = PartWriter::new(key, purpose).map_err(unavailable)?;
    let content = stream::try_unfold((body, Some(writer), 0_u64), async |(mut body, writer, length)| {
        let Some(mut writer) = writer else { return Ok(None) };
        let Some(part) = body.try_next().await? else {
            let (mut rest, _) = writer.finish().map_err(unavailable)?;
            rest.extend(length.to_be_bytes());
            rest.extend(END);
            return Ok(Some((Bytes::from(rest), (body, None, length))));
        };
        writer.write(&part).map_err(unavailable)?;
        let ready = Bytes::from(writer.take());
        Ok(Some((ready, (body, Some(writer), length + part.len() as u64))))
    });
    Ok(stream::iter([Ok(Bytes::from(head))]).chain(content).boxed())
}

#[async_trait]
impl BlobReader for SealedBlobs {
    async fn get(&self, key: &BlobKey) -> Result<Option<BlobBody>, StoreError> {
        match self.sealed(key).await? {
            Some(sealed) => self.open(key, &sealed).await,
            None => self.files.get(key).await,
        }
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
        match self.sealed(key).await? {
            Some(sealed) => Ok(Some(sealed.length)),
            None => self.files.size(key).await,
        }
    }

    async fn encryption(&self, key: &BlobKey) -> Result<Option<&'static str>, StoreError> {
        Ok(self.sealed(key).await?.map(|_| "installation_key"))
    }

    async fn get_part(&self, key: &BlobKey, offset: u64, length: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(sealed) = self.sealed(key).await? else { return self.files.get_part(key, offset, length).await };
        let Some(body) = self.open(key, &sealed).await? else { return Ok(None) };
        let parts: Vec<Bytes> = within(body, offset, offset.saturating_add(length)).try_collect().await?;
        Ok(Some(parts.concat().into()))
    }
}

#[async_trait]
impl Blobs for SealedBlobs {
    async fn put(&self, key: &BlobKey, body: BlobBody) -> Result<(), StoreError> {
        if !(self.is_sealed)(key) {
            return self.files.put(key, body).await;
        }
        let purpose = purpose(key);
        let (data_key, wrapped) = self.keys.new_data_key(&purpose).await.map_err(unavailable)?;
        self.files.put(key, sealed_body(body, &data_key, &wrapped, &purpose)?).await
    }

    async fn remove(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        self.files.remove(keys).await
    }

    async fn list(&self, tenant_id: &str, folder: &[&str], after: Option<&str>) -> Result<Vec<String>, StoreError> {
        self.files.list(tenant_id, folder, after).await
    }

    async fn remove_folder(&self, tenant_id: &str, folder: &[&str]) -> Result<(), StoreError> {
        self.files.remove_folder(tenant_id, folder).await
    }
}

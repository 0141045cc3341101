//! Bytes of any size, in pieces, so that neither coming nor going all of them are in memory.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::request::{BODY_TIME, hex};
use super::transaction::new_id;
use super::{Problem, Reader, Service, Tx};

/// The most bytes of one row.
const CHUNK_BYTES: usize = 256 * 1024;
/// The most bytes that are taken in at once.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// How long bytes may wait for something to refer to them.
const UPLOAD_TIME: Duration = Duration::from_secs(3600);

/// Bytes that have arrived.
pub(crate) struct Stored {
    /// How many.
    pub(crate) size_bytes: u64,
    /// Their checksum, in hexadecimal digits.
    pub(crate) sha256: String,
    /// The bytes in base64, if they fit into a row.
    pub(crate) inline: String,
    /// The id of their pieces, if they do not.
    pub(crate) blob_id: Option<String>,
}

impl Service {
    /// Takes in the bytes of a body. Nothing refers to them yet.
    pub(super) async fn store(&self, body: Body) -> Result<Stored, Problem> {
        let blob_id = new_id(self.clock());
        let stored = self.store_as(&blob_id, body.into_data_stream()).await;
        if stored.is_err() {
            self.discard(&blob_id).await?;
        }
        stored
    }

    async fn store_as(&self, blob_id: &str, mut body: BodyDataStream) -> Result<Stored, Problem> {
        let (mut hash, mut size_bytes, mut chunks) = (Sha256::new(), 0_u64, 0_i64);
        let mut buffer = Vec::new();
        loop {
            let arrived = clock::timeout(&**self.clock(), BODY_TIME, body.next()).await;
            let Some(bytes) = arrived.ok_or_else(|| {
                Problem::new(StatusCode::REQUEST_TIMEOUT, format!("no part of the body arrived within {BODY_TIME:?}"))
            })?
            else {
                break;
            };
            let bytes = bytes.map_err(|_| Problem::bad_request("the body ended early"))?;
            hash.update(&bytes);
            size_bytes += bytes.len() as u64;
            if size_bytes > MAX_BYTES {
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 256 MiB"));
            }
            buffer.extend_from_slice(&bytes);
            while buffer.len() > CHUNK_BYTES {
                let rest = buffer.split_off(CHUNK_BYTES);
                self.write_chunk(blob_id, chunks, &buffer).await?;
                (buffer, chunks) = (rest, chunks + 1);
            }
        }
        let sha256 = hex(&hash.finalize());
        if chunks == 0 {
            return Ok(Stored { size_bytes, sha256, inline: BASE64.encode(buffer), blob_id: None });
        }
        self.write_chunk(blob_id, chunks, &buffer).await?;
        Ok(Stored { size_bytes, sha256, inline: String::new(), blob_id: Some(blob_id.to_owned()) })
    }

    async fn write_chunk(&self, blob_id: &str, number: i64, content: &[u8]) -> sqlx::Result<()> {
        let mut connection = self.connection().await;
        let mut transaction = self.begin(&mut connection).await?;
        if number == 0 {
            let now = self.clock().now();
            let abandoned = (now - UPLOAD_TIME).as_microsecond();
            for table in ["chunks", "uploads"] {
                let delete = format!(
                    "DELETE FROM {table} WHERE blob_id IN (SELECT blob_id FROM uploads WHERE started_at_us < ?)"
                );
                let delete = sqlx::query(sqlx::AssertSqlSafe(delete)).bind(abandoned);
                delete.execute(&mut *transaction).await?;
            }
            sqlx::query("INSERT INTO uploads VALUES (?, ?)")
                .bind(blob_id)
                .bind(now.as_microsecond())
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("INSERT INTO chunks VALUES (?, ?, ?)")
            .bind(blob_id)
            .bind(number)
            .bind(content)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Forgets bytes that nothing refers to.
    pub(super) async fn discard(&self, blob_id: &str) -> sqlx::Result<()> {
        let mut connection = self.connection().await;
        let mut transaction = self.begin(&mut connection).await?;
        let delete = "DELETE FROM chunks WHERE blob_id IN (SELECT blob_id FROM uploads WHERE blob_id = ?)";
        for delete in [delete, "DELETE FROM uploads WHERE blob_id = ?"] {
            sqlx::query(delete).bind(blob_id).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }
}

impl Tx<'_> {
    /// From now on something refers to the bytes, be it only what an undo would restore.
    pub(crate) async fn keep(&mut self, stored: &Stored) -> Result<(), Problem> {
        let delete = sqlx::query("DELETE FROM uploads WHERE blob_id = ?").bind(&stored.blob_id);
        delete.execute(&mut *self.connection).await?;
        Ok(())
    }
}

/// Bytes to be sent.
pub(crate) struct Content {
    /// How many.
    pub(crate) size_bytes: u64,
    /// Where they are.
    pub(crate) body: Body,
}

impl Reader<'_> {
    /// The bytes that a row holds, in `inline` or in the pieces of `blob_id`.
    pub(crate) async fn content(&mut self, inline: &Value, blob_id: &Value) -> Result<Content, Problem> {
        let Some(blob_id) = blob_id.as_str() else {
            let bytes = decoded(inline)?;
            return Ok(Content { size_bytes: bytes.len() as u64, body: bytes.into() });
        };
        let select = "SELECT COALESCE(SUM(LENGTH(content)), 0) FROM chunks WHERE blob_id = ?";
        let size_bytes: i64 = sqlx::query_scalar(select).bind(blob_id).fetch_one(&mut *self.connection).await?;
        let place = (self.service.clone(), blob_id.to_owned(), 0);
        let chunks = stream::try_unfold(place, async |(service, blob_id, number): (Service, String, i64)| {
            let chunk = service.chunk(&blob_id, number).await?;
            Ok::<_, sqlx::Error>(chunk.map(|chunk| (chunk, (service, blob_id, number + 1))))
        });
        Ok(Content { size_bytes: u64::try_from(size_bytes).unwrap_or_default(), body: Body::from_stream(chunks) })
    }
}

impl Service {
    async fn chunk(&self, blob_id: &str, number: i64) -> sqlx::Result<Option<Bytes>> {
        let select = "SELECT content FROM chunks WHERE blob_id = ? AND number = ?";
        let query = sqlx::query_scalar::<_, Vec<u8>>(select).bind(blob_id).bind(number);
        Ok(query.fetch_optional(&mut *self.connection().await).await?.map(Bytes::from))
    }
}

#[cfg(test)]
impl Service {
    pub(crate) async fn stored_chunks(&self) -> i64 {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM chunks");
        count.fetch_one(&mut *self.connection().await).await.expect("counts")
    }
}

/// The checksum of the bytes in a row.
pub(crate) fn sha256(inline: &Value) -> Result<String, Problem> {
    Ok(hex(&Sha256::digest(decoded(inline)?)))
}

fn decoded(inline: &Value) -> sqlx::Result<Vec<u8>> {
    BASE64.decode(inline.as_str().unwrap_or_default()).map_err(super::table::decode)
}

//! The bytes of files.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use super::{CONTENTS, FILE, FILES};
use crate::kernel::{
    Call, Content, Doc, Done, Member, NOT_FOUND, Problem, Query, Reader, Routes, Row, Shape, Stored, Tx, Upload, Work,
    row, sha256,
};

/// Few bytes are in the row, many in pieces elsewhere.
pub(super) const SCHEMA: &str = "
    ALTER TABLE contents ADD COLUMN blob_id TEXT;
    ALTER TABLE contents ADD COLUMN sha256 TEXT;
";

pub(super) fn routes(routes: Routes) -> Routes {
    routes.query::<GetFile>().query::<GetContent>().upload::<PutContent>()
}

/// `GET /api/v1/files/{file_id}`: its bytes.
struct GetFile;

impl Query for GetFile {
    const ROUTE: &'static str = "/api/v1/files/{file_id}";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "A file's bytes.",
            "No workflow: they read bytes where the data port has them. It is what people download.",
            Shape::Bytes,
        )
    };

    fn is_logged(_: &Call) -> bool {
        true
    }

    async fn answer(reader: Reader<'_>) -> Result<Response, Problem> {
        let (response, _) = answer(reader, "file_id").await?;
        Ok(response)
    }
}

/// `GET /api/v1/data/file/{file_id}/content`: its bytes, and their checksum as `ETag`.
struct GetContent;

impl Query for GetContent {
    const ROUTE: &'static str = "/api/v1/data/file/{file_id}/content";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "A file's bytes, and their SHA-256 as ETag.",
            "Exports, backups and migrations read the bytes of each file of `GET /api/v1/data/file` so.",
            Shape::Bytes,
        )
    };

    fn is_logged(_: &Call) -> bool {
        true
    }

    async fn answer(reader: Reader<'_>) -> Result<Response, Problem> {
        let (response, content) = answer(reader, "file_id").await?;
        Ok(([(header::ETAG, format!("\"{}\"", checksum(&content)?))], response).into_response())
    }
}

/// The bytes of the file that the path names, and where they are.
async fn answer(mut reader: Reader<'_>, param: &str) -> Result<(Response, Row), Problem> {
    let file_id = reader.call.param(param);
    let file = reader.get(&FILES, &[file_id]).await?;
    let content = reader.get(&CONTENTS, &[file_id]).await?;
    let Content { size_bytes, body } = reader.content(&content["content"], &content["blob_id"]).await?;
    reader.log_access(&FILE, &file).await?;
    let content_type = file["content_type"].as_str().unwrap_or_default().to_owned();
    let headers = [(header::CONTENT_TYPE, content_type), (header::CONTENT_LENGTH, size_bytes.to_string())];
    Ok(((headers, body).into_response(), content))
}

/// The checksum of a file's bytes.
pub(super) fn checksum(content: &Row) -> Result<String, Problem> {
    match content["sha256"].as_str() {
        Some(known) => Ok(known.to_owned()),
        None => sha256(&content["content"]),
    }
}

/// `PUT /api/v1/data/file/{file_id}/content`: other bytes for a file that is there.
struct PutContent {
    file_id: String,
    bytes: Stored,
}

impl Upload for PutContent {
    const METHOD: MethodFilter = MethodFilter::PUT;
    const ROUTE: &'static str = "/api/v1/data/file/{file_id}/content";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "Other bytes for a file that is there.",
            "Restores and migrations write the bytes of each file that they have imported so; at most 256 MiB.",
            Shape::Object(&[
                Member::required("file_id", Shape::Text, ""),
                Member::required("size_bytes", Shape::Count, ""),
                Member::required("sha256", Shape::Text, ""),
                Member::required("updated_at", Shape::Time, ""),
            ]),
        )
    };

    fn new(call: &Call, bytes: Stored) -> Self {
        Self { file_id: call.param("file_id").to_owned(), bytes }
    }
}

impl Work for PutContent {
    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let Self { file_id, bytes } = self;
        tx.pass_fence("file").await?;
        let mut file = tx.get(&FILES, &[&file_id]).await?;
        file.insert("size_bytes".to_owned(), bytes.size_bytes.into());
        // A checksum that somebody wanted follows the bytes; one that nobody wanted stays away.
        if file["sha256"] != Value::Null {
            file.insert("sha256".to_owned(), bytes.sha256.as_str().into());
        }
        tx.put(&FILES, file).await?;
        tx.keep(&bytes).await?;
        let content = json!({
            "file_id": file_id, "content": bytes.inline, "blob_id": bytes.blob_id, "sha256": bytes.sha256,
        });
        tx.put(&CONTENTS, row(content)).await?;
        let body = json!({
            "file_id": file_id, "size_bytes": bytes.size_bytes, "sha256": bytes.sha256, "updated_at": tx.now(),
        });
        Ok(Done::ok("file", &file_id, body))
    }
}

//! Whether files keep their bytes.

use http::Method;
use serde_json::json;

use super::example::file;
use super::probe::Probe;
use super::request::Request;
use super::{Rule, Stop};
use crate::Service;

const BYTES: &[u8] = b"\x00contract check\xff\n";

pub(super) const RULES: &[Rule] = &[Rule {
    name: "content.comes-back-as-it-went",
    proves: "the bytes of a file come back as they went, with their SHA-256 as ETag",
    change: "store the body of PUT /api/v1/data/file/{id}/content as it is, and answer GET with the same bytes and \
             the same ETag",
    run: |probe| Box::pin(comes_back_as_it_went(probe)),
}];

async fn comes_back_as_it_went(probe: &mut Probe) -> Result<(), Stop> {
    if probe.target.service != Service::File {
        return Err(Stop::Skipped("only the File service has files".to_owned()));
    }
    let (id, _) = probe.given().await?;
    let (key, upload) = (probe.new_id(), probe.new_id());
    probe.keys.push(key.clone());
    probe.remember("file", &id);
    let body = json!({ "items": [{ "id": id, "key": key, "data": file(&id) }] });
    probe.send(Request::post("/data/file/import", &body)).await?.result(1, &key)?;
    let path = format!("/data/file/{id}/content");
    let request = Request::new(Method::PUT, &path).with_key(&upload).with_bytes(BYTES, "application/octet-stream");
    let put = probe.send(request).await?;
    let sha256 = put.done()?["sha256"].as_str().unwrap_or_default().to_owned();
    put.require(put.body["size_bytes"] == BYTES.len(), "the number of bytes as 'size_bytes'")?;
    let got = probe.send(Request::get(&path)).await?;
    got.require(got.status.is_success() && got.bytes == BYTES, "the same bytes")?;
    let etag = got.headers.get("etag").and_then(|value| value.to_str().ok()).unwrap_or_default();
    got.require(!sha256.is_empty() && etag.trim_matches('"') == sha256, "the 'sha256' of the PUT as ETag")
}

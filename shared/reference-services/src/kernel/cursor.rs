//! Where a page ends and the next one begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::request::hex;
use super::{Call, Problem};

/// A place in a list. It is good for the tenant and the question that it was given for, and for no others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The last entry's id, of lists by id.
    pub(super) id: String,
    /// The last entry's number, of lists by number.
    pub(super) number: i64,
    /// What the first page gave as watermark.
    pub(super) watermark: i64,
}

/// A cursor as callers know it.
#[derive(Serialize, Deserialize)]
struct Sealed {
    cursor: Cursor,
    seal: String,
}

impl Cursor {
    /// The cursor that the call sends, which must be one that was given for the same question.
    pub(super) fn read(call: &Call, asked: &Value) -> Result<Option<Self>, Problem> {
        let Some(text) = call.query("cursor")? else { return Ok(None) };
        let sealed = BASE64.decode(text).ok().and_then(|text| serde_json::from_slice::<Sealed>(&text).ok());
        let cursor = sealed.filter(|sealed| sealed.seal == sealed.cursor.seal(call, asked)).map(|sealed| sealed.cursor);
        cursor.map(Some).ok_or_else(|| Problem::bad_request("the cursor is not one that was given for this list"))
    }

    pub(super) fn text(self, call: &Call, asked: &Value) -> String {
        let seal = self.seal(call, asked);
        let sealed = serde_json::to_vec(&Sealed { cursor: self, seal }).unwrap_or_default();
        BASE64.encode(sealed)
    }

    fn seal(&self, call: &Call, asked: &Value) -> String {
        let Self { id, number, watermark } = self;
        let text = serde_json::json!([call.tenant_id, asked, id, number, watermark]).to_string();
        hex(&Sha256::digest(text.as_bytes())[..12])
    }
}

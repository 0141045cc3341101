//! Signed documents: `{"document": {...}, "signature": {...}}`.
//!
//! The signature is over [`message`]: what kind of document it is, and the SHA-256 of the document in canonical JSON. So
//! white space and the order of names do not matter, a document of one kind never passes for one of another kind, and what
//! is signed is short: AWS KMS signs at most 4,096 bytes.

use contracts::document::Document;
use contracts::effect::sha256_hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::canonical;
use crate::keys::{ED25519, KeyError, Keys, Signature};
use crate::public_key::PublicKey;

/// A document and its signature.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    document: Value,
    signature: Signature,
}

/// Why a document was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The caller made a document that cannot be signed.
    #[error("this cannot be signed as a document: {reason}")]
    NotADocument {
        /// What is wrong.
        reason: String,
    },
    /// The keys did not sign.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// Why a document is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The bytes are something else, or damaged.
    #[error("not a signed document: {reason}")]
    NotADocument {
        /// What is wrong.
        reason: String,
    },
    /// Whoever verifies has to get the public key from its owner, if they trust it.
    #[error("the document is signed by the key '{key_id}', which is none of the given public keys")]
    UnknownKey {
        /// Who is said to have signed.
        key_id: String,
    },
    /// The document or its signature was changed, or it is of another kind.
    #[error("the signature by the key '{key_id}' is not the signature of this document as a '{kind}'")]
    BadSignature {
        /// What the document was to be.
        kind: String,
        /// Who is said to have signed.
        key_id: String,
    },
    /// A newer version of this program has to verify it.
    #[error("the signature is of the kind '{algorithm}', which this version does not know")]
    UnknownVersion {
        /// How it is signed.
        algorithm: String,
    },
}

/// Signs a document with the current signing key. `kind` says what it is, e.g. `backup-manifest`: lower-case letters,
/// digits and '-'. The answer is what [`verify_document`] takes, when it is written as JSON in any form.
///
/// # Errors
/// The document is not an object, has a fraction or an integer beyond 2^53 - 1, or is nested more than 50 deep; or the
/// keys do not sign.
pub async fn sign_document(kind: &str, document: &Value, keys: &dyn Keys) -> Result<Value, SignError> {
    let not_a_document = |reason| SignError::NotADocument { reason };
    let message = message(kind, document).map_err(not_a_document)?;
    let signature = keys.sign(message.as_bytes()).await?;
    serde_json::to_value(Signed { document: document.clone(), signature })
        .map_err(|error| not_a_document(error.to_string()))
}

/// The document that one of `keys` signed as a `kind`. The keys come from whoever verifies: what the bytes say about
/// keys only chooses among them.
///
/// A name that occurs twice in an object makes it no document: of two values a reader might take the one that was not signed.
///
/// # Errors
/// Any [`DocumentError`].
pub fn verify_document(kind: &str, bytes: &[u8], keys: &[PublicKey]) -> Result<Value, DocumentError> {
    let not_a_document = |reason| DocumentError::NotADocument { reason };
    let parsed = Document::parse(bytes).map_err(|error| not_a_document(error.to_string()))?;
    parsed.fields().finish().map_err(|repeated| {
        let names: Vec<&str> = repeated.iter().map(|bad| bad.pointer.as_str()).collect();
        not_a_document(format!("it has members twice: {}", names.join(", ")))
    })?;
    let signed: Signed =
        serde_json::from_value(parsed.value().clone()).map_err(|error| not_a_document(error.to_string()))?;
    let Signed { document, signature } = signed;
    let message = message(kind, &document).map_err(not_a_document)?;
    if signature.algorithm != ED25519 {
        return Err(DocumentError::UnknownVersion { algorithm: signature.algorithm });
    }
    let Some(key) = keys.iter().find(|key| key.key_id() == signature.key_id) else {
        return Err(DocumentError::UnknownKey { key_id: signature.key_id });
    };
    if !key.verifies(message.as_bytes(), &signature) {
        return Err(DocumentError::BadSignature { kind: kind.to_owned(), key_id: signature.key_id });
    }
    Ok(document)
}

/// What is signed. The line break ends the kind, which has none.
fn message(kind: &str, document: &Value) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if kind.is_empty() || !kind.bytes().all(is_plain) {
        return Err(format!("'{kind}' is no kind of document: lower-case letters, digits and '-'"));
    }
    if !document.is_object() {
        return Err("the document is no JSON object".to_owned());
    }
    Ok(format!("workflow-service/{kind}/1\n{}", sha256_hex(canonical(document)?.as_bytes())))
}

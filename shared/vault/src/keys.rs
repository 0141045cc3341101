//! The port to an installation's keys.

use std::fmt;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{self, NoRandomness};
use crate::public_key::PublicKey;

/// The one algorithm of signatures (RFC 8032).
pub const ED25519: &str = "Ed25519";

/// What an installation's keys can do. The keys themselves never leave the implementation: a key file, or a service for
/// managing keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// A fresh 256-bit data key, and its wrapped form, which may be stored beside what the key encrypts. Both belong to
    /// `context`, e.g. [`key_context`](crate::key_context): [`unwrap`](Keys::unwrap) takes the same one only.
    ///
    /// # Errors
    /// Any [`KeyError`] but `Wrong`.
    async fn new_data_key(&self, context: &str) -> Result<(DataKey, WrappedKey), KeyError>;

    /// The data key of a wrapped key.
    ///
    /// # Errors
    /// Any [`KeyError`].
    async fn unwrap(&self, wrapped: &WrappedKey, context: &str) -> Result<DataKey, KeyError>;

    /// Signs with the current signing key.
    ///
    /// # Errors
    /// Any [`KeyError`] but `Wrong`.
    async fn sign(&self, message: &[u8]) -> Result<Signature, KeyError>;

    /// The public halves of all signing keys, the current one first.
    ///
    /// # Errors
    /// Any [`KeyError`] but `Wrong`.
    async fn public_keys(&self) -> Result<Vec<PublicKey>, KeyError>;
}

/// No keys, and why: for what needs none.
#[derive(Debug, Clone)]
pub struct NoKeys(pub &'static str);

impl NoKeys {
    fn error(&self) -> KeyError {
        KeyError::Unavailable { reason: self.0.to_owned() }
    }
}

#[async_trait]
impl Keys for NoKeys {
    async fn new_data_key(&self, _: &str) -> Result<(DataKey, WrappedKey), KeyError> {
        Err(self.error())
    }

    async fn unwrap(&self, _: &WrappedKey, _: &str) -> Result<DataKey, KeyError> {
        Err(self.error())
    }

    async fn sign(&self, _: &[u8]) -> Result<Signature, KeyError> {
        Err(self.error())
    }

    async fn public_keys(&self) -> Result<Vec<PublicKey>, KeyError> {
        Err(self.error())
    }
}

/// Why keys did not do what they were asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// What was wrapped by this key cannot be read any more, unless somebody brings the key back.
    #[error("the key '{key_id}' of the provider '{provider}' is not among this installation's keys")]
    Lost {
        /// Who had the key, e.g. `file`.
        provider: String,
        /// Which one it is.
        key_id: String,
    },
    /// The caller has the wrong wrapped key, or a damaged one.
    #[error("the wrapped key does not open for '{context}': it was made for something else, or it was changed")]
    Wrong {
        /// What the key was to be for.
        context: String,
    },
    /// It may be tried again.
    #[error("the keys are not available at the moment: {reason}")]
    Unavailable {
        /// What the implementation says.
        reason: String,
    },
}

impl From<NoRandomness> for KeyError {
    fn from(_: NoRandomness) -> Self {
        Self::Unavailable { reason: "the operating system gave no random bytes".to_owned() }
    }
}

/// A 256-bit key that encrypts data. Its memory is overwritten when it is dropped, and nothing prints it.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; DataKey::BYTES]>);

impl DataKey {
    /// The length of a key, in bytes.
    pub const BYTES: usize = 32;

    /// A key of these bytes, which an implementation of [`Keys`] made.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The HMAC-SHA-256 of a text under this key: 64 hexadecimal digits. Nobody tells the text by it who does not have the key.
    pub fn keyed_hash(&self, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.as_bytes());
        contracts::effect::hex(hmac::sign(&key, text.as_bytes()).as_ref())
    }

    pub(crate) fn random() -> Result<Self, NoRandomness> {
        crypto::random().map(Self::from_bytes)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// A data key, encrypted by a key that stays in its place. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedKey {
    /// Who wrapped it and how, e.g. `file` for AES-256-GCM with a key of the key file.
    pub provider: String,
    /// The key that wrapped it.
    pub key_id: String,
    /// What the provider made of it, in base64.
    pub value: String,
}

impl WrappedKey {
    /// What a provider made of a data key.
    pub fn new(provider: &str, key_id: &str, value: &[u8]) -> Self {
        Self { provider: provider.to_owned(), key_id: key_id.to_owned(), value: crypto::base64(value) }
    }

    /// What the provider made of it; none if somebody changed it.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        crypto::from_base64(&self.value)
    }
}

/// A signature over a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// [`ED25519`].
    pub algorithm: String,
    /// [`PublicKey::key_id`] of the key that verifies it.
    pub key_id: String,
    /// The 64 bytes of the signature, in base64.
    pub value: String,
}

impl Signature {
    /// An Ed25519 signature.
    pub fn ed25519(key_id: String, value: &[u8]) -> Self {
        Self { algorithm: ED25519.to_owned(), key_id, value: crypto::base64(value) }
    }
}

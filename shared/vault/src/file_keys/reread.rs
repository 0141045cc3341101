//! A key file that is opened for each use, so that a rotation holds at once.

use std::path::PathBuf;

use async_trait::async_trait;

use super::FileKeys;
use crate::keys::{DataKey, KeyError, Keys, Signature, WrappedKey};
use crate::public_key::PublicKey;

/// Where a key file is, or will be: without one, every use is [`KeyError::Unavailable`] and says why.
#[derive(Debug, Clone)]
pub struct KeyFilePath(PathBuf);

impl KeyFilePath {
    /// The keys of the file at this path.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn open(&self) -> Result<FileKeys, KeyError> {
        FileKeys::open(&self.0).map_err(|error| KeyError::Unavailable { reason: error.to_string() })
    }
}

#[async_trait]
impl Keys for KeyFilePath {
    async fn new_data_key(&self, context: &str) -> Result<(DataKey, WrappedKey), KeyError> {
        self.open()?.new_data_key(context).await
    }

    async fn unwrap(&self, wrapped: &WrappedKey, context: &str) -> Result<DataKey, KeyError> {
        self.open()?.unwrap(wrapped, context).await
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, KeyError> {
        self.open()?.sign(message).await
    }

    async fn public_keys(&self) -> Result<Vec<PublicKey>, KeyError> {
        Keys::public_keys(&self.open()?).await
    }
}

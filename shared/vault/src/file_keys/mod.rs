//! Keys in a file that only its owner may read.
//!
//! Data keys are wrapped by AES-256-GCM with a random nonce; what they are for is associated data. The file keeps every
//! key it ever had, so that what was wrapped or signed before a rotation can still be read and verified.

mod format;
mod place;
mod reread;

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::signature::Ed25519KeyPair;
use contracts::Timestamp;
use zeroize::Zeroizing;

use self::format::{FormatError, KeyFile, key_pair, public_key};
pub use self::reread::KeyFilePath;
use crate::crypto::{self, NoRandomness};
use crate::keys::{DataKey, KeyError, Keys, Signature, WrappedKey};
use crate::public_key::PublicKey;

/// What [`WrappedKey::provider`] is for keys of a file.
const PROVIDER: &str = "file";

/// The keys of a key file, as it was when it was opened: open it again after a rotation.
pub struct FileKeys {
    wrapping: Vec<WrappingKey>,
    signing: Vec<SigningKey>,
}

struct WrappingKey {
    key_id: String,
    key: LessSafeKey,
}

struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
    created_at: Timestamp,
}

/// Why a key file was not created, rotated or opened.
#[derive(Debug, thiserror::Error)]
pub enum FileKeysError {
    /// Choose another path: what the keys there wrapped would be lost.
    #[error("{} exists, and keys are never overwritten", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The owner has to take away what others may do.
    #[error("others may read or change {} (its mode is {mode:04o}): run chmod 600 on it", path.display())]
    OpenToOthers {
        /// The path.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody has to bring the file back from where it is kept safe.
    #[error("{} is not a key file, or is damaged: {reason}", path.display())]
    Damaged {
        /// The path.
        path: PathBuf,
        /// What is wrong, without what the file says.
        reason: String,
    },
    /// A newer version of this program has to open it.
    #[error("{} is a key file of version {version}, which this version does not know", path.display())]
    UnknownVersion {
        /// The path.
        path: PathBuf,
        /// The version it says it has.
        version: u64,
    },
    /// It may be tried again, if it is still wanted.
    #[error("somebody else rotates the keys in {} at the moment", path.display())]
    Busy {
        /// The path.
        path: PathBuf,
    },
    /// It may be tried again.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// The file system does not do it.
    #[error("{} cannot be {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
}

impl From<NoRandomness> for FileKeysError {
    fn from(_: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

impl FileKeys {
    /// Creates a key file (mode 0600) with one wrapping and one signing key. It is on disk when this returns, and there
    /// never was a part of it.
    ///
    /// # Errors
    /// [`FileKeysError::Exists`], or the file system does not do it.
    pub fn init(path: &Path, now: Timestamp) -> Result<(), FileKeysError> {
        place::create(path, &text_of(&KeyFile::new(now)?, path)?)
    }

    /// Adds a wrapping and a signing key, which become the current ones. The others stay.
    ///
    /// # Errors
    /// Any [`FileKeysError`] but `Exists`; the file is then as before.
    pub fn rotate(path: &Path, now: Timestamp) -> Result<(), FileKeysError> {
        place::replace(path, |text| {
            let mut file = parse(text, path)?;
            file.add(now)?;
            text_of(&file, path)
        })
    }

    /// Opens a key file, which may be a link to one.
    ///
    /// # Errors
    /// It is not there, others may read it, it is damaged, or it is of a newer version.
    pub fn open(path: &Path) -> Result<Self, FileKeysError> {
        let file = parse(&place::read(path)?, path)?;
        let unusable = || FileKeysError::Damaged { path: path.to_owned(), reason: "a key is unusable".to_owned() };
        let wrapping = file.wrapping.into_iter().map(|entry| {
            let key = UnboundKey::new(&AES_256_GCM, entry.secret.0.as_slice()).ok()?;
            Some(WrappingKey { key_id: entry.key_id, key: LessSafeKey::new(key) })
        });
        let signing = file.signing.into_iter().map(|entry| {
            let pair = key_pair(&entry.secret.0)?;
            Some(SigningKey { public: public_key(&pair), pair, created_at: entry.created_at })
        });
        Ok(Self {
            wrapping: wrapping.collect::<Option<_>>().ok_or_else(unusable)?,
            signing: signing.collect::<Option<_>>().ok_or_else(unusable)?,
        })
    }

    /// The public keys of all signing keys, the current one first.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.signing.iter().map(|key| key.public).collect()
    }

    /// When a signing key was created.
    pub fn created_at(&self, key: &PublicKey) -> Option<Timestamp> {
        self.signing.iter().find(|signing| signing.public == *key).map(|signing| signing.created_at)
    }
}

#[async_trait]
impl Keys for FileKeys {
    async fn new_data_key(&self, context: &str) -> Result<(DataKey, WrappedKey), KeyError> {
        let WrappingKey { key_id, key } =
            self.wrapping.first().ok_or_else(|| unavailable("there is no wrapping key"))?;
        let (data_key, nonce) = (DataKey::random()?, crypto::random::<NONCE_LEN>()?);
        let mut sealed = Zeroizing::new(data_key.as_bytes().to_vec());
        let purpose = Aad::from(purpose(key_id, context));
        let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), purpose, &mut sealed);
        let tag = tag.map_err(|_| unavailable("the data key cannot be encrypted"))?;
        let value = [&nonce, sealed.as_slice(), tag.as_ref()].concat();
        Ok((data_key, WrappedKey::new(PROVIDER, key_id, &value)))
    }

    async fn unwrap(&self, wrapped: &WrappedKey, context: &str) -> Result<DataKey, KeyError> {
        let WrappedKey { provider, key_id, .. } = wrapped;
        let key = self.wrapping.iter().find(|key| provider == PROVIDER && key.key_id == *key_id);
        let lost = || KeyError::Lost { provider: provider.clone(), key_id: key_id.clone() };
        let wrong = || KeyError::Wrong { context: context.to_owned() };
        let WrappingKey { key, .. } = key.ok_or_else(lost)?;
        let value = wrapped.bytes().ok_or_else(wrong)?;
        let (nonce, sealed) = value.split_first_chunk::<NONCE_LEN>().ok_or_else(wrong)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let purpose = Aad::from(purpose(key_id, context));
        let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), purpose, &mut sealed);
        let opened: &[u8] = opened.map_err(|_| wrong())?;
        opened.try_into().map(DataKey::from_bytes).map_err(|_| wrong())
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, KeyError> {
        let SigningKey { pair, public, .. } =
            self.signing.first().ok_or_else(|| unavailable("there is no signing key"))?;
        let signature = pair.try_sign(message).map_err(|_| unavailable("the message cannot be signed"))?;
        Ok(Signature::ed25519(public.key_id(), signature.as_ref()))
    }

    async fn public_keys(&self) -> Result<Vec<PublicKey>, KeyError> {
        Ok(Self::public_keys(self))
    }
}

/// What a wrapped key belongs to.
fn purpose(key_id: &str, context: &str) -> Vec<u8> {
    format!("workflow-service/data-key/1\n{key_id}\n{context}").into_bytes()
}

fn unavailable(reason: &str) -> KeyError {
    KeyError::Unavailable { reason: reason.to_owned() }
}

fn parse(text: &[u8], path: &Path) -> Result<KeyFile, FileKeysError> {
    KeyFile::parse(text).map_err(|error| match error {
        FormatError::UnknownVersion(version) => FileKeysError::UnknownVersion { path: path.to_owned(), version },
        FormatError::Damaged(reason) => FileKeysError::Damaged { path: path.to_owned(), reason },
    })
}

fn text_of(file: &KeyFile, path: &Path) -> Result<Zeroizing<Vec<u8>>, FileKeysError> {
    file.to_text().map_err(|error| place::failed("written", path)(error.into()))
}

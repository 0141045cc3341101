//! What is in a key file: JSON, the newest keys first.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use contracts::Timestamp;
use contracts::effect::sha256_hex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::crypto::{self, NoRandomness};
use crate::public_key::PublicKey;

const FORMAT: &str = "workflow-service-keys";
const VERSION: u32 = 1;

/// A key file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    format: String,
    version: u32,
    /// They encrypt data keys.
    pub(super) wrapping: Vec<Entry>,
    /// The seeds of Ed25519 keys.
    pub(super) signing: Vec<Entry>,
}

/// A key. Its id follows from its bytes, so that a damaged one is noticed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) key_id: String,
    pub(super) created_at: Timestamp,
    pub(super) secret: Secret,
}

/// The 32 bytes of a key, in base64 in the file.
pub(super) struct Secret(pub(super) Zeroizing<[u8; 32]>);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(crypto::base64(self.0.as_slice()));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = crypto::from_base64(&text).map(Zeroizing::new);
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        bytes.map(|bytes| Self(Zeroizing::new(bytes))).ok_or_else(|| D::Error::custom("no 32 bytes in base64"))
    }
}

/// Only this much of a file, to tell its version.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u64,
}

/// Why a text is no key file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FormatError {
    UnknownVersion(u64),
    Damaged(String),
}

impl KeyFile {
    /// A file with one key of each kind.
    pub(super) fn new(now: Timestamp) -> Result<Self, NoRandomness> {
        let mut file = Self { format: FORMAT.to_owned(), version: VERSION, wrapping: Vec::new(), signing: Vec::new() };
        file.add(now)?;
        Ok(file)
    }

    /// Adds a key of each kind, which become the current ones.
    pub(super) fn add(&mut self, now: Timestamp) -> Result<(), NoRandomness> {
        let (wrapping, seed) = (Zeroizing::new(crypto::random()?), Zeroizing::new(crypto::random()?));
        let pair = key_pair(&seed).ok_or(NoRandomness)?;
        let key_id = public_key(&pair).key_id();
        self.signing.insert(0, Entry { key_id, created_at: now, secret: Secret(seed) });
        let key_id = wrapping_key_id(&wrapping);
        self.wrapping.insert(0, Entry { key_id, created_at: now, secret: Secret(wrapping) });
        Ok(())
    }

    /// The file's text.
    pub(super) fn to_text(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let mut text = Zeroizing::new(serde_json::to_vec_pretty(self)?);
        text.push(b'\n');
        Ok(text)
    }

    /// The file of this text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, FormatError> {
        let head: Head = serde_json::from_slice(text).map_err(damaged)?;
        if head.format != FORMAT {
            return Err(FormatError::Damaged(format!("its 'format' is not '{FORMAT}'")));
        }
        if head.version != u64::from(VERSION) {
            return Err(FormatError::UnknownVersion(head.version));
        }
        let file: Self = serde_json::from_slice(text).map_err(damaged)?;
        let not_its_key = |list: &str, number: usize| {
            FormatError::Damaged(format!("the key {} of '{list}' is not the one of its 'key_id'", number + 1))
        };
        for (number, entry) in file.wrapping.iter().enumerate() {
            if wrapping_key_id(&entry.secret.0) != entry.key_id {
                return Err(not_its_key("wrapping", number));
            }
        }
        for (number, entry) in file.signing.iter().enumerate() {
            if key_pair(&entry.secret.0).is_none_or(|pair| public_key(&pair).key_id() != entry.key_id) {
                return Err(not_its_key("signing", number));
            }
        }
        if file.wrapping.is_empty() || file.signing.is_empty() {
            return Err(FormatError::Damaged("it has no key in 'wrapping' or in 'signing'".to_owned()));
        }
        Ok(file)
    }
}

pub(super) fn key_pair(seed: &[u8; 32]) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(seed).ok()
}

/// The public half. The library gives its 32 bytes as a slice.
pub(super) fn public_key(pair: &Ed25519KeyPair) -> PublicKey {
    let mut bytes = [0; PublicKey::BYTES];
    bytes.copy_from_slice(pair.public_key().as_ref());
    PublicKey::from_bytes(bytes)
}

/// A name that tells nothing about the key.
fn wrapping_key_id(key: &[u8; 32]) -> String {
    let named = Zeroizing::new([b"workflow-service/wrapping-key/1\n", key.as_slice()].concat());
    format!("aes256-{}", &sha256_hex(&named)[..16])
}

/// The parser's words would quote the file, which has secrets.
fn damaged(error: serde_json::Error) -> FormatError {
    let what = if error.is_data() { "it does not have what a key file has" } else { "it is not JSON" };
    FormatError::Damaged(format!("{what}, at line {}, column {}", error.line(), error.column()))
}

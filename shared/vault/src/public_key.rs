//! The public half of a signing key, and its PEM text.

use std::fmt;

use aws_lc_rs::signature::UnparsedPublicKey;
use contracts::effect::sha256_hex;

use crate::crypto;
use crate::keys::{ED25519, Signature};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// What comes before the 32 bytes of the key in DER: a sequence of the algorithm 1.3.101.112 and a bit string without
/// unused bits (RFC 8410, section 4).
const DER_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The public half of an Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; PublicKey::BYTES]);

/// A text or DER is not that of an Ed25519 public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the public key of an Ed25519 signing key: {reason}")]
pub struct PublicKeyError {
    reason: &'static str,
}

impl PublicKey {
    /// The length of a key, in bytes.
    pub const BYTES: usize = 32;

    /// The key of these bytes (RFC 8032, section 5.1.5).
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// What signatures call the key: `ed25519-` and the first 16 hexadecimal digits of the SHA-256 of its bytes. It
    /// only chooses among keys that are trusted already.
    pub fn key_id(&self) -> String {
        format!("ed25519-{}", &sha256_hex(&self.0)[..16])
    }

    /// The key as PEM, as `openssl pkey -pubout` writes it.
    pub fn to_pem(&self) -> String {
        let der = [&DER_PREFIX[..], &self.0].concat();
        format!("{BEGIN}\n{}\n{END}\n", crypto::base64(&der))
    }

    /// The key in a PEM text, which holds one key and nothing else but white space.
    ///
    /// # Errors
    /// The text is something else.
    pub fn from_pem(text: &str) -> Result<Self, PublicKeyError> {
        let error = |reason| PublicKeyError { reason };
        let text = text.trim();
        let body = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let body = body.ok_or(error("it is not one text from BEGIN PUBLIC KEY to END PUBLIC KEY"))?;
        let body: String = body.split_ascii_whitespace().collect();
        let der = crypto::from_base64(&body).ok_or(error("what it holds is not base64"))?;
        Self::from_der(&der)
    }

    /// The key in a DER-encoded SubjectPublicKeyInfo (RFC 8410), as AWS KMS gives it.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn from_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        let error = |reason| PublicKeyError { reason };
        let key = der.strip_prefix(&DER_PREFIX).ok_or(error("the key is of another algorithm"))?;
        key.try_into().map(Self).map_err(|_| error("the key is not 32 bytes long"))
    }

    /// Whether this key made the signature of this message.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let Some(value) = crypto::from_base64(&signature.value) else { return false };
        signature.algorithm == ED25519
            && signature.key_id == self.key_id()
            && UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &self.0).verify(message, &value).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8410, section 10.1.
    const EXAMPLE: &str = "-----BEGIN PUBLIC KEY-----\n\
                           MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                           -----END PUBLIC KEY-----\n";

    #[test]
    fn pem_as_in_the_rfc() {
        let key = PublicKey::from_pem(EXAMPLE).unwrap();
        assert_eq!(key.as_bytes()[..4], [0x19, 0xbf, 0x44, 0x09]);
        assert_eq!(key.to_pem(), EXAMPLE);
        assert_eq!(PublicKey::from_pem(&EXAMPLE.replace('\n', "\r\n")), Ok(key));
        assert_eq!(PublicKey::from_bytes(*key.as_bytes()), key);
    }

    #[test]
    fn other_texts_are_refused() {
        let short = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAx";
        let x25519 = EXAMPLE.replace("MCowBQYDK2Vw", "MCowBQYDK2Vu");
        let short = EXAMPLE.replace("MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=", short);
        let private = EXAMPLE.replace("PUBLIC", "PRIVATE");
        let damaged = EXAMPLE.replace("=", "*");
        for (text, reason) in [
            ("", "BEGIN PUBLIC KEY"),
            (&private, "BEGIN PUBLIC KEY"),
            (&x25519, "another algorithm"),
            (&short, "32 bytes"),
            (&damaged, "base64"),
            (&EXAMPLE.repeat(2), "base64"),
        ] {
            let error = PublicKey::from_pem(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

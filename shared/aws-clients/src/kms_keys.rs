//! The installation's keys in AWS KMS: a symmetric key wraps data keys, an asymmetric one signs. Neither leaves KMS.

use std::error::Error;
use std::sync::OnceLock;

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::ProvideErrorMetadata;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, MessageType, SigningAlgorithmSpec};
use aws_types::SdkConfig;
use vault::{DataKey, KeyError, Keys, PublicKey, Signature, WrappedKey};
use zeroize::Zeroizing;

use crate::causes::causes;

/// What [`WrappedKey::provider`] is for keys of KMS.
const PROVIDER: &str = "aws-kms";

/// The name in the encryption context, which KMS asks for again before it decrypts, and which CloudTrail shows.
const PURPOSE: &str = "purpose";

/// The keys of a deployment. Its wrapping key is of the spec `SYMMETRIC_DEFAULT`. KMS keeps what a rotation replaces,
/// so there is one ARN for all times. Its signing key is of the spec `ECC_NIST_EDWARDS25519`, which KMS never rotates.
#[derive(Debug)]
pub struct KmsKeys {
    client: Client,
    wrapping_key: String,
    signing_key: String,
    public_key: OnceLock<PublicKey>,
}

impl KmsKeys {
    /// The keys of these ARNs.
    pub(crate) fn new(sdk: &SdkConfig, wrapping_key: String, signing_key: String) -> Self {
        Self { client: Client::new(sdk), wrapping_key, signing_key, public_key: OnceLock::new() }
    }

    /// The public half of the signing key: asked for once, as it never changes.
    async fn public_key(&self) -> Result<PublicKey, KeyError> {
        if let Some(key) = self.public_key.get() {
            return Ok(*key);
        }
        let answer = self.client.get_public_key().key_id(&self.signing_key).send().await;
        let answer = answer.map_err(|error| self.failed(&self.signing_key, &error))?;
        let der = answer.public_key.ok_or_else(|| self.unusable("there is no public key in it"))?;
        let key = PublicKey::from_der(der.as_ref()).map_err(|error| self.unusable(&error.to_string()))?;
        Ok(*self.public_key.get_or_init(|| key))
    }

    /// Why KMS does not do it. A key that is disabled or waits for its deletion can be brought back, by people.
    fn failed(&self, key: &str, error: &(impl Error + ProvideErrorMetadata)) -> KeyError {
        match error.code() {
            Some("DisabledException" | "KMSInvalidStateException" | "NotFoundException") => lost(PROVIDER, key),
            _ => unavailable(format!("{key}: {}", causes(error))),
        }
    }

    fn unusable(&self, reason: &str) -> KeyError {
        unavailable(format!("{} is no key that signs with Ed25519: {reason}", self.signing_key))
    }
}

#[async_trait]
impl Keys for KmsKeys {
    async fn new_data_key(&self, context: &str) -> Result<(DataKey, WrappedKey), KeyError> {
        let call = self.client.generate_data_key().key_id(&self.wrapping_key).key_spec(DataKeySpec::Aes256);
        let answer = call.encryption_context(PURPOSE, context).send().await;
        let answer = answer.map_err(|error| self.failed(&self.wrapping_key, &error))?;
        let (Some(plaintext), Some(wrapped)) = (answer.plaintext, answer.ciphertext_blob) else {
            return Err(unavailable(format!("{}: there is no key in the answer", self.wrapping_key)));
        };
        let data_key = data_key(plaintext)
            .ok_or_else(|| unavailable(format!("{}: the answer has a key of another length", self.wrapping_key)))?;
        let wrapped = WrappedKey::new(PROVIDER, &self.wrapping_key, wrapped.as_ref());
        Ok((data_key, wrapped))
    }

    async fn unwrap(&self, wrapped: &WrappedKey, context: &str) -> Result<DataKey, KeyError> {
        let WrappedKey { provider, key_id, .. } = wrapped;
        // KMS would take any key that the caller may use, whoever it belongs to.
        if provider != PROVIDER || *key_id != self.wrapping_key {
            return Err(lost(provider, key_id));
        }
        let wrong = || KeyError::Wrong { context: context.to_owned() };
        let value = wrapped.bytes().ok_or_else(wrong)?;
        let call = self.client.decrypt().key_id(key_id).ciphertext_blob(Blob::new(value));
        let answer = call.encryption_context(PURPOSE, context).send().await;
        let answer = answer.map_err(|error| match error.code() {
            Some("InvalidCiphertextException" | "IncorrectKeyException") => wrong(),
            _ => self.failed(key_id, &error),
        })?;
        answer.plaintext.and_then(data_key).ok_or_else(wrong)
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, KeyError> {
        let public_key = self.public_key().await?;
        let call = self.client.sign().key_id(&self.signing_key).message(Blob::new(message));
        let call = call.message_type(MessageType::Raw).signing_algorithm(SigningAlgorithmSpec::Ed25519Sha512);
        let answer = call.send().await.map_err(|error| self.failed(&self.signing_key, &error))?;
        let value = answer.signature.unwrap_or_else(|| Blob::new([]));
        let signature = Signature::ed25519(public_key.key_id(), value.as_ref());
        // What nobody can verify must not go into a backup.
        match public_key.verifies(message, &signature) {
            true => Ok(signature),
            false => Err(self.unusable("what it signs is not verified by its public key")),
        }
    }

    async fn public_keys(&self) -> Result<Vec<PublicKey>, KeyError> {
        Ok(vec![self.public_key().await?])
    }
}

/// The SDK's copy is overwritten.
fn data_key(plaintext: Blob) -> Option<DataKey> {
    let bytes = Zeroizing::new(plaintext.into_inner());
    bytes.as_slice().try_into().ok().map(DataKey::from_bytes)
}

fn lost(provider: &str, key_id: &str) -> KeyError {
    KeyError::Lost { provider: provider.to_owned(), key_id: key_id.to_owned() }
}

fn unavailable(reason: String) -> KeyError {
    KeyError::Unavailable { reason }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_sdk_kms::config::http::HttpRequest;
    use aws_sdk_kms::config::{Credentials, SharedCredentialsProvider};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use clock::{Clock as _, SystemClock};
    use serde_json::{Value, json};
    use vault::FileKeys;

    use super::*;
    use crate::scripted::{Answer, answered, clients};

    const WRAPPING: &str = "arn:aws:kms:us-east-1:123456789012:key/wrapping";
    const SIGNING: &str = "arn:aws:kms:us-east-1:123456789012:key/signing";

    /// What was asked for: the operation, and its parameters.
    type Asked = Arc<Mutex<Vec<(String, Value)>>>;

    fn kms(answer: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) -> (KmsKeys, Asked) {
        let asked = Asked::default();
        let seen = Arc::clone(&asked);
        let credentials = SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "tests"));
        let clients = clients(credentials, move |request: HttpRequest| {
            let target = request.headers().get("x-amz-target").expect("it names an operation");
            let operation = target.strip_prefix("TrentService.").expect("it is for KMS").to_owned();
            let parameters = serde_json::from_slice(request.body().bytes().expect("a body")).expect("JSON");
            let answer = answer(&operation, &parameters);
            seen.lock().expect("nobody panicked").push((operation, parameters));
            answer
        });
        (clients.keys(WRAPPING.to_owned(), SIGNING.to_owned()), asked)
    }

    fn refused(code: &str) -> Answer {
        answered(400, &[], &json!({ "__type": code, "message": "as scripted" }).to_string())
    }

    fn base64(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    #[tokio::test]
    async fn a_data_key_opens_for_what_it_was_made_for() {
        let (keys, asked) = kms(|operation, parameters| match operation {
            "GenerateDataKey" => {
                let answer =
                    json!({ "CiphertextBlob": base64(b"wrapped"), "Plaintext": base64(&[7; 32]), "KeyId": "k" });
                answered(200, &[], &answer.to_string())
            }
            "Decrypt" if parameters["EncryptionContext"] == json!({ "purpose": "backup/t/b" }) => {
                answered(200, &[], &json!({ "Plaintext": base64(&[7; 32]) }).to_string())
            }
            _ => refused("InvalidCiphertextException"),
        });
        let (key, wrapped) = keys.new_data_key("backup/t/b").await.expect("it is made");
        assert_eq!((key.as_bytes(), &*wrapped.provider, &*wrapped.key_id), (&[7; 32], "aws-kms", WRAPPING));
        assert_eq!(keys.unwrap(&wrapped, "backup/t/b").await.map(|key| *key.as_bytes()), Ok([7; 32]));
        let wrong = keys.unwrap(&wrapped, "backup/t/c").await.err();
        assert_eq!(wrong, Some(KeyError::Wrong { context: "backup/t/c".to_owned() }));
        let context = json!({ "purpose": "backup/t/b" });
        let expected = [
            json!({ "KeyId": WRAPPING, "KeySpec": "AES_256", "EncryptionContext": context }),
            json!({ "KeyId": WRAPPING, "CiphertextBlob": base64(b"wrapped"), "EncryptionContext": context }),
        ];
        let parameters =
            || -> Vec<Value> { asked.lock().unwrap().iter().map(|(_, parameters)| parameters.clone()).collect() };
        assert_eq!(parameters()[..2], expected);
        // What another key has wrapped, or a key file, is asked of nobody.
        for (provider, key_id) in [("file", WRAPPING), ("aws-kms", SIGNING)] {
            let other = WrappedKey { provider: provider.to_owned(), key_id: key_id.to_owned(), ..wrapped.clone() };
            assert_eq!(keys.unwrap(&other, "backup/t/b").await.err(), Some(lost(provider, key_id)));
        }
        assert_eq!(parameters().len(), 3);
    }

    #[tokio::test]
    async fn what_is_signed_is_verified_by_the_public_key() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("keys.json");
        FileKeys::init(&path, SystemClock.now()).expect("keys");
        let signer = FileKeys::open(&path).expect("keys");
        let public_key = signer.public_keys()[0];
        let pem = public_key.to_pem();
        let der = pem.lines().nth(1).expect("one line of base64").to_owned();
        let signature = signer.sign(b"message").await.expect("it signs").value;
        let (keys, asked) = kms(move |operation, _| match operation {
            "GetPublicKey" => answered(200, &[], &json!({ "PublicKey": der }).to_string()),
            _ => answered(200, &[], &json!({ "Signature": signature }).to_string()),
        });
        let signed = keys.sign(b"message").await.expect("it signs");
        assert!(public_key.verifies(b"message", &signed));
        assert_eq!(keys.public_keys().await, Ok(vec![public_key]));
        // An answer that nobody could verify is none.
        assert!(matches!(keys.sign(b"another").await, Err(KeyError::Unavailable { .. })));
        let asked = asked.lock().unwrap();
        let operations: Vec<&str> = asked.iter().map(|(operation, _)| operation.as_str()).collect();
        assert_eq!(operations, ["GetPublicKey", "Sign", "Sign"]);
        let expected = json!({
            "KeyId": SIGNING, "Message": base64(b"message"), "MessageType": "RAW", "SigningAlgorithm": "ED25519_SHA_512",
        });
        assert_eq!(asked[1].1, expected);
    }

    #[tokio::test]
    async fn a_key_of_another_kind_is_not_used() {
        let (keys, _) = kms(|_, _| answered(200, &[], &json!({ "PublicKey": base64(b"RSA") }).to_string()));
        let error = keys.sign(b"message").await.expect_err("it cannot sign").to_string();
        assert!(error.contains(SIGNING) && error.contains("another algorithm"), "{error}");
    }

    #[tokio::test]
    async fn errors_say_what_the_caller_can_do() {
        let wrapped = WrappedKey::new(PROVIDER, WRAPPING, b"wrapped");
        for (code, expected) in [
            ("DisabledException", Some(lost(PROVIDER, WRAPPING))),
            ("KMSInvalidStateException", Some(lost(PROVIDER, WRAPPING))),
            ("NotFoundException", Some(lost(PROVIDER, WRAPPING))),
            ("InvalidCiphertextException", Some(KeyError::Wrong { context: "c".to_owned() })),
            ("IncorrectKeyException", Some(KeyError::Wrong { context: "c".to_owned() })),
            ("AccessDeniedException", None),
            ("InvalidKeyUsageException", None),
        ] {
            let (keys, _) = kms(move |_, _| refused(code));
            let error = keys.unwrap(&wrapped, "c").await.expect_err("it is refused");
            match expected {
                Some(expected) => assert_eq!(error, expected, "{code}"),
                None => assert!(matches!(&error, KeyError::Unavailable { reason } if reason.contains(code)), "{error}"),
            }
        }
        let (keys, _) = kms(|_, _| refused("DisabledException"));
        assert_eq!(keys.new_data_key("c").await.err(), Some(lost(PROVIDER, WRAPPING)));
        assert_eq!(keys.sign(b"m").await.err(), Some(lost(PROVIDER, SIGNING)));
    }

    #[tokio::test]
    async fn a_key_is_in_no_error() {
        for body in [
            r#"{"Plaintext": "canary", "CiphertextBlob": 1}"#,
            r#"{"Plaintext": "Y2FuYXJ5", "CiphertextBlob": "AA=="}"#,
        ] {
            let (keys, _) = kms(move |_, _| answered(200, &[], body));
            let error = keys.new_data_key("c").await.expect_err("there is none").to_string();
            assert!(error.contains(WRAPPING) && !error.contains("canary") && !error.contains("Y2FuYXJ5"), "{error}");
        }
    }
}

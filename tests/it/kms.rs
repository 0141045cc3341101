//! The installation's keys in KMS, as far as moto plays it: it wraps keys, and has no key that signs with Ed25519 (a
//! scripted KMS has one, in `aws-clients`).

use std::time::Duration;

use aws_clients::{Clients, KmsKeys};
use serde_json::{Value, json};
use vault::{KeyError, Keys as _, WrappedKey};

use crate::peers;

/// Asks KMS for something that a function never asks for.
async fn ask(endpoint: &str, operation: &str, parameters: Value) -> Value {
    let scope = "Credential=test/20260101/us-east-1/kms/aws4_request";
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let request = client.post(endpoint).header("x-amz-target", format!("TrentService.{operation}"));
    let request = request.header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"));
    let answer = request.header("content-type", "application/x-amz-json-1.1").body(parameters.to_string()).send();
    serde_json::from_str(&answer.await.unwrap().text().await.unwrap()).unwrap()
}

async fn create_key(endpoint: &str, parameters: Value) -> String {
    let created = ask(endpoint, "CreateKey", parameters).await;
    created["KeyMetadata"]["Arn"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned()
}

fn keys(endpoint: &str, wrapping_key: &str, signing_key: &str) -> KmsKeys {
    let aws = settings::Aws {
        region: "us-east-1".to_owned(),
        access_key_id: "test".to_owned(),
        secret_access_key: "test".to_owned(),
        endpoint_urls: [("AWS_ENDPOINT_URL_KMS".to_owned(), endpoint.to_owned())].into(),
        ..settings::Aws::default()
    };
    Clients::of_function(aws).keys(wrapping_key.to_owned(), signing_key.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn kms_wraps_data_keys_for_their_context() {
    let Some(endpoint) = peers::moto("http://127.0.0.1:1") else { return };
    let wrapping = create_key(&endpoint, json!({})).await;
    let signing = json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" });
    let signing = create_key(&endpoint, signing).await;
    let keys = keys(&endpoint, &wrapping, &signing);
    let (key, wrapped) = keys.new_data_key("backup/tenant-123/b1").await.unwrap();
    assert_eq!((wrapped.provider.as_str(), &wrapped.key_id), ("aws-kms", &wrapping));
    let opened = keys.unwrap(&wrapped, "backup/tenant-123/b1").await.unwrap();
    assert_eq!(opened.as_bytes(), key.as_bytes());
    let (another, _) = keys.new_data_key("backup/tenant-123/b1").await.unwrap();
    assert_ne!(another.as_bytes(), key.as_bytes());

    let wrong = KeyError::Wrong { context: "backup/tenant-124/b1".to_owned() };
    assert_eq!(keys.unwrap(&wrapped, "backup/tenant-124/b1").await.err(), Some(wrong));
    let damaged = WrappedKey { value: "AAAA".to_owned(), ..wrapped.clone() };
    assert!(keys.unwrap(&damaged, "backup/tenant-123/b1").await.is_err());
    let gone = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000".to_owned();
    let lost = self::keys(&endpoint, &gone, &signing).new_data_key("backup/tenant-123/b1").await.err();
    assert_eq!(lost, Some(KeyError::Lost { provider: "aws-kms".to_owned(), key_id: gone }));

    let error = keys.sign(b"message").await.unwrap_err().to_string();
    assert!(error.contains(&signing) && error.contains("another algorithm"), "{error}");
}

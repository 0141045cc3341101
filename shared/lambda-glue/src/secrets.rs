//! Secrets of Secrets Manager.

use serde_json::{Value, json};

use crate::Error;
use crate::signed::{Answer, Signed, Unanswered};

/// Reads secrets.
pub struct Secrets(Signed);

impl Secrets {
    pub(crate) fn new(service: Signed) -> Self {
        Self(service)
    }

    /// The text of a secret, by its ARN.
    ///
    /// # Errors
    /// Why it cannot be read; never what is in it.
    pub async fn text(&self, arn: &str) -> Result<String, Error> {
        let headers =
            [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "secretsmanager.GetSecretValue")];
        let body = json!({ "SecretId": arn }).to_string().into_bytes();
        let Answer { status, body, .. } =
            self.0.post("/", &headers, body).await.map_err(|Unanswered(why)| format!("{arn}: {why}"))?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        match answer["SecretString"].as_str().filter(|_| status.is_success()) {
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("{arn} cannot be read: {status} {}", answer["__type"]).into()),
        }
    }
}

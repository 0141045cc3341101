//! Secrets of Secrets Manager.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_types::SdkConfig;

use crate::Error;
use crate::causes::causes;
use crate::clients::{ATTEMPT_TIMEOUT, single_attempt};

/// Reads secrets.
#[derive(Debug, Clone)]
pub struct Secrets(Client);

impl Secrets {
    /// Who needs a secret asks again for it.
    pub(crate) fn new(sdk: &SdkConfig) -> Self {
        let config =
            Builder::from(sdk).retry_config(RetryConfig::disabled()).timeout_config(single_attempt(ATTEMPT_TIMEOUT));
        Self(Client::from_conf(config.build()))
    }

    /// The text of a secret, by its ARN.
    ///
    /// # Errors
    /// Why it cannot be read; never what is in it.
    pub async fn text(&self, arn: &str) -> Result<String, Error> {
        // Boxed, as the types of those who wait for it are deep.
        let answer = Box::pin(self.0.get_secret_value().secret_id(arn).send()).await;
        let answer = answer.map_err(|error| format!("{arn} cannot be read: {}", causes(&error)))?;
        answer.secret_string.ok_or_else(|| format!("{arn} cannot be read: it is no text").into())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_secretsmanager::config::{Credentials, SharedCredentialsProvider};

    use crate::scripted::{Answer, answered, clients};

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key";

    async fn text(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Result<String, String> {
        let credentials = SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "tests"));
        clients(credentials, move |_| answer()).secrets().text(ARN).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_secret_is_in_no_error() {
        assert_eq!(text(|| answered(200, &[], r#"{"SecretString": "canary"}"#)).await.as_deref(), Ok("canary"));
        for body in [
            r#"{"SecretString": "canary", "Name": 1}"#,
            r#"{"SecretBinary": "Y2FuYXJ5"}"#,
            r#"{"SecretString": "canary"#,
        ] {
            let error = text(move || answered(200, &[], body)).await.expect_err("it cannot be read");
            assert!(error.starts_with(ARN) && !error.contains("canary"), "{error}");
        }
        let missing = r#"{"__type": "ResourceNotFoundException", "Message": "there is none"}"#;
        let error = text(|| answered(400, &[], missing)).await.expect_err("there is none");
        assert!(error.contains("ResourceNotFoundException") && error.contains("there is none"), "{error}");
    }
}

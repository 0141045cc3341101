//! Clients of AWS for a process that is no function: its credentials are in variables, a profile, or those of the role of its
//! container or machine, which expire while it runs.

use std::time::Duration;

use anyhow::Context as _;
use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use clock::{SystemClock, Timestamp};
use lambda_glue::{Clients, Environment};
use tokio::sync::Mutex;

/// They are asked for again so long before they expire.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);

/// # Errors
/// That there are no credentials, or no region, with what was tried.
pub(crate) async fn clients() -> anyhow::Result<Clients> {
    let environment = Environment::of_process();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(lambda_glue::http_client(&environment))
        .load()
        .await;
    let region = config.region().context("no region of AWS: set AWS_REGION")?.to_string();
    let inner = config.credentials_provider().context("no credentials of AWS")?;
    let kept = Kept { inner, last: Mutex::default() };
    kept.current().await.context("no credentials of AWS")?;
    Ok(Clients::with(&environment, region, SharedCredentialsProvider::new(kept)))
}

/// Credentials that are not asked for with every request.
#[derive(Debug)]
struct Kept {
    inner: SharedCredentialsProvider,
    last: Mutex<Option<Credentials>>,
}

impl Kept {
    async fn current(&self) -> Result<Credentials, CredentialsError> {
        let mut last = self.last.lock().await;
        let last_beyond = |after: Duration| {
            let least = clock::after(&SystemClock, after);
            let expiry = |kept: &Credentials| kept.expiry().and_then(|at| Timestamp::try_from(at).ok());
            last.clone().filter(|kept| expiry(kept).is_none_or(|expiry| expiry > least))
        };
        if let Some(kept) = last_beyond(RENEWED_BEFORE) {
            return Ok(kept);
        }
        match self.inner.provide_credentials().await {
            Ok(credentials) => {
                *last = Some(credentials.clone());
                Ok(credentials)
            }
            // Those that there are may still do.
            Err(error) => last_beyond(Duration::ZERO).ok_or(error),
        }
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::SystemTime;

    use super::*;

    /// Each time others, which last as long as is said; there are three.
    #[derive(Debug)]
    struct Numbered(AtomicU64, Duration);

    impl ProvideCredentials for Numbered {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            if number > 2 {
                return future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("there are no more")));
            }
            let since_epoch = Duration::from_millis(clock::after(&SystemClock, self.1).as_millisecond() as u64);
            let expiry = SystemTime::UNIX_EPOCH + since_epoch;
            future::ProvideCredentials::ready(Ok(Credentials::new(
                number.to_string(),
                "secret",
                None,
                Some(expiry),
                "test",
            )))
        }
    }

    #[tokio::test]
    async fn credentials_are_asked_for_before_they_expire_and_not_with_every_request() {
        for (lasting, expected) in
            [(RENEWED_BEFORE * 2, ["0", "0", "0", "0"]), (RENEWED_BEFORE / 2, ["0", "1", "2", "2"])]
        {
            let inner = SharedCredentialsProvider::new(Numbered(AtomicU64::default(), lasting));
            let kept = Kept { inner, last: Mutex::default() };
            for id in expected {
                assert_eq!(kept.current().await.expect("there are").access_key_id(), id, "they last {lasting:?}");
            }
        }
    }
}

//! The way to a Temporal server.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use clock::{SharedClock, Timestamp};
use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::errors::ClientConnectError;
use temporalio_client::tonic::{Code, IntoRequest as _, Status};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, RetryOptions, Url};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;
use tokio::sync::{Mutex, OnceCell};

/// To a server that does not answer, nobody waits longer than this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A request is repeated for so long: API Gateway gives 30 s to all that a start does.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// How long an answer about the namespace counts.
const CHECK_COUNTS: Duration = Duration::from_secs(5);

/// A refusal counts for less: a server that is back is not to be refused for long.
const REFUSAL_COUNTS: Duration = Duration::from_secs(1);

/// Where the server is. What is not given comes from Temporal's own variables and file (`TEMPORAL_ADDRESS`,
/// `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`, `TEMPORAL_CONFIG_FILE`), as for its other tools; without
/// those it is `localhost:7233` and the namespace `default`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// `https://...:7233`, `http://...` or `host:port`.
    pub url: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// What the server shows of who asks.
    pub identity: Option<String>,
    /// What lets us in, where Temporal's own variables do not have it.
    pub api_key: Option<String>,
}

impl fmt::Debug for Server {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, namespace, identity, .. } = self;
        let mut server = f.debug_struct("Server");
        server.field("url", url).field("namespace", namespace).field("identity", identity).finish_non_exhaustive()
    }
}

/// A connection that is made when it is first needed, and again as long as that fails.
pub struct Connector {
    connection: ConnectionOptions,
    client: ClientOptions,
    connected: OnceCell<Client>,
    clock: SharedClock,
    /// Until when the last answer counts, and what it was.
    checked: Mutex<Option<(Timestamp, Result<(), String>)>>,
}

impl Connector {
    /// Reads what there is to know; connects nowhere.
    ///
    /// # Errors
    /// What is wrong with the address, the variables or the file.
    pub fn new(server: &Server, clock: SharedClock) -> Result<Self, String> {
        let loaded = ClientOptions::load_from_config(LoadClientConfigProfileOptions::default());
        let (mut connection, mut client) = loaded.map_err(|error| error.to_string())?;
        if let Some(api_key) = &server.api_key {
            connection.api_key = Some(api_key.clone());
        }
        if let Some(url) = &server.url {
            let has_tls = connection.tls_options.is_some() || connection.api_key.is_some();
            connection.target = address(url, has_tls)?;
        }
        // https to a server that was given without any other word about TLS.
        if connection.target.scheme() == "https" && connection.tls_options.is_none() {
            connection.tls_options = Some(temporalio_client::TlsOptions::default());
        }
        if let Some(namespace) = &server.namespace {
            client.namespace.clone_from(namespace);
        }
        if let Some(identity) = &server.identity {
            connection.identity.clone_from(identity);
        }
        connection.connect_timeout = Some(CONNECT_TIMEOUT);
        connection.retry_options = RetryOptions::builder().max_elapsed_time(Some(REQUEST_TIMEOUT)).build();
        Ok(Self { connection, client, connected: OnceCell::new(), clock, checked: Mutex::default() })
    }

    /// Where the server is.
    pub fn address(&self) -> &str {
        self.connection.target.as_str().trim_end_matches('/')
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.client.namespace
    }

    /// The client.
    ///
    /// # Errors
    /// Why there is no connection now.
    pub async fn client(&self) -> Result<Client, String> {
        let connect = async || {
            let connecting = Connection::connect(self.connection.clone());
            let connected = clock::timeout(&*self.clock, CONNECT_TIMEOUT, connecting).await;
            let connection = connected
                .ok_or_else(|| format!("nothing answers at {} within {CONNECT_TIMEOUT:?}", self.address()))?
                .map_err(|error| match error {
                    ClientConnectError::SystemInfoCallError(status) => self.explain(&status),
                    // Its own words are for debugging.
                    ClientConnectError::TonicTransportError(error) => self.unreachable(&error),
                    error => self.unreachable(&error),
                })?;
            Client::new(connection, self.client.clone()).map_err(|error| chain(&error))
        };
        self.connected.get_or_try_init(connect).await.cloned()
    }

    /// Whether the server answers, knows the namespace and lets us in; an answer counts for some seconds.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), String> {
        let mut checked = self.checked.lock().await;
        match &*checked {
            Some((until, answer)) if self.clock.now() < *until => answer.clone(),
            _ => {
                let answer = self.check_now().await;
                let counts = if answer.is_ok() { CHECK_COUNTS } else { REFUSAL_COUNTS };
                *checked = Some((clock::after(&*self.clock, counts), answer.clone()));
                answer
            }
        }
    }

    async fn check_now(&self) -> Result<(), String> {
        let client = self.client().await?;
        let request = DescribeNamespaceRequest { namespace: self.namespace().to_owned(), ..Default::default() };
        let mut service = client.connection().workflow_service();
        let asking = service.describe_namespace(request.into_request());
        match clock::timeout(&*self.clock, CONNECT_TIMEOUT, asking).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(status)) => Err(self.explain(&status)),
            None => Err(format!("nothing answers at {} within {CONNECT_TIMEOUT:?}", self.address())),
        }
    }

    /// The last answer counts no longer: something has gone wrong since.
    pub(crate) async fn doubt(&self) {
        *self.checked.lock().await = None;
    }

    /// What a refusal means, for people.
    pub(crate) fn explain(&self, status: &Status) -> String {
        let (address, namespace, message) = (self.address(), self.namespace(), status.message());
        match status.code() {
            Code::NotFound => format!("{address} has no namespace '{namespace}': {message}"),
            Code::PermissionDenied | Code::Unauthenticated => {
                format!("{address} does not accept the credentials for the namespace '{namespace}': {message}")
            }
            code => match status.source() {
                // No answer of the server's.
                Some(error) => self.unreachable(error),
                None => format!("{address} answers {code:?}: {message}"),
            },
        }
    }

    fn unreachable(&self, error: &dyn Error) -> String {
        format!("{} cannot be reached: {}", self.address(), chain(error))
    }
}

/// An address with or without its scheme.
fn address(url: &str, has_tls: bool) -> Result<Url, String> {
    let scheme = if has_tls { "https" } else { "http" };
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("{scheme}://{url}") };
    let parsed: Url = with_scheme.parse().map_err(|error| format!("'{url}' is no address of a server: {error}"))?;
    match (parsed.scheme(), parsed.host()) {
        ("http" | "https", Some(_)) => Ok(parsed),
        _ => Err(format!("'{url}' is no address of a server: host:port, http://host:port or https://host:port is")),
    }
}

/// An error and what it came from.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_with_and_without_a_scheme() {
        for (given, tls, expected) in [
            ("localhost:7233", false, "http://localhost:7233/"),
            ("ns.acct.tmprl.cloud:7233", true, "https://ns.acct.tmprl.cloud:7233/"),
            ("http://127.0.0.1:7233", false, "http://127.0.0.1:7233/"),
        ] {
            assert_eq!(address(given, tls).map(|url| url.to_string()), Ok(expected.to_owned()));
        }
        for bad in ["ftp://host:1", "http://", "a b"] {
            assert!(address(bad, false).is_err(), "{bad}");
        }
    }
}

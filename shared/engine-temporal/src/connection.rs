//! The way to a Temporal server.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use clock::{Instant, SharedClock};
use contracts::redacted;

use temporalio_client::errors::ClientConnectError;
use temporalio_client::tonic::{Code, IntoRequest as _, Response, Status};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, RetryOptions, Url};
use temporalio_common::envconfig::{LoadClientConfigProfileOptions, load_client_config_profile};
use temporalio_common::protos::temporal::api::enums::v1::TaskQueueType;
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeNamespaceRequest, DescribeTaskQueueRequest, GetSystemInfoRequest,
};
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
    checked: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Connector {
    /// Reads what there is to know; connects nowhere.
    ///
    /// # Errors
    /// What is wrong with the address, the variables or the file.
    #[expect(clippy::disallowed_methods, reason = "Temporal's own variables, which its other tools read too")]
    pub fn new(server: &Server, clock: SharedClock) -> Result<Self, String> {
        let (mut connection, mut client) = load(variables(std::env::vars_os())?)?;
        if let Some(api_key) = &server.api_key {
            connection.api_key = Some(api_key.clone());
        }
        if let Some(url) = &server.url {
            let has_tls = connection.tls_options.is_some() || connection.api_key.is_some();
            connection.target = address(url, has_tls)?;
        }
        if has_more_than_a_place(connection.target.as_str()) {
            let shown = redacted(connection.target.as_str());
            return Err(format!("the address '{shown}' has user information, a query or a fragment"));
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

    /// What the server shows of who asks.
    pub fn identity(&self) -> &str {
        &self.connection.identity
    }

    /// The server's version, e.g. `1.31.0`.
    ///
    /// # Errors
    /// Why it does not say.
    pub async fn version(&self) -> Result<String, String> {
        let mut service = self.client().await?.connection().workflow_service();
        let asking = service.get_system_info(GetSystemInfoRequest::default().into_request());
        Ok(self.in_time(asking).await?.server_version)
    }

    /// The identities of the workers that ask for work of a task queue.
    ///
    /// # Errors
    /// Why the server does not say.
    pub async fn workers(&self, task_queue: &str) -> Result<Vec<String>, String> {
        let request = DescribeTaskQueueRequest {
            namespace: self.namespace().to_owned(),
            task_queue: Some(TaskQueue { name: task_queue.to_owned(), ..Default::default() }),
            task_queue_type: TaskQueueType::Workflow.into(),
            ..Default::default()
        };
        let mut service = self.client().await?.connection().workflow_service();
        let described = self.in_time(service.describe_task_queue(request.into_request())).await?;
        Ok(described.pollers.into_iter().map(|poller| poller.identity).collect())
    }

    /// The answer, or why there is none.
    async fn in_time<T>(&self, asking: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, String> {
        match clock::timeout(&*self.clock, CONNECT_TIMEOUT, asking).await {
            Some(Ok(answer)) => Ok(answer.into_inner()),
            Some(Err(status)) => Err(self.explain(&status)),
            None => Err(format!("nothing answers at {} within {CONNECT_TIMEOUT:?}", self.address())),
        }
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
            Some((until, answer)) if self.clock.instant() < *until => answer.clone(),
            _ => {
                let answer = self.check_now().await;
                let counts = if answer.is_ok() { CHECK_COUNTS } else { REFUSAL_COUNTS };
                *checked = Some((self.clock.instant() + counts, answer.clone()));
                answer
            }
        }
    }

    async fn check_now(&self) -> Result<(), String> {
        let client = self.client().await?;
        let request = DescribeNamespaceRequest { namespace: self.namespace().to_owned(), ..Default::default() };
        let mut service = client.connection().workflow_service();
        self.in_time(service.describe_namespace(request.into_request())).await.map(drop)
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

/// Variables that begin so are Temporal's own.
const VARIABLE_PREFIX: &str = "TEMPORAL_";

/// The variables that are text. Temporal's own code would panic at one that is not.
///
/// # Errors
/// Those of Temporal's that are no text, or an address with what is secret.
fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Result<HashMap<String, String>, String> {
    let (mut variables, mut odd) = (HashMap::new(), Vec::new());
    for (name, value) in all {
        let is_temporals = name.as_encoded_bytes().starts_with(VARIABLE_PREFIX.as_bytes());
        let shown = name.to_string_lossy().into_owned();
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => drop(variables.insert(name, value)),
            _ if is_temporals => odd.push(format!("{shown}: is not UTF-8")),
            _ => {}
        }
    }
    // Before it is parsed, as the words of the parser show it.
    let address = variables.get("TEMPORAL_ADDRESS").filter(|address| has_more_than_a_place(address));
    odd.extend(address.map(|_| "TEMPORAL_ADDRESS: has user information, a query or a fragment".to_owned()));
    if odd.is_empty() { Ok(variables) } else { Err(odd.join(", ")) }
}

/// What Temporal's own variables and file say.
fn load(variables: HashMap<String, String>) -> Result<(ConnectionOptions, ClientOptions), String> {
    let profile = load_client_config_profile(LoadClientConfigProfileOptions::default(), Some(&variables));
    let profile = profile.map_err(|error| error.to_string())?;
    let namespace = profile.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let connection = ConnectionOptions::try_from(profile).map_err(|error| error.to_string())?;
    Ok((connection, ClientOptions::new(namespace).build()))
}

/// Whether there is user information, a query or a fragment in an address.
fn has_more_than_a_place(address: &str) -> bool {
    address.contains(['@', '?', '#'])
}

/// An address with or without its scheme.
fn address(url: &str, has_tls: bool) -> Result<Url, String> {
    let scheme = if has_tls { "https" } else { "http" };
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("{scheme}://{url}") };
    let shown = redacted(url);
    let parsed: Url = with_scheme.parse().map_err(|error| format!("'{shown}' is no address of a server: {error}"))?;
    match (parsed.scheme(), parsed.host()) {
        ("http" | "https", Some(_)) => Ok(parsed),
        _ => Err(format!("'{shown}' is no address of a server: host:port, http://host:port or https://host:port is")),
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

    #[test]
    fn an_address_with_secrets_is_refused_without_showing_them() {
        for url in ["http://me:hunter2@localhost:7233", "localhost:7233?hunter2", "me:hunter 2@localhost:1:1"] {
            let server = Server { url: Some(url.to_owned()), ..Server::default() };
            let problem = Connector::new(&server, std::sync::Arc::new(clock::SystemClock)).err().expect(url);
            assert!(problem.contains("***") && !problem.contains("hunter"), "{problem}");
        }
    }

    #[test]
    fn variables_that_are_not_text_are_refused_by_name_if_they_are_temporals() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = || OsString::from_vec(vec![b'x', 0xff]);
        let given = [("TEMPORAL_NAMESPACE".into(), "team".into()), ("LESSOPEN".into(), odd()), (odd(), "a".into())];
        let (_, client) = load(variables(given.into_iter()).expect("others are ignored")).expect("good");
        assert_eq!(client.namespace, "team");
        let given = [("TEMPORAL_GRPC_META_A".into(), odd()), ("TEMPORAL_ADDRESS".into(), "me:hunter2@t:1".into())];
        let problems = variables(given.into_iter()).expect_err("two are refused");
        assert_eq!(
            problems,
            "TEMPORAL_GRPC_META_A: is not UTF-8, TEMPORAL_ADDRESS: has user information, a query or a fragment"
        );
    }
}

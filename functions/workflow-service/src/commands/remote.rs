//! A running server: where it is, for whom it is asked, and what its answers mean.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use contracts::effect::sha256_hex;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::exit::CommandError;
use super::output::OutputArgs;

/// Where `server` and `dev` listen unless a setting says otherwise.
const DEFAULT_URL: &str = "http://localhost:8084";

/// To a server that does not accept connections, nobody waits longer than this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A request takes at most so long: API Gateway ends it after 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);

/// What names a workflow.
const WORKFLOW_ID: &str = "id of a workflow";

/// How long the server may wait for something new.
const LONG_POLL: &str = "20s";

/// The most that a page of the API has.
pub(crate) const PAGE_SIZE: u64 = 200;

/// The entity tag of an answer, if it has one.
pub(crate) type Tag = Option<String>;

/// Which server, and for whom.
#[derive(Debug, Args)]
pub(crate) struct RemoteArgs {
    /// The server, with the path before /api/v1 if there is one; http://localhost:8084 unless given.
    #[arg(long, env = "WORKFLOW_SERVICE_URL", hide_env_values = true)]
    url: Option<Given>,
    /// The tenant (`X-Tenant-ID`).
    #[arg(long, env = "WORKFLOW_SERVICE_TENANT", hide_env_values = true)]
    tenant: Option<Given>,
    /// The acting user (`X-User-ID`).
    #[arg(long, env = "WORKFLOW_SERVICE_USER", hide_env_values = true)]
    user: Option<Given>,
    /// The token that lets us in (`Authorization: Bearer`); better in the variable, as others can see arguments.
    #[arg(long, env = "WORKFLOW_SERVICE_TOKEN", hide_env_values = true)]
    token: Option<Given>,
}

/// The options of what asks a server and shows what it says.
#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// The value of an argument or a variable. It is read when the server is opened, so that no message repeats it: it may hold
/// a password or a token.
#[derive(Clone)]
pub(crate) struct Given(OsString);

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given(..)")
    }
}

impl From<OsString> for Given {
    fn from(value: OsString) -> Self {
        Self(value)
    }
}

/// The text of an option; none if it is not given, or a variable is empty.
fn text<'a>(given: Option<&'a Given>, option: &str) -> anyhow::Result<Option<&'a str>> {
    let Some(given) = given else { return Ok(None) };
    let name = || format!("--{option} (WORKFLOW_SERVICE_{})", option.to_uppercase());
    let text = given.0.to_str().ok_or_else(|| CommandError::usage(format!("{} is not UTF-8", name())))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

impl RemoteArgs {
    /// The server, asked for a tenant.
    ///
    /// # Errors
    /// What is missing or cannot be used.
    pub(crate) fn open(&self) -> anyhow::Result<Server> {
        if !self.has_tenant()? {
            return Err(CommandError::usage("which tenant? Give --tenant, or set WORKFLOW_SERVICE_TENANT"));
        }
        self.open_at(DEFAULT_URL)
    }

    /// The tenant.
    ///
    /// # Errors
    /// It cannot be used.
    pub(crate) fn tenant(&self) -> anyhow::Result<&str> {
        Ok(text(self.tenant.as_ref(), "tenant")?.unwrap_or_default())
    }

    /// Whether a tenant is given.
    pub(crate) fn has_tenant(&self) -> anyhow::Result<bool> {
        Ok(text(self.tenant.as_ref(), "tenant")?.is_some())
    }

    /// Whether the server is given.
    pub(crate) fn has_url(&self) -> anyhow::Result<bool> {
        Ok(text(self.url.as_ref(), "url")?.is_some())
    }

    /// The server, asked for the tenant that is given, if one is; at `default_url` if no other is given.
    ///
    /// # Errors
    /// What cannot be used.
    pub(crate) fn open_at(&self, default_url: &str) -> anyhow::Result<Server> {
        let mut base = base(text(self.url.as_ref(), "url")?.unwrap_or(default_url))?;
        let mut headers = HeaderMap::new();
        let mut add = |given: Option<&Given>, option: &str, name: HeaderName, prefix: &str| {
            if let Some(value) = text(given, option)? {
                let value = HeaderValue::from_str(&format!("{prefix}{value}"));
                let mut value = value
                    .map_err(|_| CommandError::usage(format!("--{option} has characters that no header can hold")))?;
                value.set_sensitive(option == "token");
                headers.insert(name, value);
            }
            anyhow::Ok(())
        };
        add(self.tenant.as_ref(), "tenant", HeaderName::from_static("x-tenant-id"), "")?;
        add(self.user.as_ref(), "user", HeaderName::from_static("x-user-id"), "")?;
        add(self.token.as_ref(), "token", AUTHORIZATION, "Bearer ")?;
        if headers.contains_key(AUTHORIZATION) {
            forget_credentials(&mut base);
        }
        let mut http = Client::builder().default_headers(headers).connect_timeout(CONNECT_TIMEOUT);
        http = http.redirect(reqwest::redirect::Policy::none());
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        Ok(Server { http: http.build().context("no HTTP client")?, base })
    }
}

/// The SHA-256 of a file.
async fn digest(file: &mut tokio::fs::File) -> std::io::Result<String> {
    let (mut digest, mut part) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut part).await? {
            0 => return Ok(format!("{:x}", digest.finalize())),
            read => digest.update(&part[..read]),
        }
    }
}

/// The word by which the API knows a value of an option.
pub(crate) fn word_of(value: impl ValueEnum) -> Option<String> {
    value.to_possible_value().map(|value| value.get_name().to_owned())
}

/// A name that stands in a path; `what` says what it names.
fn segment<'n>(name: &'n str, what: &str) -> anyhow::Result<&'n str> {
    match name {
        // Such a segment would name another path.
        "" | "." | ".." => Err(CommandError::usage(format!("'{name}' is no {what}"))),
        _ => Ok(name),
    }
}

/// What paths are added to.
fn base(text: &str) -> anyhow::Result<Url> {
    let refuse = |problem: &str| {
        let expected = "expected an address like https://example.com or https://example.com/stage";
        CommandError::usage(format!("--url (WORKFLOW_SERVICE_URL) {problem}; {expected}"))
    };
    let mut url: Url = text.parse().map_err(|error| refuse(&format!("cannot be read: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("does not begin with http:// or https://"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("has something after its path"));
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
    }
    Ok(url)
}

fn forget_credentials(url: &mut Url) {
    // Only addresses without a host have none to forget.
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A server that can be asked.
#[derive(Debug)]
pub(crate) struct Server {
    http: Client,
    base: Url,
}

impl Server {
    /// Its address, for people: without user and password.
    pub(crate) fn address(&self) -> String {
        let mut url = self.base.clone();
        forget_credentials(&mut url);
        url.as_str().trim_end_matches('/').to_owned()
    }

    /// A request to a path below the server's own, e.g. `["api", "v1", "workflows"]`.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        self.http.request(method, url).timeout(REQUEST_TIMEOUT)
    }

    /// A request about a workflow.
    pub(crate) fn about(&self, method: Method, id: &str, what: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.request(method, &["api", "v1", "workflows", segment(id, WORKFLOW_ID)?, what]))
    }

    /// A request about what has this name in a list, such as a hold, or about what is below it; `what` says what the name is.
    pub(crate) fn about_one(
        &self,
        method: Method,
        list: &[&str],
        name: &str,
        below: &[&str],
        what: &str,
    ) -> anyhow::Result<RequestBuilder> {
        Ok(self.request(method, &[list, &[segment(name, what)?], below].concat()))
    }

    /// All that a list has under this name, page by page. A filter without a value is none.
    pub(crate) async fn all(
        &self,
        list: &[&str],
        name: &str,
        filters: &[(&str, Option<String>)],
    ) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut token) = (Vec::new(), None::<String>);
        loop {
            let call = self.request(Method::GET, list).query(&[("page_size", PAGE_SIZE)]).query(filters);
            let call = call.query(&[("page_token", token)]);
            let mut page = self.ask(call).await?;
            all.append(page[name].as_array_mut().unwrap_or(&mut Vec::new()));
            token = page["next_page_token"].as_str().map(str::to_owned);
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Sends a request; the answer, whatever it is.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// Sends a request; the JSON of an answer that is a success.
    ///
    /// # Errors
    /// There is no answer, or it is not a success: then with everything that the server says is wrong.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let answer = self.checked(self.send(request).await?).await?;
        self.json(answer).await
    }

    async fn json(&self, answer: Response) -> anyhow::Result<Value> {
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|_| {
            let text = format!("{} is no workflow service: its answer is not JSON", self.address());
            CommandError::Unavailable { text, retry_after: None }.into()
        })
    }

    /// The answer, if it is a success.
    ///
    /// # Errors
    /// Everything that the server says is wrong.
    pub(crate) async fn checked(&self, answer: Response) -> anyhow::Result<Response> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let header = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let location = header(LOCATION).map(str::to_owned).filter(|_| status.is_redirection());
        let body = answer.bytes().await.unwrap_or_default();
        let problem = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let mut text = explain(status, &problem);
        if let Some(location) = location {
            text.push_str(&format!("{} redirects to {location}: give the address to use with --url", self.address()));
        }
        // What the server does not have is refused for good.
        Err(match status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            true => CommandError::Unavailable { text, retry_after },
            false => CommandError::Refused { text, status: status.as_u16(), retry_after },
        }
        .into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let address = self.address();
        let text = if error.is_timeout() && !error.is_connect() {
            format!("{address} does not answer in time")
        } else {
            // What it came from says most, and does not repeat the address.
            let mut reason: &dyn std::error::Error = error;
            while let Some(source) = reason.source() {
                reason = source;
            }
            format!("{address} cannot be reached: {reason}")
        };
        CommandError::Unavailable { text, retry_after: None }.into()
    }

    /// Starts a workflow.
    pub(crate) async fn start(&self, workflow: &str, request: &Value, key: &str) -> anyhow::Result<Value> {
        let call = self.request(Method::POST, &["api", "v1", "workflows", workflow]).json(request);
        self.ask(call.header("idempotency-key", key)).await
    }

    /// Uploads a file of entities; the upload's id. The same file for the same operation is the same upload, so that a start
    /// that is repeated is the same start.
    pub(crate) async fn upload(&self, file: &Path, operation_id: Option<&str>) -> anyhow::Result<String> {
        let unreadable = |error: std::io::Error| {
            CommandError::usage(format!("--entities: {} cannot be read: {error}", file.display()))
        };
        let mut opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let bytes = opened.metadata().await.map_err(unreadable)?.len();
        if bytes == 0 {
            return Err(CommandError::usage(format!("--entities: {} is empty", file.display())));
        }
        let path = ["api", "v1", "workflows", "bulk-operation", "uploads"];
        let mut call = self.request(Method::POST, &path).json(&json!({ "size_bytes": bytes }));
        if let Some(operation_id) = operation_id {
            let digest = digest(&mut opened).await.map_err(unreadable)?;
            opened.rewind().await.map_err(unreadable)?;
            call = call.header("idempotency-key", sha256_hex(format!("{operation_id} {digest}").as_bytes()));
        }
        let answer = self.ask(call).await?;
        let text = |name: &str| answer[name].as_str().context("the answer names no upload").map(str::to_owned);
        let mut put = self.by_link(Method::PUT, &text("upload_url")?)?.header(CONTENT_LENGTH, bytes).body(opened);
        for (name, value) in answer["headers"].as_object().into_iter().flatten() {
            put = put.header(name, value.as_str().unwrap_or_default());
        }
        let put = self.send(put).await?;
        // The upload of this operation is there, or a job has used it: the server and S3 say so each in their way.
        let is_there = [StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED].contains(&put.status());
        if !(is_there && operation_id.is_some()) {
            self.checked(put).await?;
        }
        text("upload_id")
    }

    /// A file that a workflow left, part by part.
    pub(crate) async fn result(&self, id: &str, name: &str) -> anyhow::Result<Response> {
        let path = ["api", "v1", "workflows", segment(id, WORKFLOW_ID)?, "results", name];
        let answer = self.send(self.request(Method::GET, &path)).await?;
        let link = answer.headers().get(LOCATION).and_then(|link| link.to_str().ok()).map(str::to_owned);
        match link.filter(|_| answer.status() == StatusCode::FOUND) {
            Some(link) => self.checked(self.send(self.by_link(Method::GET, &link)?).await?).await,
            None => self.checked(answer).await,
        }
    }

    /// A request by a link, which is all that it takes: neither tenant nor token go to where it leads.
    fn by_link(&self, method: Method, link: &str) -> anyhow::Result<RequestBuilder> {
        let url = match link.strip_prefix('/') {
            Some(path) => format!("{}/{path}", self.base.as_str().trim_end_matches('/')),
            None => link.to_owned(),
        };
        let mut http = Client::builder().connect_timeout(CONNECT_TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if is_loopback(&self.base) {
            http = http.no_proxy();
        }
        Ok(http.build().context("no HTTP client")?.request(method, url))
    }

    /// The status of a workflow.
    pub(crate) async fn status(&self, id: &str) -> anyhow::Result<Value> {
        self.ask(self.about(Method::GET, id, "status")?).await
    }

    /// The status of a workflow, once it is another one than that of this tag; the server may wait for that as long as it
    /// likes, or not at all. None if nothing has changed.
    pub(crate) async fn changed_status(&self, id: &str, tag: Option<&str>) -> anyhow::Result<Option<(Value, Tag)>> {
        let mut call = self.about(Method::GET, id, "status")?;
        if let Some(tag) = tag {
            call = call.query(&[("wait", LONG_POLL)]).header(IF_NONE_MATCH, tag);
        }
        let answer = self.send(call).await?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let answer = self.checked(answer).await?;
        let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        Ok(Some((self.json(answer).await?, tag)))
    }

    /// A page of a workflow's history, oldest first.
    pub(crate) async fn history(&self, id: &str, types: &[String], token: Option<&str>) -> anyhow::Result<Value> {
        let mut call = self.request(Method::GET, &["api", "v1", "workflows", "history"]);
        call = call.query(&[("workflow_id", id), ("page_size", "200")]);
        if !types.is_empty() {
            call = call.query(&[("event_type", types.join(","))]);
        }
        if let Some(token) = token {
            call = call.query(&[("page_token", token)]);
        }
        self.ask(call).await
    }

    /// Does something to a workflow: `action` is the end of the endpoint's path.
    pub(crate) async fn act(&self, id: &str, action: &str, body: &Value, key: &str) -> anyhow::Result<Value> {
        let call = self.about(Method::POST, id, action)?.header("idempotency-key", key);
        self.ask(if body == &json!({}) { call } else { call.json(body) }).await
    }
}

/// What a refusal means, for people.
fn explain(status: StatusCode, problem: &Value) -> String {
    let said = problem["detail"].as_str().or_else(|| problem["message"].as_str());
    let mut text = match said {
        Some(said) => format!("{status}: {said}"),
        None => status.to_string(),
    };
    for error in problem["errors"].as_array().into_iter().flatten() {
        let part = |name: &str| error[name].as_str().unwrap_or_default();
        text.push_str(&format!("\n  {} {}", part("pointer"), part("detail")));
    }
    if status == StatusCode::UNAUTHORIZED {
        text.push_str("\nA token is given with --token, or better in WORKFLOW_SERVICE_TOKEN.");
    }
    if let Some(id) = problem["request_id"].as_str().filter(|_| status.is_server_error()) {
        text.push_str(&format!(" (request {id})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str) -> RemoteArgs {
        let given = |text: &str| Some(Given(text.into()));
        RemoteArgs { url: given(url), tenant: given("t"), user: None, token: None }
    }

    #[test]
    fn paths_are_added_to_the_path_of_the_address() {
        for (url, expected) in [
            ("http://host:1", "http://host:1/api/v1/workflows/a%2Fb/status"),
            ("http://host:1/", "http://host:1/api/v1/workflows/a%2Fb/status"),
            ("https://host/stage", "https://host/stage/api/v1/workflows/a%2Fb/status"),
            ("https://host/a/b/", "https://host/a/b/api/v1/workflows/a%2Fb/status"),
        ] {
            let server = args(url).open().unwrap();
            let request = server.about(Method::GET, "a/b", "status").unwrap().build().unwrap();
            assert_eq!(request.url().as_str(), expected);
            assert!(server.about(Method::GET, "..", "status").is_err());
        }
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_without_being_repeated() {
        for url in ["host:8084", "ftp://u:secret@host", "http://u:secret@", "http://u:secret@host?x=1", "http://[", ""]
        {
            match args(url).open() {
                Ok(server) => assert_eq!((url, server.address()), ("", DEFAULT_URL.to_owned())),
                Err(error) => assert!(!error.to_string().contains("secret"), "{error}"),
            }
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let mut args = args("https://user:secret@host/stage");
        args.token = Some(Given("secret".into()));
        let server = args.open().unwrap();
        assert_eq!(server.address(), "https://host/stage");
        assert!(!format!("{args:?}").contains("secret"));
        let request = server.request(Method::GET, &["health"]).build().unwrap();
        assert!(request.headers().get(AUTHORIZATION).is_none(), "the client adds the token, and no password");
        args.token = Some(Given("line\nbreak".into()));
        assert!(!args.open().unwrap_err().to_string().contains("break"));
    }
}

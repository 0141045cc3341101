//! Programs that stand in for AWS, started when the first test asks for them. They end with the test process, however
//! that ends: each watches a pipe that only this process holds.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// The versions are those of `infra/peers`.
const DYNAMODB_LOCAL: &str = "dynamodb-local-2.6.1";
const TEMPORAL: &str = "temporal-cli-1.5.1";
const TEMPORAL_OPTIONS: &str = "server start-dev --headless --log-level error";

/// The folder of a peer, or none after saying so; a missing one is a failure where `CI` is set.
#[expect(clippy::disallowed_methods, reason = "where tools are kept is no setting of the service")]
fn installed(name: &str) -> Option<PathBuf> {
    let cache = std::env::var("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap()).join(".cache"));
    let folder = cache.join("workflow-service").join(name);
    if folder.exists() {
        return Some(folder);
    }
    assert!(std::env::var("CI").is_err(), "{} is missing; .ci/run installs it", folder.display());
    println!("skipped: {} is not installed (infra/peers/install does it)", folder.display());
    None
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a command that ends when this process does.
fn spawn(command: &str) {
    let watched = format!("{command} & pid=$!; cat > /dev/null; kill $pid");
    let mut shell = Command::new("sh");
    let child = shell.args(["-c", &watched]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    // Neither waited for nor dropped: the pipe stays open as long as this process lives.
    std::mem::forget(child.unwrap());
}

/// Waits until somebody listens.
fn await_port(port: u16, what: &str) {
    for _ in 0..600 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} does not come up");
}

/// The endpoint of a DynamoDB.
pub(crate) fn dynamodb() -> Option<&'static str> {
    static ENDPOINT: OnceLock<Option<String>> = OnceLock::new();
    let start = || {
        let folder = installed(DYNAMODB_LOCAL)?;
        let (folder, port) = (folder.display(), free_port());
        spawn(&format!(
            "java -Djava.library.path={folder} -cp '{folder}/*' \
             com.amazonaws.services.dynamodbv2.local.main.ServerRunner -inMemory -sharedDb -disableTelemetry -port {port}"
        ));
        await_port(port, "DynamoDB Local");
        Some(format!("http://127.0.0.1:{port}"))
    };
    ENDPOINT.get_or_init(start).as_deref()
}

/// The endpoint of Step Functions, which calls functions at `lambda`.
pub(crate) fn moto(lambda: &str) -> Option<String> {
    let python = installed(&python_packages("requirements.txt"))?.join("bin/python");
    let (python, port) = (python.display(), free_port());
    let server = crate::aws::root().join("infra/peers/moto_server.py");
    spawn(&format!(
        "{python} {} --port {port} --lambda-endpoint {lambda} --status-events project-execution-status",
        server.display()
    ));
    await_port(port, "moto");
    Some(format!("http://127.0.0.1:{port}"))
}

/// The address of a Temporal server.
pub(crate) fn temporal() -> Option<&'static str> {
    static ADDRESS: OnceLock<Option<String>> = OnceLock::new();
    let start = || {
        let (program, port) = (installed(TEMPORAL)?.join("temporal"), free_port());
        spawn(&format!("{} {TEMPORAL_OPTIONS} --port {port}", program.display()));
        await_port(port, "Temporal");
        Some(format!("http://127.0.0.1:{port}"))
    };
    ADDRESS.get_or_init(start).as_deref()
}

/// A Temporal server of a test's own, which keeps what it knows while it is away.
pub(crate) struct OwnTemporal {
    program: PathBuf,
    port: u16,
    directory: tempfile::TempDir,
    server: Option<std::process::Child>,
}

impl OwnTemporal {
    pub(crate) fn start() -> Option<Self> {
        let program = installed(TEMPORAL)?.join("temporal");
        let (port, directory) = (free_port(), tempfile::tempdir().unwrap());
        let mut own = Self { program, port, directory, server: None };
        own.start_again();
        Some(own)
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(TEMPORAL_OPTIONS.split(' ')).args(["--port", &self.port.to_string(), "--db-filename"]);
        command.arg(self.directory.path().join("temporal.db")).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(command.spawn().unwrap());
        await_port(self.port, "Temporal");
    }

    /// As if its machine had lost its power.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }
}

impl Drop for OwnTemporal {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client of the DynamoDB above.
pub(crate) fn dynamodb_client(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let credentials = aws_sdk_dynamodb::config::Credentials::new("test", "test", None, None, "tests");
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(endpoint);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// The key that buckets encrypt with.
pub(crate) const KEY_ARN: &str = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000001";

/// Requests to moto's S3, which asks that they be signed, but not by whom.
pub(crate) struct S3 {
    http: reqwest::Client,
    endpoint: String,
}

impl S3 {
    pub(crate) fn new(endpoint: &str) -> Self {
        Self { http: reqwest::Client::builder().no_proxy().build().unwrap(), endpoint: endpoint.to_owned() }
    }

    async fn put(&self, path: &str, body: String) {
        let answer = self.http.put(format!("{}/{path}", self.endpoint)).body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    pub(crate) async fn get(&self, path: &str) -> (http::HeaderMap, String) {
        let signature =
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let request = self.http.get(format!("{}/{path}", self.endpoint)).header("authorization", signature);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        (answer.headers().clone(), answer.text().await.unwrap())
    }

    /// Creates a bucket as the template has it: what it holds is encrypted, whoever puts it there.
    pub(crate) async fn create_bucket(&self, bucket: &str) {
        self.put(bucket, String::new()).await;
        let encryption = format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
             <SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>{KEY_ARN}</KMSMasterKeyID>\
             </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
        );
        self.put(&format!("{bucket}?encryption"), encryption).await;
    }
}

/// A client of the S3 at this endpoint.
pub(crate) fn s3_client(endpoint: &str) -> aws_sdk_s3::Client {
    let aws = settings::Aws {
        region: "us-east-1".to_owned(),
        access_key_id: "test".to_owned(),
        secret_access_key: "test".to_owned(),
        endpoint_urls: [("AWS_ENDPOINT_URL_S3".to_owned(), endpoint.to_owned())].into(),
        ..settings::Aws::default()
    };
    aws_clients::Clients::of_function(aws).s3()
}

/// The folder of a set of Python packages, named after what it holds.
fn python_packages(requirements: &str) -> String {
    let file = crate::aws::root().join("infra/peers").join(requirements);
    format!("peers-{}", &contracts::effect::sha256_hex(&std::fs::read(file).unwrap())[..12])
}

/// The folders of the tools that check the template: SAM and cfn-lint, checkov.
pub(crate) fn lint() -> Option<[PathBuf; 2]> {
    let [lint, audit] = ["requirements-lint.txt", "requirements-audit.txt"].map(python_packages);
    Some([installed(&lint)?, installed(&audit)?])
}

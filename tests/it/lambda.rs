//! What AWS Lambda is to our functions: the Runtime API that they poll, the Invoke API that Step Functions calls, and API
//! Gateway's HTTP front before the endpoints. The functions are the real binaries, each in processes of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::ENDPOINTS;
use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use clock::{Clock as _, SystemClock};
use contracts::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::aws::root;
use crate::process::{build, pause};

/// Processes of one function at once.
const MAX_PROCESSES: usize = 6;

/// What a function answered: its result, or `{"errorType", "errorMessage"}`.
pub(crate) type Reply = Result<Value, Value>;

/// Stands around the invocations of a deployment's functions.
#[async_trait]
pub(crate) trait Around: Send + Sync {
    /// Invokes the function, or not; `invoke` may be called once.
    async fn invoke(&self, lambda: &Lambda, function: &str, payload: Value) -> Reply;
}

/// One deployment: its functions' environment, and what stands around them.
pub(crate) struct Deployment {
    pub(crate) environment: Vec<(String, String)>,
    /// Variables of single functions that differ: function, name, value.
    pub(crate) overrides: Vec<(&'static str, &'static str, String)>,
    pub(crate) around: Option<Arc<dyn Around>>,
    /// What API Gateway's authorizer has verified, if it is asked.
    pub(crate) claims: Mutex<Option<Value>>,
}

/// The host of many deployments, each under a prefix: a function's name is `<prefix>--<binary>`.
#[derive(Clone)]
pub(crate) struct Lambda(Arc<Host>);

struct Host {
    port: u16,
    binaries: PathBuf,
    deployments: Mutex<BTreeMap<String, Arc<Deployment>>>,
    functions: Mutex<HashMap<String, Function>>,
    /// By function.
    spent: Mutex<BTreeMap<String, Spent>>,
}

/// What invocations of a function took, its start apart.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) invocations: u32,
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
}

#[derive(Default)]
struct Function {
    processes: HashMap<u64, Process>,
    waiting: VecDeque<Invocation>,
    polling: VecDeque<(u64, oneshot::Sender<Invocation>)>,
    /// Invocations so far, which also numbers processes.
    count: u64,
}

struct Process {
    child: Child,
    /// The invocation it works on.
    current: Option<(String, oneshot::Sender<Reply>)>,
    /// When that began, and what CPU time the process had used by then.
    began: (Timestamp, f64),
}

struct Invocation {
    id: String,
    payload: Value,
    reply: oneshot::Sender<Reply>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lambda {
    /// Listens, with functions from this folder.
    pub(crate) async fn start(binaries: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lambda = Self(Arc::new(Host {
            port,
            binaries,
            deployments: Mutex::default(),
            functions: Mutex::default(),
            spent: Mutex::default(),
        }));
        let routes = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invocations))
            .route("/rt/{name}/{process}/2018-06-01/runtime/invocation/next", get(next))
            .route("/rt/{name}/{process}/2018-06-01/runtime/invocation/{id}/{kind}", post(answer))
            .route("/rt/{name}/{process}/2018-06-01/runtime/init/error", post(init_error))
            .fallback(front)
            .with_state(lambda.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        lambda
    }

    /// Where the Invoke API is.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    /// Where a deployment's HTTP API is.
    pub(crate) fn front(&self, prefix: &str) -> String {
        format!("{}/{prefix}", self.endpoint())
    }

    pub(crate) fn deploy(&self, prefix: &str, deployment: Deployment) {
        lock(&self.0.deployments).insert(prefix.to_owned(), Arc::new(deployment));
    }

    pub(crate) fn deployment(&self, prefix: &str) -> Arc<Deployment> {
        Arc::clone(&lock(&self.0.deployments)[prefix])
    }

    /// What a deployment's functions took so far.
    pub(crate) fn spent(&self, prefix: &str) -> BTreeMap<String, Spent> {
        let spent = lock(&self.0.spent);
        let own = spent.iter().filter_map(|(name, spent)| Some((name.strip_prefix(&format!("{prefix}--"))?, *spent)));
        own.map(|(function, spent)| (function.to_owned(), spent)).collect()
    }

    /// Waits until a process of the function polls, so that the next invocation is not a new one's.
    pub(crate) async fn until_polled(&self, name: &str) {
        let polls = || lock(&self.0.functions).get(name).is_some_and(|function| !function.polling.is_empty());
        for _ in 0..2_000 {
            if polls() {
                return;
            }
            pause(Duration::from_millis(5)).await;
        }
        panic!("no process of {name} polls");
    }

    /// Ends a deployment's processes.
    pub(crate) fn remove(&self, prefix: &str) {
        lock(&self.0.deployments).remove(prefix);
        lock(&self.0.functions).retain(|name, _| !name.starts_with(&format!("{prefix}--")));
    }

    /// Invokes a function, with what stands around it.
    pub(crate) async fn invoke(&self, name: &str, payload: Value) -> Reply {
        let around = name.split_once("--").and_then(|(prefix, _)| {
            lock(&self.0.deployments).get(prefix).and_then(|deployment| deployment.around.clone())
        });
        match around {
            Some(around) => around.invoke(self, name, payload).await,
            None => self.invoke_plainly(name, payload).await,
        }
    }

    /// Invokes a function.
    pub(crate) async fn invoke_plainly(&self, name: &str, payload: Value) -> Reply {
        let (reply, answer) = oneshot::channel();
        {
            let mut functions = lock(&self.0.functions);
            let function = functions.entry(name.to_owned()).or_default();
            function.count += 1;
            let mut invocation = Invocation { id: format!("{name}-{}", function.count), payload, reply };
            loop {
                let Some((process, poll)) = function.polling.pop_front() else {
                    function.waiting.push_back(invocation);
                    if function.processes.len() < MAX_PROCESSES {
                        let number = function.count;
                        match self.spawn(name, number) {
                            Some(child) => function
                                .processes
                                .insert(number, Process { child, current: None, began: (Timestamp::MIN, 0.0) }),
                            None => return Err(error("ResourceNotFoundException", "there is no such function")),
                        };
                    }
                    break;
                };
                if !function.processes.contains_key(&process) {
                    continue;
                }
                match poll.send(invocation) {
                    Ok(()) => break,
                    Err(back) => invocation = back,
                }
            }
        }
        match clock::timeout(&SystemClock, Duration::from_secs(60), answer).await {
            Some(Ok(reply)) => reply,
            Some(Err(_)) => Err(error("Runtime.ExitError", "the process is gone")),
            None => Err(error("Sandbox.Timedout", "Task timed out")),
        }
    }

    fn spawn(&self, name: &str, number: u64) -> Option<Child> {
        let (prefix, binary) = name.split_once("--")?;
        let deployment = lock(&self.0.deployments).get(prefix).cloned()?;
        let folders = [self.0.binaries.clone(), self.0.binaries.join("examples")];
        let program = folders.into_iter().map(|folder| folder.join(binary)).find(|program| program.exists())?;
        let child = Command::new(program)
            .env_clear()
            .envs(deployment.environment.iter().cloned())
            .envs(deployment.overrides.iter().filter(|(of, ..)| *of == binary).map(|(_, name, value)| (*name, value)))
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", format!("{}/rt/{name}/{number}", self.endpoint())),
                ("AWS_LAMBDA_FUNCTION_NAME", name.to_owned()),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
                ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
                ("AWS_LAMBDA_LOG_STREAM_NAME", number.to_string()),
            ])
            .stdout(self.log(name))
            .stderr(self.log(name))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (lambda, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move { lambda.watch(&name, number).await });
        Some(child)
    }

    /// What a function writes goes here.
    fn log(&self, name: &str) -> Stdio {
        let folder = self.0.binaries.join("function-logs");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).unwrap().into()
    }

    /// Waits for the end of a process, and fails what it was working on.
    async fn watch(&self, name: &str, number: u64) {
        loop {
            pause(Duration::from_millis(50)).await;
            let mut functions = lock(&self.0.functions);
            let Some(function) = functions.get_mut(name) else { return };
            let Some(process) = function.processes.get_mut(&number) else { return };
            if let Some(status) = process.child.try_wait().unwrap() {
                let ended = function.processes.remove(&number);
                let failure = error("Runtime.ExitError", &format!("RequestId: - Error: {status}"));
                if let Some((_, reply)) = ended.and_then(|process| process.current) {
                    let _ = reply.send(Err(failure.clone()));
                }
                if function.processes.is_empty() {
                    for invocation in function.waiting.drain(..) {
                        let _ = invocation.reply.send(Err(failure.clone()));
                    }
                }
                return;
            }
        }
    }
}

fn error(name: &str, message: &str) -> Value {
    json!({ "errorType": name, "errorMessage": message })
}

async fn invocations(State(lambda): State<Lambda>, UrlPath(name): UrlPath<String>, body: Bytes) -> Response {
    let payload: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    // Events come without a prefix; the state machine's name says whose they are.
    let name = match payload.pointer("/detail/stateMachineArn").and_then(Value::as_str) {
        Some(arn) if !name.contains("--") => {
            let machine = arn.rsplit(':').next().unwrap_or_default();
            let prefix = machine.split_once('-').map_or(machine, |(prefix, _)| prefix);
            format!("{prefix}--{name}")
        }
        _ => name,
    };
    match lambda.invoke(&name, payload).await {
        Ok(result) => result.to_string().into_response(),
        Err(error) => ([("x-amz-function-error", "Unhandled")], error.to_string()).into_response(),
    }
}

async fn next(State(lambda): State<Lambda>, UrlPath((name, process)): UrlPath<(String, u64)>) -> Response {
    let invocation = {
        let (poll, polled) = oneshot::channel();
        let mut functions = lock(&lambda.0.functions);
        let Some(function) = functions.get_mut(&name) else { return StatusCode::GONE.into_response() };
        match function.waiting.pop_front() {
            Some(invocation) => Ok(invocation),
            None => {
                function.polling.push_back((process, poll));
                Err(polled)
            }
        }
    };
    let invocation = match invocation {
        Ok(invocation) => invocation,
        Err(polled) => match polled.await {
            Ok(invocation) => invocation,
            Err(_) => return StatusCode::GONE.into_response(),
        },
    };
    let Invocation { id, payload, reply } = invocation;
    let mut functions = lock(&lambda.0.functions);
    let Some(process) = functions.get_mut(&name).and_then(|function| function.processes.get_mut(&process)) else {
        return StatusCode::GONE.into_response();
    };
    process.current = Some((id.clone(), reply));
    process.began = (SystemClock.now(), cpu_ms(&process.child));
    let deadline = SystemClock.now().as_millisecond() + 40_000;
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", format!("arn:aws:lambda:us-east-1:123456789012:function:{name}")),
        ("lambda-runtime-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0".to_owned()),
    ];
    (headers, payload.to_string()).into_response()
}

async fn answer(
    State(lambda): State<Lambda>,
    UrlPath((name, process, id, kind)): UrlPath<(String, u64, String, String)>,
    body: Bytes,
) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut functions = lock(&lambda.0.functions);
    let process = functions.get_mut(&name).and_then(|function| function.processes.get_mut(&process));
    let Some(process) = process else { return StatusCode::GONE };
    if let Some((current, reply)) = process.current.take()
        && current == id
    {
        let (at, cpu) = process.began;
        let mut spent = lock(&lambda.0.spent);
        let spent = spent.entry(name).or_default();
        spent.invocations += 1;
        spent.wall_ms += SystemClock.now().duration_since(at).as_secs_f64() * 1e3;
        spent.cpu_ms += cpu_ms(&process.child) - cpu;
        let _ = reply.send(if kind == "error" { Err(body) } else { Ok(body) });
    }
    StatusCode::ACCEPTED
}

/// CPU time of all threads so far.
fn cpu_ms(child: &Child) -> f64 {
    let tasks = child.id().and_then(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
    let schedstat =
        tasks.into_iter().flatten().flatten().map(|task| std::fs::read_to_string(task.path().join("schedstat")));
    let nanoseconds =
        schedstat.flatten().filter_map(|text| text.split(' ').next().and_then(|first| first.parse::<f64>().ok()));
    nanoseconds.sum::<f64>() / 1e6
}

async fn init_error(UrlPath((name, _)): UrlPath<(String, u64)>, body: Bytes) -> StatusCode {
    println!("{name} does not start: {}", String::from_utf8_lossy(&body));
    StatusCode::ACCEPTED
}

/// API Gateway: a request becomes an event of payload format 2.0, and what the function says becomes the answer.
async fn front(State(lambda): State<Lambda>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let (prefix, path) = uri.path()[1..].split_once('/').unwrap_or_default();
    let path = format!("/{path}");
    let Some(function) = route(&method, &path) else { return not_found() };
    let claims = lock(&lambda.deployment(prefix).claims).clone();
    let event = event(&method, &path, uri.query().unwrap_or_default(), &headers, &body, claims);
    match lambda.invoke(&format!("{prefix}--{function}"), event).await {
        Ok(answer) => response(&answer),
        Err(why) => {
            println!("{function} failed: {why}");
            (StatusCode::INTERNAL_SERVER_ERROR, json!({ "message": "Internal Server Error" }).to_string())
                .into_response()
        }
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, json!({ "message": "Not Found" }).to_string()).into_response()
}

fn route(method: &Method, path: &str) -> Option<&'static str> {
    let segments: Vec<&str> = path.split('/').collect();
    let matches = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        pattern.len() == segments.len()
            && pattern.iter().zip(&segments).all(|(part, segment)| part.starts_with('{') || part == segment)
    };
    let endpoints = ENDPOINTS.iter().filter(|endpoint| endpoint.method == *method && matches(endpoint.path));
    // A path without parameters goes before one with them.
    endpoints.min_by_key(|endpoint| endpoint.path.matches('{').count()).map(|endpoint| endpoint.name)
}

/// The event of a request.
pub(crate) fn event(
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
    claims: Option<Value>,
) -> Value {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = value.to_str().unwrap_or_default();
        // API Gateway joins what came more than once.
        joined.entry(name.to_string()).and_modify(|all| *all = format!("{all},{value}")).or_insert(value.to_owned());
    }
    let authorizer = claims.map(|claims| json!({ "jwt": { "claims": claims, "scopes": null } }));
    let text = String::from_utf8(body.to_vec());
    let is_base64 = text.is_err();
    let body = text.unwrap_or_else(|_| base64::engine::general_purpose::STANDARD.encode(body));
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": joined,
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "localhost", "domainPrefix": "api",
            "http": {
                "method": method.as_str(), "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                "userAgent": "tests",
            },
            "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 0, "authorizer": authorizer,
        },
        "body": if body.is_empty() { Value::Null } else { body.into() },
        "isBase64Encoded": is_base64,
    })
}

fn response(answer: &Value) -> Response {
    let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
    let body = answer["body"].as_str().unwrap_or_default().to_owned();
    let body = match answer["isBase64Encoded"] == true {
        true => base64::engine::general_purpose::STANDARD.decode(&body).unwrap(),
        false => body.into_bytes(),
    };
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    response.headers_mut().clear();
    for headers in ["headers", "multiValueHeaders"] {
        for (name, value) in answer[headers].as_object().into_iter().flatten() {
            let value = value.as_str().or_else(|| value[0].as_str()).unwrap_or_default();
            let name: HeaderName = name.parse().unwrap();
            response.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    response
}

/// The binaries of all functions, by name.
pub(crate) fn names() -> BTreeSet<String> {
    let packages = ["endpoint-lambdas", "activity-lambdas", "event-lambdas"];
    let folders = packages.map(|package| root().join("functions").join(package).join("src/bin"));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// The functions of this very tree, built if need be: the folder they are in.
pub(crate) async fn built() -> PathBuf {
    let names = names();
    let targets: Vec<&str> = names.iter().flat_map(|name| ["--bin", name]).collect();
    build(&targets).await
}

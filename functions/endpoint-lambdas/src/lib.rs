//! What surrounds an endpoint in a Lambda function: its environment, its ports, and what API Gateway knows of the caller.

use std::sync::Arc;
use std::time::Duration;

use api::{Api, Check, GatewayClaims, Readiness, Starting};
use async_trait::async_trait;
use axum::Router;
use clock::{SharedClock, SystemClock, Timestamp};
use contracts::EngineKind;
use downstream::{Downstream, HttpTransport};
use engine::Orchestrator;
use engine_stepfunctions::StepFunctions;
use lambda_glue::gateway::TemporalGateway;
use lambda_glue::{Clients, Environment};
use lambda_http::Adapter;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::tower::ServiceBuilder;
use lambda_http::tower::util::MapRequestLayer;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use store_aws::{DynamoStore, S3Reader};
use tokio::sync::Mutex;

pub use lambda_glue::Error;

/// API Gateway gives up after 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(28);

/// One call of a service's health endpoint takes less than this anyhow.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves an endpoint that stands on nothing.
pub async fn serve_alone(route: Router<SharedClock>) -> Result<(), Error> {
    lambda_glue::log();
    let clock: SharedClock = Arc::new(SystemClock);
    run(route.with_state(Arc::clone(&clock)), clock).await
}

/// Serves an endpoint that reads and writes records.
pub async fn serve(route: Router<Api>) -> Result<(), Error> {
    let (mut environment, clients) = begin();
    let store = store(&mut environment, &clients);
    serve_on(store, environment, route).await
}

/// Serves an endpoint that also knows of executions that the table no longer has.
pub async fn serve_with_archive(route: Router<Api>) -> Result<(), Error> {
    let (mut environment, clients) = begin();
    let archive = Arc::new(S3Reader::new(clients.s3(), environment.archive_bucket()));
    let store = store(&mut environment, &clients).with_archive(archive);
    serve_on(store, environment, route).await
}

async fn serve_on(store: DynamoStore, mut environment: Environment, route: Router<Api>) -> Result<(), Error> {
    let api = api(store, &mut environment);
    environment.finish()?;
    let clock = Arc::clone(&api.clock);
    run(route.with_state(api), clock).await
}

/// Serves an endpoint that starts executions.
pub async fn serve_starting(route: Router<Starting>) -> Result<(), Error> {
    let (mut environment, clients) = begin();
    let api = api(store(&mut environment, &clients), &mut environment);
    let orchestrator: Arc<dyn Orchestrator> = match environment.engine() {
        EngineKind::Temporal => {
            let gateway = environment.required("WORKFLOW__TEMPORAL__GATEWAY");
            Arc::new(TemporalGateway::new(clients.functions(), gateway, Arc::clone(&api.clock)))
        }
        _ => Arc::new(StepFunctions::new(clients.sfn(), environment.state_machines())),
    };
    let default_timeout = environment.default_timeout();
    environment.finish()?;
    let clock = Arc::clone(&api.clock);
    run(route.with_state(Starting { api, orchestrator, default_timeout }), clock).await
}

/// Serves `/ready`.
pub async fn serve_readiness(route: Router<Readiness>) -> Result<(), Error> {
    let (mut environment, clients) = begin();
    let api = api(store(&mut environment, &clients), &mut environment);
    let endpoints = environment.endpoints();
    environment.finish()?;
    let downstream = Downstream::new(Arc::new(HttpTransport::default()), endpoints, api.clock.clone(), CALL_TIMEOUT);
    let clock = Arc::clone(&api.clock);
    let services = Services { downstream, clock: Arc::clone(&clock), last: Mutex::default() };
    let readiness = Readiness { api, engine: Arc::new(Managed), services: Arc::new(services) };
    run(route.with_state(readiness), clock).await
}

fn begin() -> (Environment, Clients) {
    lambda_glue::log();
    let mut environment = Environment::of_process();
    let clients = Clients::new(&mut environment);
    (environment, clients)
}

fn store(environment: &mut Environment, clients: &Clients) -> DynamoStore {
    DynamoStore::new(clients.dynamodb(), environment.table(), Arc::new(SystemClock))
}

fn api(store: DynamoStore, environment: &mut Environment) -> Api {
    let store = Arc::new(store);
    Api {
        executions: store.clone(),
        history: store,
        clock: Arc::new(SystemClock),
        access: environment.access(),
        request_timeout: REQUEST_TIMEOUT,
    }
}

async fn run(routes: Router, clock: SharedClock) -> Result<(), Error> {
    let routes = api::complete(routes, clock, REQUEST_TIMEOUT);
    let service = ServiceBuilder::new().layer(MapRequestLayer::new(from_gateway)).service(routes);
    let whole = |LambdaEvent { payload: Event(payload), context }| LambdaEvent { payload, context };
    let adapter = Adapter::from(service);
    lambda_runtime::run(ServiceBuilder::new().layer(MapRequestLayer::new(whole)).service(adapter)).await
}

/// An event of API Gateway. Its claims are text; should one come as what it is in the token, a number or an array of texts,
/// it is taken as the text of that. What is something else says nothing: the text of null is not the name of a tenant.
struct Event(LambdaRequest);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let event = Box::<RawValue>::deserialize(deserializer)?;
        let read = serde_json::from_str(event.get()).or_else(|_| serde_json::from_str(&with_texts(event.get())?));
        read.map(Self).map_err(D::Error::custom)
    }
}

fn with_texts(event: &str) -> serde_json::Result<String> {
    let mut event: Value = serde_json::from_str(event)?;
    let claims = event.pointer_mut("/requestContext/authorizer/jwt/claims").and_then(Value::as_object_mut);
    if let Some(claims) = claims {
        claims.retain(|_, claim| {
            if claim.is_number() || claim.as_array().is_some_and(|members| members.iter().all(Value::is_string)) {
                *claim = claim.to_string().into();
            }
            claim.is_string()
        });
    }
    Ok(event.to_string())
}

/// Takes the stage's name off the path, and hands on what the authorizer has verified.
fn from_gateway(mut request: lambda_http::Request) -> lambda_http::Request {
    let Some(RequestContext::ApiGatewayV2(context)) = request.extensions_mut().remove::<RequestContext>() else {
        return request;
    };
    if let Some(stage) = context.stage.as_deref().filter(|stage| *stage != "$default") {
        strip_prefix(&mut request, &format!("/{stage}/"));
    }
    if let Some(jwt) = context.authorizer.and_then(|authorizer| authorizer.jwt) {
        request.extensions_mut().insert(GatewayClaims(jwt.claims.into_iter().collect()));
    }
    request
}

fn strip_prefix(request: &mut lambda_http::Request, prefix: &str) {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().and_then(|path| path.as_str().strip_prefix(prefix));
    let Some(Ok(path)) = path.map(|path| format!("/{path}").parse()) else { return };
    parts.path_and_query = Some(path);
    if let Ok(uri) = lambda_http::http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// Step Functions has nothing to ask: its control plane is called when something is started.
struct Managed;

#[async_trait]
impl Check for Managed {
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The services, which are asked once in a while: anybody may ask whether this one is ready.
struct Services {
    downstream: Downstream,
    clock: SharedClock,
    last: Mutex<Option<(Timestamp, Result<(), String>)>>,
}

/// How long the services' last answer counts.
const ANSWER_COUNTS: Duration = Duration::from_secs(5);

#[async_trait]
impl Check for Services {
    async fn check(&self) -> Result<(), String> {
        let mut last = self.last.lock().await;
        let now = self.clock.now();
        match &*last {
            Some((at, answer)) if now.duration_since(*at).unsigned_abs() < ANSWER_COUNTS => answer.clone(),
            Some(_) | None => {
                let answer = self.downstream.check().await;
                *last = Some((now, answer.clone()));
                answer
            }
        }
    }
}

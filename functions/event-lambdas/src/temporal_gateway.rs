//! Other functions ask Temporal through this one, which has its client.

use std::sync::Arc;

use clock::{SharedClock, SystemClock};
use engine_temporal::{Connector, Server, Temporal};
use lambda_glue::gateway::{Request, answer};
use lambda_glue::{Clients, Environment, TemporalServer};
use lambda_runtime::LambdaEvent;
use workflows::RetryPolicy;

use crate::{Error, run};

/// Serves the others.
pub async fn serve() -> Result<(), Error> {
    lambda_glue::log();
    let mut environment = Environment::of_process();
    let clients = Clients::new(&mut environment);
    let server = environment.temporal_server();
    environment.finish()?;
    let clock: SharedClock = Arc::new(SystemClock);
    // With the first request: the secret is no business of the start.
    let engine = tokio::sync::OnceCell::new();
    let connect = async || {
        let connector = Arc::new(connector(&server, &clients, &clock).await?);
        let definition_of =
            |kind| workflows::workflow(kind).map(|workflow| workflow.definition(&RetryPolicy::default()));
        Ok::<_, Error>(Temporal::new(connector, &server.task_queue, Arc::new(definition_of)))
    };
    let handle =
        async |event: LambdaEvent<Request>| answer(engine.get_or_try_init(&connect).await?, event.payload).await;
    run(handle).await
}

/// The way to the server.
pub(crate) async fn connector(
    server: &TemporalServer,
    clients: &Clients,
    clock: &SharedClock,
) -> Result<Connector, Error> {
    let api_key = match &server.api_key_secret {
        Some(arn) => Some(clients.secrets().text(arn).await?),
        None => None,
    };
    let (url, namespace) = (Some(server.url.clone()), Some(server.namespace.clone()));
    let server = Server { url, namespace, identity: None, api_key };
    Ok(Connector::new(&server, Arc::clone(clock))?)
}

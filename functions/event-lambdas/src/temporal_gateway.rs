//! Other functions ask Temporal through this one, which has its client.

use std::sync::Arc;

use aws_clients::gateway::{Request, answer};
use aws_clients::{Clients, Secrets};
use clock::{SharedClock, SystemClock};
use engine_temporal::{Connector, Server, Temporal};
use lambda_runtime::LambdaEvent;
use settings::TemporalServer;
use workflows::RetryPolicies;

use crate::{Error, run};

/// Serves the others.
pub async fn serve() -> Result<(), Error> {
    aws_clients::log();
    let (aws, server, task_queue) =
        settings::of_function(|settings| (settings.aws(), settings.temporal_server(), settings.task_queue()))?;
    let secrets = Clients::of_function(aws).secrets();
    let clock: SharedClock = Arc::new(SystemClock);
    let engine = tokio::sync::OnceCell::new();
    let connect = async || {
        let connector = Arc::new(connector(&server, &secrets, &clock).await?);
        let definition_of =
            |kind| workflows::workflow(kind).map(|workflow| workflow.definition(&RetryPolicies::default()));
        Ok::<_, Error>(Temporal::new(connector, &task_queue, Arc::new(definition_of)))
    };
    // Lambda gives a function more of a processor to begin than to answer. What is wrong with the secret is the error of
    // the requests, which try it again: an error here would start the function again and again.
    if let Err(error) = engine.get_or_try_init(&connect).await {
        tracing::warn!(%error, "Temporal cannot be asked yet");
    }
    let handle =
        async |event: LambdaEvent<Request>| answer(engine.get_or_try_init(&connect).await?, event.payload).await;
    run(handle).await
}

/// The way to the server.
pub(crate) async fn connector(
    server: &TemporalServer,
    secrets: &Secrets,
    clock: &SharedClock,
) -> Result<Connector, Error> {
    let TemporalServer { url, namespace, identity, api_key_secret } = server.clone();
    let api_key = match api_key_secret {
        Some(arn) => Some(secrets.text(&arn).await?),
        None => None,
    };
    Ok(Connector::new(&Server { url, namespace, identity, api_key }, Arc::clone(clock))?)
}

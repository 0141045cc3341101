//! `workflow-service worker`

use std::process::ExitCode;
use std::time::Duration;

use clock::SystemClock;
use engine_temporal_worker::{WorkerError, run as work};
use tokio::sync::watch;
use workflow_service::{Settings, Surroundings, Worker};

use super::output::{announce, say};
use super::serve::stop_signal;

/// How long it waits before it looks again for a server that is away.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        if let Err(error) = stop_signal().await {
            tracing::error!(%error, "signals cannot be heard");
        }
        stop.send_replace(true);
    });
    let mut has_worked = false;
    loop {
        let opened = Worker::open(&settings, Surroundings::real()?).await;
        let Worker { connector, options, ports } = match opened {
            Ok(worker) => worker,
            // What was there when it began comes back.
            Err(error) if has_worked => {
                say(format!("{error:#}; trying again in {RETRY_INTERVAL:?}"));
                if is_stopped(&stopping).await {
                    break;
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        has_worked = true;
        let (address, namespace, task_queue) = (connector.address(), connector.namespace(), &options.task_queue);
        let text = format!("works for {address} in the namespace {namespace}, task queue {task_queue}");
        let mut stopped = stopping.clone();
        let until_stopped = async move { drop(stopped.wait_for(|stop| *stop).await) };
        match work(connector, options, ports, || announce(text), until_stopped).await {
            Ok(()) => break,
            // A server that is away comes back, and a key is exchanged: nothing is lost meanwhile.
            Err(WorkerError::Unavailable(reason)) => say(format!("{reason}; trying again in {RETRY_INTERVAL:?}")),
            Err(error) => say(format!("{error}; beginning again in {RETRY_INTERVAL:?}")),
        }
        if is_stopped(&stopping).await {
            break;
        }
    }
    announce("stopped; what was under way is done or given back");
    Ok(ExitCode::SUCCESS)
}

/// Waits until it looks again, or is to stop.
async fn is_stopped(stopping: &watch::Receiver<bool>) -> bool {
    let mut stopped = stopping.clone();
    let stop = async { drop(stopped.wait_for(|stop| *stop).await) };
    clock::timeout(&SystemClock, RETRY_INTERVAL, stop).await.is_some()
}

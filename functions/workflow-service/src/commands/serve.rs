//! Listening, and stopping in good order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::Access;
use axum::Router;
use downstream::HttpTransport;
use futures::future::join_all;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use workflow_service::edge::{Allotment, Connections, Hosts, Server};
use workflow_service::{App, Settings, Surroundings};

use super::output::say;
use super::working::Working;

/// How long requests under way may take to end once the process is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// How long activities under way may take to end: most do within that time. The next process delivers the others again.
const ACTIVITY_GRACE: Duration = Duration::from_secs(1);

/// A trial's services and its worker, which end after the engine that uses them.
#[derive(Default)]
pub(crate) struct Beside {
    pub(crate) services: Vec<Server>,
    pub(crate) worker: Option<Working>,
}

/// Takes an address.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// The settings within the limit of open files, and what the service stands on.
pub(crate) fn within(allotment: &Allotment, mut settings: Settings) -> anyhow::Result<(Settings, Surroundings)> {
    settings.max_concurrent_activities = allotment.activities;
    let transport = Arc::new(HttpTransport::keeping(allotment.kept_per_service));
    Ok((settings, Surroundings { transport, ..Surroundings::real()? }))
}

/// Serves the API. Where it is open because only this machine reaches it, no page of another site may use it.
pub(crate) fn serve_api(settings: &Settings, allotment: &Allotment, listener: TcpListener, router: Router) -> Server {
    let hosts = match settings.access {
        Access::Open if settings.host.is_loopback() => Hosts::OfThisMachine(vec![settings.host.to_string()]),
        _ => Hosts::Any,
    };
    Server::start(listener, router, &Connections::new(allotment.connections), hosts)
}

/// Serves until a signal comes or the store fails. Then clients come first, as they wait for answers; the engine goes before
/// what its activities call, so that none of them fails because the process stops.
pub(crate) async fn until_stopped(app: App, api: Server, beside: Beside) -> anyhow::Result<ExitCode> {
    let code = tokio::select! {
        reason = app.store.failed() => {
            // Nothing that was acknowledged is lost: it is in the files, and a restart goes on from there.
            say(format!("error: {reason}"));
            ExitCode::FAILURE
        }
        heard = stop_signal() => heard.map(|()| ExitCode::SUCCESS)?,
    };
    app.end_waiting();
    api.stop(GRACE).await;
    app.stop_engine(ACTIVITY_GRACE).await;
    if let Some(worker) = beside.worker {
        worker.stop(GRACE).await;
    }
    join_all(beside.services.into_iter().map(|service| service.stop(ACTIVITY_GRACE))).await;
    Ok(code)
}

/// Waits for a signal to stop.
pub(crate) async fn stop_signal() -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Takes the address of the API.
pub(crate) async fn listen_to_api(settings: &Settings) -> anyhow::Result<TcpListener> {
    let (host, port) = (settings.host.to_string(), settings.port);
    let listening = TcpListener::bind((host.as_str(), port)).await;
    listening.with_context(|| format!("cannot listen on {host}, port {port}"))
}

/// How to use the Temporal server that the settings name, if nothing says that it is to be used.
pub(crate) fn temporal_hint(settings: &Settings, how: &str) -> Option<String> {
    let server = settings.unused_temporal()?;
    Some(format!(
        "new executions run on the embedded engine. To run them on the Temporal server {server}, which the settings \
         name, {how}"
    ))
}

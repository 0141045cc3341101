//! Listening, and stopping in good order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use clock::SystemClock;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use workflow_service::{App, Settings};

use super::output::say;

/// How long requests under way may take to end once the process is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Takes an address.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves everything until a signal comes or the store fails.
pub(crate) async fn until_stopped(app: App, servers: Vec<(TcpListener, Router)>) -> anyhow::Result<ExitCode> {
    let (stop, stopping) = watch::channel(false);
    let mut tasks = Vec::new();
    for (listener, router) in servers {
        let mut stopping = stopping.clone();
        let server = axum::serve(listener, router).with_graceful_shutdown(async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        });
        tasks.push(tokio::spawn(server.into_future()));
    }
    let code = tokio::select! {
        reason = app.store.failed() => {
            // Nothing that was acknowledged is lost: it is in the files, and a restart goes on from there.
            say(format!("error: {reason}"));
            ExitCode::FAILURE
        }
        heard = stop_signal() => heard.map(|()| ExitCode::SUCCESS)?,
    };
    stop.send_replace(true);
    app.end_waiting();
    clock::timeout(&SystemClock, GRACE, futures::future::join_all(tasks)).await;
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

//! The HTTP edge of a server: it takes connections, keeps them within the limits of time and of the process's files, and
//! hands their requests to the routes.
//!
//! A connection is *idle* as long as no request of its is under way. Where there are too many connections, the one that has
//! been idle for longest is closed in favour of a new one. Where none is idle, a few more are let in that are answered about
//! the health and told to come back for anything else.

mod allotment;
mod connection;
mod connections;
mod doing;
mod hosts;
mod service;
mod watched;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clock::{SharedClock, SystemClock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub use allotment::Allotment;
pub use connections::Connections;
pub use hosts::Hosts;

use connection::serve;
use doing::{Doing, Times};
use service::Answering;

/// How long it waits before it takes connections again when the system has none to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener that is served until it is stopped.
pub struct Server {
    stop: watch::Sender<bool>,
}

impl Server {
    /// Serves a router to the clients of a listener.
    pub fn start(listener: TcpListener, router: Router, connections: &Arc<Connections>, hosts: Hosts) -> Self {
        let (stop, stopping) = watch::channel(false);
        let listening = Listening {
            listener,
            router,
            connections: Arc::clone(connections),
            hosts: Arc::new(hosts),
            clock: Arc::new(SystemClock),
            stopping,
        };
        tokio::spawn(listening.run());
        Self { stop }
    }

    /// Takes no more connections and no more requests, and waits until those under way are answered, but not for longer than
    /// `grace`.
    pub async fn stop(self, grace: Duration) {
        self.stop.send_replace(true);
        clock::timeout(&SystemClock, grace, self.stop.closed()).await;
    }
}

/// What takes connections.
struct Listening {
    listener: TcpListener,
    router: Router,
    connections: Arc<Connections>,
    hosts: Arc<Hosts>,
    clock: SharedClock,
    /// Each connection holds one too: so it is known when the last of them is gone.
    stopping: watch::Receiver<bool>,
}

impl Listening {
    async fn run(self) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = self.take_connections() => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }

    async fn take_connections(&self) {
        let mut is_refused = false;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    is_refused = false;
                    self.take(stream).await;
                }
                // It was about this connection.
                Err(error) if is_of_client(error.kind()) => {}
                Err(error) => {
                    if !is_refused {
                        tracing::error!(%error, "no connection can be taken");
                    }
                    is_refused = true;
                    self.connections.close_oldest_idle();
                    clock::sleep(&*self.clock, ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn take(&self, stream: TcpStream) {
        let slot = self.connections.admit().await;
        // An answer is written at once: there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        let doing = Arc::new(Doing::new(slot, Times::default(), Arc::clone(&self.clock)));
        let answering = Answering::new(self.router.clone(), Arc::clone(&self.hosts), Arc::clone(&doing));
        tokio::spawn(serve(stream, answering, doing, self.stopping.clone()));
    }
}

fn is_of_client(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
}

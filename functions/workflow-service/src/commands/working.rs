//! A worker in the server's process.

use std::time::Duration;

use clock::SystemClock;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use workflow_service::Worker;

/// A worker beside the server.
pub(crate) struct Working {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Working {
    pub(crate) fn start(worker: Worker) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(keep_working(worker, async move { drop(stopped.await) })) }
    }

    /// Lets it finish what is under way, but not for longer than `grace`.
    pub(crate) async fn stop(self, grace: Duration) {
        let _ = self.stop.send(());
        clock::timeout(&SystemClock, grace, self.task).await;
    }
}

async fn keep_working(worker: Worker, stopped: impl Future<Output = ()> + Send + 'static) {
    let Worker { connector, options, ports } = worker;
    let outcome = engine_temporal_worker::run(connector, options, ports, || {}, stopped).await;
    if let Err(error) = outcome {
        tracing::error!(%error, "no worker works any more; restart to go on");
    }
}

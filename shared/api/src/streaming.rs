//! Answers that stay open: whether there are any, and when they have to end.

use clock::{Clock, Instant};
use futures::future::{Either, select};
use tokio::sync::watch;

/// Whether answers can be streamed from here.
#[derive(Debug, Clone)]
pub enum Streaming {
    /// They cannot: what stands in front, such as API Gateway, hands on whole answers only.
    Unsupported,
    /// They can, until this says that the process stops, or nobody is left to say it.
    Until(watch::Receiver<bool>),
}

impl Streaming {
    /// Sleeps until a moment; false if the process stops meanwhile.
    pub(crate) async fn sleep_until(&self, clock: &dyn Clock, at: Instant) -> bool {
        // Before it parks: virtual time would move first.
        if self.is_stopping() {
            return false;
        }
        let stopping = std::pin::pin!(self.stopping());
        matches!(clock::park(clock, select(clock.alarm(at), stopping)).await, Either::Left(_))
    }

    fn is_stopping(&self) -> bool {
        match self {
            Self::Unsupported => false,
            Self::Until(stop) => *stop.borrow() || stop.has_changed().is_err(),
        }
    }

    async fn stopping(&self) {
        match self {
            Self::Unsupported => std::future::pending().await,
            Self::Until(stop) => {
                let _ = stop.clone().wait_for(|stop| *stop).await;
            }
        }
    }
}

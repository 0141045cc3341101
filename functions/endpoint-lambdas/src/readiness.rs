//! What `/ready` asks.

use std::time::Duration;

use api::Check;
use async_trait::async_trait;
use clock::{SharedClock, Timestamp};
use downstream::Downstream;
use tokio::sync::Mutex;

/// How long the services' last answer counts.
const ANSWER_COUNTS: Duration = Duration::from_secs(5);

/// Step Functions has nothing to ask: its control plane is called when something is started.
pub(crate) struct Managed;

#[async_trait]
impl Check for Managed {
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The services, which are asked once in a while: anybody may ask whether this one is ready.
pub(crate) struct Services {
    downstream: Downstream,
    clock: SharedClock,
    last: Mutex<Option<(Timestamp, Result<(), String>)>>,
}

impl Services {
    pub(crate) fn new(downstream: Downstream, clock: SharedClock) -> Self {
        Self { downstream, clock, last: Mutex::default() }
    }
}

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

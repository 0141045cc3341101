//! Temporal behind a function: its client is four times as large as a function that starts something, so one function has
//! it, and the others call that one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::{Instant, SharedClock};
use contracts::EngineKind;
use engine::{Engine, EngineError, Standing, StartOutcome};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{ExecutionRecord, NewAuditRow, NewExecution};

use crate::{Error, Functions};

/// How long an answer about the server counts.
const CHECK_COUNTS: Duration = Duration::from_secs(5);

/// What the gateway is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the engine's operations")]
pub enum Request {
    Check,
    Start(Box<ExecutionRecord>),
    Describe(Box<ExecutionRecord>),
    Terminate { record: Box<ExecutionRecord>, reason: String },
}

/// The gateway's side: asks the engine, and answers.
///
/// # Errors
/// The engine's.
pub async fn answer(engine: &dyn Engine, request: Request) -> Result<Value, Error> {
    Ok(match request {
        Request::Check => engine.check().await.map(|()| Value::Null)?,
        Request::Start(record) => json!(engine.start(&record).await?),
        Request::Describe(record) => json!(engine.describe(&record).await?),
        Request::Terminate { record, reason } => {
            engine.terminate(&record, &reason, None).await.map(|()| Value::Null)?
        }
    })
}

/// The engine, as it is seen through the gateway.
#[derive(Clone)]
pub struct TemporalGateway {
    functions: Functions,
    /// The name of the function.
    function: String,
    clock: SharedClock,
    /// Until when the last answer about the server counts.
    checked: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl TemporalGateway {
    /// Behind this function.
    pub fn new(functions: Functions, function: impl Into<String>, clock: SharedClock) -> Self {
        Self { functions, function: function.into(), clock, checked: Arc::default() }
    }

    async fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, EngineError> {
        let unavailable = |why: String| EngineError::Unavailable(why);
        // Whatever it is asked is the same when it is asked twice: a start is by its name, and what has ended stays so.
        let answered = self.functions.call_repeatable(&self.function, &json!(request)).await;
        let answer = answered.map_err(|failed| {
            self.count_until(None);
            unavailable(format!("{}: {}", failed.error, failed.message))
        })?;
        serde_json::from_value(answer).map_err(|error| unavailable(error.to_string()))
    }

    fn count_until(&self, until: Option<Instant>) {
        *self.checked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = until;
    }

    fn counts(&self) -> bool {
        let until = *self.checked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        until.is_some_and(|until| self.clock.instant() < until)
    }
}

#[async_trait]
impl Engine for TemporalGateway {
    fn kind(&self) -> EngineKind {
        EngineKind::Temporal
    }

    async fn admit(&self, _new: &mut NewExecution) -> Result<(), EngineError> {
        self.check().await.map_err(EngineError::Unavailable)
    }

    async fn start(&self, record: &ExecutionRecord) -> Result<StartOutcome, EngineError> {
        self.ask(&Request::Start(Box::new(record.clone()))).await
    }

    async fn check(&self) -> Result<(), String> {
        if !self.counts() {
            self.ask::<()>(&Request::Check).await.map_err(|error| error.to_string())?;
            self.count_until(Some(self.clock.instant() + CHECK_COUNTS));
        }
        Ok(())
    }

    async fn describe(&self, record: &ExecutionRecord) -> Result<Standing, EngineError> {
        self.ask(&Request::Describe(Box::new(record.clone()))).await
    }

    async fn terminate(
        &self,
        record: &ExecutionRecord,
        reason: &str,
        _audit: Option<NewAuditRow>,
    ) -> Result<(), EngineError> {
        let record = Box::new(record.clone());
        self.ask::<()>(&Request::Terminate { record, reason: reason.to_owned() }).await
    }

    /// What a pause holds asks again by itself, within five minutes.
    async fn wake(&self, _record: &ExecutionRecord) -> Result<(), EngineError> {
        Ok(())
    }
}

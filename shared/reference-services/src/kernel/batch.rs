//! Many things in one request: one transaction, and in it each item by itself.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::Value;

use super::attempt::{Attempt, KEY_REUSED, KEY_UNDONE, Keyed, Work};
use super::item::Run;
use super::{Call, Done, Item, Problem, Service, Tx, fence};

/// The most items of a request.
pub(super) const MAX_ITEMS: usize = 1_000;

/// What is to be done to an item.
pub(super) struct Step {
    pub(super) item: Item,
    pub(super) run: Run,
    /// What distinguishes the item from others under the same key.
    pub(super) request: Value,
}

/// What became of an item: what is remembered under its key, or why not.
pub(super) type ItemResult = Result<Value, Refusal>;

/// Why an item is not done.
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The request that the items are in.
pub(super) struct Batch<'b> {
    pub(super) service: &'b Service,
    pub(super) call: &'b Call,
    pub(super) method: &'b str,
    pub(super) route: &'b str,
    /// What the logs call what is done to each item.
    pub(super) action: &'b str,
    /// Whether everything is taken back in the end.
    pub(super) dry_run: bool,
}

impl Batch<'_> {
    /// Does all that can be done, in order. Nothing is done at all if the service cannot use its data, or if the caller has
    /// lost its lease.
    pub(super) async fn run(&self, steps: Vec<Result<Step, Refusal>>) -> Result<Vec<ItemResult>, Problem> {
        let mut connection = self.service.connection().await;
        let mut transaction = self.service.begin(&mut connection).await?;
        let types: BTreeSet<&str> = steps.iter().flatten().map(|step| step.item.entity.name).collect();
        for entity_type in types {
            fence::pass(&mut transaction, self.call, entity_type).await?;
        }
        let mut results = Vec::with_capacity(steps.len());
        for step in steps {
            results.push(match step {
                Ok(step) => self.step(&mut transaction, step).await?,
                Err(refusal) => Err(refusal),
            });
        }
        if self.dry_run {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
        }
        Ok(results)
    }

    async fn step(&self, connection: &mut sqlx::SqliteConnection, step: Step) -> Result<ItemResult, Problem> {
        let key = step.item.key.clone();
        let request = Keyed {
            service: self.service,
            call: self.call,
            key: &key,
            listed_key: key.clone(),
            hash: self.call.hash(self.method, &step.request),
            method: self.method,
            route: self.route,
            action: self.action,
        };
        Ok(match request.attempt(connection, step).await? {
            Attempt::Done(answer) | Attempt::Repeated(answer) => {
                Ok(serde_json::from_str(&answer.body).map_err(super::table::decode)?)
            }
            Attempt::KeyReused => Err(Refusal::new("KeyReused", KEY_REUSED)),
            Attempt::KeyUndone => Err(Refusal::new("Undone", KEY_UNDONE)),
            Attempt::Refused(problem) if problem.status() == StatusCode::INTERNAL_SERVER_ERROR => return Err(problem),
            Attempt::Refused(problem) => Err(Refusal::new(problem.code(), problem.detail())),
        })
    }
}

impl Work for Step {
    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let done = (self.run)(&self.item, tx).await?;
        Ok(Done::ok(self.item.entity.name, &self.item.id, done.into_body()))
    }
}

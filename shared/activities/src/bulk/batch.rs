//! Does one batch: calls the services, tries again what failed for a passing reason, and finds by halving which entity lets a
//! whole call fail.
//!
//! A batch never waits: where there is something to wait for, it stores how far it is and says after how many seconds it is
//! to be called again. Repeating a call is safe at any time, as every entity has a key of its own.

use std::collections::VecDeque;
use std::time::Duration;

use contracts::{ActivityError, ErrorName};
use downstream::operations::{Item, ItemResult, ItemStatus, operate};
use downstream::{Health, Service};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{BatchPart, Entity, EntityStatus, Outcome, Plan, entity_key};
use crate::Context;
use crate::files::{Files, lost, push_line, unfinished};

/// The code of an entity that may have been done or not.
const UNKNOWN: &str = "Unknown";
/// Entities in one call.
pub(super) const MAX_CALL_ENTITIES: usize = 1_000;
/// About the most bytes of one call; a single entity may have more.
const MAX_CALL_BYTES: usize = 512 * 1024;
/// How long one attempt works before it says that it is to be called again. The activity's time limit leaves room for one
/// more call and the rest after the batch.
const SLICE: Duration = Duration::from_secs(30);
/// The longest pause before what failed for a passing reason is tried again.
const MAX_PAUSE_SECONDS: u64 = 60;
/// The longest pause after a service asked to slow down, unless it asked for a longer one. Each pause is six events of a
/// state machine's history, of which Step Functions keeps 25,000.
const MAX_THROTTLED_PAUSE_SECONDS: u64 = 300;
/// How long a service may answer 429 and nothing else; then what it was asked for has failed.
const MAX_THROTTLED_SECONDS: u64 = 24 * 3_600;

#[derive(Deserialize)]
struct Input {
    batch: BatchPart,
    /// The error for which the machine gives the batch up; what is not decided by then has failed.
    #[serde(default)]
    given_up: Option<String>,
}

/// Entities that go into one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    /// Their places in the batch.
    places: Vec<usize>,
    /// Calls that were made for them.
    attempts: u32,
    /// Whether it is part of a group whose call failed for no passing reason: it is tried once, and halved.
    is_halved: bool,
}

/// How far a batch is.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    outcomes: Vec<Option<Outcome>>,
    /// What is to be called, in this order.
    queue: VecDeque<Group>,
    /// Calls that were answered 429 since the last other answer.
    #[serde(default)]
    throttled: u32,
    /// How long they were waited for.
    #[serde(default)]
    throttled_seconds: u64,
    /// Whether an attempt began that may have made calls of which this does not tell.
    #[serde(default)]
    is_under_way: bool,
}

/// What is to be done after a call.
enum Next {
    GoOn,
    /// Call again after so many seconds.
    Wait(u64),
    /// The service cannot be reached: the machine repeats that for as long as a restart takes.
    Fail(ActivityError),
}

/// Does a batch: answers `{completed, failed, unprocessed}`.
pub(crate) async fn process(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { batch, given_up } = context.input()?;
    let files = context.files();
    let plan: Plan = files.read_plan().await?;
    let entities = files.read_entities(&batch).await?;
    let state_file = files.state(batch.batch)?;
    let stored = files.read(&state_file).await?;
    let work = Work { context, plan: &plan, entities: &entities };
    let mut state = stored.unwrap_or_else(|| work.begin());
    if state.outcomes.len() != entities.len() {
        return Err(lost("how far a batch is"));
    }
    if let Some(error) = given_up {
        state.give_up(&entities, &error);
    }
    if !plan.options.dry_run {
        // If this attempt says nothing any more, what it did is not known.
        state.is_under_way = true;
        files.write_json(&state_file, &state).await?;
    }
    let began = context.clock.instant();
    while let Some(group) = state.queue.pop_front() {
        let next = work.call(&mut state, group).await?;
        let wait = match next {
            Next::GoOn if context.clock.instant().since(began) < SLICE || state.queue.is_empty() => continue,
            Next::GoOn => 0,
            Next::Wait(seconds) => seconds,
            Next::Fail(error) => return Err(error),
        };
        state.is_under_way = false;
        files.write_json(&state_file, &state).await?;
        return Err(unfinished(wait));
    }
    let counts = finish(&files, &batch, &entities, state).await?;
    context.report(Map::from_iter([
        ("completed".to_owned(), counts["completed"].clone()),
        ("failed".to_owned(), counts["failed"].clone()),
    ]))?;
    // The rest is part of the batch: so there are never more calls than the parallel places allow.
    if batch.batch + 1 < plan.batches {
        clock::sleep(&**context.clock, Duration::from_millis(plan.options.delay_between_batches_ms)).await;
    }
    Ok(counts)
}

/// Writes what came of all entities of a batch, and counts it.
async fn finish(
    files: &Files<'_>,
    batch: &BatchPart,
    entities: &[Entity],
    state: State,
) -> Result<Value, ActivityError> {
    let mut counts = [0_u64; 3];
    for outcome in write_outcomes(files, batch, entities, state).await? {
        counts[outcome.status as usize] += 1;
    }
    let [completed, failed, unprocessed] = counts;
    Ok(json!({ "completed": completed, "failed": failed, "unprocessed": unprocessed }))
}

async fn write_outcomes(
    files: &Files<'_>,
    batch: &BatchPart,
    entities: &[Entity],
    state: State,
) -> Result<Vec<Outcome>, ActivityError> {
    let mut text = Vec::new();
    let of_entity =
        |(entity, outcome): (&Entity, Option<Outcome>)| outcome.unwrap_or_else(|| Outcome::unprocessed(entity.index));
    let outcomes: Vec<Outcome> = entities.iter().zip(state.outcomes).map(of_entity).collect();
    outcomes.iter().try_for_each(|outcome| push_line(&mut text, outcome))?;
    files.write(&files.outcomes(batch.batch)?, text).await?;
    Ok(outcomes)
}

/// What came of a batch that was given up between its calls, or within one; none if it never began. What may have been done
/// without being told counts as failed.
pub(super) async fn conclude(
    files: &Files<'_>,
    batch: &BatchPart,
    entities: &[Entity],
) -> Result<Option<Vec<Outcome>>, ActivityError> {
    let Some(mut state) = files.read::<State>(&files.state(batch.batch)?).await? else { return Ok(None) };
    if !state.is_under_way {
        state.queue.retain(|group| group.attempts > 0);
    }
    state.give_up(entities, UNKNOWN);
    write_outcomes(files, batch, entities, state).await.map(Some)
}

/// A batch being done.
struct Work<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    entities: &'a [Entity],
}

impl Work<'_> {
    /// Nothing is done; what cannot be tried has failed.
    fn begin(&self) -> State {
        let outcomes = self.entities.iter().map(Outcome::malformed).collect();
        let mut state =
            State { outcomes, queue: VecDeque::new(), throttled: 0, throttled_seconds: 0, is_under_way: false };
        for service in Service::ALL {
            let (mut places, mut bytes) = (Vec::new(), 0);
            for (place, entity) in self.entities.iter().enumerate() {
                if entity.service != service.as_str() || entity.problem.is_some() {
                    continue;
                }
                let size = serde_json::to_string(&entity.operation_data).map_or(0, |text| text.len()) + 256;
                if places.len() == MAX_CALL_ENTITIES || !places.is_empty() && bytes + size > MAX_CALL_BYTES {
                    state.queue.push_back(Group { places: std::mem::take(&mut places), attempts: 0, is_halved: false });
                    bytes = 0;
                }
                places.push(place);
                bytes += size;
            }
            if !places.is_empty() {
                state.queue.push_back(Group { places, attempts: 0, is_halved: false });
            }
        }
        state
    }

    /// Makes one call.
    async fn call(&self, state: &mut State, group: Group) -> Result<Next, ActivityError> {
        let group = Group { attempts: group.attempts + 1, ..group };
        let service = self.service_of(&group)?;
        match self.operate(service, &group).await? {
            Ok(results) => {
                (state.throttled, state.throttled_seconds) = (0, 0);
                Ok(self.note(state, group, results))
            }
            Err(error) => self.whole_call_failed(state, group, service, error).await,
        }
    }

    fn service_of(&self, group: &Group) -> Result<Service, ActivityError> {
        let first = group.places.first().and_then(|place| self.entities.get(*place));
        first.and_then(|entity| Service::named(&entity.service)).ok_or_else(|| lost("the service of an entity"))
    }

    /// What came of the entities, or the error of the whole call.
    async fn operate(
        &self,
        service: Service,
        group: &Group,
    ) -> Result<Result<Vec<ItemResult>, ActivityError>, ActivityError> {
        let tenant_id = self.context.tenant_id();
        let data: Vec<Map<String, Value>> =
            group.places.iter().map(|place| merged(&self.plan.data, &self.entities[*place].operation_data)).collect();
        let mut items = Vec::with_capacity(group.places.len());
        for (place, data) in group.places.iter().zip(&data) {
            let entity = &self.entities[*place];
            items.push(Item {
                entity_type: &entity.entity_type,
                entity_id: &entity.entity_id,
                key: entity_key(tenant_id, self.plan, entity.index)?,
                data,
            });
        }
        let (operation, dry_run) = (self.plan.operation.as_str(), self.plan.options.dry_run);
        let downstream = self.context.downstream.fenced(self.plan.fence);
        Ok(operate(&downstream, service, operation, tenant_id, &items, dry_run).await)
    }

    /// The call was answered.
    fn note(&self, state: &mut State, group: Group, results: Vec<ItemResult>) -> Next {
        let may_retry = group.attempts <= self.plan.options.max_retries;
        let mut again = Vec::new();
        for (place, result) in group.places.into_iter().zip(results) {
            let index = self.entities[place].index;
            let code = |word: Option<String>, default: &str| word.unwrap_or_else(|| default.to_owned());
            match result.status {
                ItemStatus::Succeeded => {
                    state.outcomes[place] = Some(Outcome {
                        index,
                        status: EntityStatus::Succeeded,
                        code: code(result.outcome, "done"),
                        message: String::new(),
                        attempts: group.attempts,
                        data: result.data,
                    });
                }
                ItemStatus::Failed if result.retryable && may_retry => again.push(place),
                ItemStatus::Failed => {
                    let code = code(result.code, ErrorName::ServiceRejected.as_str());
                    let message = result.message.as_deref().map(shortened).unwrap_or_default();
                    state.outcomes[place] = Some(failed(index, &code, &message, group.attempts));
                }
            }
        }
        if again.is_empty() {
            return Next::GoOn;
        }
        state.queue.push_back(Group { places: again, attempts: group.attempts, is_halved: group.is_halved });
        Next::Wait(pause(group.attempts, MAX_PAUSE_SECONDS))
    }

    /// Asking to slow down is no failure, and no attempt; but nobody waits for ever.
    fn throttled(&self, state: &mut State, group: Group, error: &ActivityError) -> Next {
        state.throttled += 1;
        let asked = error.cause.retry_after_seconds.unwrap_or_default();
        let wait = asked.max(pause(state.throttled, MAX_THROTTLED_PAUSE_SECONDS));
        state.throttled_seconds += wait;
        if state.throttled_seconds <= MAX_THROTTLED_SECONDS {
            state.queue.push_front(Group { attempts: group.attempts - 1, ..group });
            return Next::Wait(wait);
        }
        let hours = MAX_THROTTLED_SECONDS / 3_600;
        let message = format!("{}, and nothing else for {hours} hours", error.cause.message);
        self.fail(state, group, &error.error, &message);
        Next::GoOn
    }

    fn fail(&self, state: &mut State, group: Group, code: &str, message: &str) {
        for place in group.places {
            state.outcomes[place] = Some(failed(self.entities[place].index, code, message, group.attempts));
        }
    }

    /// The call as a whole failed: it is tried again, or it is found out which entity is to blame.
    async fn whole_call_failed(
        &self,
        state: &mut State,
        group: Group,
        service: Service,
        error: ActivityError,
    ) -> Result<Next, ActivityError> {
        let attempts = group.attempts;
        if error.error == ErrorName::ServiceThrottled.as_str() {
            return Ok(self.throttled(state, group, &error));
        }
        (state.throttled, state.throttled_seconds) = (0, 0);
        // What breaks the connection to a service that answers otherwise may be an entity.
        if error.error == ErrorName::ServiceUnreachable.as_str()
            && self.context.downstream.health(service).await.fault.is_some()
        {
            return Ok(Next::Fail(error));
        }
        if error.is_retryable() && !group.is_halved && attempts <= self.plan.options.max_retries {
            state.queue.push_front(group);
            return Ok(Next::Wait(pause(attempts, MAX_PAUSE_SECONDS)));
        }
        let mut message = error.cause.message.clone();
        let mut is_of_one = may_be_of_one_entity(&error);
        // A service that does not work at all fails every call: there is no entity to be found.
        if error.is_retryable()
            && !group.is_halved
            && let Health { fault: Some(fault), .. } = self.context.downstream.health(service).await
        {
            message = format!("{message}, and the service is unhealthy: {fault}");
            is_of_one = false;
        }
        if group.places.len() == 1 || !is_of_one {
            self.fail(state, group, &error.error, &message);
            return Ok(Next::GoOn);
        }
        let mut left = group.places;
        let right = left.split_off(left.len() / 2);
        for places in [right, left] {
            state.queue.push_front(Group { places, attempts, is_halved: true });
        }
        Ok(Next::GoOn)
    }
}

impl State {
    /// What is not decided has failed: it may have been done all the same.
    fn give_up(&mut self, entities: &[Entity], error: &str) {
        for group in self.queue.drain(..) {
            for place in group.places {
                let message = "it is not known whether it was done; a retry finds out";
                self.outcomes[place].get_or_insert(failed(entities[place].index, error, message, group.attempts));
            }
        }
    }
}

/// Whether one entity may have let a whole call fail, so that it is worth looking for it. Who may not call, or calls what is
/// not there, is told the same whatever the entities are.
fn may_be_of_one_entity(error: &ActivityError) -> bool {
    let names = [ErrorName::ServiceRejected, ErrorName::Conflict];
    error.is_retryable() || names.iter().any(|name| error.error == name.as_str())
}

/// The seconds before the next attempt after so many: 1, 2, 4, and so on up to the longest.
fn pause(attempts: u32, longest: u64) -> u64 {
    1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(longest).min(longest)
}

/// A service's sentence, of a length that fits into a table. A field that it names by the place in the call, where the entity's
/// data is `data`, is named by the place in the request, where it is `operation_data`.
fn shortened(message: &str) -> String {
    const MAX_CHARS: usize = 200;
    let message = format!(" {message}").replace(" /data/", " /operation_data/");
    let shown = message.trim_start().chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    shown.take(MAX_CHARS).collect()
}

fn failed(index: u64, code: &str, message: &str, attempts: u32) -> Outcome {
    Outcome {
        index,
        status: EntityStatus::Failed,
        code: code.to_owned(),
        message: message.to_owned(),
        attempts,
        data: None,
    }
}

/// What the request says for all entities, and what is said of this one.
pub(super) fn merged(of_all: &Map<String, Value>, own: &Map<String, Value>) -> Map<String, Value> {
    let mut data = of_all.clone();
    data.extend(own.clone());
    data
}

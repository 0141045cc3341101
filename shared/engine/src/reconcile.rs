//! Reconciles our records with the journals of engines that keep their own, elsewhere.

use std::time::Duration;

use clock::{Busy, Clock};
use contracts::{EngineKind, Timestamp};
use futures::future::{join_all, try_join};
use store::{DueExecution, EndRecorder, Executions};

use crate::{EngineError, Engines, Standing, StartOutcome};

/// What a reconciliation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Starts that nothing had come of: the engine was told once more.
    pub started: u32,
    /// Ends that nobody had recorded.
    pub ended: u32,
    /// Executions that could not be reconciled now.
    pub failed: u32,
}

/// Executions younger than this are left alone: their start or end may still be on its way.
pub const SETTLING_TIME: Duration = Duration::from_secs(60);

/// Engines are asked this many questions in each [`PACE`]: of Step Functions 10 a second are allowed in most regions.
const LOOKS_AT_ONCE: u32 = 8;

/// Starts are told this often in each [`PACE`]: Step Functions takes 150 a second and more, which new ones need as well.
const STARTS_AT_ONCE: u32 = 25;
const PACE: Duration = Duration::from_secs(1);

/// Turns of a reconciliation, a [`PACE`] each: what there is time for.
const MAX_TURNS: u32 = 36;

/// No look is begun after this, and none takes longer than that: a reconciliation is over within a minute, when the next
/// one begins.
const LAST_BEGIN: Duration = Duration::from_secs(35);
const LONGEST_LOOK: Duration = Duration::from_secs(15);

/// An execution that was as recorded is looked at again after a tenth of its age, within these.
const NEXT_LOOK: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(3_600)];

/// When an execution is looked at again that has begun and that its engine does not know: after as long as it is old by
/// then, within the same limits. So the time between two looks doubles, and what nobody terminates costs a look an hour.
fn next_look_at_unknown(age: Duration) -> Duration {
    age.clamp(NEXT_LOOK[0], NEXT_LOOK[1])
}

/// Starts once more what has not begun, and records ends that nobody recorded, side by side. However many there are,
/// each has its turn: what was looked at is put off.
pub async fn reconcile(
    executions: &dyn Executions,
    ends: &dyn EndRecorder,
    engines: &Engines,
    clock: &dyn Clock,
) -> Result<Reconciled, EngineError> {
    let reconciler = Reconciler { executions, ends, engines, clock };
    let [starts, looks] = [(false, STARTS_AT_ONCE), (true, LOOKS_AT_ONCE)]
        .map(|(has_begun, at_once)| reconciler.go_through(has_begun, at_once, clock.busy()));
    let (starts, looks) = clock::park(clock, try_join(starts, looks)).await?;
    let sum = |of: fn(&Reconciled) -> u32| of(&starts) + of(&looks);
    Ok(Reconciled {
        started: sum(|found| found.started),
        ended: sum(|found| found.ended),
        failed: sum(|found| found.failed),
    })
}

/// What was amiss with an execution.
enum Finding {
    AsRecorded,
    Unstarted,
    Ended,
    /// It has begun, and its engine does not know it.
    Unknown,
}

/// What it takes to look at an execution.
struct Reconciler<'a> {
    executions: &'a dyn Executions,
    ends: &'a dyn EndRecorder,
    engines: &'a Engines,
    clock: &'a dyn Clock,
}

impl Reconciler<'_> {
    /// Those that have begun, or that have not: so many at once, as long as there is time. Each of the two is busy by
    /// itself, as one may wait for its turn while the other works.
    async fn go_through(&self, has_begun: bool, at_once: u32, _busy: Busy) -> Result<Reconciled, EngineError> {
        let before = self.clock.now().checked_sub(SETTLING_TIME).unwrap_or(Timestamp::MIN);
        let last_begin = self.clock.instant() + LAST_BEGIN;
        let due = self.executions.open_executions(has_begun, before, at_once * MAX_TURNS).await?;
        let mut turns = due.chunks(at_once as usize);
        let mut reconciled = Reconciled::default();
        while self.clock.instant() <= last_begin
            && let Some(turn) = turns.next()
        {
            let next = self.clock.instant() + PACE;
            for found in join_all(turn.iter().map(|due| self.look(due))).await {
                match found {
                    Some(Finding::AsRecorded) => {}
                    Some(Finding::Unstarted) => reconciled.started += 1,
                    Some(Finding::Ended) => reconciled.ended += 1,
                    Some(Finding::Unknown) | None => reconciled.failed += 1,
                }
            }
            if turns.len() > 0 {
                clock::sleep_until(self.clock, next).await;
            }
        }
        Ok(reconciled)
    }

    /// What was found; none if that could not be found out.
    async fn look(&self, due: &DueExecution) -> Option<Finding> {
        let looked = clock::timeout(self.clock, LONGEST_LOOK, self.reconcile(due)).await;
        let looked = looked.unwrap_or_else(|| Err(EngineError::Unavailable("it took too long".to_owned())));
        if let Err(error) = &looked {
            tracing::error!(tenant_id = due.tenant_id, workflow_id = due.id, %error, "not reconciled");
            // It must not hold others up, however often it fails.
            if let Err(error) = self.put_off(due, NEXT_LOOK[0]).await {
                tracing::error!(tenant_id = due.tenant_id, workflow_id = due.id, %error, "not put off");
            }
        }
        looked.ok()
    }

    async fn reconcile(&self, due: &DueExecution) -> Result<Finding, EngineError> {
        // It may have ended: an index is behind its table.
        let record = self.executions.get(&due.tenant_id, &due.id).await?.filter(|record| record.status.is_open());
        let Some(record) = record else { return Ok(Finding::AsRecorded) };
        let age = self.clock.now().duration_since(record.started_at).unsigned_abs();
        let next_look = (age / 10).clamp(NEXT_LOOK[0], NEXT_LOOK[1]);
        // The embedded engine's own journal is its record: there is nothing to reconcile.
        if record.engine == EngineKind::Embedded {
            self.put_off(due, next_look).await?;
            return Ok(Finding::AsRecorded);
        }
        let (tenant_id, workflow_id) = (&record.tenant_id, &record.id);
        if let Some(damage) = &record.damage {
            tracing::error!(tenant_id, workflow_id, damage.why, "its record is damaged: terminate it");
            self.put_off(due, next_look_at_unknown(age)).await?;
            return Ok(Finding::Unknown);
        }
        let Some(engine) = self.engines.of(record.engine) else {
            tracing::error!(tenant_id, workflow_id, engine = %record.engine, "its engine is not configured here");
            self.put_off(due, next_look).await?;
            return Ok(Finding::Unknown);
        };
        if !due.has_begun {
            // Starting one twice is starting it once. From now on the engine is asked about it: soon, if it had it already.
            let (found, next_look) = match engine.start(&record).await? {
                StartOutcome::Begun => (Finding::Unstarted, next_look),
                StartOutcome::Known => (Finding::AsRecorded, Duration::ZERO),
            };
            self.put_off(&DueExecution { has_begun: true, ..due.clone() }, next_look).await?;
            return Ok(found);
        }
        match engine.describe(&record).await? {
            Standing::Running => {
                self.put_off(due, next_look).await?;
                Ok(Finding::AsRecorded)
            }
            // It was known to the engine: starting it again would do everything twice.
            Standing::Unknown => {
                tracing::error!(tenant_id, workflow_id, "it has begun, and its engine does not know it: terminate it");
                self.put_off(due, next_look_at_unknown(age)).await?;
                Ok(Finding::Unknown)
            }
            Standing::Ended { end, at } => {
                let recorded = self.ends.record_end(&record.tenant_id, &record.id, &end, at, None).await?;
                Ok(if recorded { Finding::Ended } else { Finding::AsRecorded })
            }
        }
    }

    /// Lets it be due again after this.
    async fn put_off(&self, due: &DueExecution, next_look: Duration) -> Result<(), EngineError> {
        let at = clock::after(self.clock, next_look).checked_sub(SETTLING_TIME).unwrap_or(Timestamp::MIN);
        Ok(self.executions.put_off(due, at).await?)
    }
}

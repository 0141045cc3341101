//! What an attempt may look at.

use std::sync::{Mutex, PoisonError};

use clock::SharedClock;
use contracts::effect::Effect;
use contracts::limits::MAX_REPORT_BYTES;
use contracts::step::{StepCall, StepPath};
use contracts::{ActivityError, ErrorName};
use downstream::Downstream;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use store::{Backups, Blobs, Erasures, Holds, Leases};
use vault::Keys;

use crate::{DatasetSource, Records};

/// What attempts stand on.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) downstream: &'a Downstream,
    pub(crate) blobs: &'a dyn Blobs,
    pub(crate) records: &'a dyn Records,
    pub(crate) keys: &'a dyn Keys,
    pub(crate) dataset: &'a DatasetSource,
    pub(crate) clock: &'a SharedClock,
}

/// One attempt of one step.
pub struct Context<'a> {
    /// The services.
    pub downstream: &'a Downstream,
    /// The tenant's files.
    pub blobs: &'a dyn Blobs,
    /// The tenant's leases.
    pub leases: &'a dyn Leases,
    /// The tenant's backups.
    pub backups: &'a dyn Backups,
    /// The ledger of the tenant's erasures, and forgetting what records know of a person.
    pub erasures: &'a dyn Erasures,
    /// The tenant's legal holds.
    pub holds: &'a dyn Holds,
    /// The installation's keys.
    pub keys: &'a dyn Keys,
    /// The installation's dataset map.
    pub dataset: &'a DatasetSource,
    /// Time.
    pub clock: &'a SharedClock,
    /// What the state machine says.
    pub call: &'a StepCall,
    /// The step's name within its execution.
    path: StepPath,
    /// The activity's input, with the request's fields in the place of their pointers.
    input: Value,
    effect_scope: &'a str,
    report: Mutex<Option<Map<String, Value>>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        surroundings: &Surroundings<'a>,
        call: &'a StepCall,
        input: Value,
        effect_scope: &'a str,
    ) -> Self {
        let Surroundings { downstream, blobs, records, keys, dataset, clock } = *surroundings;
        Self {
            downstream,
            blobs,
            leases: records,
            backups: records,
            erasures: records,
            holds: records,
            keys,
            dataset,
            clock,
            call,
            path: call.step.path(),
            input,
            effect_scope,
            report: Mutex::default(),
        }
    }

    /// The execution.
    pub fn execution_id(&self) -> &'a str {
        &self.call.workflow.id
    }

    /// The tenant that owns the execution.
    pub fn tenant_id(&self) -> &'a str {
        &self.call.workflow.tenant_id
    }

    /// The activity's input. It has a type of its own: an activity knows no workflow.
    ///
    /// # Errors
    /// The state machine hands over something else: a fault of ours.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, ActivityError> {
        // The reason quotes values only of types, never the input itself.
        read(&self.input).map_err(|problem| {
            let message = format!("the state machine hands over an input that cannot be used: {problem}");
            ActivityError::new(ErrorName::Internal, message)
        })
    }

    /// Whether a last step that concludes what was interrupted came here by an error.
    ///
    /// # Errors
    /// The state machine hands over something else.
    pub(crate) fn is_interrupted(&self) -> Result<bool, ActivityError> {
        #[derive(Deserialize)]
        struct Conclusion {
            /// The error, if there is one.
            interrupted: Option<String>,
        }
        self.input().map(|Conclusion { interrupted }| interrupted.is_some())
    }

    /// The effect of this step.
    pub fn effect(&self) -> Effect<'_> {
        self.effect_of(&self.path)
    }

    /// The effect of another step, with its key and chosen id.
    pub fn effect_of<'s>(&'s self, step: &'s StepPath) -> Effect<'s> {
        Effect { tenant_id: self.tenant_id(), scope: self.effect_scope, step }
    }

    /// Makes this part of the execution's result. It goes to the record and past every engine, so it may hold what an
    /// engine is not to see. The last report of an attempt counts.
    ///
    /// # Errors
    /// It is larger than what a record holds.
    pub fn report(&self, part: Map<String, Value>) -> Result<(), ActivityError> {
        let bytes = Value::Object(part.clone()).to_string().len();
        if bytes > MAX_REPORT_BYTES {
            let message = format!("a part of the result has {bytes} bytes, and {MAX_REPORT_BYTES} are the limit");
            return Err(ActivityError::new(ErrorName::PayloadTooLarge, message));
        }
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(part);
        Ok(())
    }

    pub(crate) fn into_report(self) -> Option<Map<String, Value>> {
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a type from JSON. What is wrong is said by the names of fields, and values are not quoted: they may be personal.
fn read<T: DeserializeOwned>(input: &Value) -> Result<T, String> {
    T::deserialize(input).map_err(|error| {
        let text = error.to_string();
        // serde quotes strings that it did not expect.
        text.split('"').step_by(2).collect::<Vec<_>>().join("...")
    })
}

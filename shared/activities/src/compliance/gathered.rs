//! What was read of an export's data sets, and what was not.

use contracts::{ActivityError, ErrorName};

use super::package::manifest::NotRead;
use super::{DataSet, Plan, SetState, SetSummary};
use crate::Context;

/// What a service may hold besides what the dataset map names: it did not say.
const UNKNOWN_TYPES: &str = "other types";

/// A data set that was read to its end.
pub(super) struct Read<'a> {
    pub(super) number: usize,
    pub(super) set: &'a DataSet,
    pub(super) state: SetState,
}

/// What was read, and what was not; an error if that is not enough.
pub(super) async fn sets<'p>(
    context: &Context<'_>,
    plan: &'p Plan,
) -> Result<(Vec<Read<'p>>, Vec<NotRead>), ActivityError> {
    let files = context.files();
    let (mut read, mut not_read) = (Vec::new(), Vec::new());
    for (number, set) in plan.sets.iter().enumerate() {
        let state: SetState = files.read_state(number).await?.unwrap_or_default();
        let failure = match &state.failure {
            None if state.is_done => {
                if !state.missing.is_empty() {
                    let (service, entity_type) = (set.service.clone(), set.name().to_owned());
                    let (error, ids) = (ErrorName::NotFound.to_string(), state.missing.clone());
                    not_read.push(NotRead { service, entity_type, error, ids });
                }
                read.push(Read { number, set, state });
                continue;
            }
            failure => failure.as_deref().and_then(ErrorName::named),
        };
        let name = failure.unwrap_or(ErrorName::Internal);
        let (service, entity_type) = (set.service.clone(), set.name().to_owned());
        if !plan.allow_partial {
            let message = format!("{service}/{entity_type} was not read to its end");
            let message = files.with_why(number, message).await?;
            return Err(ActivityError::new(name, message));
        }
        not_read.push(NotRead { service, entity_type, error: name.to_string(), ids: Vec::new() });
    }
    let unknown = plan.not_asked.iter().map(|(service, error)| NotRead {
        service: service.clone(),
        entity_type: UNKNOWN_TYPES.to_owned(),
        error: error.clone(),
        ids: Vec::new(),
    });
    not_read.extend(unknown);
    match not_read.first() {
        Some(first) if read.is_empty() => {
            let name = ErrorName::named(&first.error).unwrap_or(ErrorName::Internal);
            Err(ActivityError::new(name, "nothing could be read"))
        }
        _ => Ok((read, not_read)),
    }
}

/// What each data set came to.
pub(super) fn summaries(sets: &[Read<'_>], not_read: &[NotRead]) -> Vec<SetSummary> {
    let read = sets.iter().map(|Read { set, state, .. }| SetSummary {
        service: set.service.clone(),
        entity_type: set.name().to_owned(),
        records: state.own,
        mentions: state.mentions,
        error: None,
        ids: Vec::new(),
    });
    let missing = not_read.iter().map(|missing| SetSummary {
        service: missing.service.clone(),
        entity_type: missing.entity_type.clone(),
        records: 0,
        mentions: 0,
        error: Some(missing.error.clone()),
        ids: missing.ids.clone(),
    });
    read.chain(missing).collect()
}

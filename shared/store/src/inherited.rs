//! What a retry takes over from the execution that it retries: which effects of it may still stand, and what its steps came
//! to.
//!
//! A retry runs the same state machine from its start. A step whose effect surely stands is not done again: it is answered
//! with what it came to. Where it is not known whether an effect stands, the service knows: the step is called with the old
//! key first. An effect that no longer fits, as a step before it is done anew, is undone before its step is done anew.

use std::collections::BTreeMap;

use contracts::step::StepPath;
use contracts::{ActivityError, ErrorName, Event, EventType};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::StepOutcome;

/// What is known of one step of the execution that is retried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InheritedStep {
    /// The step.
    pub path: StepPath,
    /// What it came to, if it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The effect scopes under which something of it may still stand, the oldest first; none if it was undone, or never had
    /// an effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// How far that is known.
    pub standing: Standing,
    /// It failed, and its execution went on without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_tolerated: bool,
}

/// Whether an effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does: it was done, and its undoing never began.
    Sure,
    /// It may: nobody knows how the last attempt ended, or undoing it failed.
    Unsure,
    /// It may, and a step before it is done anew, so that it would not fit any more.
    Outdated,
    /// Nothing stands.
    Gone,
}

impl Standing {
    /// As the next retry takes it over. Whether it is outdated is decided by what that one does anew.
    fn carried_over(self) -> Self {
        if self == Self::Outdated { Self::Unsure } else { self }
    }
}

/// What is known of all steps, in the order in which they began first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inherited(pub Vec<InheritedStep>);

/// How an attempt that may proceed goes about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effects {
    /// It is done under its own scope: the usual case.
    Own,
    /// It calls nobody: this is what the step came to.
    Answered(StepOutcome),
    /// It is called under these scopes first. One that the service does not take any more is undone, and the next one has
    /// its turn; the own one is the last.
    First(Vec<String>),
    /// What was done under these scopes is undone, the first one first. A forward step is then done under its own.
    Undone(Vec<String>),
}

impl Inherited {
    /// What is known of a step.
    pub fn step(&self, path: &StepPath) -> Option<&InheritedStep> {
        self.0.iter().find(|step| step.path == *path)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a step that a cancel or the deadline would hold back may pass, as it is answered from the record. So undoing
    /// reaches whatever may stand behind it. The last step is never passed: what follows is the end.
    pub fn passes(&self, path: &StepPath, closes: bool) -> bool {
        !closes && self.step(path).is_some_and(|step| step.answer(true).is_some())
    }

    /// How an attempt of a forward step goes about it; `is_interrupted` if only an answer lets it pass, `is_first` if no
    /// attempt before it can have begun.
    pub fn effects(&self, path: &StepPath, is_interrupted: bool, is_first: bool) -> Effects {
        let Some(step) = self.step(path) else { return Effects::Own };
        let is_sure = step.standing == Standing::Sure;
        if let Some(answer) = step.answer(is_first || is_sure).filter(|_| is_interrupted || is_sure) {
            return Effects::Answered(answer);
        }
        match step.standing {
            Standing::Unsure => Effects::First(step.scopes.clone()),
            Standing::Outdated => Effects::Undone(step.scopes.clone()),
            Standing::Sure | Standing::Gone => Effects::Own,
        }
    }

    /// How undoing a step goes about it. `own` is the execution's own scope; `is_answered` if nothing can have been done
    /// under that.
    pub fn undoing(&self, undoes: &StepPath, own: &str, is_answered: bool) -> Effects {
        let own = (!is_answered).then(|| own.to_owned());
        let earlier = self.step(undoes).into_iter().flat_map(|step| step.scopes.iter().rev().cloned());
        Effects::Undone(own.into_iter().chain(earlier).collect())
    }

    /// Steps of which something may stand, and to which the execution never came: `was_met` knows those to which it did.
    pub fn left(&self, was_met: impl Fn(&StepPath) -> bool) -> Vec<&StepPath> {
        let left = self.0.iter().filter(|step| step.may_stand() && !was_met(&step.path));
        left.map(|step| &step.path).collect()
    }

    /// Steps of which something may stand.
    pub fn standing(&self) -> Vec<&StepPath> {
        self.0.iter().filter(|step| step.may_stand()).map(|step| &step.path).collect()
    }
}

impl InheritedStep {
    fn may_stand(&self) -> bool {
        !self.scopes.is_empty()
    }

    fn is_skipped(&self) -> bool {
        self.result.as_ref().is_some_and(was_skipped)
    }

    /// What it is answered with where nothing is to be done. Only where no attempt before has done anything does the answer
    /// say that nothing is there under the execution's own scope: what an attempt did whose answer was lost is to be undone.
    fn answer(&self, is_untouched: bool) -> Option<StepOutcome> {
        match &self.result {
            Some(result) => {
                let mut result = result.clone();
                if is_untouched {
                    result[ALREADY_DONE] = true.into();
                } else if let Some(fields) = result.as_object_mut() {
                    fields.remove(ALREADY_DONE);
                }
                Some(Ok(result))
            }
            None if self.is_tolerated => {
                let message = "it failed in the execution that this one retries, which went on without it";
                Some(Err(ActivityError::new(ErrorName::Conflict, message)))
            }
            None => None,
        }
    }
}

/// In the result of a step that was answered from the record of an earlier execution before anything was done.
const ALREADY_DONE: &str = "already_done";

fn was_skipped(result: &Value) -> bool {
    result["skipped"] == true
}

/// Whether a step's result comes from the record of an earlier execution, and none of its attempts has done anything.
pub fn is_answered(result: &Value) -> bool {
    result[ALREADY_DONE] == true
}

/// What a history says of a step.
#[derive(Debug, Default)]
struct Story {
    result: Option<Value>,
    /// Whether an attempt began, as far as anybody knows.
    has_begun: bool,
    /// When its undoing began.
    closed_at: Option<u64>,
    /// Whether undoing it succeeded.
    is_cleared: bool,
    /// When a step after it began.
    followed_at: u64,
}

/// Reads the history of an execution that has ended: what a retry of it takes over. `earlier` is what that execution itself
/// took over, `own_scope` the scope of its effects, `has_effect` knows which steps change something in a service.
pub fn inherit(
    history: &[Event],
    earlier: &Inherited,
    own_scope: &str,
    has_effect: impl Fn(&StepPath) -> bool,
) -> Inherited {
    let (order, mut stories) = stories(history);
    let behind = earlier.0.iter().map(|step| &step.path).filter(|path| !order.contains(path));
    let mut inherited: Vec<InheritedStep> = Vec::new();
    for path in order.iter().chain(behind) {
        let (story, before) = (stories.remove(path), earlier.step(path));
        inherited.push(one(path, story, before, own_scope, has_effect(path)));
    }
    // Once a step is done anew, what was done after it does not fit any more.
    let mut is_anew = false;
    for step in &mut inherited {
        if is_anew && step.may_stand() {
            step.standing = Standing::Outdated;
        }
        let changes_nothing = step.is_tolerated || step.is_skipped() || !has_effect(&step.path);
        is_anew |= !step.may_stand() && !changes_nothing;
    }
    Inherited(inherited)
}

fn one(
    path: &StepPath,
    story: Option<Story>,
    before: Option<&InheritedStep>,
    own_scope: &str,
    has_effect: bool,
) -> InheritedStep {
    let Some(story) = story.filter(|story| story.has_begun || story.closed_at.is_some()) else {
        let nothing = || InheritedStep {
            path: path.clone(),
            result: None,
            scopes: vec![],
            standing: Standing::Gone,
            is_tolerated: false,
        };
        let mut step = before.cloned().unwrap_or_else(nothing);
        step.standing = step.standing.carried_over();
        return step;
    };
    let mut scopes = before.map(|before| before.scopes.clone()).unwrap_or_default();
    let was_answered = story.result.as_ref().is_some_and(is_answered);
    if story.has_begun && !was_answered {
        scopes.push(own_scope.to_owned());
    }
    let is_skipped = story.result.as_ref().is_some_and(was_skipped);
    if story.is_cleared || is_skipped || !has_effect {
        scopes.clear();
    }
    let is_done = story.result.is_some();
    let standing = match (scopes.is_empty(), before) {
        (true, _) => Standing::Gone,
        (false, _) if !is_done || story.closed_at.is_some() => Standing::Unsure,
        // Nobody asked the service, so that nothing new is known.
        (false, Some(before)) if was_answered => before.standing.carried_over(),
        (false, _) => Standing::Sure,
    };
    let is_tolerated = !is_done && story.closed_at.is_some_and(|closed_at| closed_at < story.followed_at);
    let result = story.result.or_else(|| before?.result.clone());
    InheritedStep { path: path.clone(), result, scopes, standing, is_tolerated }
}

/// The forward steps in the order of their first begin, and what happened to each.
fn stories(history: &[Event]) -> (Vec<StepPath>, BTreeMap<StepPath, Story>) {
    let mut order: Vec<StepPath> = Vec::new();
    let mut stories = BTreeMap::<StepPath, Story>::new();
    let mut undone_by = BTreeMap::<StepPath, StepPath>::new();
    let path_in =
        |event: &Event, field: &str| event.details[field].as_str().and_then(|path| path.parse::<StepPath>().ok());
    for event in history {
        let Some(path) = path_in(event, "activity_id") else { continue };
        let is = |event_type: EventType| event.event_type == event_type.as_str();
        if is(EventType::ActivityTaskScheduled) {
            if !order.contains(&path) {
                order.push(path.clone());
            }
            stories
                .values_mut()
                .filter(|story| story.closed_at.is_some())
                .for_each(|story| story.followed_at = event.event_id);
            stories.entry(path).or_default().has_begun = true;
        } else if is(EventType::ActivityTaskCompleted) {
            stories.entry(path).or_default().result = Some(event.details["result"].clone());
        } else if is(EventType::ActivityTaskFailed) && is_refusal(&event.details["error"]) {
            // It was about to begin, and was refused. An earlier attempt of it may have begun all the same.
            let story = stories.entry(path).or_default();
            story.has_begun = event.details["attempt"].as_u64().is_some_and(|attempt| attempt > 1);
        } else if is(EventType::CompensationScheduled) {
            let Some(undoes) = path_in(event, "undoes") else { continue };
            stories.entry(undoes.clone()).or_default().closed_at.get_or_insert(event.event_id);
            undone_by.insert(path, undoes);
        } else if is(EventType::CompensationCompleted)
            && let Some(undone) = undone_by.get(&path)
        {
            stories.entry(undone.clone()).or_default().is_cleared = true;
        }
    }
    (order, stories)
}

fn is_refusal(error: &Value) -> bool {
    [ErrorName::WorkflowCancelled, ErrorName::WorkflowTimedOut].iter().any(|name| error == name.as_str())
}

#[cfg(test)]
mod tests;

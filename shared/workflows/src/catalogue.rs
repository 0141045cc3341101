//! Which workflows exist. What is to be known of one stands in its state machine: its steps, in order, are the forward
//! Tasks on the way from its start.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use contracts::WorkflowKind;
use contracts::step::StepKind;
use serde::Deserialize;
use serde_json::Value;

use crate::RetryPolicies;

/// A step of a workflow as users see it: one forward Task state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowStep {
    /// The Task state, e.g. `CreateUserAccount`.
    pub state: String,
    /// The activity, e.g. `create_user_account`.
    pub activity: String,
}

/// A workflow.
#[derive(Debug)]
pub struct Workflow {
    /// Which one.
    pub kind: WorkflowKind,
    /// The name of its state machine.
    pub name: &'static str,
    /// The state machine, as it is deployed to AWS.
    source: &'static str,
    steps: OnceLock<Vec<WorkflowStep>>,
    /// The names of the steps that change something, and how.
    effects: OnceLock<BTreeMap<String, StepEffect>>,
    /// The activities that do its batches.
    batches: OnceLock<BTreeSet<String>>,
    /// The Map states, by the state that they come after.
    maps: OnceLock<BTreeMap<String, String>>,
}

/// Whether a step changes something in a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepEffect {
    /// It changes nothing.
    Nothing,
    /// It changes something for good: a mail that is sent.
    Lasting,
    /// Another step undoes it.
    Undone,
}

/// Every workflow.
pub static ALL: [Workflow; 7] = [
    Workflow::new(
        WorkflowKind::UserOnboarding,
        "UserOnboarding",
        include_str!("../../../statemachines/user-onboarding.asl.json"),
    ),
    Workflow::new(
        WorkflowKind::TenantSwitching,
        "TenantSwitching",
        include_str!("../../../statemachines/tenant-switching.asl.json"),
    ),
    Workflow::new(
        WorkflowKind::DataMigration,
        "DataMigration",
        include_str!("../../../statemachines/data-migration.asl.json"),
    ),
    Workflow::new(
        WorkflowKind::BulkOperation,
        "BulkOperation",
        include_str!("../../../statemachines/bulk-operation.asl.json"),
    ),
    Workflow::new(WorkflowKind::Compliance, "Compliance", include_str!("../../../statemachines/compliance.asl.json")),
    Workflow::new(
        WorkflowKind::CrossServiceBackup,
        "CrossServiceBackup",
        include_str!("../../../statemachines/cross-service-backup.asl.json"),
    ),
    Workflow::new(
        WorkflowKind::CrossServiceRestore,
        "CrossServiceRestore",
        include_str!("../../../statemachines/cross-service-restore.asl.json"),
    ),
];

/// The workflow of this kind, if it is available.
pub fn workflow(kind: WorkflowKind) -> Option<&'static Workflow> {
    ALL.iter().find(|workflow| workflow.kind == kind)
}

/// The names of the activities of all workflows.
pub fn activities() -> BTreeSet<String> {
    ALL.iter().flat_map(Workflow::activities).collect()
}

/// How a placeholder for a function begins and ends: `${CreateUserAccountFunctionArn}`.
const PLACEHOLDER: (&str, &str) = ("${", "FunctionArn}");

/// What stands for the name of the bucket, where a distributed Map reads its items.
const BUCKET: &str = "${BucketName}";

/// The name of an activity's Lambda function, e.g. `create-user-account`.
pub fn function_of(activity: &str) -> String {
    activity.replace('_', "-")
}

/// `CreateUserAccount` as `create_user_account`.
fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

impl Workflow {
    const fn new(kind: WorkflowKind, name: &'static str, source: &'static str) -> Self {
        Self {
            kind,
            name,
            source,
            steps: OnceLock::new(),
            effects: OnceLock::new(),
            batches: OnceLock::new(),
            maps: OnceLock::new(),
        }
    }

    /// Its steps in order, those of branches one branch after the other. The Tasks of a Map are not among them: how many
    /// steps these make is known when its items are. Of a workflow that does several kinds of work these are the steps of the
    /// usual one.
    pub fn steps(&self) -> &[WorkflowStep] {
        self.steps.get_or_init(|| self.collect_steps(&Value::Null))
    }

    /// The steps of an execution with these options: a Choice by `options.type` goes where it leads.
    pub fn steps_with(&self, options: &Value) -> Cow<'_, [WorkflowStep]> {
        match options["type"].is_null() {
            true => Cow::Borrowed(self.steps()),
            false => Cow::Owned(self.collect_steps(options)),
        }
    }

    fn collect_steps(&self, options: &Value) -> Vec<WorkflowStep> {
        let machine: Machine = serde_json::from_str(self.source).unwrap_or_default();
        let mut steps = Vec::new();
        machine.collect_steps(options, &mut steps);
        steps
    }

    /// Whether a step changes something in a service: it is undone by another, or it is one that cannot be undone.
    pub fn effect_of(&self, step: &str) -> StepEffect {
        let effects = self.effects.get_or_init(|| {
            let (machine, mut effects) = (serde_json::from_str(self.source).unwrap_or_default(), BTreeMap::new());
            collect_effects(&machine, &mut effects);
            effects
        });
        effects.get(step).copied().unwrap_or(StepEffect::Nothing)
    }

    /// Whether it works in batches. What these did is not in the history: its plan finds out what an earlier execution left.
    pub fn has_batches(&self) -> bool {
        !self.batches().is_empty()
    }

    /// The activities that do its batches.
    pub fn batches(&self) -> &BTreeSet<String> {
        self.batches.get_or_init(|| {
            let mut batches = BTreeSet::new();
            collect_batches(&serde_json::from_str(self.source).unwrap_or_default(), &mut batches);
            batches
        })
    }

    /// The Map state that comes after a step, if one does: its batches are no steps.
    pub fn map_after(&self, step: &str) -> Option<&str> {
        let maps = self.maps.get_or_init(|| {
            let machine: Value = serde_json::from_str(self.source).unwrap_or_default();
            let states = machine["States"].as_object();
            let map_after = |(name, state): (&String, &Value)| {
                let next = state["Next"].as_str().filter(|next| machine["States"][next]["Type"] == "Map")?;
                Some((name.clone(), next.to_owned()))
            };
            states.into_iter().flatten().filter_map(map_after).collect()
        });
        maps.get(step).map(String::as_str)
    }

    /// The names of the activities that its state machine calls.
    pub fn activities(&self) -> BTreeSet<String> {
        let parts = self.source.split(PLACEHOLDER.0).skip(1);
        parts.filter_map(|part| Some(snake_case(part.split_once(PLACEHOLDER.1)?.0))).collect()
    }

    /// The state machine for engines that call activities by name: `${CreateUserAccountFunctionArn}` becomes
    /// `create_user_account`, and the retriers follow their policies.
    pub fn definition(&self, policies: &RetryPolicies) -> String {
        self.bound(policies, "blobs", str::to_owned)
    }

    /// The state machine with what `function_of` says of an activity in place of its placeholder, and with the name of the
    /// bucket, as SAM puts in the functions' ARNs.
    pub fn bound(&self, policies: &RetryPolicies, bucket: &str, function_of: impl Fn(&str) -> String) -> String {
        let mut bound = String::with_capacity(self.source.len());
        let mut parts = self.source.split(PLACEHOLDER.0);
        bound.extend(parts.next());
        for part in parts {
            match part.split_once(PLACEHOLDER.1) {
                Some((name, rest)) => bound.extend([function_of(&snake_case(name)).as_str(), rest]),
                None => bound.extend([PLACEHOLDER.0, part]),
            }
        }
        policies.apply(&bound.replace(BUCKET, bucket))
    }

    /// The file that [`Workflow::deployed`] comes from, in `statemachines/`.
    pub fn file(&self) -> String {
        format!("{}.asl.json", self.kind.as_str().replace('_', "-"))
    }

    /// The state machine as it is deployed to AWS, with its placeholders; the retriers follow their policies.
    pub fn deployed(&self, policies: &RetryPolicies) -> String {
        policies.apply(self.source)
    }
}

/// The steps that change something, those of branches and iterations too.
fn collect_effects(machine: &Value, effects: &mut BTreeMap<String, StepEffect>) {
    let (states, own) = (machine["States"].as_object(), |state: &Value| state["Arguments"]["Payload"]["step"].clone());
    for (name, state) in states.into_iter().flatten() {
        let step = own(state);
        if let Some(undone) = step["undoes"].as_str() {
            effects.insert(undone.to_owned(), StepEffect::Undone);
        }
        if step["pivot"] == true || step["closes"] == true {
            effects.entry(name.clone()).or_insert(StepEffect::Lasting);
        }
        for nested in state["Branches"].as_array().into_iter().flatten().chain([&state["ItemProcessor"]]) {
            collect_effects(nested, effects);
        }
    }
}

/// The activities of Tasks that are batches.
fn collect_batches(machine: &Value, batches: &mut BTreeSet<String>) {
    for state in machine["States"].as_object().into_iter().flat_map(|states| states.values()) {
        if state["Arguments"]["Payload"]["step"]["batch"] == true {
            batches.extend(state["Arguments"]["FunctionName"].as_str().and_then(activity_of));
        }
        collect_batches(&state["ItemProcessor"], batches);
    }
}

/// `create_user_account` of `${CreateUserAccountFunctionArn}`.
fn activity_of(function: &str) -> Option<String> {
    Some(snake_case(function.strip_prefix(PLACEHOLDER.0)?.strip_suffix(PLACEHOLDER.1)?))
}

/// What the order of steps needs of a state machine.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Machine {
    start_at: String,
    states: BTreeMap<String, State>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    next: Option<String>,
    choices: Vec<Choice>,
    /// Where a Choice goes on usually.
    default: Option<String>,
    branches: Vec<Machine>,
    arguments: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Choice {
    condition: String,
    next: String,
}

impl Choice {
    /// Whether it is the way for executions with these options.
    fn is_of(&self, options: &Value) -> bool {
        let wanted = options["type"].as_str().unwrap_or_default();
        self.condition == format!("{{% $states.context.Execution.Input.options.type = '{wanted}' %}}")
    }
}

impl Machine {
    fn collect_steps(&self, options: &Value, steps: &mut Vec<WorkflowStep>) {
        let (mut seen, mut next) = (BTreeSet::new(), Some(&self.start_at));
        while let Some((name, state)) = next.and_then(|name| self.states.get_key_value(name))
            && seen.insert(name)
        {
            steps.extend(state.step(name));
            state.branches.iter().for_each(|branch| branch.collect_steps(options, steps));
            let chosen = state.choices.iter().find(|choice| choice.is_of(options)).map(|choice| &choice.next);
            next = chosen.or(state.next.as_ref()).or(state.default.as_ref());
        }
    }
}

impl State {
    fn step(&self, name: &str) -> Option<WorkflowStep> {
        let kind = StepKind::deserialize(&self.arguments["Payload"]["step"]["kind"]).ok()?;
        let activity = activity_of(self.arguments["FunctionName"].as_str()?)?;
        (kind == StepKind::Forward).then(|| WorkflowStep { state: name.to_owned(), activity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let (mut kinds, mut names) = (BTreeSet::new(), BTreeSet::new());
        for workflow in &ALL {
            assert!(kinds.insert(workflow.kind), "{} is in the catalogue twice", workflow.kind);
            assert!(names.insert(workflow.name), "{} is the name of two state machines", workflow.name);
            assert!(!workflow.steps().is_empty(), "{} has no step", workflow.kind);
        }
    }

    #[test]
    fn steps_are_in_the_order_of_the_machine() {
        let onboarding = workflow(WorkflowKind::UserOnboarding).expect("it is in the catalogue");
        let states: Vec<&str> = onboarding.steps().iter().map(|step| step.state.as_str()).collect();
        assert_eq!(
            states,
            [
                "GetTenantContext",
                "CreateUserAccount",
                "CreateUserProfile",
                "UpdateTenantUserMembership",
                "SetupUserFileWorkspace",
                "CreateSampleData",
                "SendNotification"
            ]
        );
        assert!(!onboarding.definition(&RetryPolicies::default()).contains("${"));
        assert_eq!(onboarding.activities().len(), 7);
        let effects: Vec<StepEffect> = states.into_iter().map(|step| onboarding.effect_of(step)).collect();
        let mut expected = [StepEffect::Undone; 7];
        (expected[0], expected[6]) = (StepEffect::Nothing, StepEffect::Lasting);
        assert_eq!(effects, expected);
        let switching = workflow(WorkflowKind::TenantSwitching).expect("it is there");
        assert_eq!(switching.effect_of("RevokeUserSessions"), StepEffect::Undone, "the last step is undone, too");
        let migration = workflow(WorkflowKind::DataMigration).expect("it is there");
        assert_eq!(migration.map_after("PlanMigration"), Some("MigrateBatches"));
        assert_eq!(migration.map_after("CompleteMigration"), None);
    }
}

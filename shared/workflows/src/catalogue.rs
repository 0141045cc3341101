//! Which workflows exist.

use std::collections::BTreeSet;

use contracts::WorkflowKind;

use crate::RetryPolicy;

/// A step of a workflow as users see it: one forward Task state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The Task state, e.g. `CreateUserAccount`.
    pub state: &'static str,
    /// The activity, e.g. `create_user_account`.
    pub activity: &'static str,
    /// What is going on meanwhile, for people.
    pub title: &'static str,
    /// Whether its effect cannot be undone, so that nothing may interrupt from its begin on.
    pub is_pivot: bool,
}

/// A workflow.
#[derive(Debug)]
pub struct Workflow {
    /// Which one.
    pub kind: WorkflowKind,
    /// The name of its state machine.
    pub name: &'static str,
    /// Its steps in order.
    pub steps: &'static [Step],
    /// The state machine, as it is deployed to AWS.
    source: &'static str,
}

static USER_ONBOARDING: Workflow = Workflow {
    kind: WorkflowKind::UserOnboarding,
    name: "UserOnboarding",
    steps: &[
        step("GetTenantContext", "get_tenant_context", "Checking the tenant"),
        step("CreateUserAccount", "create_user_account", "Creating the account"),
        step("CreateUserProfile", "create_user_profile", "Creating the profile"),
        step("UpdateTenantUserMembership", "update_tenant_user_membership", "Adding the user to the tenant"),
        step("SetupUserFileWorkspace", "setup_user_file_workspace", "Setting up the workspace"),
        step("CreateSampleData", "create_sample_data", "Creating sample data"),
        Step { is_pivot: true, ..step("SendNotification", "send_notification", "Sending the welcome mail") },
    ],
    source: include_str!("../../../statemachines/user-onboarding.asl.json"),
};

const fn step(state: &'static str, activity: &'static str, title: &'static str) -> Step {
    Step { state, activity, title, is_pivot: false }
}

/// The workflow of this kind, if it is available.
pub fn workflow(kind: WorkflowKind) -> Option<&'static Workflow> {
    match kind {
        WorkflowKind::UserOnboarding => Some(&USER_ONBOARDING),
        _ => None,
    }
}

/// The names of the activities of all workflows.
pub fn activities() -> BTreeSet<&'static str> {
    let available = WorkflowKind::ALL.into_iter().filter_map(workflow);
    available.flat_map(|workflow| workflow.steps).map(|step| step.activity).collect()
}

impl Step {
    /// The name of its Lambda function, e.g. `create-user-account`.
    pub fn function(&self) -> String {
        self.activity.replace('_', "-")
    }
}

impl Workflow {
    /// The state machine for engines that call activities by name: `${CreateUserAccountFunctionArn}` becomes
    /// `create_user_account`, and the standard retrier follows the policy.
    pub fn definition(&self, policy: &RetryPolicy) -> String {
        self.bound(policy, |step| step.activity.to_owned())
    }

    /// The state machine with these names in place of its placeholders, as SAM puts in the functions' ARNs.
    pub fn bound(&self, policy: &RetryPolicy, function_of: impl Fn(&Step) -> String) -> String {
        let bound = self.steps.iter().fold(self.source.to_owned(), |text, step| {
            text.replace(&format!("${{{}FunctionArn}}", step.state), &function_of(step))
        });
        policy.apply(&bound)
    }

    /// The file that [`Workflow::deployed`] comes from, in `statemachines/`.
    pub fn file(&self) -> String {
        format!("{}.asl.json", self.kind.as_str().replace('_', "-"))
    }

    /// The state machine as it is deployed to AWS, with its placeholders; the standard retrier follows the policy.
    pub fn deployed(&self, policy: &RetryPolicy) -> String {
        policy.apply(self.source)
    }

    /// Whether nothing may interrupt from this step's begin on: it is a pivot, or the last.
    pub fn is_pivot_or_last(&self, state: &str) -> bool {
        self.steps.last().is_some_and(|last| last.state == state)
            || self.steps.iter().any(|step| step.is_pivot && step.state == state)
    }

    /// What is going on in this state, for people.
    pub fn title(&self, state: &str) -> Option<&'static str> {
        self.steps.iter().find(|step| step.state == state).map(|step| step.title)
    }
}

//! User onboarding.

use contracts::WorkflowKind;
use contracts::effect::Effect;
use contracts::step::StepPath;
use futures::FutureExt as _;
use serde_json::Value;

use super::{CallSite, Subject, site, undo};
use crate::world::{TENANT, full_request_of};

pub(crate) static USER_ONBOARDING: Subject = Subject {
    kind: WorkflowKind::UserOnboarding,
    variant: None,
    path: "/api/v1/workflows/user-onboarding",
    request: full_request_of,
    // The person is new.
    prepare: |_, _| std::future::ready(()).boxed(),
    presupposes: None,
    sites: &[
        site("GetTenantContext", "tenant", "GET", "/api/v1/tenants/{tenant_id}/context"),
        site("CreateUserAccount", "auth", "POST", "/api/v1/users"),
        site("CreateUserProfile", "user", "POST", "/api/v1/profiles"),
        site("UpdateTenantUserMembership", "tenant", "PUT", "/api/v1/tenants/{tenant_id}/users/{user_id}"),
        site("SetupUserFileWorkspace", "file", "POST", "/api/v1/workspaces"),
        site("CreateSampleData", "file", "POST", "/api/v1/workspaces/{workspace_id}/sample-data"),
        CallSite { skip: 1, ..site("SendNotification/tenant", "tenant", "GET", "/api/v1/tenants/{tenant_id}/context") },
        site("SendNotification", "notifications", "POST", "/api/v1/notifications"),
        undo("UndoCreateSampleData", "file", 0),
        undo("UndoSetupUserFileWorkspace", "file", 1),
        undo("UndoUpdateTenantUserMembership", "tenant", 0),
        undo("UndoCreateUserProfile", "user", 0),
        undo("UndoCreateUserAccount", "auth", 0),
    ],
    undoable: &[
        ("CreateUserAccount", "auth"),
        ("CreateUserProfile", "user"),
        ("UpdateTenantUserMembership", "tenant"),
        ("SetupUserFileWorkspace", "file"),
        ("CreateSampleData", "file"),
    ],
    tolerated: &["CreateSampleData", "SendNotification"],
    last_before_pivot: "CreateSampleData",
    // A mail cannot be called back.
    final_steps: &["SendNotification"],
    batches: &[],
    taken_elsewhere: &[],
    masked: &["user_id", "workspace_id", "onboarding_completed_at"],
    personal: &["user_email", "user_name"],
    mails: 1,
    marks: chosen_ids,
    counts: None,
    about_everything: None,
};

/// The ids of what an execution creates.
fn chosen_ids(subject: &Subject, id: &str, _request: &Value) -> Vec<String> {
    let id_of = |(step, _): &(&str, &str)| {
        let path = StepPath::of_state(*step);
        Effect { tenant_id: TENANT, scope: id, step: &path }.chosen_id().to_string()
    };
    subject.undoable.iter().map(id_of).collect()
}

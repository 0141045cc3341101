//! `POST /api/v1/workflows/user-onboarding`

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use contracts::WorkflowKind;
use contracts::ids::is_plain_id;
use contracts::limits::{MAX_EMAIL_CHARS, MAX_NAME_CHARS, MAX_ROLE_CHARS};
use serde_json::json;

use crate::access::Caller;
use crate::start::{Start, start};
use crate::validate::{Fields, is_email};
use crate::{Problem, Starting, body};

const PATH: &str = "/api/v1/workflows/user-onboarding";

/// The route.
pub fn route() -> Router<Starting> {
    Router::new().route(PATH, post(handle))
}

async fn handle(
    State(starting): State<Starting>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::json(&headers, body).await?;
    let mut fields = Fields::new(&body);
    let user_email =
        fields.text_like("user_email", 1..=MAX_EMAIL_CHARS, is_email, "an e-mail address, like user@example.com");
    let user_name = fields.text("user_name", 1..=MAX_NAME_CHARS);
    let tenant_id = fields.text_like("tenant_id", 1..=64, is_plain_id, "letters, digits, '-' or '_'");
    let role = fields.text("role", 1..=MAX_ROLE_CHARS);
    let send_welcome_email = fields.flag("send_welcome_email");
    let setup_default_workspace = fields.flag("setup_default_workspace");
    let assign_default_permissions = fields.flag("assign_default_permissions");
    let create_sample_data = fields.flag("create_sample_data");
    fields.finish()?;
    if tenant_id != caller.tenant_id {
        return Err(Problem::forbidden("The body's tenant_id is not the tenant of the X-Tenant-ID header."));
    }
    start(
        &starting,
        &headers,
        Start {
            kind: WorkflowKind::UserOnboarding,
            route: "POST /api/v1/workflows/user-onboarding",
            caller,
            body: &body,
            request: json!({
                "user_email": user_email,
                "user_name": user_name,
                "tenant_id": tenant_id,
                "role": role,
                "send_welcome_email": send_welcome_email,
                "setup_default_workspace": setup_default_workspace,
                "assign_default_permissions": assign_default_permissions,
                "create_sample_data": create_sample_data,
            }),
            options: json!({
                "send_welcome_email": send_welcome_email,
                "setup_default_workspace": setup_default_workspace,
                "create_sample_data": create_sample_data,
            }),
        },
    )
    .await
}

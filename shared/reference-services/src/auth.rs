//! The Auth service: accounts and sessions.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{Call, Definition, Done, Fields, Mutation, Problem, Query, Reader, Row, Table, Tx, row};

pub(crate) static DEFINITION: Definition = Definition {
    schema: "
        CREATE TABLE IF NOT EXISTS accounts (
            tenant_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            email TEXT NOT NULL COLLATE NOCASE,
            name TEXT NOT NULL,
            role TEXT NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (tenant_id, user_id),
            UNIQUE (tenant_id, email)
        ) STRICT;
        CREATE TABLE IF NOT EXISTS sessions (
            tenant_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            session_data TEXT NOT NULL,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL,
            PRIMARY KEY (tenant_id, session_id),
            FOREIGN KEY (tenant_id, user_id) REFERENCES accounts ON DELETE CASCADE
        ) STRICT;
        CREATE INDEX IF NOT EXISTS sessions_by_user ON sessions (tenant_id, user_id);
    ",
    tables: &[&ACCOUNTS, &SESSIONS],
    routes: |routes| routes.mutation::<CreateUser>().query::<GetUser>().query::<ValidateUser>().query::<ListSessions>(),
    demo,
};

static ACCOUNTS: Table =
    Table::new("accounts", &["tenant_id", "user_id"], "the e-mail address or the id already has an account");
static SESSIONS: Table =
    Table { json: &["session_data"], ..Table::new("sessions", &["tenant_id", "session_id"], "the session exists") };

/// `POST /api/v1/users`
struct CreateUser {
    tenant_id: String,
    user_id: Option<String>,
    email: String,
    name: String,
    role: String,
}

impl Mutation for CreateUser {
    const METHOD: MethodFilter = MethodFilter::POST;
    const ROUTE: &'static str = "/api/v1/users";

    fn read(_: &Call, body: &mut Fields<'_>) -> Self {
        // Accepted, but mail is the notification endpoint's: this service sends none.
        body.optional_flag("send_welcome_email");
        Self {
            tenant_id: body.text("tenant_id"),
            user_id: body.chosen_id("user_id"),
            email: body.text("email"),
            name: body.text("name"),
            role: body.text("role"),
        }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        if self.tenant_id != tx.call.tenant_id {
            return Err(Problem::new(StatusCode::FORBIDDEN, "the tenant of the body is not the header's"));
        }
        let user_id = self.user_id.unwrap_or_else(|| tx.new_id());
        let created_at = tx.now();
        let account = json!({
            "user_id": user_id, "email": self.email, "name": self.name, "role": self.role, "created_at": created_at,
        });
        tx.create(&ACCOUNTS, row(account)).await?;
        let body = json!({ "user_id": user_id, "email": self.email, "created_at": created_at });
        Ok(Done::created("account", &user_id, body))
    }
}

/// `GET /api/v1/users/{user_id}`
struct GetUser;

impl Query for GetUser {
    const ROUTE: &'static str = "/api/v1/users/{user_id}";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let account = account(&mut reader).await?;
        Ok(Json(account).into_response())
    }
}

/// `GET /api/v1/users/{user_id}/validate`
struct ValidateUser;

impl Query for ValidateUser {
    const ROUTE: &'static str = "/api/v1/users/{user_id}/validate";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let account = account(&mut reader).await?;
        let permissions = permissions(account["role"].as_str().unwrap_or_default());
        let body = json!({ "valid": true, "user_id": account["user_id"], "permissions": permissions });
        Ok(Json(body).into_response())
    }
}

/// `GET /api/v1/users/{user_id}/sessions`
struct ListSessions;

impl Query for ListSessions {
    const ROUTE: &'static str = "/api/v1/users/{user_id}/sessions";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let account = account(&mut reader).await?;
        let user_id = account["user_id"].as_str().unwrap_or_default();
        let sessions = reader.list(&SESSIONS, &[("user_id", user_id)]).await?;
        Ok(Json(json!({ "sessions": sessions })).into_response())
    }
}

/// The account that the path names.
async fn account(reader: &mut Reader<'_>) -> Result<Row, Problem> {
    reader.get(&ACCOUNTS, &[reader.call.param("user_id")]).await
}

/// What a role may do.
fn permissions(role: &str) -> &'static [&'static str] {
    match role {
        "admin" => &["tenant:read", "tenant:write", "user:read", "user:write", "file:read", "file:write"],
        "user" => &["tenant:read", "user:read", "file:read", "file:write"],
        _ => &["tenant:read"],
    }
}

fn demo(at: &str) -> Vec<(&'static Table, Row)> {
    let account = |tenant_id: &str, role: &str| -> Value {
        json!({
            "tenant_id": tenant_id, "user_id": "user-123", "email": "demo.user@example.com", "name": "Demo User",
            "role": role, "created_at": at,
        })
    };
    let session = json!({
        "tenant_id": "tenant-123", "session_id": "session-123", "user_id": "user-123",
        "session_data": { "device": "laptop" }, "created_at": at, "updated_at": at,
    });
    vec![
        (&ACCOUNTS, row(account("tenant-123", "admin"))),
        (&ACCOUNTS, row(account("tenant-456", "user"))),
        (&SESSIONS, row(session)),
    ]
}

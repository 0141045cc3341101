//! The Auth service: accounts, and in [`sessions`] who is signed in. Within a tenant an address has one account, however it is
//! written ([`addresses`]).

mod addresses;
mod sessions;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{Call, Definition, Derived, Done, Fields, Mutation, Problem, Query, Reader, Row, Table, Tx, row};
use crate::tenant;

pub(crate) static DEFINITION: Definition = Definition {
    schema: &[
        "
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
        // Sessions that can be revoked, also in tenants other than the account's.
        "
        CREATE TABLE revocable_sessions (
            tenant_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            session_data TEXT NOT NULL,
            active INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            revoked_at TEXT,
            PRIMARY KEY (tenant_id, session_id)
        ) STRICT;
        INSERT INTO revocable_sessions
            SELECT tenant_id, session_id, user_id, session_data, 1, created_at, NULL FROM sessions ORDER BY rowid;
        DROP TABLE sessions;
        ALTER TABLE revocable_sessions RENAME TO sessions;
        CREATE INDEX sessions_by_user ON sessions (user_id, tenant_id, active);
        CREATE INDEX accounts_by_user ON accounts (user_id);
        CREATE TRIGGER sessions_end_with_the_account AFTER DELETE ON accounts BEGIN
            DELETE FROM sessions WHERE user_id = OLD.user_id AND (
                tenant_id = OLD.tenant_id OR NOT EXISTS (SELECT 1 FROM accounts WHERE user_id = OLD.user_id)
            );
        END;
        ",
        // What an address has in common with other ways to write it. Of accounts from before that have the same one, the
        // oldest has it.
        "
        ALTER TABLE accounts ADD COLUMN address TEXT;
        CREATE UNIQUE INDEX accounts_by_address ON accounts (tenant_id, address);
        ",
    ],
    tables: &[&ACCOUNTS, &sessions::SESSIONS],
    routes: |routes| {
        let routes = routes.mutation::<CreateUser>().query::<GetUser>().query::<ValidateUser>();
        sessions::routes(routes)
    },
    demo,
};

static ACCOUNTS: Table = Table {
    derived: &[Derived { column: "address", from: "email", derive: addresses::folded }],
    ..Table::new("accounts", &["tenant_id", "user_id"], "the e-mail address or the id already has an account")
};

/// `POST /api/v1/users`: a conflict if the address already has an account in the tenant, in whichever way it is written there.
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

/// `GET /api/v1/users/{user_id}`: for the account's own tenant.
struct GetUser;

impl Query for GetUser {
    const ROUTE: &'static str = "/api/v1/users/{user_id}";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let account = reader.get(&ACCOUNTS, &[reader.call.param("user_id")]).await?;
        Ok(Json(account).into_response())
    }
}

/// `GET /api/v1/users/{user_id}/validate`
struct ValidateUser;

impl Query for ValidateUser {
    const ROUTE: &'static str = "/api/v1/users/{user_id}/validate";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let user = user(&mut reader).await?;
        let body = json!({ "valid": true, "user_id": user.user_id, "permissions": user.permissions });
        Ok(Json(body).into_response())
    }
}

/// Somebody whom the call's tenant may know.
struct User {
    user_id: String,
    /// What they may do in this tenant.
    permissions: Value,
}

/// The user that the path names: with an account in the call's tenant, or with one elsewhere and access to this tenant.
async fn user(reader: &mut Reader<'_>) -> Result<User, Problem> {
    let call = reader.call;
    let user_id = call.param("user_id");
    if let Some(account) = reader.find(&ACCOUNTS, &[user_id]).await? {
        let permissions = permissions(account["role"].as_str().unwrap_or_default());
        return Ok(User { user_id: user_id.to_owned(), permissions: json!(permissions) });
    }
    let elsewhere = reader.list_of_all_tenants(&ACCOUNTS, &[("user_id", user_id)]).await?;
    let membership = tenant::membership(reader.tenants, &call.tenant_id, user_id).await?;
    match membership.filter(|_| !elsewhere.is_empty()) {
        Some(member) => Ok(User { user_id: user_id.to_owned(), permissions: member["permissions"].clone() }),
        None => Err(Problem::not_found()),
    }
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
    let account = |user_id: &str, email: &str, name: &str| {
        let account = json!({
            "tenant_id": "tenant-123", "user_id": user_id, "email": email, "name": name, "role": "user",
            "created_at": at,
        });
        (&ACCOUNTS, row(account))
    };
    let session = json!({
        "tenant_id": "tenant-123", "session_id": "session-123", "user_id": "user-123",
        "session_data": { "device": "laptop" }, "active": true, "created_at": at,
    });
    vec![
        account("user-123", "demo.user@example.com", "Demo User"),
        account("user-124", "second.user@example.com", "Second User"),
        (&sessions::SESSIONS, row(session)),
    ]
}

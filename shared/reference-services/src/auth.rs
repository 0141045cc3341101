//! The Auth service: accounts, and in [`sessions`] who is signed in. Within a tenant an address has one account, however it is
//! written ([`addresses`]).

mod addresses;
mod operations;
mod sessions;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{
    Call, Definition, Dependent, Derived, Doc, Done, EntityType, Field, Fields, Kind, Member, Mutation, NOT_FOUND,
    Problem, Query, Reader, Row, Rows, Shape, Table, Tx, row,
};
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
        "
        ALTER TABLE accounts ADD COLUMN status TEXT NOT NULL DEFAULT 'active'
            CHECK (status IN ('active', 'deactivated'));
        ",
    ],
    tables: &[&ACCOUNTS, &sessions::SESSIONS],
    entity_types: &[&ACCOUNT, &sessions::SESSION],
    routes: |routes| {
        let routes = routes.mutation::<CreateUser>().query::<GetUser>().query::<ValidateUser>();
        sessions::routes(routes)
    },
    demo: [demo, later_demo],
};

static ACCOUNTS: Table = Table {
    // Those in other tenants only if the user has no other account.
    dependents: &[Dependent {
        table: &sessions::SESSIONS,
        columns: &["tenant_id", "user_id"],
        or: Some("user_id = ?2 AND NOT EXISTS (SELECT 1 FROM accounts WHERE user_id = ?2 AND tenant_id <> ?1)"),
    }],
    derived: &[Derived { column: "address", from: "email", derive: addresses::folded }],
    ..Table::new("accounts", &["tenant_id", "user_id"], "the e-mail address or the id already has an account")
};

static ACCOUNT: EntityType = EntityType {
    subject_field: Some("user_id"),
    personal: &[("email", "contact"), ("name", "identity")],
    operations: operations::OF_ACCOUNTS,
    ..EntityType::new(
        "account",
        &ACCOUNTS,
        "user_id",
        &[
            Field::new("user_id", Kind::Id),
            Field::new("email", Kind::UniqueText),
            Field::new("name", Kind::Text),
            Field::new("role", Kind::Text),
            Field::new("status", Kind::OneOf(&[ACTIVE, DEACTIVATED])),
            Field::new("created_at", Kind::Time),
        ],
    )
};

/// The status of an account that may be used.
const ACTIVE: &str = "active";
/// The status of an account that may not be used any more.
const DEACTIVATED: &str = "deactivated";

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
    const DOC: Doc = Doc {
        takes: &[
            Member::optional("user_id", Shape::Id, "chosen by the caller"),
            Member::required("email", Shape::Text, ""),
            Member::required("name", Shape::Text, ""),
            Member::required("role", Shape::Text, ""),
            Member::required("tenant_id", Shape::Text, "that of the header"),
            Member::optional("send_welcome_email", Shape::Flag, "without effect"),
        ],
        refuses: &[
            (403, "the tenant of the body is not the header's"),
            (409, "the address or the id already has an account"),
        ],
        ..Doc::created(
            "Creates an account.",
            "create_user_account (user onboarding). Addresses are the same one whatever their case, composition \
             (NFC, NFD) and the spelling of their domain (xn--). The service sends no mail: the notification \
             endpoint does.",
            Shape::Object(&[
                Member::required("user_id", Shape::Id, "the chosen one"),
                Member::required("email", Shape::Text, ""),
                Member::required("created_at", Shape::Time, ""),
            ]),
        )
    };

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
        let created_at = create(tx, &user_id, [&self.email, &self.name, &self.role]).await?;
        let body = json!({ "user_id": user_id, "email": self.email, "created_at": created_at });
        Ok(Done::created("account", &user_id, body))
    }
}

/// Creates an account of this address, name and role. Its time.
async fn create(tx: &mut Tx<'_>, user_id: &str, [email, name, role]: [&str; 3]) -> Result<String, Problem> {
    let created_at = tx.now();
    let account = json!({
        "user_id": user_id, "email": email, "name": name, "role": role, "status": ACTIVE, "created_at": created_at,
    });
    tx.create(&ACCOUNTS, row(account)).await?;
    Ok(created_at)
}

/// `GET /api/v1/users/{user_id}`: for the account's own tenant.
struct GetUser;

impl Query for GetUser {
    const ROUTE: &'static str = "/api/v1/users/{user_id}";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "An account.",
            "No workflow: they read accounts by the data port. It is what people look at.",
            Shape::Owned(&ACCOUNT),
        )
    };

    fn is_logged(_: &Call) -> bool {
        true
    }

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let account = reader.get(&ACCOUNTS, &[reader.call.param("user_id")]).await?;
        reader.log_access(&ACCOUNT, &account).await?;
        Ok(Json(account).into_response())
    }
}

/// `GET /api/v1/users/{user_id}/validate`
struct ValidateUser;

impl Query for ValidateUser {
    const ROUTE: &'static str = "/api/v1/users/{user_id}/validate";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "Whether a user may be let in, and what they may do in the tenant.",
            "No workflow any more: tenant switching asks the Tenant service for access. Existing callers of \
             validate_user_credentials use it.",
            Shape::Object(&[
                Member::required("valid", Shape::Flag, ""),
                Member::required("user_id", Shape::Text, ""),
                Member::required("permissions", Shape::Texts, ""),
            ]),
        )
    };

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let user = user(&mut reader).await?;
        let permissions = if user.is_active { user.permissions } else { json!([]) };
        let body = json!({ "valid": user.is_active, "user_id": user.user_id, "permissions": permissions });
        Ok(Json(body).into_response())
    }
}

/// Somebody whom the call's tenant may know.
struct User {
    user_id: String,
    /// What they may do in this tenant.
    permissions: Value,
    /// Whether the account may be used.
    is_active: bool,
}

/// The user that the path names: with an account in the call's tenant, or with one elsewhere and access to this tenant.
async fn user(reader: &mut Reader<'_>) -> Result<User, Problem> {
    let call = reader.call;
    let user_id = call.param("user_id");
    if let Some(account) = reader.find(&ACCOUNTS, &[user_id]).await? {
        let permissions = json!(permissions(account["role"].as_str().unwrap_or_default()));
        return Ok(User { user_id: user_id.to_owned(), permissions, is_active: is_active(&account) });
    }
    let elsewhere = reader.list_of_all_tenants(&ACCOUNTS, &[("user_id", user_id)]).await?;
    let membership = tenant::membership(reader.tenants, &call.tenant_id, user_id).await?;
    let member = membership.filter(|_| !elsewhere.is_empty()).ok_or_else(Problem::not_found)?;
    Ok(User {
        user_id: user_id.to_owned(),
        permissions: member["permissions"].clone(),
        is_active: elsewhere.iter().any(is_active),
    })
}

fn is_active(account: &Row) -> bool {
    account["status"] == ACTIVE
}

/// What a role may do.
fn permissions(role: &str) -> &'static [&'static str] {
    match role {
        "admin" => &["tenant:read", "tenant:write", "user:read", "user:write", "file:read", "file:write"],
        "user" => &["tenant:read", "user:read", "file:read", "file:write"],
        _ => &["tenant:read"],
    }
}

/// The row of an account of this address and name.
fn account(tenant_id: &str, user_id: &str, [email, name]: [&str; 2], at: &str) -> (&'static Table, Row) {
    let account = json!({
        "tenant_id": tenant_id, "user_id": user_id, "email": email, "name": name, "role": "user", "status": ACTIVE,
        "created_at": at,
    });
    (&ACCOUNTS, row(account))
}

/// The row of an account of which nothing but the id is known.
pub(crate) fn seeded(tenant_id: &str, id: &str, at: &str) -> (&'static Table, Row) {
    account(tenant_id, id, [&format!("{id}@example.com"), id], at)
}

fn later_demo(at: &str) -> Rows {
    vec![
        account("tenant-123", "user-125", ["third.user@example.com", "Third User"], at),
        account("tenant-123", "user-126", ["fourth.user@example.com", "Fourth User"], at),
    ]
}

fn demo(at: &str) -> Rows {
    let session = json!({
        "tenant_id": "tenant-123", "session_id": "session-123", "user_id": "user-123",
        "session_data": { "device": "laptop" }, "active": true, "created_at": at,
    });
    vec![
        account("tenant-123", "user-123", ["demo.user@example.com", "Demo User"], at),
        account("tenant-123", "user-124", ["second.user@example.com", "Second User"], at),
        (&sessions::SESSIONS, row(session)),
    ]
}

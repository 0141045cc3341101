//! The User service: profiles, and in [`contexts`] the tenant that each user works in.

mod contexts;

use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{Call, Definition, Done, Fields, Mutation, Problem, Query, Reader, Row, Table, Tx, row};

pub(crate) static DEFINITION: Definition = Definition {
    schema: &[
        "
        CREATE TABLE IF NOT EXISTS profiles (
            tenant_id TEXT NOT NULL,
            profile_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            profile_data TEXT NOT NULL,
            preferences TEXT NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (tenant_id, profile_id),
            UNIQUE (tenant_id, user_id)
        ) STRICT;
        ",
        "
        CREATE TABLE contexts (
            user_id TEXT NOT NULL PRIMARY KEY,
            tenant_id TEXT NOT NULL,
            preferences TEXT NOT NULL,
            version INTEGER NOT NULL,
            updated_at TEXT NOT NULL
        ) STRICT;
        CREATE INDEX contexts_by_tenant ON contexts (tenant_id);
        INSERT INTO contexts
            SELECT user_id, tenant_id, preferences, 1, created_at FROM profiles WHERE true
            ORDER BY rowid ON CONFLICT DO NOTHING;
        ",
    ],
    tables: &[&PROFILES, &contexts::CONTEXTS],
    routes: |routes| contexts::routes(routes.mutation::<CreateProfile>().query::<GetProfile>()),
    demo,
};

static PROFILES: Table = Table {
    json: &["profile_data", "preferences"],
    ..Table::new("profiles", &["tenant_id", "profile_id"], "the user already has a profile, or its id is taken")
};

/// `POST /api/v1/profiles`: a user's first one also makes the tenant the one that the user works in.
struct CreateProfile {
    profile_id: Option<String>,
    user_id: String,
    profile_data: Value,
    preferences: Value,
}

impl Mutation for CreateProfile {
    const METHOD: MethodFilter = MethodFilter::POST;
    const ROUTE: &'static str = "/api/v1/profiles";

    fn read(_: &Call, body: &mut Fields<'_>) -> Self {
        Self {
            profile_id: body.chosen_id("profile_id"),
            user_id: body.text("user_id"),
            profile_data: body.text_map("profile_data"),
            preferences: body.text_map("preferences"),
        }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let profile_id = self.profile_id.unwrap_or_else(|| tx.new_id());
        let created_at = tx.now();
        let profile = json!({
            "profile_id": profile_id, "user_id": self.user_id, "profile_data": self.profile_data,
            "preferences": &self.preferences, "created_at": created_at,
        });
        tx.create(&PROFILES, row(profile)).await?;
        contexts::create(tx, &self.user_id, self.preferences).await?;
        let body = json!({ "profile_id": profile_id, "created_at": created_at });
        Ok(Done::created("profile", &profile_id, body))
    }
}

/// `GET /api/v1/profiles/{user_id}`
struct GetProfile;

impl Query for GetProfile {
    const ROUTE: &'static str = "/api/v1/profiles/{user_id}";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let user_id = reader.call.param("user_id");
        let profiles = reader.list(&PROFILES, &[("user_id", user_id)]).await?;
        let profile = profiles.into_iter().next().ok_or_else(Problem::not_found)?;
        Ok(Json(profile).into_response())
    }
}

fn demo(at: &str) -> Vec<(&'static Table, Row)> {
    let user = |number: &str, name: &str, email: &str| {
        let (user_id, preferences) = (format!("user-{number}"), json!({ "language": "en", "theme": "dark" }));
        let profile = json!({
            "tenant_id": "tenant-123", "profile_id": format!("profile-{number}"), "user_id": user_id,
            "profile_data": { "name": name, "email": email, "role": "user" }, "preferences": preferences,
            "created_at": at,
        });
        let context = json!({
            "user_id": user_id, "tenant_id": "tenant-123", "preferences": preferences, "version": 1,
            "updated_at": at,
        });
        [(&PROFILES, row(profile)), (&contexts::CONTEXTS, row(context))]
    };
    let users =
        [user("123", "Demo User", "demo.user@example.com"), user("124", "Second User", "second.user@example.com")];
    users.into_iter().flatten().collect()
}

//! The User service: profiles, and in [`contexts`] the tenant that each user works in.

mod contexts;
mod operations;
mod usage;

use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{
    Call, Definition, Doc, Done, EntityType, Field, Fields, Kind, Member, Mutation, NOT_FOUND, Problem, Query, Reader,
    Reference, Row, Rows, Shape, Table, Tx, row,
};

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
        "
        ALTER TABLE profiles ADD COLUMN status TEXT NOT NULL DEFAULT 'active'
            CHECK (status IN ('active', 'deactivated'));
        ",
        usage::SCHEMA,
    ],
    tables: &[&PROFILES, &contexts::CONTEXTS, &usage::USAGE_ROWS],
    entity_types: &[&PROFILE, &usage::USAGE],
    routes: |routes| contexts::routes(routes.mutation::<CreateProfile>().query::<GetProfile>()),
    demo: [demo, later_demo],
};

static PROFILES: Table = Table {
    json: &["profile_data", "preferences"],
    ..Table::new("profiles", &["tenant_id", "profile_id"], "the user already has a profile, or its id is taken")
};

static PROFILE: EntityType = EntityType {
    subject_field: Some("user_id"),
    references: &[Reference::new("user_id", "auth", "account")],
    personal: &[
        ("profile_data.name", "personal"),
        ("profile_data.email", "personal"),
        ("profile_data", "personal"),
        ("preferences", "personal"),
    ],
    // Since version 2 a profile's preferences have a `locale` in the place of a `language`.
    schema_version: 2,
    operations: operations::OF_PROFILES,
    ..EntityType::new(
        "profile",
        &PROFILES,
        "profile_id",
        &[
            Field::new("profile_id", Kind::Id),
            Field::new("user_id", Kind::Id),
            Field::new("profile_data", Kind::TextMap),
            Field::new("preferences", Kind::TextMap),
            Field::new("status", Kind::OneOf(&["active", DEACTIVATED])),
            Field::new("created_at", Kind::Time),
        ],
    )
};

/// The status of the profile of somebody who may not do anything any more.
const DEACTIVATED: &str = "deactivated";

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
    const DOC: Doc = Doc {
        takes: &[
            Member::optional("profile_id", Shape::Id, "chosen by the caller"),
            Member::required("user_id", Shape::Text, ""),
            Member::required("profile_data", Shape::TextMap, ""),
            Member::required("preferences", Shape::TextMap, ""),
        ],
        refuses: &[(409, "the user already has a profile, or its id is taken")],
        ..Doc::created(
            "Creates a user's profile.",
            "create_user_profile (user onboarding). A user's first profile makes the tenant the one that the user \
             works in.",
            Shape::Object(&[
                Member::required("profile_id", Shape::Id, "the chosen one"),
                Member::required("created_at", Shape::Time, ""),
            ]),
        )
    };

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
        let created_at = create(tx, &profile_id, &self.user_id, [self.profile_data, self.preferences]).await?;
        let body = json!({ "profile_id": profile_id, "created_at": created_at });
        Ok(Done::created("profile", &profile_id, body))
    }
}

/// Creates a profile of these data and preferences. Its time.
async fn create(tx: &mut Tx<'_>, id: &str, user_id: &str, [data, preferences]: [Value; 2]) -> Result<String, Problem> {
    let created_at = tx.now();
    let profile = json!({
        "profile_id": id, "user_id": user_id, "profile_data": data, "preferences": preferences, "status": "active",
        "created_at": created_at,
    });
    tx.create(&PROFILES, row(profile)).await?;
    contexts::create(tx, user_id, preferences).await?;
    Ok(created_at)
}

/// `GET /api/v1/profiles/{user_id}`
struct GetProfile;

impl Query for GetProfile {
    const ROUTE: &'static str = "/api/v1/profiles/{user_id}";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "A user's profile.",
            "No workflow: they read profiles by the data port. It is what people look at.",
            Shape::Owned(&PROFILE),
        )
    };

    fn is_logged(_: &Call) -> bool {
        true
    }

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let user_id = reader.call.param("user_id");
        let profiles = reader.list(&PROFILES, &[("user_id", user_id)]).await?;
        let profile = profiles.into_iter().next().ok_or_else(Problem::not_found)?;
        reader.log_access(&PROFILE, &profile).await?;
        Ok(Json(profile).into_response())
    }
}

/// The row of a profile of this name and address.
fn profile(tenant_id: &str, ids: [&str; 2], [name, email]: [&str; 2], at: &str) -> (&'static Table, Row) {
    let [profile_id, user_id] = ids;
    let profile = json!({
        "tenant_id": tenant_id, "profile_id": profile_id, "user_id": user_id,
        "profile_data": { "name": name, "email": email, "role": "user" },
        "preferences": { "language": "en", "theme": "dark" }, "status": "active", "created_at": at,
    });
    (&PROFILES, row(profile))
}

/// The row of a profile of which nothing but the id is known; it is its user's too.
pub(crate) fn seeded(tenant_id: &str, id: &str, at: &str) -> (&'static Table, Row) {
    profile(tenant_id, [id, id], [id, &format!("{id}@example.com")], at)
}

fn demo_user(number: &str, who: [&str; 2], at: &str) -> [(&'static Table, Row); 2] {
    let user_id = format!("user-{number}");
    let profile = profile("tenant-123", [&format!("profile-{number}"), &user_id], who, at);
    let context = json!({
        "user_id": user_id, "tenant_id": "tenant-123", "preferences": profile.1["preferences"], "version": 1,
        "updated_at": at,
    });
    [profile, (&contexts::CONTEXTS, row(context))]
}

fn demo(at: &str) -> Rows {
    let users = [("123", ["Demo User", "demo.user@example.com"]), ("124", ["Second User", "second.user@example.com"])];
    users.into_iter().flat_map(|(number, who)| demo_user(number, who, at)).collect()
}

fn later_demo(at: &str) -> Rows {
    let mut rows = usage::demo();
    rows.extend(demo_user("125", ["Third User", "third.user@example.com"], at));
    rows
}

//! Sessions. One belongs to a tenant, which need not be the one that the user's account is in.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use super::user;
use crate::kernel::{
    Call, Doc, Done, EntityType, Field, Fields, Kind, Member, Mutation, NOT_FOUND, Problem, Query, Reader, Reference,
    Routes, Row, Shape, Table, Tx, row,
};

pub(super) static SESSIONS: Table = Table {
    json: &["session_data"],
    booleans: &["active"],
    ..Table::new("sessions", &["tenant_id", "session_id"], "the session exists")
};

pub(super) static SESSION: EntityType = EntityType {
    subject_field: Some("user_id"),
    references: &[Reference::new("user_id", "auth", "account")],
    personal: &[("session_data", "usage")],
    retention_days: Some(90),
    ..EntityType::new(
        "session",
        &SESSIONS,
        "session_id",
        &[
            Field::new("session_id", Kind::Id),
            Field::new("user_id", Kind::Id),
            Field::new("session_data", Kind::TextMap),
            Field::new("active", Kind::Flag),
            Field::new("created_at", Kind::Time),
            Field::new("revoked_at", Kind::NullableText),
        ],
    )
};

/// The entry of a new session's data that asks for the data of an older session.
const PRESERVE_DATA: &str = "preserve_data";

pub(super) fn routes(routes: Routes) -> Routes {
    routes.query::<ListSessions>().mutation::<SignIn>().mutation::<PutSession>().mutation::<RevokeSessions>()
}

/// What the list answers.
const LISTED: &[Member] = &[Member::required("sessions", Shape::AllOwned(&SESSION), "at most 1,000")];

/// `GET /api/v1/users/{user_id}/sessions`: those in the call's tenant, the newest first.
struct ListSessions;

impl Query for ListSessions {
    const ROUTE: &'static str = "/api/v1/users/{user_id}/sessions";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "A user's sessions in the tenant, the newest first.",
            "No workflow: update_user_session and revoke_user_sessions need no list. It is what people look at.",
            Shape::Object(LISTED),
        )
    };

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let user_id = reader.call.param("user_id");
        let sessions = reader.list(&SESSIONS, &[("user_id", user_id)]).await?;
        // The tenant knows its own sessions, also of somebody who has lost access to it.
        if sessions.is_empty() {
            user(&mut reader).await?;
        }
        Ok(Json(json!({ "sessions": sessions })).into_response())
    }
}

/// `POST /api/v1/users/{user_id}/sessions`
struct SignIn {
    session_id: Option<String>,
    session_data: Value,
}

impl Mutation for SignIn {
    const METHOD: MethodFilter = MethodFilter::POST;
    const ROUTE: &'static str = "/api/v1/users/{user_id}/sessions";
    const DOC: Doc = Doc {
        takes: &[
            Member::optional("session_id", Shape::Id, "chosen by the caller"),
            Member::required("session_data", Shape::TextMap, ""),
        ],
        refuses: &[NOT_FOUND, (409, "the id is taken, or the account is deactivated")],
        ..Doc::created(
            "Signs a user in.",
            "No workflow: it is how a user comes to have a session.",
            Shape::Object(&[
                Member::required("session_id", Shape::Id, ""),
                Member::required("created_at", Shape::Time, ""),
            ]),
        )
    };

    fn read(_: &Call, body: &mut Fields<'_>) -> Self {
        Self { session_id: body.chosen_id("session_id"), session_data: body.text_map("session_data") }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let (session_id, created_at) = create(tx, self.session_id, self.session_data).await?;
        let body = json!({ "session_id": session_id, "created_at": created_at });
        Ok(Done::created("session", &session_id, body))
    }
}

/// `PUT /api/v1/users/{user_id}/session`: a new session in the tenant that the user goes to.
struct PutSession {
    session_id: Option<String>,
    tenant_id: String,
    source_tenant_id: Option<String>,
    session_data: Value,
}

impl Mutation for PutSession {
    const METHOD: MethodFilter = MethodFilter::PUT;
    const ROUTE: &'static str = "/api/v1/users/{user_id}/session";
    const DOC: Doc = Doc {
        takes: &[
            Member::optional("session_id", Shape::Id, "chosen by the caller"),
            Member::required("tenant_id", Shape::Text, "that of the header"),
            Member::optional("source_tenant_id", Shape::Id, "where the user comes from"),
            Member::required("session_data", Shape::TextMap, ""),
        ],
        refuses: &[
            (403, "the tenant of the body is not the header's"),
            NOT_FOUND,
            (409, "the id is taken, or the account is deactivated"),
        ],
        ..Doc::created(
            "A new session in the tenant that the user goes to.",
            "update_user_session (tenant switching). With `preserve_data` \"true\" in session_data the data of the \
             newest session in source_tenant_id come along.",
            Shape::Object(&[
                Member::required("session_id", Shape::Id, "the chosen one"),
                Member::required("updated_at", Shape::Time, ""),
            ]),
        )
    };

    fn read(_: &Call, body: &mut Fields<'_>) -> Self {
        Self {
            session_id: body.chosen_id("session_id"),
            tenant_id: body.text("tenant_id"),
            source_tenant_id: body.chosen_id("source_tenant_id"),
            session_data: body.text_map("session_data"),
        }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        if self.tenant_id != tx.call.tenant_id {
            return Err(Problem::new(StatusCode::FORBIDDEN, "the tenant of the body is not the header's"));
        }
        let mut data = row(self.session_data);
        if data.remove(PRESERVE_DATA).is_some_and(|asked| asked == "true") {
            let mut preserved = newest_data(tx, self.source_tenant_id.as_deref()).await?;
            preserved.append(&mut data);
            data = preserved;
        }
        let (session_id, updated_at) = create(tx, self.session_id, Value::Object(data)).await?;
        let body = json!({ "session_id": session_id, "updated_at": updated_at });
        Ok(Done::created("session", &session_id, body))
    }
}

/// `DELETE /api/v1/users/{user_id}/sessions`: revokes the active sessions in the call's tenant, and no others.
struct RevokeSessions {
    user_id: String,
}

impl Mutation for RevokeSessions {
    const METHOD: MethodFilter = MethodFilter::DELETE;
    const ROUTE: &'static str = "/api/v1/users/{user_id}/sessions";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "Revokes a user's active sessions in the tenant, and in no other.",
            "revoke_user_sessions (tenant switching), as its last step; a deletion of personal data revokes sessions \
             too.",
            Shape::Object(&[
                Member::required("sessions_revoked", Shape::Count, ""),
                Member::required("revoked_at", Shape::Time, ""),
            ]),
        )
    };

    fn read(call: &Call, _: &mut Fields<'_>) -> Self {
        Self { user_id: call.param("user_id").to_owned() }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let (revoked, revoked_at) = revoke(tx, &self.user_id).await?;
        if revoked == 0 {
            user(tx).await?;
        }
        let body = json!({ "sessions_revoked": revoked, "revoked_at": revoked_at });
        Ok(Done::ok("sessions", &self.user_id, body))
    }
}

/// Revokes the user's active sessions in the call's tenant. How many, and when.
pub(super) async fn revoke(tx: &mut Tx<'_>, user_id: &str) -> Result<(usize, String), Problem> {
    let revoked_at = tx.now();
    let mut revoked = 0;
    loop {
        // One list may not hold all of them; those that are revoked are not in the next.
        let active = tx.list(&SESSIONS, &[("user_id", user_id), ("active", "1")]).await?;
        if active.is_empty() {
            return Ok((revoked, revoked_at));
        }
        for mut session in active {
            session.insert("active".to_owned(), false.into());
            session.insert("revoked_at".to_owned(), revoked_at.as_str().into());
            tx.put(&SESSIONS, session).await?;
            revoked += 1;
        }
    }
}

/// Creates a session of the user that the path names. Its id and time.
async fn create(tx: &mut Tx<'_>, chosen_id: Option<String>, data: Value) -> Result<(String, String), Problem> {
    let user = user(tx).await?;
    if !user.is_active {
        return Err(Problem::conflict("the account is deactivated"));
    }
    let session_id = chosen_id.unwrap_or_else(|| tx.new_id());
    let created_at = tx.now();
    let session = json!({
        "session_id": session_id, "user_id": user.user_id, "session_data": data, "active": true,
        "created_at": created_at, "revoked_at": null,
    });
    tx.create(&SESSIONS, row(session)).await?;
    Ok((session_id, created_at))
}

/// The data of the user's newest active session in this tenant; none without such a session.
async fn newest_data(tx: &mut Tx<'_>, tenant_id: Option<&str>) -> Result<Row, Problem> {
    let Some(tenant_id) = tenant_id else { return Ok(Row::new()) };
    let call = tx.call;
    let filter = [("tenant_id", tenant_id), ("user_id", call.param("user_id")), ("active", "1")];
    let newest = tx.list_of_all_tenants(&SESSIONS, &filter).await?.into_iter().next();
    Ok(newest.map(|mut session| row(session["session_data"].take())).unwrap_or_default())
}

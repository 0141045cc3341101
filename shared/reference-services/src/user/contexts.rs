//! Which tenant a user works in, and with which preferences. A user is in one tenant at a time, whichever they belong to.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{
    Call, Doc, Done, Fields, Member, Mutation, NOT_FOUND, Problem, Query, Reader, Routes, Row, Shape, Table, Tx, row,
};
use crate::tenant;

pub(super) static CONTEXTS: Table =
    Table { json: &["preferences"], ..Table::new("contexts", &["user_id"], "the user works in a tenant already") };

pub(super) fn routes(routes: Routes) -> Routes {
    routes.query::<GetContext>().mutation::<PutContext>()
}

/// `GET /api/v1/users/{user_id}/tenant-context`
struct GetContext;

impl Query for GetContext {
    const ROUTE: &'static str = "/api/v1/users/{user_id}/tenant-context";
    const DOC: Doc = Doc {
        refuses: &[NOT_FOUND],
        ..Doc::new(
            "The tenant that a user works in, and with which preferences.",
            "No workflow: update_user_tenant_context says which tenant it expects. It is what people look at.",
            Shape::Object(&[
                Member::required("user_id", Shape::Text, ""),
                Member::required("tenant_id", Shape::Text, ""),
                Member::required("preferences", Shape::TextMap, ""),
                Member::required("version", Shape::Count, ""),
            ]),
        )
    };

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let mut context = context(&mut reader).await?;
        context.remove("updated_at");
        Ok(Json(context).into_response())
    }
}

/// `PUT /api/v1/users/{user_id}/tenant-context`: from the expected tenant to the call's.
struct PutContext {
    new_tenant_id: String,
    expected_tenant_id: String,
    preserve_preferences: bool,
}

impl Mutation for PutContext {
    const METHOD: MethodFilter = MethodFilter::PUT;
    const ROUTE: &'static str = "/api/v1/users/{user_id}/tenant-context";
    const DOC: Doc = Doc {
        takes: &[
            Member::required("new_tenant_id", Shape::Text, "that of the header"),
            Member::required("expected_tenant_id", Shape::Text, "where the user must be"),
            Member::required("preserve_preferences", Shape::Flag, ""),
        ],
        refuses: &[
            (403, "the new tenant is not the header's"),
            NOT_FOUND,
            (409, "the user works in another tenant than the expected one"),
        ],
        ..Doc::new(
            "Moves a user from the expected tenant to the header's.",
            "update_user_tenant_context (tenant switching). Without preserve_preferences the preferences become the \
             settings of the new tenant.",
            Shape::Object(&[
                Member::required("updated_at", Shape::Time, ""),
                Member::required("new_context", Shape::TextMap, "user_id, tenant_id and previous_tenant_id"),
            ]),
        )
    };

    fn read(_: &Call, body: &mut Fields<'_>) -> Self {
        Self {
            new_tenant_id: body.text("new_tenant_id"),
            expected_tenant_id: body.text("expected_tenant_id"),
            preserve_preferences: body.flag("preserve_preferences"),
        }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        if self.new_tenant_id != tx.call.tenant_id {
            return Err(Problem::new(StatusCode::FORBIDDEN, "the new tenant is not the header's"));
        }
        let before = context(tx).await?;
        if before["tenant_id"] != self.expected_tenant_id.as_str() {
            return Err(Problem::conflict("the user works in another tenant than the expected one"));
        }
        let preferences = if self.preserve_preferences {
            before["preferences"].clone()
        } else {
            tenant::settings(tx.tenants, &self.new_tenant_id).await?
        };
        let version = before["version"].as_i64().unwrap_or_default() + 1;
        let (user_id, updated_at) = (tx.call.param("user_id").to_owned(), tx.now());
        tx.put(&CONTEXTS, new(&user_id, preferences, version, &updated_at)).await?;
        let new_context = json!({
            "user_id": user_id, "tenant_id": self.new_tenant_id, "previous_tenant_id": self.expected_tenant_id,
        });
        Ok(Done::ok("tenant_context", &user_id, json!({ "updated_at": updated_at, "new_context": new_context })))
    }
}

/// Makes the call's tenant the one that the user works in, unless they work in one already.
pub(super) async fn create(tx: &mut Tx<'_>, user_id: &str, preferences: Value) -> Result<(), Problem> {
    if !tx.list_of_all_tenants(&CONTEXTS, &[("user_id", user_id)]).await?.is_empty() {
        return Ok(());
    }
    let context = new(user_id, preferences, 1, &tx.now());
    tx.create(&CONTEXTS, context).await
}

/// A row; the tenant is the call's.
fn new(user_id: &str, preferences: Value, version: i64, updated_at: &str) -> Row {
    row(json!({ "user_id": user_id, "preferences": preferences, "version": version, "updated_at": updated_at }))
}

/// The context of the user that the path names, for the tenant that they work in and for those that they have access to.
async fn context(reader: &mut Reader<'_>) -> Result<Row, Problem> {
    let call = reader.call;
    let user_id = call.param("user_id");
    let found = reader.list_of_all_tenants(&CONTEXTS, &[("user_id", user_id)]).await?;
    let context = found.into_iter().next().ok_or_else(Problem::not_found)?;
    let may_know = context["tenant_id"] == call.tenant_id.as_str()
        || tenant::membership(reader.tenants, &call.tenant_id, user_id).await?.is_some();
    if may_know { Ok(context) } else { Err(Problem::not_found()) }
}

//! `GET /api/v1/compliance/requests/{compliance_id}/certificate`: leads to the certificate of an erasure.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::access::Caller;
use crate::{Compliance, Problem, get_data_request, get_workflow_status};

/// The route.
pub fn route() -> Router<Compliance> {
    Router::new().route("/api/v1/compliance/requests/{compliance_id}/certificate", get(handle))
}

async fn handle(
    State(compliance): State<Compliance>,
    caller: Caller,
    Path(compliance_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = get_data_request::read(&compliance, &caller, &compliance_id).await?;
    let id = &request.workflow_id;
    let found = get_workflow_status::read(&compliance.api, &caller.tenant_id, id).await?;
    let is_certified = found.record.result.is_some_and(|result| !result["compliance_certificate"].is_null());
    if !is_certified {
        let detail =
            "There is no certificate: only an erasure that is complete has one. The status tells what is left.";
        return Err(Problem::not_found(detail).about(id));
    }
    // People read the page; the signed document is what counts.
    let wants_page = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let name = match wants_page.is_some_and(|accept| accept.contains("text/html")) {
        true => "certificate.html",
        false => "certificate.json",
    };
    // Relative to this path, so that it leads there behind whatever stands before the API.
    let location = HeaderValue::from_str(&format!("../../../workflows/{id}/results/{name}"));
    let location = location.map_err(|_| Problem::internal())?;
    Ok((StatusCode::FOUND, [(header::LOCATION, location), (header::VARY, HeaderValue::from_static("accept"))])
        .into_response())
}

//! Events of API Gateway, as requests to an endpoint.

use api::GatewayClaims;
use lambda_http::request::{LambdaRequest, RequestContext};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// An event of API Gateway. Its claims are text; should one come as what it is in the token, a number or an array of texts,
/// it is taken as the text of that. What is something else says nothing: the text of null is not the name of a tenant.
pub(crate) struct Event(pub(crate) LambdaRequest);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let event = Box::<RawValue>::deserialize(deserializer)?;
        let read = serde_json::from_str(event.get()).or_else(|_| serde_json::from_str(&with_texts(event.get())?));
        read.map(Self).map_err(D::Error::custom)
    }
}

fn with_texts(event: &str) -> serde_json::Result<String> {
    let mut event: Value = serde_json::from_str(event)?;
    let claims = event.pointer_mut("/requestContext/authorizer/jwt/claims").and_then(Value::as_object_mut);
    if let Some(claims) = claims {
        claims.retain(|_, claim| {
            if claim.is_number() || claim.as_array().is_some_and(|members| members.iter().all(Value::is_string)) {
                *claim = claim.to_string().into();
            }
            claim.is_string()
        });
    }
    Ok(event.to_string())
}

/// Takes the stage's name off the path, and hands on what the authorizer has verified.
pub(crate) fn from_gateway(mut request: lambda_http::Request) -> lambda_http::Request {
    let Some(RequestContext::ApiGatewayV2(context)) = request.extensions_mut().remove::<RequestContext>() else {
        return request;
    };
    if let Some(stage) = context.stage.as_deref().filter(|stage| *stage != "$default") {
        strip_prefix(&mut request, &format!("/{stage}/"));
    }
    if let Some(jwt) = context.authorizer.and_then(|authorizer| authorizer.jwt) {
        request.extensions_mut().insert(GatewayClaims(jwt.claims.into_iter().collect()));
    }
    request
}

fn strip_prefix(request: &mut lambda_http::Request, prefix: &str) {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().and_then(|path| path.as_str().strip_prefix(prefix));
    let Some(Ok(path)) = path.map(|path| format!("/{path}").parse()) else { return };
    parts.path_and_query = Some(path);
    if let Ok(uri) = lambda_http::http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

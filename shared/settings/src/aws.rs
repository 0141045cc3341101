//! What Lambda tells a function of AWS.

use std::collections::BTreeMap;

/// A variable that begins so says where AWS is played by something else: `AWS_ENDPOINT_URL_DYNAMODB`, `AWS_ENDPOINT_URL`.
const ENDPOINT_PREFIX: &str = "AWS_ENDPOINT_URL";

/// Names a file of roots to trust in place of Amazon's.
const ROOTS: &str = "SSL_CERT_FILE";

/// Where a function's AWS is, and whose requests it gets. Credentials are fixed for the life of an execution environment;
/// Lambda starts another one before they expire. It is not printed, as it is secret.
#[derive(Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are AWS's own")]
pub struct Aws {
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
    /// `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_*`, by these names.
    pub endpoint_urls: BTreeMap<String, String>,
    /// Whether other roots than Amazon's are to be trusted, those of `SSL_CERT_FILE`.
    pub has_own_roots: bool,
}

/// Whether the environment names roots of its own.
pub(crate) fn has_own_roots(variables: &BTreeMap<String, String>) -> bool {
    variables.contains_key(ROOTS)
}

/// Reads what there is; `missing` hears of what is not.
pub(crate) fn aws(variables: &BTreeMap<String, String>, mut missing: impl FnMut(&str)) -> Aws {
    let mut required = |name: &str| {
        variables.get(name).cloned().unwrap_or_else(|| {
            missing(name);
            String::new()
        })
    };
    let of_endpoints = variables.iter().filter(|(name, _)| name.starts_with(ENDPOINT_PREFIX));
    Aws {
        region: required("AWS_REGION"),
        access_key_id: required("AWS_ACCESS_KEY_ID"),
        secret_access_key: required("AWS_SECRET_ACCESS_KEY"),
        session_token: variables.get("AWS_SESSION_TOKEN").cloned(),
        endpoint_urls: of_endpoints.map(|(name, value)| (name.clone(), value.clone())).collect(),
        has_own_roots: has_own_roots(variables),
    }
}

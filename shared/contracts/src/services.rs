//! The services that workflows call, by the names under which requests and answers have them.

/// Every service's name.
pub const SERVICES: [&str; 5] = ["auth", "user", "tenant", "file", "notifications"];

/// The name of a service as clients may write it: `auth`, `auth-service`, `auth_service`.
pub fn service_named(name: &str) -> Option<&'static str> {
    let short = name.strip_suffix("-service").or_else(|| name.strip_suffix("_service")).unwrap_or(name);
    SERVICES.into_iter().find(|service| *service == short)
}

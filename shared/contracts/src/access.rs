//! Who may call the API.

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anybody who can reach the server, for any tenant (`auth.mode = "off"`).
    Open,
    /// Whose token API Gateway's authorizer has verified, for the tenants that the token names
    /// (`auth.mode = "gateway"`).
    Gateway {
        /// The claim with the tenants.
        tenants_claim: String,
        /// The claim with the roles.
        roles_claim: String,
    },
    /// Nobody, for this reason.
    Closed(String),
}

//! What a rule for faults says.

use serde::{Deserialize, Serialize};

/// Which requests go wrong, how often, and how.
///
/// Every rule counts the requests that match it; of the rules that are due, the first one fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// The method; absent: any.
    #[serde(default)]
    pub method: Option<String>,
    /// The route's template, such as `/api/v1/tenants/{tenant_id}/users/{user_id}`; absent: any but the control routes.
    #[serde(default)]
    pub route: Option<String>,
    /// The tenant; absent: any, and none.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The `entity_id` or `id` of one of the items that the body names; absent: any, and none.
    #[serde(default)]
    pub entity_id: Option<String>,
    /// How many times it fires; absent: for ever.
    #[serde(default)]
    pub times: Option<u64>,
    /// How many matching requests pass first.
    #[serde(default)]
    pub skip: u64,
    /// What goes wrong.
    pub fault: Fault,
}

impl FaultRule {
    /// A rule that matches every request, for ever.
    pub fn new(fault: Fault) -> Self {
        Self { method: None, route: None, tenant: None, entity_id: None, times: None, skip: 0, fault }
    }

    /// A rule that matches every request of this method to this route, for ever.
    pub fn on(method: &str, route: &str, fault: Fault) -> Self {
        Self { method: Some(method.to_owned()), route: Some(route.to_owned()), ..Self::new(fault) }
    }

    pub(super) fn matches(&self, request: &Matched<'_>) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(request.method))
            && self.route.as_ref().is_none_or(|wanted| wanted == request.route)
            && self.tenant.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == request.tenant)
            && self.entity_id.as_ref().is_none_or(|wanted| request.entity_ids.contains(wanted))
    }
}

/// What rules look at.
pub(super) struct Matched<'r> {
    pub(super) method: &'r str,
    pub(super) route: &'r str,
    pub(super) tenant: Option<&'r str>,
    pub(super) entity_ids: Vec<String>,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// This status instead of the effect.
    Status {
        /// The status.
        status: u16,
        /// The `Retry-After` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
    /// The effect, then this status.
    StatusAfterEffect {
        /// The status.
        status: u16,
    },
    /// The effect at once, the answer later.
    Delay {
        /// How much later.
        delay_ms: u64,
    },
    /// The effect and the answer later; neither if the caller has gone by then.
    DelayBeforeEffect {
        /// How much later.
        delay_ms: u64,
    },
    /// The effect, then the connection breaks.
    ReplyLost,
    /// The connection breaks without an effect.
    Reset,
    /// The connection breaks at once; the effect comes later.
    LateDelivery {
        /// How much later.
        delay_ms: u64,
    },
    /// The request arrives twice, as after a proxy's own retry.
    Duplicate,
    /// The effect, and an answer that is not JSON.
    MalformedBody,
    /// The effect, and an answer of this size.
    OversizedBody {
        /// The size.
        bytes: usize,
    },
    /// The effect, and an answer that names other ids.
    WrongId,
}

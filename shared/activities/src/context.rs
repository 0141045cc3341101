//! What an attempt may look at.

use contracts::effect::EffectScope;
use contracts::step::StepCall;
use contracts::{ActivityError, ErrorName};
use downstream::Downstream;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One attempt of one step.
pub struct Context<'a> {
    /// The services.
    pub downstream: &'a Downstream,
    /// What the state machine says.
    pub call: &'a StepCall,
    pub(crate) request: &'a Value,
    pub(crate) effect_scope: &'a str,
}

impl<'a> Context<'a> {
    /// The tenant.
    pub fn tenant_id(&self) -> &'a str {
        &self.call.workflow.tenant_id
    }

    /// The request that started the execution; the only place where personal data comes from.
    pub fn request<T: DeserializeOwned>(&self) -> Result<T, ActivityError> {
        T::deserialize(self.request)
            .map_err(|_| ActivityError::new(ErrorName::Internal, "the stored request is not of this workflow's form"))
    }

    /// A value that an earlier step found out.
    pub fn input(&self, name: &str) -> Result<&'a str, ActivityError> {
        let missing = || ActivityError::new(ErrorName::Internal, format!("the state machine hands over no '{name}'"));
        self.call.input[name].as_str().ok_or_else(missing)
    }

    /// The effect of the step named `step`, with its key and chosen id.
    pub fn effect_of<'s>(&'s self, step: &'s str) -> EffectScope<'s> {
        EffectScope { tenant_id: self.tenant_id(), scope: self.effect_scope, step }
    }

    /// The effect of this step.
    pub fn effect(&self) -> EffectScope<'_> {
        self.effect_of(&self.call.step.name)
    }
}

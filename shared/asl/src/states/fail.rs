//! Fail: ends the machine with an error. What is absent stays absent.

use serde_json::Value;

use crate::error::StateError;
use crate::execution::Visit;
use crate::expression::Template;

#[derive(Debug)]
pub(crate) struct Fail {
    pub(crate) error: Option<Template>,
    pub(crate) cause: Option<Template>,
}

impl Fail {
    pub(crate) fn enter(&self, visit: &mut Visit<'_>) -> StateError {
        match (self.text(visit, "Error", &self.error), self.text(visit, "Cause", &self.cause)) {
            (Ok(error), Ok(cause)) => StateError { error, cause, evaluation: None },
            (Err(error), _) | (_, Err(error)) => error,
        }
    }

    fn text(
        &self,
        visit: &mut Visit<'_>,
        field: &str,
        template: &Option<Template>,
    ) -> Result<Option<String>, StateError> {
        let Some(template) = template else { return Ok(None) };
        match (template, template.evaluate(&mut visit.scope(None), field)?) {
            (_, Value::String(text)) => Ok(Some(text)),
            (Template::Expression(expression), _) => {
                expression.evaluate_to(&mut visit.scope(None), field, "string", |_| None)
            }
            (_, other) => Ok(Some(other.to_string())),
        }
    }
}

//! Fail: ends the machine with an error. What is absent stays absent.

use serde_json::Value;

use crate::error::StateError;
use crate::scope::Visit;
use crate::template::Field;

#[derive(Debug)]
pub(crate) struct Fail {
    pub(crate) error: Option<Field<String>>,
    pub(crate) cause: Option<Field<String>>,
}

impl Fail {
    pub(crate) fn enter(&self, visit: &mut Visit<'_>) -> StateError {
        let mut scope = visit.scope(None);
        let mut text = |name, field: &Option<Field<String>>| match field {
            Some(field) => {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                field.evaluate(&mut scope, name, "string", text).map(Some)
            }
            None => Ok(None),
        };
        match (text("Error", &self.error), text("Cause", &self.cause)) {
            (Ok(error), Ok(cause)) => StateError { error, cause, evaluation: None },
            (Err(error), _) | (_, Err(error)) => error,
        }
    }
}

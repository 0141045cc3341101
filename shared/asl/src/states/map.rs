//! Map: the same states for every item, each time as a line of control of its own, whose outputs are the result.

use std::sync::Arc;

use serde_json::Value;

use crate::definition::{Machine, integer_between};
use crate::error::StateError;
use crate::scope::{Scope, Visit};
use crate::template::{Field, Template};

/// Iterations at the same time at most: AWS's own limit.
const MAX_CONCURRENCY: u64 = 40;
/// The largest number that a limit of a Map may be.
pub(crate) const MAX_ITEMS: u64 = 100_000_000;

#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) items: Option<Template>,
    pub(crate) selector: Option<Template>,
    pub(crate) max_concurrency: Option<Field<u64>>,
    /// Evaluated, as AWS does, and of no effect: it is for Maps whose iterations are executions of their own.
    pub(crate) tolerated_count: Option<Field<u64>>,
    pub(crate) tolerated_percentage: Option<Field<f64>>,
    pub(crate) processor: Machine,
}

/// What a Map is about to do.
pub(crate) struct Iterations {
    pub(crate) items: Vec<Arc<Value>>,
    /// At least 1.
    pub(crate) max_concurrency: usize,
}

impl Map {
    pub(crate) fn enter(&self, visit: &mut Visit<'_>) -> Result<Iterations, StateError> {
        let input = Arc::clone(visit.input);
        let mut scope = visit.scope(None);
        let items = self.items(&input, &mut scope)?;
        let whole = |field: &Option<Field<u64>>, scope: &mut Scope<'_>, name: &str| match field {
            Some(field) => field.evaluate(scope, name, "integer", integer_between(0, MAX_ITEMS)),
            None => Ok(0),
        };
        let max_concurrency = match whole(&self.max_concurrency, &mut scope, "MaxConcurrency")? {
            0 => MAX_CONCURRENCY,
            wanted => wanted.min(MAX_CONCURRENCY),
        };
        whole(&self.tolerated_count, &mut scope, "ToleratedFailureCount")?;
        if let Some(field) = &self.tolerated_percentage {
            field.evaluate(&mut scope, "ToleratedFailurePercentage", "number", percentage)?;
        }
        Ok(Iterations { items, max_concurrency: max_concurrency as usize })
    }

    fn items(&self, input: &Arc<Value>, scope: &mut Scope<'_>) -> Result<Vec<Arc<Value>>, StateError> {
        let array = |value: Value| match value {
            Value::Array(items) => Ok(items.into_iter().map(Arc::new).collect()),
            other => Err(other),
        };
        match &self.items {
            Some(Template::Expression(expression)) => array(expression.evaluate(scope, "Items")?)
                .map_err(|value| expression.wrong_type("Items", "array", &value)),
            Some(template) => array(template.evaluate(scope, "Items")?).map_err(|value| not_an_array(&value)),
            None => array(Value::clone(input)).map_err(|value| not_an_array(&value)),
        }
    }

    /// What the iteration of an item begins with.
    pub(crate) fn select(&self, visit: &mut Visit<'_>, item: Arc<Value>) -> Result<Arc<Value>, StateError> {
        match &self.selector {
            Some(template) => template.evaluate(&mut visit.scope(None), "ItemSelector").map(Arc::new),
            None => Ok(item),
        }
    }
}

fn not_an_array(value: &Value) -> StateError {
    StateError::evaluation_anywhere(format!("Map state input must be an array but was: {value}"))
}

/// From 0 to 100.
pub(crate) fn percentage(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| (0.0..=100.0).contains(number))
}

//! Map: the same states for every item, whose outputs are the result. Inline, an iteration is a line of control of the
//! same execution; distributed, it is an execution of its own, a child.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::Machine;
use crate::error::StateError;
use crate::items::{ItemFormat, ItemSource};
use crate::numbers::{integer_between, percentage};
use crate::scope::{Scope, Visit};
use crate::template::{Field, Template};

/// Iterations at the same time at most, and children: AWS's own limits.
const MAX_ITERATIONS: u64 = 40;
const MAX_CHILDREN: u64 = 10_000;
/// The largest number that a limit of a Map may be.
pub(crate) const MAX_ITEMS: u64 = 100_000_000;

#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) items: Option<Template>,
    pub(crate) selector: Option<Template>,
    pub(crate) max_concurrency: Option<Field<u64>>,
    /// Evaluated, as AWS does, and of no effect unless the Map is distributed.
    pub(crate) tolerated_count: Option<Field<u64>>,
    pub(crate) tolerated_percentage: Option<Field<f64>>,
    pub(crate) processor: Machine,
    /// What the field of the processor is called.
    pub(crate) processor_field: &'static str,
    pub(crate) distributed: Option<Distributed>,
}

/// What only a distributed Map has.
#[derive(Debug)]
pub(crate) struct Distributed {
    pub(crate) label: Option<String>,
    pub(crate) reader: Option<ItemReader>,
    pub(crate) writer: Option<ResultWriter>,
}

#[derive(Debug)]
pub(crate) struct ItemReader {
    pub(crate) resource: String,
    pub(crate) arguments: Option<Template>,
    pub(crate) format: ItemFormat,
    pub(crate) max_items: Option<Field<u64>>,
}

#[derive(Debug)]
pub(crate) struct ResultWriter {
    pub(crate) resource: String,
    pub(crate) arguments: Option<Template>,
}

/// Where results go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultTarget {
    /// The writer's `Resource`.
    pub resource: String,
    /// Its `Arguments`: `Bucket` and `Prefix`.
    pub arguments: Value,
}

/// What a Map is about to do.
pub(crate) enum MapPlan {
    Iterations(Iterations),
    Children(Box<Children>),
}

pub(crate) struct Iterations {
    pub(crate) items: Vec<Arc<Value>>,
    /// At least 1.
    pub(crate) max_concurrency: usize,
}

pub(crate) struct Children {
    pub(crate) items: Items,
    /// At least 1.
    pub(crate) max_concurrency: u64,
    pub(crate) tolerated: Tolerated,
    pub(crate) target: Option<ResultTarget>,
}

/// Where the items are.
pub(crate) enum Items {
    Here(Vec<Arc<Value>>),
    There(ItemSource),
}

/// How many children may fail without failing the Map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tolerated {
    count: Option<u64>,
    percentage: Option<f64>,
}

impl Tolerated {
    /// Whether so many failures are too many: more than either limit, where both are given.
    pub(crate) fn is_exceeded(&self, failed: u64, items: u64) -> bool {
        let percentage = failed as f64 * 100.0 / items.max(1) as f64;
        match (self.count, self.percentage) {
            (None, None) => failed > 0,
            (count, limit) => {
                count.is_some_and(|count| failed > count) || limit.is_some_and(|limit| percentage > limit)
            }
        }
    }
}

impl Map {
    pub(crate) fn enter(&self, visit: &mut Visit<'_>) -> Result<MapPlan, StateError> {
        let input = Arc::clone(visit.input);
        let mut scope = visit.scope(None);
        let reader = self.distributed.as_ref().and_then(|distributed| distributed.reader.as_ref());
        let items = match reader {
            Some(_) => Vec::new(),
            None => self.items(&input, &mut scope)?,
        };
        let limit = if self.distributed.is_some() { MAX_CHILDREN } else { MAX_ITERATIONS };
        let max_concurrency = match whole(self.max_concurrency.as_ref(), &mut scope, "MaxConcurrency")? {
            None | Some(0) => limit,
            Some(wanted) => wanted.min(limit),
        };
        let count = whole(self.tolerated_count.as_ref(), &mut scope, "ToleratedFailureCount")?;
        let percentage = match &self.tolerated_percentage {
            Some(field) => Some(field.evaluate(&mut scope, "ToleratedFailurePercentage", "number", percentage)?),
            None => None,
        };
        let Some(distributed) = &self.distributed else {
            return Ok(MapPlan::Iterations(Iterations { items, max_concurrency: max_concurrency as usize }));
        };
        let arguments = |template: Option<&Template>, scope: &mut Scope<'_>, name: &str| match template {
            Some(template) => template.evaluate(scope, name),
            None => Ok(Value::clone(&input)),
        };
        let items = match reader {
            None => Items::Here(items),
            Some(reader) => Items::There(ItemSource {
                resource: reader.resource.clone(),
                arguments: arguments(reader.arguments.as_ref(), &mut scope, "ItemReader/Arguments")?,
                format: reader.format.clone(),
                max_items: whole(reader.max_items.as_ref(), &mut scope, "ItemReader/ReaderConfig/MaxItems")?
                    .unwrap_or_default(),
            }),
        };
        let target = match &distributed.writer {
            None => None,
            Some(writer) => Some(ResultTarget {
                resource: writer.resource.clone(),
                arguments: arguments(writer.arguments.as_ref(), &mut scope, "ResultWriter/Arguments")?,
            }),
        };
        let tolerated = Tolerated { count, percentage };
        Ok(MapPlan::Children(Box::new(Children { items, max_concurrency, tolerated, target })))
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

    /// What the iteration of an item, or its child, begins with.
    pub(crate) fn select(&self, visit: &mut Visit<'_>, item: Arc<Value>) -> Result<Arc<Value>, StateError> {
        match &self.selector {
            Some(template) => template.evaluate(&mut visit.scope(None), "ItemSelector").map(Arc::new),
            None => Ok(item),
        }
    }
}

fn whole(field: Option<&Field<u64>>, scope: &mut Scope<'_>, name: &str) -> Result<Option<u64>, StateError> {
    field.map(|field| field.evaluate(scope, name, "integer", integer_between(0, MAX_ITEMS))).transpose()
}

fn not_an_array(value: &Value) -> StateError {
    StateError::evaluation_anywhere(format!("Map state input must be an array but was: {value}"))
}

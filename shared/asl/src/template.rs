//! JSON in which some strings are expressions.

use serde_json::{Map, Value};

use crate::error::StateError;
use crate::expression::{Expression, expression_text};
use crate::scope::Scope;

/// JSON with expressions at any depth.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    Literal(Value),
    Expression(Expression),
    Array(Vec<Template>),
    Object(Vec<(String, Template)>),
}

impl Template {
    /// Compiles the template at the JSON pointer `at`, each expression with `compile`, which hears its text and place
    /// and reports what is wrong.
    pub(crate) fn compile(value: &Value, at: &str, compile: &mut dyn FnMut(&str, &str) -> Option<Expression>) -> Self {
        match value {
            Value::String(string) => match expression_text(string) {
                Some(text) => compile(text, at).map_or(Self::Literal(Value::Null), Self::Expression),
                None => Self::Literal(value.clone()),
            },
            Value::Array(items) => {
                let items: Vec<_> = items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| Self::compile(item, &format!("{at}/{i}"), compile))
                    .collect();
                if items.iter().all(Self::is_literal) { Self::Literal(value.clone()) } else { Self::Array(items) }
            }
            Value::Object(object) => {
                let fields: Vec<_> = object
                    .iter()
                    .map(|(name, field)| {
                        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                        (name.clone(), Self::compile(field, &at, compile))
                    })
                    .collect();
                let is_literal = fields.iter().all(|(_, field)| field.is_literal());
                if is_literal { Self::Literal(value.clone()) } else { Self::Object(fields) }
            }
            _ => Self::Literal(value.clone()),
        }
    }

    /// The value, with `field` naming the template in errors.
    pub(crate) fn evaluate(&self, scope: &mut Scope, field: &str) -> Result<Value, StateError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => expression.evaluate(scope, field),
            Self::Array(items) => {
                items.iter().enumerate().map(|(i, item)| item.evaluate(scope, &format!("{field}[{i}]"))).collect()
            }
            Self::Object(fields) => {
                let mut object = Map::new();
                for (name, value) in fields {
                    object.insert(name.clone(), value.evaluate(scope, &format!("{field}/{name}"))?);
                }
                Ok(Value::Object(object))
            }
        }
    }

    fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }
}

/// A field that is a value of one kind, or an expression for one.
#[derive(Debug, Clone)]
pub(crate) enum Field<T> {
    Literal(T),
    Expression(Expression),
}

impl<T: Clone> Field<T> {
    pub(crate) fn evaluate(
        &self,
        scope: &mut Scope,
        field: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, StateError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => expression.evaluate_to(scope, field, expected, convert),
        }
    }
}

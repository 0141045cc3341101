//! Expressions and templates: JSON in which some strings are JSONata.

use std::fmt::Write as _;

use jlens_core::{Bindings, Expression as Jsonata, Options};
use serde_json::{Map, Value};

use crate::MAX_PAYLOAD_BYTES;
use crate::error::StateError;
use crate::scope::Scope;

/// Steps of one evaluation at most. Counted, not timed, so that every machine decides alike; a millisecond or two per
/// thousand.
const MAX_STEPS: u64 = 2_000_000;
/// Nesting of one evaluation at most.
const MAX_DEPTH: usize = 1_000;
/// Bytes of one value at most; nothing larger could leave a state.
const MAX_VALUE_BYTES: usize = 4 * MAX_PAYLOAD_BYTES;
/// Items of one array at most.
const MAX_ARRAY_ITEMS: usize = 200_000;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    /// Without the marks and the spaces next to them; error texts quote it.
    text: String,
    compiled: Jsonata,
    /// Whether it may ask for random numbers.
    is_random: bool,
}

/// The text between `{%` and `%}`, if `string` is an expression; only if they are its very ends.
pub(crate) fn expression_text(string: &str) -> Option<&str> {
    Some(string.strip_prefix("{%")?.strip_suffix("%}")?.trim())
}

impl Expression {
    pub(crate) fn compile(text: &str) -> Result<Self, jlens_core::Error> {
        let is_random = ["$random", "$uuid", "$shuffle"].iter().any(|name| text.contains(name));
        Ok(Self { text: text.to_owned(), compiled: Jsonata::compile(text)?, is_random })
    }

    /// The value; undefined is an error.
    pub(crate) fn evaluate(&self, scope: &mut Scope, field: &str) -> Result<Value, StateError> {
        match self.try_evaluate(scope, field)? {
            Some(value) => Ok(value),
            None => Err(self.fail(field, "returned nothing (undefined).")),
        }
    }

    /// A value of the kind that the field wants.
    pub(crate) fn evaluate_to<T>(
        &self,
        scope: &mut Scope,
        field: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, StateError> {
        let value = self.evaluate(scope, field)?;
        convert(&value).ok_or_else(|| {
            let kind = kind(&value);
            self.fail(
                field,
                &format!(
                    "returned an unexpected result type. Expected '{expected}', but was '{kind}' for value: {value}"
                ),
            )
        })
    }

    fn try_evaluate(&self, scope: &mut Scope, field: &str) -> Result<Option<Value>, StateError> {
        let mut options = Options::new()
            .now(scope.now.as_millisecond())
            .max_steps(MAX_STEPS)
            .max_depth(MAX_DEPTH)
            .max_string_length(MAX_VALUE_BYTES)
            .max_result_size(MAX_VALUE_BYTES)
            .max_array_length(MAX_ARRAY_ITEMS);
        let bindings: &Bindings = if self.is_random {
            let seed = scope.random.next();
            options = options.seed(seed);
            &crate::functions::with_random(scope.bindings.clone(), seed)
        } else {
            &scope.bindings
        };
        self.compiled.evaluate_with(None, bindings, &options).map_err(|error| {
            let message = error.message();
            let mut what = format!("threw an error during evaluation. {}", error.code());
            if !message.is_empty() {
                let _ = write!(what, ": {message}");
            }
            self.fail(field, &what)
        })
    }

    fn fail(&self, field: &str, what: &str) -> StateError {
        let cause = format!("The JSONata expression '{}' specified for the field '{field}' {what}", self.text);
        StateError::evaluation(cause, Some(field))
    }
}

/// JSON with expressions at any depth.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    Literal(Value),
    Expression(Expression),
    Array(Vec<Template>),
    Object(Vec<(String, Template)>),
}

impl Template {
    /// Compiles the template at the JSON pointer `at`; `bad` hears of every expression that does not compile.
    pub(crate) fn compile(value: &Value, at: &str, bad: &mut dyn FnMut(String, String)) -> Self {
        match value {
            Value::String(string) => match expression_text(string) {
                Some(text) => match Expression::compile(text) {
                    Ok(expression) => Self::Expression(expression),
                    Err(error) => {
                        bad(at.to_owned(), format!("{}: {}", error.code(), error.message()));
                        Self::Literal(Value::Null)
                    }
                },
                None => Self::Literal(value.clone()),
            },
            Value::Array(items) => {
                let items: Vec<_> =
                    items.iter().enumerate().map(|(i, item)| Self::compile(item, &format!("{at}/{i}"), bad)).collect();
                if items.iter().all(Self::is_literal) { Self::Literal(value.clone()) } else { Self::Array(items) }
            }
            Value::Object(object) => {
                let fields: Vec<_> = object
                    .iter()
                    .map(|(name, field)| {
                        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                        (name.clone(), Self::compile(field, &at, bad))
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

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

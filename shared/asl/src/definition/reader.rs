//! Reads a JSON object field by field, remembering what was wrong and what nobody asked for.

use std::collections::BTreeSet;

use jlens_core::reads::Reads;
use serde_json::{Map, Value};

use super::diagnostics::Diagnostics;
use crate::expression::{Expression, expression_text, is_state_field_read};
use crate::numbers::integer_between;
use crate::template::{Field, Template};

/// Longest name of a variable (Step Functions' quota).
const MAX_VARIABLE_NAME_CHARS: usize = 80;

/// One object of the definition.
pub(super) struct Reader<'a, 'd> {
    object: &'a Map<String, Value>,
    /// JSON pointer to the object.
    pub(super) at: String,
    pub(super) diagnostics: &'d mut Diagnostics,
    /// What the expressions of the state read, all together.
    reads: &'d mut Reads,
    known: BTreeSet<&'static str>,
    /// The field of `$states` that the next fields may read besides `input` and `context`.
    pub(super) offered: Option<&'static str>,
}

impl<'a, 'd> Reader<'a, 'd> {
    pub(super) fn new(
        object: &'a Map<String, Value>,
        at: String,
        diagnostics: &'d mut Diagnostics,
        reads: &'d mut Reads,
    ) -> Self {
        Self { object, at, diagnostics, reads, known: BTreeSet::new(), offered: None }
    }

    /// An object within this one: of the same state.
    pub(super) fn within<'b>(&mut self, object: &'b Map<String, Value>, at: String) -> Reader<'b, '_> {
        Reader::new(object, at, self.diagnostics, self.reads)
    }

    /// The field, and knowledge of it.
    pub(super) fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.insert(name);
        self.object.get(name)
    }

    pub(super) fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, escaped(name))
    }

    pub(super) fn bad(&mut self, name: &str, message: impl Into<String>) {
        let at = self.pointer(name);
        self.diagnostics.schema(&at, message);
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.get(name)?;
        if value.as_str().is_none() {
            self.bad(name, "Expected a string");
        }
        value.as_str()
    }

    pub(super) fn required_text(&mut self, name: &'static str) -> Option<&'a str> {
        if !self.object.contains_key(name) {
            self.known.insert(name);
            let at = self.at.clone();
            self.diagnostics.schema(&at, format!("The field '{name}' is required but was missing"));
            return None;
        }
        self.text(name)
    }

    pub(super) fn array(&mut self, name: &'static str) -> Option<&'a Vec<Value>> {
        let value = self.get(name)?;
        if value.as_array().is_none() {
            self.bad(name, "Expected an array");
        }
        value.as_array()
    }

    /// A number within limits.
    pub(super) fn number(&mut self, name: &'static str, minimum: f64, maximum: f64) -> Option<f64> {
        let value = self.get(name)?;
        let number = value.as_f64().filter(|number| (minimum..=maximum).contains(number));
        if number.is_none() {
            self.bad(name, format!("Expected a number from {minimum} to {maximum}"));
        }
        number
    }

    pub(super) fn integer(&mut self, name: &'static str, minimum: u64, maximum: u64) -> Option<u64> {
        let value = self.get(name)?;
        let number = integer_between(minimum, maximum)(value);
        if number.is_none() {
            self.bad(name, format!("Expected an integer from {minimum} to {maximum}"));
        }
        number
    }

    /// An integer, or an expression for one.
    pub(super) fn integer_field(&mut self, name: &'static str, minimum: u64, maximum: u64) -> Option<Field<u64>> {
        match self.get(name)? {
            Value::String(_) => self.expression(name).map(Field::Expression),
            _ => self.integer(name, minimum, maximum).map(Field::Literal),
        }
    }

    /// A text, or an expression for one.
    pub(super) fn text_field(&mut self, name: &'static str) -> Option<Field<String>> {
        let text = self.text(name)?;
        match expression_text(text) {
            Some(_) => self.expression(name).map(Field::Expression),
            None => Some(Field::Literal(text.to_owned())),
        }
    }

    /// A field that must be an expression.
    pub(super) fn expression(&mut self, name: &'static str) -> Option<Expression> {
        let value = self.get(name)?;
        let Some(text) = value.as_str().and_then(expression_text) else {
            self.bad(name, "Expected a JSONata expression between {% and %}");
            return None;
        };
        let at = self.pointer(name);
        self.compile_expression(text, &at)
    }

    pub(super) fn template(&mut self, name: &'static str) -> Option<Template> {
        let value = self.get(name)?;
        let at = self.pointer(name);
        Some(self.compile(value, &at))
    }

    /// `Assign`: a template for each variable.
    pub(super) fn assign(&mut self) -> Vec<(String, Template)> {
        let Some(value) = self.get("Assign") else {
            return Vec::new();
        };
        let Some(object) = value.as_object() else {
            self.bad("Assign", "Expected an object");
            return Vec::new();
        };
        let mut assign = Vec::new();
        for (name, value) in object {
            let at = format!("{}/{}", self.pointer("Assign"), escaped(name));
            if !is_variable_name(name) {
                self.diagnostics.schema(&at, format!("'{name}' is no name for a variable"));
            }
            assign.push((name.clone(), self.compile(value, &at)));
        }
        assign
    }

    fn compile(&mut self, value: &Value, at: &str) -> Template {
        Template::compile(value, at, &mut |text, at| self.compile_expression(text, at))
    }

    fn compile_expression(&mut self, text: &str, at: &str) -> Option<Expression> {
        let (expression, reads) = match Expression::compile(text) {
            Ok(compiled) => compiled,
            Err(error) => {
                let problem = format!("{}: {}", error.code(), error.message());
                self.diagnostics.schema(at, format!("The JSONata expression does not compile. {problem}"));
                return None;
            }
        };
        let missing = ["result", "errorOutput"].into_iter().filter(|name| self.offered != Some(*name));
        for name in missing.filter(|name| is_state_field_read(&reads, name)) {
            self.diagnostics.warning("STATES_FIELD_NOT_AVAILABLE", at, format!("There is no $states.{name} here"));
        }
        *self.reads = self.reads.union(&reads);
        Some(expression)
    }

    /// Complains about every field that nobody asked for.
    pub(super) fn finish(mut self) {
        const OF_JSONPATH: [&str; 7] =
            ["InputPath", "OutputPath", "Parameters", "ResultPath", "ResultSelector", "Result", "Variable"];
        for name in self.object.keys().filter(|name| !self.known.contains(name.as_str())).cloned().collect::<Vec<_>>() {
            let message = if OF_JSONPATH.contains(&name.as_str()) || name.ends_with("Path") {
                format!("Field '{name}' is not supported when 'QueryLanguage' is JSONata")
            } else {
                format!("Field '{name}' is not supported")
            };
            self.bad(&name, message);
        }
    }
}

/// A part of a JSON pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn is_variable_name(name: &str) -> bool {
    let is_start = |c: char| c.is_alphabetic() || c == '_';
    name != "states"
        && name.starts_with(is_start)
        && name.chars().all(|c| is_start(c) || c.is_numeric())
        && name.chars().count() <= MAX_VARIABLE_NAME_CHARS
}

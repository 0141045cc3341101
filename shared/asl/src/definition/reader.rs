//! Reads a JSON object field by field, remembering what was wrong and what nobody asked for.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::diagnostics::Diagnostics;
use crate::expression::{Expression, Field, Template, expression_text};

/// One object of the definition.
pub(super) struct Reader<'a, 'd> {
    object: &'a Map<String, Value>,
    /// JSON pointer to the object.
    pub(super) at: String,
    pub(super) diagnostics: &'d mut Diagnostics,
    known: BTreeSet<&'static str>,
}

impl<'a, 'd> Reader<'a, 'd> {
    pub(super) fn new(object: &'a Map<String, Value>, at: String, diagnostics: &'d mut Diagnostics) -> Self {
        Self { object, at, diagnostics, known: BTreeSet::new() }
    }

    /// The field, and knowledge of it.
    pub(super) fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.insert(name);
        self.object.get(name)
    }

    pub(super) fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, name.replace('~', "~0").replace('/', "~1"))
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
        let number = integer(value).filter(|number| (minimum..=maximum).contains(number));
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

    /// A field that must be an expression.
    pub(super) fn expression(&mut self, name: &'static str) -> Option<Expression> {
        let value = self.get(name)?;
        let Some(text) = value.as_str().and_then(expression_text) else {
            self.bad(name, "Expected a JSONata expression between {% and %}");
            return None;
        };
        match Expression::compile(text) {
            Ok(expression) => Some(expression),
            Err(error) => {
                self.bad(
                    name,
                    format!("The JSONata expression does not compile. {}: {}", error.code(), error.message()),
                );
                None
            }
        }
    }

    pub(super) fn template(&mut self, name: &'static str) -> Option<Template> {
        let value = self.get(name)?;
        Some(self.compile(value, name))
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
            let path = format!("Assign/{name}");
            if name == "states" || name.is_empty() || name.contains(|c: char| !(c.is_alphanumeric() || c == '_')) {
                self.bad(&path, format!("'{name}' is no name for a variable"));
            }
            assign.push((name.clone(), self.compile(value, &path)));
        }
        assign
    }

    fn compile(&mut self, value: &Value, path: &str) -> Template {
        let at = format!("{}/{path}", self.at);
        let diagnostics = &mut *self.diagnostics;
        Template::compile(value, &at, &mut |at, problem| {
            diagnostics.schema(&at, format!("The JSONata expression does not compile. {problem}"));
        })
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

/// A non-negative integer, also where JSON or JSONata writes it as `1.0`.
pub(crate) fn integer(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    (number >= 0.0 && number.fract() == 0.0 && number < 9e15).then_some(number as u64)
}

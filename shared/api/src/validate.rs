//! Checks the fields of a JSON object and names every bad one.

use std::ops::RangeInclusive;

use email_address::{EmailAddress, Options};
use serde_json::{Map, Value};

use crate::Problem;
use crate::problem::BadField;

/// Reads fields one after the other and remembers what was wrong.
pub(crate) struct Fields<'a> {
    object: Option<&'a Map<String, Value>>,
    bad: Vec<BadField>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(body: &'a Value) -> Self {
        let object = body.as_object();
        let mut fields = Self { object, bad: Vec::new() };
        if object.is_none() {
            fields.bad("", "must be an object");
        }
        fields
    }

    /// A string that must be there, of this many characters, none of them a control character, and not blank.
    pub(crate) fn text(&mut self, name: &str, chars: RangeInclusive<usize>) -> &'a str {
        let Some(object) = self.object else { return "" };
        let problem = match object.get(name) {
            None => "is missing".to_owned(),
            Some(Value::String(text)) => {
                let count = text.chars().count();
                if !chars.contains(&count) {
                    format!("must have {} to {} characters, has {count}", chars.start(), chars.end())
                } else if text.chars().any(char::is_control) {
                    "must not contain control characters".to_owned()
                } else if text.trim().is_empty() {
                    "must not be blank".to_owned()
                } else {
                    return text;
                }
            }
            Some(other) => format!("must be a string, is {}", kind(other)),
        };
        self.bad(name, problem);
        ""
    }

    /// A string for which `is_good` holds.
    pub(crate) fn text_like(
        &mut self,
        name: &str,
        chars: RangeInclusive<usize>,
        is_good: impl Fn(&str) -> bool,
        expected: &str,
    ) -> &'a str {
        let text = self.text(name, chars);
        if !text.is_empty() && !is_good(text) {
            self.bad(name, format!("must be {expected}"));
        }
        text
    }

    /// A boolean that is false when it is not there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.object.and_then(|object| object.get(name)) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.bad(name, format!("must be true or false, is {}", kind(other)));
                false
            }
        }
    }

    /// All is well, or a problem that names every bad field.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.bad.is_empty() { Ok(()) } else { Err(Problem::invalid(self.bad)) }
    }

    fn bad(&mut self, name: &str, detail: impl Into<String>) {
        let pointer = if name.is_empty() { String::new() } else { format!("/{name}") };
        self.bad.push(BadField { pointer, detail: detail.into() });
    }
}

/// Whether it is an address that mail can be sent to: `local@domain.tld`, no display name, no literal.
pub(crate) fn is_email(text: &str) -> bool {
    let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
    EmailAddress::parse_with_options(text, options).is_ok()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_mail_addresses() {
        for good in ["user@example.com", "a.b+c@sub.example.org", "o'neil@example.ie", "ü@example.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in
            ["user", "user@", "@example.com", "user@localhost", "a b@example.com", "A <a@example.com>", "a@b@c.de"]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }
}

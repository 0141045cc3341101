//! Numbers of JSON within limits.

use serde_json::Value;

/// Reads an integer within limits, also where JSON or JSONata writes it as `1.0`.
pub(crate) fn integer_between(minimum: u64, maximum: u64) -> impl Fn(&Value) -> Option<u64> {
    move |value| {
        let number = value.as_f64()?;
        let is_integer = number >= 0.0 && number.fract() == 0.0 && number < 9e15;
        let number = is_integer.then_some(number as u64)?;
        (minimum..=maximum).contains(&number).then_some(number)
    }
}

/// From 0 to 100.
pub(crate) fn percentage(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| (0.0..=100.0).contains(number))
}

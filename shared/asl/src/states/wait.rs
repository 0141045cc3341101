//! Wait: until a moment, or for a number of seconds.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::leave::{Exit, Leave};
use crate::error::StateError;
use crate::numbers::integer_between;
use crate::scope::Visit;
use crate::template::Field;

/// Longest wait: AWS's own limit, a little over 3 years.
pub(crate) const MAX_WAIT_SECONDS: u64 = 99_999_999;

#[derive(Debug)]
pub(crate) enum Wait {
    Seconds(Field<u64>),
    Timestamp(Field<Timestamp>),
}

impl Wait {
    /// The moment to wait for.
    pub(crate) fn enter(&self, visit: &mut Visit<'_>) -> Result<Timestamp, StateError> {
        let now = visit.now;
        match self {
            Self::Seconds(seconds) => {
                let integer = integer_between(0, MAX_WAIT_SECONDS);
                let seconds = seconds.evaluate(&mut visit.scope(None), "Seconds", "integer", integer)?;
                Ok(now.checked_add(Duration::from_secs(seconds)).unwrap_or(Timestamp::MAX))
            }
            Self::Timestamp(Field::Literal(timestamp)) => Ok(*timestamp),
            Self::Timestamp(Field::Expression(expression)) => {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let text = expression.evaluate_to(&mut visit.scope(None), "Timestamp", "string", text)?;
                parse_timestamp(&text).ok_or_else(|| {
                    let cause = "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format \
                                 string: ";
                    StateError::evaluation(format!("{cause}{text}"), "Timestamp")
                })
            }
        }
    }
}

/// The wait is over.
pub(crate) fn resume(exit: &Exit, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
    exit.pass_on(visit)
}

/// RFC 3339 with `T` and `Z`, as AWS wants it.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let (moment, fraction) = text.strip_suffix('Z')?.split_at_checked("2016-03-14T01:59:00".len())?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let is_separated = separators.into_iter().all(|(at, separator)| moment.as_bytes()[at] == separator);
    (is_separated && (fraction.is_empty() || fraction.starts_with('.'))).then(|| text.parse().ok())?
}

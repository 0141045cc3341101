//! How the values of settings are read. Those of the environment are text, whatever they are in a file.

use std::str::FromStr;

use contracts::ids::is_plain_id;
use contracts::limits::MAX_TENANT_CHARS;
use toml::Value;

pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// An address that mail can be sent to.
pub(crate) fn mail_address(value: &Value) -> Option<String> {
    text(value).filter(|address| contracts::email::is_email(address))
}

pub(crate) fn parsed<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn number(value: &Value) -> Option<i64> {
    value.as_integer().or_else(|| parsed(value))
}

/// One or more.
pub(crate) fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    number(value).filter(|number| *number >= 1).and_then(|number| T::try_from(number).ok())
}

/// None or more, of what fits into a span of time.
pub(crate) fn days(value: &Value) -> Option<u32> {
    number(value).and_then(|number| u32::try_from(number).ok())
}

pub(crate) fn coefficient(value: &Value) -> Option<f64> {
    let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64)).or_else(|| parsed(value));
    number.filter(|number| (1.0..=1e6).contains(number))
}

pub(crate) fn boolean(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| parsed(value))
}

/// Whole seconds, at least one. A part of a second is refused, as it would be dropped.
pub(crate) fn seconds(value: &Value) -> Option<u64> {
    let whole = |duration: &jiff::SignedDuration| duration.subsec_nanos() == 0;
    let duration = || parsed(value).filter(whole).map(|duration| duration.as_secs());
    number(value).or_else(duration).filter(|seconds| *seconds >= 1).and_then(|seconds| seconds.try_into().ok())
}

/// The URL of a server.
pub(crate) fn url(value: &Value) -> Option<String> {
    let is_url = |url: &http::Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some();
    text(value).filter(|text| !has_more_than_a_place(text) && text.parse().as_ref().is_ok_and(is_url))
}

/// The address of a server: its URL, or its host and port.
pub(crate) fn address(value: &Value) -> Option<String> {
    let is_host_and_port = |text: &String| {
        let authority = text.parse::<http::uri::Authority>();
        !has_more_than_a_place(text) && authority.is_ok_and(|authority| authority.port().is_some())
    };
    url(value).or_else(|| text(value).filter(is_host_and_port))
}

/// Whether there is user information, a query or a fragment in a URL.
fn has_more_than_a_place(url: &str) -> bool {
    url.contains(['@', '?', '#'])
}

/// What the ARNs of the deployment's state machines begin with.
pub(crate) fn state_machine_prefix(value: &Value) -> Option<String> {
    text(value).filter(|prefix| prefix.starts_with("arn:") && prefix.contains(":stateMachine:"))
}

/// The ARN of a key in AWS KMS.
pub(crate) fn kms_key(value: &Value) -> Option<String> {
    text(value).filter(|arn| arn.starts_with("arn:") && arn.contains(":kms:") && arn.contains(":key/"))
}

/// Ids of tenants: a list, or text with commas between them. None comes twice.
pub(crate) fn tenants(value: &Value) -> Option<Vec<String>> {
    let texts: Vec<&str> = match value {
        Value::Array(values) => values.iter().map(Value::as_str).collect::<Option<_>>()?,
        value => value.as_str()?.split(',').map(str::trim).collect(),
    };
    let is_good = texts.iter().all(|id| id.chars().count() <= MAX_TENANT_CHARS && is_plain_id(id));
    let are_distinct = texts.iter().enumerate().all(|(place, id)| !texts[..place].contains(id));
    (is_good && are_distinct && !texts.is_empty()).then(|| texts.into_iter().map(str::to_owned).collect())
}

/// An hour or more, in seconds.
pub(crate) fn hours(value: &Value) -> Option<u64> {
    seconds(value).filter(|seconds| *seconds >= 3_600)
}

/// Where the `choices` lead to; none for another text.
pub(crate) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Option<T> {
    let text = value.as_str()?;
    choices.iter().find(|(name, _)| *name == text).map(|(_, meaning)| *meaning)
}

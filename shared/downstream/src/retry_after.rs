//! `Retry-After` (RFC 9110, section 10.2.3): how long a service asks its callers to wait.

use std::time::{Duration, SystemTime};

use contracts::Timestamp;
use http::HeaderMap;
use http::header::RETRY_AFTER;

/// The wait that an answer asks for, in whole seconds, or none if no field of it can be read. Of several fields the longest
/// one counts.
pub(crate) fn seconds(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let texts = headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    texts.filter_map(|text| delay(text.trim()).or_else(|| until(text.trim(), now))).max()
}

/// A number of seconds. One that is too large to be read is the largest; a negative one is no wait.
fn delay(text: &str) -> Option<u64> {
    let (digits, is_negative) = text.strip_prefix('-').map_or((text, false), |digits| (digits, true));
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| if is_negative { 0 } else { digits.parse().unwrap_or(u64::MAX) })
}

/// A date, in any of the three forms that HTTP knows; one that is past is no wait.
fn until(text: &str, now: Timestamp) -> Option<u64> {
    let at = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Duration::try_from(now.as_duration()).unwrap_or_default();
    let wait = at.saturating_sub(now);
    Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(fields: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("Retry-After", HeaderValue::from_str(field).expect("a field"));
        }
        seconds(&headers, "1994-11-06T08:49:30.400Z".parse().expect("a time"))
    }

    #[test]
    fn it_is_a_number_or_a_date() {
        for (field, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 007\t", Some(7)),
            ("-1", Some(0)),
            ("-99999999999999999999", Some(0)),
            ("99999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7)),
            ("Sun Nov  6 08:49:37 1994", Some(7)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(252_618_189_029)),
        ] {
            assert_eq!(asked(&[field]), expected, "{field}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_wish() {
        for field in ["", "-", "+5", "1.5", "5s", "soon", "Sun, 06 Nov 1994", "1994-11-06T08:49:37Z", "5, 6"] {
            assert_eq!(asked(&[field]), None, "{field}");
        }
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn the_longest_of_several_counts() {
        assert_eq!(asked(&["3", "Sun, 06 Nov 1994 08:49:37 GMT", "5", "soon"]), Some(7));
    }
}

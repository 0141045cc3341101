//! Conditional requests (RFC 9110, section 13.1.2).

use axum::http::{HeaderMap, header};

use crate::headers::{Quotes, members};

/// The header `If-None-Match`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IfNoneMatch {
    /// It did not come.
    Absent,
    /// `*`: whatever there is matches.
    Any,
    /// The opaque parts of these tags.
    Tags(Vec<String>),
}

impl IfNoneMatch {
    /// Reads all headers of this name. What is no tag matches nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(header::IF_NONE_MATCH) {
            return Self::Absent;
        }
        let members: Vec<&str> = members(headers, "if-none-match", Quotes::Plain).collect();
        match members.as_slice() {
            ["*"] => Self::Any,
            tags => Self::Tags(tags.iter().filter_map(|tag| opaque(tag)).map(str::to_owned).collect()),
        }
    }

    /// Whether the client has what this tag is of. The comparison is weak: `W/"x"` is `"x"`.
    pub(crate) fn matches(&self, tag: &str) -> bool {
        match self {
            Self::Absent => false,
            Self::Any => true,
            Self::Tags(known) => opaque(tag).is_some_and(|tag| known.iter().any(|known| known == tag)),
        }
    }
}

/// What stands between the quotes of a tag.
fn opaque(tag: &str) -> Option<&str> {
    let quoted = tag.strip_prefix("W/").unwrap_or(tag);
    quoted.strip_prefix('"')?.strip_suffix('"').filter(|opaque| !opaque.contains('"'))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(values: &[&'static str]) -> IfNoneMatch {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(value));
        }
        IfNoneMatch::of(&headers)
    }

    #[test]
    fn tags_are_compared_weakly_in_lists_and_repeated_headers() {
        for same in [
            &[r#""7""#][..],
            &[r#"W/"7""#],
            &[r#""6", "7""#],
            &[r#""6",W/"7","8""#],
            &[r#"  , "7" ,"#],
            &[r#""6""#, r#""7""#],
            &[r#""a,b", "7""#],
            &[r#""a\", "7""#],
            &["6, \"7\""],
            &["*"],
        ] {
            assert!(of(same).matches(r#"W/"7""#), "{same:?}");
            assert!(of(same).matches(r#""7""#), "{same:?}");
        }
    }

    #[test]
    fn what_is_no_such_tag_does_not_match() {
        let others = [
            &[r#""77""#][..],
            &["7"],
            &[r#""6,"7"#],
            &[""],
            &[r#"w/"7""#],
            &[r#""*""#],
            &[r#""a,7""#],
            &[r#""7"7"#],
            &["*", "*"],
        ];
        for other in others {
            assert!(!of(other).matches(r#"W/"7""#), "{other:?}");
        }
        assert_eq!(of(&[]), IfNoneMatch::Absent);
        assert!(!of(&[]).matches(r#""7""#));
    }
}

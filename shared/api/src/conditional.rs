//! Conditional requests (RFC 9110, section 13.1.2).

use axum::http::{HeaderMap, header};

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
        let mut values = headers.get_all(header::IF_NONE_MATCH).iter().peekable();
        if values.peek().is_none() {
            return Self::Absent;
        }
        let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).map(str::trim).collect();
        match values.as_slice() {
            ["*"] => Self::Any,
            values => Self::Tags(values.iter().flat_map(|value| opaque_tags(value)).map(str::to_owned).collect()),
        }
    }

    /// Whether the client has what this tag is of. The comparison is weak: `W/"x"` is `"x"`.
    pub(crate) fn matches(&self, tag: &str) -> bool {
        match self {
            Self::Absent => false,
            Self::Any => true,
            Self::Tags(known) => opaque_tags(tag).any(|tag| known.iter().any(|known| known == tag)),
        }
    }
}

/// What stands between the quotes of the tags in a list. A comma may be part of a tag.
fn opaque_tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let tag = rest.trim_start_matches([' ', '\t', ',']);
        let (tag, behind) = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.split_once('"')?;
        rest = behind;
        Some(tag)
    })
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
            &["*"],
        ] {
            assert!(of(same).matches(r#"W/"7""#), "{same:?}");
            assert!(of(same).matches(r#""7""#), "{same:?}");
        }
    }

    #[test]
    fn what_is_no_such_tag_does_not_match() {
        let others = [&[r#""77""#][..], &["7"], &[r#""6,"7"#], &[""], &[r#"w/"7""#], &[r#""*""#], &[r#""a,7""#]];
        for other in others {
            assert!(!of(other).matches(r#"W/"7""#), "{other:?}");
        }
        assert_eq!(of(&[]), IfNoneMatch::Absent);
        assert!(!of(&[]).matches(r#""7""#));
    }
}

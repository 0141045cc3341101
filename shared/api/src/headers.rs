//! The fields of a request's header as RFC 9110 writes them: lists, parameters, quoted strings, fields that come again.

use std::borrow::Cow;

use axum::http::HeaderMap;

/// What a quoted string is in a field, so that it is known where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// A backslash makes the next character one of the text (RFC 9110, section 5.6.4).
    Escaping,
    /// A backslash is a character like others, as in entity tags (RFC 9110, section 8.8.3).
    Plain,
}

/// The value of a field that comes once at most. What is not ASCII reads as an empty text, which no such field may be.
///
/// # Errors
/// It came more than once; says so.
pub(crate) fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(format!("The header {name} came more than once.")),
        (value, None) => Ok(value.map(|value| without_white_space(value.to_str().unwrap_or_default()))),
    }
}

/// The members of all fields of this name, which are one list (RFC 9110, section 5.3). A field that is not ASCII has none.
pub(crate) fn members<'h>(headers: &'h HeaderMap, name: &str, quotes: Quotes) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(move |value| parts(value, ',', quotes))
}

/// What stands between separators that are in no quoted string, without the white space around it; empty parts are left
/// out.
pub(crate) fn parts(text: &str, separator: char, quotes: Quotes) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |letter| {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = quotes == Quotes::Escaping,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        letter == separator && !is_quoted
    });
    parts.map(without_white_space).filter(|part| !part.is_empty())
}

/// A name in lower case and its value, which may be quoted: `name=value`. The value is empty where there is none. None if
/// it is not written so.
pub(crate) fn pair(text: &str) -> Option<(String, Cow<'_, str>)> {
    let (name, value) = match text.split_once('=') {
        None => (text, Cow::Borrowed("")),
        Some((name, value)) => {
            let value = without_white_space(value);
            let value = if is_token(value) { Some(Cow::Borrowed(value)) } else { unquoted(value) };
            (without_white_space(name), value?)
        }
    };
    is_token(name).then(|| (name.to_ascii_lowercase(), value))
}

/// The text of a quoted string. None if it is not one, or goes on behind it.
pub(crate) fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?;
    let mut unescaped = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    loop {
        match letters.next()? {
            '"' => return letters.as_str().is_empty().then_some(Cow::Owned(unescaped)),
            '\\' => unescaped.push(letters.next()?),
            letter => unescaped.push(letter),
        }
    }
}

fn is_token(text: &str) -> bool {
    let is_in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_in_token)
}

fn without_white_space(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let values =
            values.iter().map(|value| (HeaderName::from_static("x"), HeaderValue::from_str(value).expect("a value")));
        values.collect()
    }

    #[test]
    fn all_fields_of_a_name_are_one_list() {
        for (values, quotes, expected) in [
            (&[][..], Quotes::Escaping, &[][..]),
            (&[""], Quotes::Escaping, &[]),
            (&["a"], Quotes::Escaping, &["a"]),
            (&["a, b ,\tc", " d"], Quotes::Escaping, &["a", "b", "c", "d"]),
            (&[" ,, a,", ",b"], Quotes::Escaping, &["a", "b"]),
            (&[r#"a="1,2", b"#], Quotes::Escaping, &[r#"a="1,2""#, "b"]),
            (&[r#"a="\",", b"#], Quotes::Escaping, &[r#"a="\",""#, "b"]),
            (&[r#""a\", "b""#], Quotes::Plain, &[r#""a\""#, r#""b""#]),
            (&[r#"a=", b"#, "c"], Quotes::Escaping, &[r#"a=", b"#, "c"]),
        ] {
            assert_eq!(members(&headers(values), "x", quotes).collect::<Vec<_>>(), expected, "{values:?}");
        }
    }

    #[test]
    fn a_single_field_comes_once() {
        assert_eq!(single(&headers(&[]), "x"), Ok(None));
        assert_eq!(single(&headers(&[" a\t"]), "x"), Ok(Some("a")));
        assert_eq!(single(&headers(&["\u{e9}"]), "x"), Ok(Some("")));
        assert_eq!(single(&headers(&["a", "a"]), "x"), Err("The header x came more than once.".to_owned()));
    }

    #[test]
    fn pairs() {
        for (text, expected) in [
            ("a", Some(("a", ""))),
            ("Name=Value", Some(("name", "Value"))),
            ("a = 5", Some(("a", "5"))),
            (r#"a="""#, Some(("a", ""))),
            (r#"a="b c""#, Some(("a", "b c"))),
            (r#"a="b\"\\c""#, Some(("a", r#"b"\c"#))),
            ("a=b=c", None),
            ("a=", None),
            ("=b", None),
            ("a b", None),
            (r#"a="b"#, None),
            (r#"a="b"c"#, None),
            (r#"a="b\"#, None),
            ("a=b c", None),
        ] {
            let expected = expected.map(|(name, value): (&str, &str)| (name.to_owned(), Cow::Borrowed(value)));
            assert_eq!(pair(text), expected, "{text}");
        }
    }
}

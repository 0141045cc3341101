//! Pages: sizes, and tokens that fit one tenant and one set of filters only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::effect::sha256_hex;
use contracts::limits::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE};

use contracts::fields::BadField;

use crate::Problem;

/// Query parameters, read one after the other; remembers what was wrong. Those that nobody reads are ignored.
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
    bad: Vec<BadField>,
    /// Whether a page token may be another tenant's.
    has_other_token: bool,
}

impl Query {
    pub(crate) fn new(parameters: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { parameters: parameters.into_iter().collect(), bad: Vec::new(), has_other_token: false }
    }

    /// A parameter that comes once at most, parsed; `expected` says what would be right.
    pub(crate) fn get<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>, expected: &str) -> Option<T> {
        let values = self.values(name);
        let value = match values.as_slice() {
            [] => return None,
            [value] => value,
            _ => {
                self.bad(name, "must not come more than once");
                return None;
            }
        };
        let parsed = Some(value).filter(|value| !value.is_empty()).and_then(|value| parse(value));
        if parsed.is_none() {
            self.bad(name, format!("must be {expected}"));
        }
        parsed
    }

    /// A parameter that may come several times, each time with one value or several with commas between them; empty if it
    /// does not come.
    pub(crate) fn list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>, expected: &str) -> Vec<T> {
        let values = self.values(name);
        let parts: Vec<&str> = values.iter().flat_map(|value| value.split(',')).map(str::trim).collect();
        let parsed: Vec<T> = parts.iter().filter_map(|part| parse(part)).collect();
        if parsed.len() == parts.len() {
            return parsed;
        }
        self.bad(name, format!("must be {expected}, or several of these with commas between them"));
        Vec::new()
    }

    fn values(&self, name: &str) -> Vec<String> {
        let of_name = self.parameters.iter().filter(|(given, _)| given == name);
        of_name.map(|(_, value)| value.clone()).collect()
    }

    /// The rows of a page: as many as asked for, at most [`MAX_PAGE_SIZE`]; the answer says how many that is.
    pub(crate) fn page_size(&mut self) -> u32 {
        let parse = |text: &str| text.parse().ok().filter(|size| *size >= 1);
        self.get("page_size", parse, "1 or more").map_or(DEFAULT_PAGE_SIZE, |size: u32| size.min(MAX_PAGE_SIZE))
    }

    /// Where a page token says to go on; the token must have been made for the same `scope`.
    pub(crate) fn cursor(&mut self, scope: &str) -> Option<String> {
        let cursor = self.get(
            "page_token",
            |token| open(token, scope),
            "the next_page_token of a page of the same list, with the same filters",
        );
        self.has_other_token = !self.values("page_token").is_empty() && cursor.is_none();
        cursor
    }

    pub(crate) fn bad(&mut self, name: &str, detail: impl Into<String>) {
        self.bad.push(BadField { pointer: format!("/query/{name}"), detail: detail.into() });
    }

    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.bad.is_empty() {
            return Ok(());
        }
        let problem = Problem::invalid(self.bad);
        Err(if self.has_other_token { problem.denying() } else { problem })
    }
}

/// A token that goes on at `cursor`, for requests with the same `scope` (tenant, route and filters) only.
pub(crate) fn token(cursor: &str, scope: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{cursor}", seal(cursor, scope)))
}

pub(crate) fn open(token: &str, scope: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (sealed, cursor) = text.split_once(':')?;
    (seal(cursor, scope) == sealed).then(|| cursor.to_owned())
}

/// What cursors are made of. Tokens of an earlier form are refused: the first one held numbers that counted the rows of all
/// tenants.
const FORM: u32 = 2;

/// Not a secret: reading is by tenant in any case. It keeps a token from being used where it means something else.
fn seal(cursor: &str, scope: &str) -> String {
    sha256_hex(format!("{FORM}:{cursor}:{scope}").as_bytes())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn query(parameters: &[(&str, &str)]) -> Query {
        Query::new(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn number(text: &str) -> Option<u32> {
        text.parse().ok()
    }

    #[test]
    fn a_parameter_comes_once_and_is_not_empty() {
        assert_eq!(query(&[("n", "7"), ("other", "8")]).get("n", number, "a number"), Some(7));
        let mut absent = query(&[("m", "7")]);
        assert_eq!(absent.get("n", number, "a number"), None);
        assert!(absent.finish().is_ok(), "nobody has to send it");
        for bad in [&[("n", "")][..], &[("n", "x")], &[("n", "7"), ("n", "7")], &[("n", "7"), ("n", "")]] {
            let mut query = query(bad);
            assert_eq!(query.get("n", number, "a number"), None);
            let problem = query.finish().expect_err("it is refused");
            assert_eq!(problem.into_response().status(), 422, "{bad:?}");
        }
    }

    #[test]
    fn a_list_has_commas_or_comes_again() {
        let mut good = query(&[("n", "7,8"), ("n", "9"), ("n", "10, 11")]);
        assert_eq!(good.list("n", number, "a number"), [7, 8, 9, 10, 11]);
        assert!(good.list("m", number, "a number").is_empty());
        assert!(good.finish().is_ok());
        for bad in [&[("n", "")][..], &[("n", "7,")], &[("n", "7,x")], &[("n", "7"), ("n", "")]] {
            let mut query = query(bad);
            assert!(query.list("n", number, "a number").is_empty());
            assert!(query.finish().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_fits_its_own_list_only() {
        let token = token("42", "tenant-a list");
        assert_eq!(open(&token, "tenant-a list"), Some("42".to_owned()));
        assert_eq!(open(&token, "tenant-b list"), None);
        for forged in ["", "x", &URL_SAFE_NO_PAD.encode("0000000000000000:43"), &token[1..]] {
            assert_eq!(open(forged, "tenant-a list"), None, "{forged}");
        }
    }

    #[test]
    fn a_token_of_an_earlier_form_is_refused_by_name() {
        let (cursor, scope) = ("1700000000000000.42", "tenant-a list");
        let sealed = sha256_hex(format!("{cursor}:{scope}").as_bytes())[..16].to_owned();
        let earlier = URL_SAFE_NO_PAD.encode(format!("{sealed}:{cursor}"));
        let mut query = query(&[("page_token", &earlier)]);
        assert_eq!(query.cursor(scope), None);
        let problem = query.finish().expect_err("it is refused");
        let document = problem.document("/", "r");
        assert_eq!(document["errors"][0]["pointer"], "/query/page_token");
        assert_eq!(problem.into_response().status(), 422);
    }
}

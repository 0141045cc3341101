//! Pages: sizes, and tokens that fit one tenant and one set of filters only.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::effect::sha256_hex;
use contracts::limits::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE};

use contracts::fields::BadField;

use crate::Problem;

/// Query parameters, read one after the other; remembers what was wrong.
pub(crate) struct Query {
    parameters: HashMap<String, String>,
    bad: Vec<BadField>,
    /// Whether a page token may be another tenant's.
    has_other_token: bool,
}

impl Query {
    pub(crate) fn new(parameters: HashMap<String, String>) -> Self {
        Self { parameters, bad: Vec::new(), has_other_token: false }
    }

    /// A parameter, parsed; `expected` says what would be right. An empty one is as good as none.
    pub(crate) fn get<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>, expected: &str) -> Option<T> {
        let value = self.parameters.get(name).filter(|value| !value.is_empty())?;
        let parsed = parse(value);
        if parsed.is_none() {
            self.bad(name, format!("must be {expected}"));
        }
        parsed
    }

    /// The rows of a page: as many as asked for, at most [`MAX_PAGE_SIZE`]; the answer says how many that is.
    pub(crate) fn page_size(&mut self) -> u32 {
        let parse = |text: &str| text.parse().ok().filter(|size| *size >= 1);
        self.get("page_size", parse, "1 or more").map_or(DEFAULT_PAGE_SIZE, |size: u32| size.min(MAX_PAGE_SIZE))
    }

    /// Where a page token says to go on; the token must have been made for the same `scope`.
    pub(crate) fn cursor(&mut self, scope: &str) -> Option<String> {
        let cursor = self.get("page_token", |token| open(token, scope), "a next_page_token of this very list");
        let is_given = self.parameters.get("page_token").is_some_and(|token| !token.is_empty());
        self.has_other_token = is_given && cursor.is_none();
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

fn open(token: &str, scope: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (sealed, cursor) = text.split_once(':')?;
    (seal(cursor, scope) == sealed).then(|| cursor.to_owned())
}

/// Not a secret: reading is by tenant in any case. It keeps a token from being used where it means something else.
fn seal(cursor: &str, scope: &str) -> String {
    sha256_hex(format!("{cursor}:{scope}").as_bytes())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_its_own_list_only() {
        let token = token("42", "tenant-a list");
        assert_eq!(open(&token, "tenant-a list"), Some("42".to_owned()));
        assert_eq!(open(&token, "tenant-b list"), None);
        for forged in ["", "x", &URL_SAFE_NO_PAD.encode("0000000000000000:43"), &token[1..]] {
            assert_eq!(open(forged, "tenant-a list"), None, "{forged}");
        }
    }
}

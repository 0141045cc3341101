//! Text that is shown to people, without what is secret in a URL.

/// What takes the place of a secret.
const HIDDEN: &str = "***";

/// The URL without user name, password, query and fragment. It may be malformed: everything before its last `@` counts as
/// user name and password, as a password may hold any character where somebody forgot to encode it.
pub fn redacted(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(char::is_alphanumeric) => (format!("{scheme}://"), rest),
        _ => (String::new(), url),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => (format!("{HIDDEN}@"), rest),
        None => (String::new(), rest),
    };
    match rest.find(['?', '#']) {
        Some(end) => format!("{scheme}{user}{}{HIDDEN}", &rest[..=end]),
        None => format!("{scheme}{user}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_hidden_however_malformed_it_is() {
        for (url, expected) in [
            ("https://auth.example.com/base", "https://auth.example.com/base"),
            ("http://[::1]:8081", "http://[::1]:8081"),
            ("localhost:7233", "localhost:7233"),
            ("https://user:hunter2@auth.example.com", "https://***@auth.example.com"),
            ("https://user:hunt/er?2@auth.example.com:1", "https://***@auth.example.com:1"),
            ("user:hunter2@auth.example.com:1", "***@auth.example.com:1"),
            ("user:hun://ter2@auth.example.com", "***@auth.example.com"),
            ("https://a.example/x?token=hunter2", "https://a.example/x?***"),
            ("https://a.example/#hunter2", "https://a.example/#***"),
            ("https://a.example/?token=hunter2@x", "https://***@x"),
            ("", ""),
        ] {
            assert_eq!(redacted(url), expected, "{url}");
        }
    }
}

//! Addresses that mail can be sent to: `local@domain` (RFC 5321; RFC 6531 for letters beyond ASCII).

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::characters::is_seen;
use crate::limits::MAX_EMAIL_CHARS;

/// Longest local part (RFC 5321, section 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

/// Whether it is an address that mail can be sent to: no display name, no comment, and a domain that can exist.
pub fn is_email(text: &str) -> bool {
    let parts = text.rsplit_once('@');
    text.len() <= MAX_EMAIL_CHARS && parts.is_some_and(|(local, domain)| is_local_part(local) && is_domain(domain))
}

/// Atoms with dots between them, or a quoted string (RFC 5321, section 4.1.2).
fn is_local_part(local: &str) -> bool {
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let is_good = match quoted {
        Some(quoted) => is_quoted(quoted),
        None => local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_in_atom)),
    };
    is_good && local.len() <= MAX_LOCAL_BYTES
}

fn is_in_atom(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(letter) || !letter.is_ascii() && is_seen(letter)
}

/// Whether it may stand between quotes: a backslash makes the next character one of the text.
fn is_quoted(text: &str) -> bool {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let is_good = match letter {
            '\\' => letters.next().is_some_and(|letter| matches!(letter, ' '..='~')),
            '"' => false,
            ' '..='~' => true,
            letter => !letter.is_ascii() && is_seen(letter),
        };
        if !is_good {
            return false;
        }
    }
    !text.is_empty()
}

/// Whether a domain of this name can exist. In the form that the domain name system knows (`xn--exmple-cua.com`) it has labels
/// of letters, digits and inner hyphens, 1 to 63 of them; the last label is a top level domain, which has letters only (RFC
/// 1123, section 2.1) or is one of another script.
fn is_domain(domain: &str) -> bool {
    let ascii =
        Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify);
    let is_top_level = |label: &str| label.starts_with("xn--") || label.bytes().all(|byte| byte.is_ascii_alphabetic());
    ascii.is_ok_and(|ascii| ascii.rsplit_once('.').is_some_and(|(_, top)| is_top_level(top)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_exist() {
        let (label, local) = ("l".repeat(63), "a".repeat(64));
        for good in [
            "user@example.com",
            "USER@EXAMPLE.COM",
            "a.b+c@sub.example.org",
            "o'neil@example.ie",
            "under_score@example.com",
            "user@1and1.com",
            "user@3.example.com",
            "user@a--b.example",
            "user@r3---sn.example.com",
            "ü@example.de",
            "usér@exämple.com",
            "use\u{301}r@exa\u{308}mple.com",
            "user@xn--exmple-cua.com",
            "पता@उदाहरण.भारत",
            "user@cafe\u{301}.com",
            "用户@例子.广告",
            "user@straße.de",
            r#""two words"@example.com"#,
            r#""a@b\"c"@example.com"#,
            &format!("{local}@example.com"),
            &format!("user@{label}.com"),
        ] {
            assert!(is_email(good), "{good}");
        }
    }

    #[test]
    fn addresses_that_cannot_exist() {
        let (label, local) = ("l".repeat(64), "a".repeat(65));
        let long = format!("{}.com", "a.".repeat(125));
        for bad in [
            "",
            "user",
            "user@",
            "@example.com",
            "user@localhost",
            "a b@example.com",
            "A <a@example.com>",
            "<a@example.com>",
            "a@b@c.de",
            "user@under_score.com",
            "user@my_host.example.com",
            "user@192.168.0.1",
            "user@[192.168.0.1]",
            "user@[IPv6:2001:db8::1]",
            "user@2001:db8::1",
            "user@example.123",
            "user@example.c0m",
            "user@example..com",
            "user@.example.com",
            "user@example.com.",
            "user@-example.com",
            "user@example-.com",
            "user@example.-com",
            "user@exa mple.com",
            "user@exam\u{200B}ple\u{202E}.com",
            "user@ex!ample.com",
            "user@xn--.com",
            "user@xn--a.xn--b",
            "user@\u{308}.com",
            "user@😀\u{200D}.1",
            ".user@example.com",
            "user.@example.com",
            "us..er@example.com",
            "us\u{202E}er@example.com",
            "us\u{200D}er@example.com",
            "us\u{3000}er@example.com",
            "(comment)user@example.com",
            r#""user@example.com"#,
            r#"""@example.com"#,
            r#""a"b"@example.com"#,
            r#""a\"@example.com"#,
            &format!("{local}@example.com"),
            &format!("user@{label}.com"),
            &format!("user@{long}"),
            // 65 characters of the label in ASCII, though fewer as it is written.
            &format!("user@{}.com", "ä".repeat(60)),
        ] {
            assert!(!is_email(bad), "{}", bad.escape_unicode());
        }
    }
}

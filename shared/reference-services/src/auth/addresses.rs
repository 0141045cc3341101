//! When two e-mail addresses are the same one.
//!
//! Addresses compare by what they mean to the people who write them, not by their bytes: `usér@exämple.com` is `USÉR@EXÄMPLE.COM`,
//! whether `é` is one character or an `e` with an accent, and whether the domain is written as `xn--exmple-cua.com`. Otherwise
//! one mailbox would have several accounts.

use caseless::Caseless as _;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization as _;

/// What addresses that are the same one have in common: the local part by canonical caseless matching (Unicode, section
/// 3.13, D145), the domain as the domain name system knows it (UTS 46). What is no address is folded like a local part.
pub(super) fn folded(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return caseless(address) };
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    let domain = ascii.map_or_else(|_| caseless(domain), Into::into);
    format!("{}@{domain}", caseless(local))
}

fn caseless(text: &str) -> String {
    text.nfd().default_case_fold().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_address_is_written_in_many_ways() {
        for (one, other) in [
            ("user@example.com", "User@Example.COM"),
            ("us\u{e9}r@example.com", "US\u{c9}R@example.com"),
            ("us\u{e9}r@example.com", "use\u{301}r@example.com"),
            ("USE\u{301}R@EXAMPLE.COM", "us\u{e9}r@example.com"),
            ("\u{1e69}@example.com", "s\u{307}\u{323}@example.com"),
            ("νίκος@example.com", "ΝΊΚΟΣ@example.com"),
            ("straße@example.com", "STRASSE@example.com"),
            ("\u{212a}im@example.com", "kim@example.com"),
            ("иван@пример.рф", "ИВАН@ПРИМЕР.РФ"),
            ("user@exämple.com", "user@EXA\u{308}MPLE.com"),
            ("user@exämple.com", "user@xn--exmple-cua.com"),
            ("no address", "No Address"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
            assert_eq!(folded(&folded(one)), folded(one), "{one}");
        }
    }

    #[test]
    fn other_addresses_stay_others() {
        for (one, other) in [
            ("user@example.com", "user@example.org"),
            ("user@example.com", "us\u{e9}r@example.com"),
            ("us.er@example.com", "user@example.com"),
            ("user+tag@example.com", "user@example.com"),
            ("user@straße.de", "user@strasse.de"),
            ("a@b@example.com", "a@example.com"),
        ] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
        }
        assert_eq!(folded("User@Example.com"), "user@example.com");
    }
}

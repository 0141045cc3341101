//! Where a server listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// An address of this machine, or a name that resolves to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An IP address; `localhost` is 127.0.0.1, whatever this machine's resolver says.
    Address(IpAddr),
    /// Another name, which is resolved when the server starts.
    Name(String),
}

impl Host {
    /// Reads an IP address, in brackets or not, or a host name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(address) => Some(Self::Address(address)),
            Err(_) if text.eq_ignore_ascii_case("localhost") => Some(Self::Address(Ipv4Addr::LOCALHOST.into())),
            Err(_) => is_name(text).then(|| Self::Name(text.to_owned())),
        }
    }

    /// Whether only this machine reaches it. A name may resolve to anything, so it counts as reachable by others.
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Address(address) if address.is_loopback())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The longest host name of DNS, and the longest of its labels.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host name as RFC 1123 has it. One whose last label is a number is a mistyped address.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        (1..=MAX_LABEL).contains(&label.len())
            && label.chars().all(is_allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.chars().all(|character| character.is_ascii_digit());
    text.len() <= MAX_NAME && text.split('.').all(is_label) && !text.split('.').next_back().is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_name() {
        for (text, is_loopback) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("[::1]", true),
            ("localhost", true),
            ("LOCALHOST", true),
            ("0.0.0.0", false),
            ("::", false),
            ("workflow-service", false),
            ("workflows_1.example.com", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(Host::parse(text).map(|host| host.is_loopback()), Some(is_loopback), "{text}");
        }
        assert_eq!(Host::parse("localhost"), Host::parse("127.0.0.1"));
        for text in ["", "0.0.0.256", "127.1", "a b", "http://a", "a:80", "[::1", "-a", "a..b", "127.0.0.1/8"] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }
}

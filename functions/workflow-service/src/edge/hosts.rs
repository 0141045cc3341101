//! Which `Host` is served.
//!
//! A server that lets everybody in because only this machine reaches it must not serve a page of another site: a browser on
//! this machine would let that site's scripts in as soon as its name resolves to a loopback address.

use std::net::IpAddr;

use api::Problem;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{StatusCode, Version};

/// The hosts that requests may be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// All.
    Any,
    /// Those that are this machine whatever a resolver says, and these names.
    OfThisMachine(Vec<String>),
}

impl Hosts {
    /// Whether a request may be served.
    pub(super) fn check(&self, request: &Parts) -> Result<(), Problem> {
        let asked = asked(request)?;
        let Self::OfThisMachine(names) = self else { return Ok(()) };
        match asked {
            Some(host) if !is_of_this_machine(&host) && !names.iter().any(|name| name.eq_ignore_ascii_case(&host)) => {
                let detail = format!(
                    "The host {host} is not served here, as this server does not authenticate: send localhost or a \
                     loopback address as Host."
                );
                Err(Problem::of_http(StatusCode::MISDIRECTED_REQUEST, detail))
            }
            _ => Ok(()),
        }
    }
}

/// The host of a request without its port; none with a client of HTTP/1.0, which need not say it.
fn asked(request: &Parts) -> Result<Option<String>, Problem> {
    let malformed =
        || Problem::of_http(StatusCode::BAD_REQUEST, "Send one Host header, with a host and perhaps a port.");
    let mut given = request.headers.get_all(HOST).iter();
    let (header, more) = (given.next(), given.next());
    if more.is_some() {
        return Err(malformed());
    }
    // A request to a proxy names the host in the request line as well, and that one counts.
    let authority = match (request.uri.authority(), header) {
        (Some(authority), _) => authority.clone(),
        (None, Some(header)) => Authority::try_from(header.as_bytes()).map_err(|_| malformed())?,
        (None, None) if request.version < Version::HTTP_11 => return Ok(None),
        (None, None) => return Err(malformed()),
    };
    match authority.as_str().contains('@') {
        true => Err(malformed()),
        false => Ok(Some(authority.host().to_owned())),
    }
}

fn is_of_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use axum::response::IntoResponse as _;

    use super::*;

    fn check(hosts: &Hosts, uri: &str, given: &[&str]) -> u16 {
        let request = given.iter().fold(Request::builder().uri(uri), |request, host| request.header(HOST, *host));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        hosts.check(&parts).map_or_else(|problem| problem.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn only_hosts_of_this_machine_are_served() {
        let hosts = Hosts::OfThisMachine(vec!["auth.test".to_owned()]);
        for (host, expected) in [
            ("localhost", 200),
            ("LocalHost:8084", 200),
            ("127.0.0.1", 200),
            ("127.1.2.3:80", 200),
            ("[::1]", 200),
            ("[::1]:8084", 200),
            ("Auth.Test:1", 200),
            ("evil.example", 421),
            ("localhost.evil.example:8084", 421),
            ("127.0.0.1.evil.example", 421),
            ("10.0.0.1", 421),
            ("[::2]", 421),
            ("0.0.0.0", 421),
            ("", 400),
            ("a b", 400),
            ("evil.example@localhost", 400),
        ] {
            assert_eq!(check(&hosts, "/health", &[host]), expected, "{host}");
        }
        assert_eq!(check(&hosts, "/health", &[]), 400);
        assert_eq!(check(&hosts, "/health", &["localhost", "localhost"]), 400);
        assert_eq!(check(&hosts, "http://evil.example/health", &["localhost"]), 421);
        assert_eq!(check(&hosts, "http://localhost:8084/health", &["localhost:8084"]), 200);
        assert_eq!(check(&Hosts::Any, "/health", &["evil.example"]), 200);
        for given in [&[][..], &["localhost", "localhost"], &["a b"]] {
            assert_eq!(check(&Hosts::Any, "/health", given), 400, "{given:?}");
        }
    }
}

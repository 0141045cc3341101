//! The address that the API is served on.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::Value;
use settings::{Host, Settings};
use tokio::net::TcpListener;

use super::{Finding, process};

const CHECK: &str = "port";

/// How long what listens there may take to say who it is.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is to be said of the address, and whether this service runs there already.
pub(super) async fn examine(settings: &Settings) -> (Finding, bool) {
    let (host, port) = (settings.host.to_string(), settings.port);
    let advice = "correct server.host (WORKFLOW__SERVER__HOST)";
    // As the server does it; given back at once.
    let Err(error) = TcpListener::bind((host.as_str(), port)).await else {
        return (Finding::ok(CHECK, format!("{port} of {host} is free")), false);
    };
    let finding = match error.kind() {
        ErrorKind::AddrInUse => match running_version(&settings.host, port).await {
            Some(version) => {
                return (Finding::ok(CHECK, format!("{port} of {host} is served by workflow-service {version}")), true);
            }
            None => {
                let holder = process::of_port(port).unwrap_or_else(|| "another process".to_owned());
                let advice = "stop it, or set server.port (WORKFLOW__SERVER__PORT)";
                Finding::problem(CHECK, format!("{port} of {host} is taken by {holder}"), advice)
            }
        },
        ErrorKind::AddrNotAvailable => Finding::problem(CHECK, format!("{host} is no address of this machine"), advice),
        ErrorKind::PermissionDenied => {
            let advice = "set server.port to 1024 or more (WORKFLOW__SERVER__PORT)";
            Finding::problem(CHECK, format!("this user may not listen on {port}"), advice)
        }
        _ => Finding::problem(CHECK, format!("cannot listen on {host}: {error}"), advice),
    };
    (finding, false)
}

/// The version of the service that answers there, if it is this service.
async fn running_version(host: &Host, port: u16) -> Option<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().ok()?;
    let answer = client.get(format!("http://{}:{port}/health", reachable(host))).send().await.ok()?;
    let health: Value = answer.json().await.ok()?;
    (health["service"] == "workflow-service").then(|| health["version"].as_str().unwrap_or_default().to_owned())
}

/// How this machine reaches what listens there.
fn reachable(host: &Host) -> String {
    match host {
        Host::Address(address) if address.is_unspecified() => "localhost".to_owned(),
        Host::Address(address) if address.is_ipv6() => format!("[{address}]"),
        host => host.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    async fn at(host: &str, port: u16) -> (Finding, bool) {
        let port = port.to_string();
        let variables = [("WORKFLOW__SERVER__HOST", host), ("WORKFLOW__SERVER__PORT", &port)];
        examine(&Settings::load(None, variables.into_iter()).expect("good")).await
    }

    #[tokio::test]
    async fn a_port_is_free_or_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (taken, is_running) = at("localhost", port).await;
        assert_eq!((taken.outcome, is_running), (Outcome::Problem, false));
        assert!(taken.detail.starts_with(&format!("{port} of 127.0.0.1 is taken by ")), "{}", taken.detail);
        drop(listener);
        let (free, is_running) = at("localhost", port).await;
        assert_eq!((free.outcome, is_running), (Outcome::Ok, false));
    }

    #[tokio::test]
    async fn this_service_may_have_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let health = || async { axum::Json(serde_json::json!({ "service": "workflow-service", "version": "9.9.9" })) };
        let router = axum::Router::new().route("/health", axum::routing::get(health));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (found, is_running) = at("127.0.0.1", port).await;
        assert_eq!((found.outcome, is_running), (Outcome::Ok, true));
        assert!(found.detail.ends_with("is served by workflow-service 9.9.9"), "{}", found.detail);
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_a_problem() {
        let (found, _) = at("203.0.113.1", 8084).await;
        assert_eq!(
            (found.outcome, found.detail.as_str()),
            (Outcome::Problem, "203.0.113.1 is no address of this machine")
        );
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_a_problem() {
        let (found, _) = at("no-such-host.invalid", 8084).await;
        assert_eq!(found.outcome, Outcome::Problem);
        assert!(found.detail.starts_with("cannot listen on no-such-host.invalid: "), "{}", found.detail);
    }
}

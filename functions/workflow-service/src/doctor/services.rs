//! The services that are called, and how far their clocks are from this one.

use std::error::Error;
use std::time::Duration;

use clock::{Clock, Timestamp};
use downstream::Service;
use futures::future::join_all;
use jiff::SignedDuration;
use reqwest::header::DATE;
use reqwest::{Client, Url};
use settings::Settings;

use super::{Finding, process};

/// How long a service may take to say how it is.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A service that takes longer to say how it is makes every step slow.
const SLOW: Duration = Duration::from_secs(1);

/// A difference of clocks that is more than a slow answer and the whole seconds of a `Date` header.
const APART: SignedDuration = SignedDuration::from_secs(5);

/// A difference that makes tokens and deadlines useless.
const FAR_APART: SignedDuration = SignedDuration::from_mins(5);

/// How far a service's clock is before this one.
type Ahead = (Service, SignedDuration);

pub(super) async fn examine(settings: &Settings, clock: &dyn Clock) -> Vec<Finding> {
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![Finding::problem("services", error.to_string(), "report this")],
    };
    let asking = Service::ALL.map(|service| ask(&client, service, settings.service_url(service), clock));
    let (mut findings, ahead): (Vec<Finding>, Vec<Option<Ahead>>) = join_all(asking).await.into_iter().unzip();
    findings.push(judge_clock(ahead.into_iter().flatten().max_by_key(|(_, ahead)| ahead.abs())));
    findings
}

/// The setting that says where a service is.
fn setting(service: Service) -> &'static str {
    match service {
        Service::Auth => "services.auth_service",
        Service::User => "services.user_service",
        Service::Tenant => "services.tenant_service",
        Service::File => "services.file_service",
        Service::Notifications => "services.api_gateway",
    }
}

async fn ask(client: &Client, service: Service, url: &str, clock: &dyn Clock) -> (Finding, Option<Ahead>) {
    let check = service.as_str();
    let advice = format!("start it, or correct {}; `dev` serves stand-ins for all services", setting(service));
    let (asked_at, asked) = (clock.now(), clock.instant());
    let answer = client.get(format!("{}/health", url.trim_end_matches('/'))).send().await;
    let latency = clock.instant().since(asked);
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return (Finding::problem(check, format!("{url} {}", reason(&error)), advice), None),
    };
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(timestamp);
    let ahead = date.map(|date| (service, ahead(date, asked_at, latency)));
    let detail = format!("{url} answers in {} ms", latency.as_millis());
    let finding = match answer.status() {
        status if !status.is_success() => {
            let holder = local_port(url).and_then(process::of_port).map(|holder| format!("; {holder} listens there"));
            let detail = format!("{url}/health answers {}{}", status.as_u16(), holder.unwrap_or_default());
            Finding::problem(check, detail, advice)
        }
        _ if latency > SLOW => Finding::warning(check, detail, "find out why it is slow"),
        _ => Finding::ok(check, detail),
    };
    (finding, ahead)
}

fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("does not answer within {} s", TIMEOUT.as_secs());
    }
    // The last cause is the system's; what is before it repeats the URL.
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    format!("cannot be reached: {cause}")
}

/// The port of a URL that this machine serves itself.
fn local_port(url: &str) -> Option<u16> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    let is_loopback =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    url.port_or_known_default().filter(|_| is_loopback)
}

fn timestamp(date: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
}

/// The date is in whole seconds, and was written between question and answer: both are met in their middle.
fn ahead(date: Timestamp, asked_at: Timestamp, latency: Duration) -> SignedDuration {
    let answered_at = asked_at.checked_add(latency / 2).unwrap_or(asked_at);
    date.duration_since(answered_at) + SignedDuration::from_millis(500)
}

/// Of the service whose clock differs most.
fn judge_clock(most: Option<Ahead>) -> Finding {
    const CHECK: &str = "clock";
    let Some((service, ahead)) = most else {
        let detail = "not compared, as no service has sent its time";
        return Finding::warning(CHECK, detail, "repeat this command once the services answer");
    };
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let detail = format!("the service {} is {} s {side} this machine", service.as_str(), ahead.abs().as_secs());
    let advice = "set both machines' clocks by NTP (`timedatectl` shows whether this one is synchronized)";
    match ahead.abs() {
        apart if apart > FAR_APART => Finding::problem(CHECK, detail, advice),
        apart if apart > APART => Finding::warning(CHECK, detail, advice),
        _ => Finding::ok(CHECK, "as the services have it, to some seconds"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::http::{StatusCode, header};
    use axum::routing::get;
    use clock::SystemClock;
    use tokio::net::TcpListener;

    use super::super::Outcome;
    use super::*;

    async fn serve(status: StatusCode, date: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/health", get(move || async move { (status, [(header::DATE, date)]) }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    #[tokio::test]
    async fn services_answer_refuse_or_are_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let away = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let early = "Wed, 01 Jan 2020 00:00:00 GMT";
        let (well, ill) = (serve(StatusCode::OK, early).await, serve(StatusCode::NOT_FOUND, early).await);
        let variables = [
            ("WORKFLOW__SERVICES__AUTH_SERVICE", format!("{well}/")),
            ("WORKFLOW__SERVICES__USER_SERVICE", ill),
            ("WORKFLOW__SERVICES__TENANT_SERVICE", well.clone()),
            ("WORKFLOW__SERVICES__FILE_SERVICE", away),
            ("WORKFLOW__SERVICES__API_GATEWAY", well),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let settings = Settings::load(None, variables.into_iter()).expect("good");
        let clock = Arc::new(SystemClock);
        let findings = examine(&settings, &*clock).await;
        let outcomes: Vec<_> = findings.iter().map(|finding| (finding.check, finding.outcome)).collect();
        let expected = [
            ("auth", Outcome::Ok),
            ("user", Outcome::Problem),
            ("tenant", Outcome::Ok),
            ("file", Outcome::Problem),
            ("notifications", Outcome::Ok),
            ("clock", Outcome::Problem),
        ];
        assert_eq!(outcomes, expected, "{findings:#?}");
        assert!(findings[0].detail.contains(" answers in "), "{}", findings[0].detail);
        assert!(findings[1].detail.contains("/health answers 404"), "{}", findings[1].detail);
        assert!(findings[3].detail.contains(" cannot be reached: "), "{}", findings[3].detail);
        assert!(findings[3].advice.as_deref().is_some_and(|advice| advice.contains("services.file_service")));
        assert!(findings[5].detail.contains(" s behind this machine"), "{}", findings[5].detail);
    }

    #[test]
    fn clocks_may_differ_by_some_seconds() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let date = timestamp("Thu, 01 Jan 2026 00:00:03 GMT").expect("a date");
        let ahead_of = ahead(date, now, Duration::from_secs(1));
        assert_eq!(ahead_of, SignedDuration::from_secs(3));
        for (seconds, outcome) in [
            (3, Outcome::Ok),
            (-3, Outcome::Ok),
            (6, Outcome::Warning),
            (-6, Outcome::Warning),
            (301, Outcome::Problem),
        ] {
            let found = judge_clock(Some((Service::Auth, SignedDuration::from_secs(seconds))));
            assert_eq!(found.outcome, outcome, "{seconds}");
        }
        assert_eq!(judge_clock(None).outcome, Outcome::Warning);
    }
}

//! The Temporal server, where the settings name one or executions run on it.

use clock::SharedClock;
use contracts::EngineKind;
use settings::Settings;

use super::{Finding, Outcome};
use crate::app::temporal_connector;

const CHECK: &str = "temporal";

pub(super) async fn examine(settings: &Settings, clock: &SharedClock) -> Vec<Finding> {
    let is_used = settings.engine == EngineKind::Temporal;
    if !is_used && settings.temporal.server.url.is_none() {
        return Vec::new();
    }
    let mut findings = ask(settings, clock).await;
    if !is_used {
        // Nothing depends on it yet.
        findings.iter_mut().for_each(|finding| finding.outcome = finding.outcome.min(Outcome::Warning));
    }
    findings
}

async fn ask(settings: &Settings, clock: &SharedClock) -> Vec<Finding> {
    let advice = "start the server, or correct temporal.server_url, temporal.namespace and Temporal's own variables";
    let problem = |problem: String| vec![Finding::problem(CHECK, problem, advice)];
    let connector = match temporal_connector(settings, clock) {
        Ok(connector) => connector,
        Err(error) => return problem(format!("{error:#}")),
    };
    if let Err(error) = connector.check().await {
        return problem(error);
    }
    let version = connector.version().await.unwrap_or_else(|_| "of an unknown version".to_owned());
    let (address, namespace) = (connector.address(), connector.namespace());
    let mut findings = vec![Finding::ok(CHECK, format!("server {version} at {address} has the namespace {namespace}"))];
    let queue = &settings.temporal.task_queue;
    findings.push(match connector.workers(queue).await {
        Ok(workers) if workers.is_empty() => Finding::warning(
            "worker",
            format!("no worker asks for work of the task queue {queue}"),
            "start `workflow-service worker`, or correct temporal.task_queue",
        ),
        Ok(workers) => Finding::ok("worker", format!("{} work for the task queue {queue}", workers.join(", "))),
        Err(error) => Finding::warning("worker", error, "find out why the server does not list its workers"),
    });
    findings
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clock::SystemClock;

    use super::*;

    #[tokio::test]
    async fn a_server_that_is_away_is_a_problem_where_it_is_used() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let away = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let clock: SharedClock = Arc::new(SystemClock);
        for (engine, outcome) in [("temporal", Outcome::Problem), ("embedded", Outcome::Warning)] {
            let variables = [("WORKFLOW__ENGINE__KIND", engine), ("WORKFLOW__TEMPORAL__SERVER_URL", away.as_str())];
            let settings = Settings::load(None, variables.into_iter()).expect("good");
            let findings = examine(&settings, &clock).await;
            assert_eq!(findings.iter().map(|finding| finding.outcome).collect::<Vec<_>>(), [outcome]);
            assert!(findings[0].detail.contains(&away), "{}", findings[0].detail);
        }
        let without = Settings::load(None, std::iter::empty::<(&str, &str)>()).expect("good");
        assert_eq!(examine(&without, &clock).await, []);
    }
}

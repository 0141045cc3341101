//! The settings.

use contracts::access::Access;
use settings::{Effective, Origin, Settings, Sources, Survey};

use super::Finding;
use crate::app::check_definitions;

const CHECK: &str = "settings";

/// What is to be said of the settings, and the settings if they can be used.
pub(super) fn examine(sources: &Sources) -> (Vec<Finding>, Option<Settings>) {
    let Survey { effective, settings } = Survey::new(sources);
    let settings = match settings {
        Ok(settings) => settings,
        Err(invalid) => {
            let advice = "correct it: `workflow-service config` shows where each value comes from";
            let problems = invalid.problems().iter();
            return (problems.map(|problem| Finding::problem(CHECK, problem, advice)).collect(), None);
        }
    };
    let mut findings = vec![Finding::ok(CHECK, origins(&effective, sources))];
    if let Err(error) = check_definitions(&settings.retry_policies) {
        findings.push(Finding::problem(
            CHECK,
            format!("{error:#}"),
            "correct workflows.retry_policy or workflows.unreachable",
        ));
    }
    findings.extend(access(&settings));
    findings.extend(dataset(&settings));
    if let Some(server) = settings.unused_temporal() {
        findings.push(Finding::warning(
            "engine",
            format!("the settings name the Temporal server {server}, and executions run on the embedded engine"),
            "set engine.kind to \"temporal\" to use the server, or to \"embedded\" to confirm this",
        ));
    }
    (findings, Some(settings))
}

/// The dataset map, if it is not the one that comes along.
fn dataset(settings: &Settings) -> Option<Finding> {
    let file = settings.dataset_file.as_deref()?;
    Some(match settings::dataset(Some(file)) {
        Ok(dataset) => {
            Finding::ok("dataset map", format!("{} is usable, with {} types", file.display(), dataset.types.len()))
        }
        Err(error) => Finding::problem("dataset map", error.to_string(), "correct it, or unset compliance.dataset"),
    })
}

/// How many values come from where.
fn origins(effective: &[Effective], sources: &Sources) -> String {
    let count = |is_from: fn(&Origin) -> bool| effective.iter().filter(|setting| is_from(&setting.origin)).count();
    let file = sources.file().map_or("no file".to_owned(), |file| {
        format!("{} from {}", count(|origin| *origin == Origin::File), file.display())
    });
    let variables = count(|origin| matches!(origin, Origin::Variable(_)));
    let options = count(|origin| matches!(origin, Origin::CommandLine(_)));
    format!("usable: {file}, {variables} from variables, {options} from the command line, the others are defaults")
}

/// Who may call.
fn access(settings: &Settings) -> Option<Finding> {
    let host = &settings.host;
    match &settings.access {
        Access::Open if host.is_loopback() => None,
        Access::Open => Some(Finding::warning(
            "access",
            format!("everybody who reaches {host}, port {}, may do everything", settings.port),
            "set auth.allow_open for trials only, or server.host to a loopback address",
        )),
        Access::Closed(_) => Some(Finding::warning(
            "access",
            format!("others can reach {host}, and there is no authentication: every request gets 401"),
            "for a trial set auth.allow_open = true (WORKFLOW__AUTH__ALLOW_OPEN=true), or a loopback address as server.host",
        )),
        _ => None,
    }
}

//! template.yaml, from its parts in `infra/template/` and what the lists imply.

use contracts::WorkflowKind;

use crate::functions::{Function, Package, Source};
use crate::grants::{Grants, allow, allow_if};
use crate::text::{fill, indent};
use crate::{alarms, machines};

/// The whole text.
pub(crate) fn text(functions: &[Function]) -> anyhow::Result<String> {
    let machines = machines::all()?;
    let machine_resources = machines.iter().map(machines::Machine::resources).collect::<anyhow::Result<Vec<_>>>()?;
    let outputs: String = machines.iter().map(machines::Machine::output).collect();
    let parts = [
        include_str!("../../template/head.yaml").to_owned() + include_str!("../../template/data.yaml"),
        include_str!("../../template/api.yaml").to_owned(),
        section("Endpoints", &of(functions, Package::Endpoints)?),
        section("Activities", &of(functions, Package::Activities)?),
        section("Events and schedules", &of(functions, Package::Events)?),
        fill(include_str!("../../template/events.yaml"), &[("statements", &schedule_statements(functions))])?,
        section("State machines", &machine_resources.join("\n")),
        section("Alarms", &alarms::resources(functions)?),
        include_str!("../../template/alarms.yaml").to_owned(),
        fill(include_str!("../../template/outputs.yaml"), &[("state_machines", &outputs)])?,
    ];
    Ok(parts.join("\n"))
}

/// Resources under a heading as wide as a line.
fn section(title: &str, resources: &str) -> String {
    indent(&format!("{:-<118}\n\n{resources}", format!("# ---- {title} ")), 2)
}

fn of(functions: &[Function], package: Package) -> anyhow::Result<String> {
    let own = functions.iter().filter(|function| function.package == package);
    Ok(own.map(resources).collect::<anyhow::Result<Vec<_>>>()?.join("\n"))
}

/// A function, its log group, its role, and its queue if events start it.
fn resources(function: &Function) -> anyhow::Result<String> {
    let (id, timeout) = (function.id(), function.timeout.to_string());
    let condition = function.condition.map(|name| format!("Condition: {name}")).unwrap_or_default();
    let common = [("id", &*id), ("name", &*function.name), ("condition", &*condition)];
    let mut grants = Grants::of(&function.ports);
    let mut queue = String::new();
    if function.is_started_by_events() {
        grants.send_to(&format!("{id}DeadLetters"));
        queue = format!("\n{}", fill(include_str!("../../template/each/dead-letters.yaml"), &common)?);
    }
    let values = [
        ("package", function.package.name()),
        ("description", &*function.description),
        ("timeout", &*timeout),
        ("memory", &*function.memory.map(|size| format!("MemorySize: {size}")).unwrap_or_default()),
        ("environment", environment(function)),
        ("failures", &*failures(function)?),
        ("events", &*events(function)?),
        ("statements", &*grants.statements()),
    ];
    let values: Vec<_> = common.into_iter().chain(values).collect();
    Ok(fill(include_str!("../../template/each/function.yaml"), &values)? + &queue)
}

/// Variables besides those of all functions.
fn environment(function: &Function) -> &'static str {
    match function.has_backup_schedule() {
        _ if function.has_keys() => include_str!("../../template/each/keys.yaml"),
        true => include_str!("../../template/each/backup-schedule.yaml"),
        false if function.has_notify() => include_str!("../../template/each/notify.yaml"),
        false => "",
    }
}

/// What becomes of events that the function fails at.
fn failures(function: &Function) -> anyhow::Result<String> {
    let (age, retries) = match function.source {
        Source::Route(_) | Source::Caller => return Ok(String::new()),
        Source::StatusChange { max_age_seconds, retries } => (max_age_seconds, retries),
        Source::Schedule { max_age_seconds, .. } => (max_age_seconds, 0),
    };
    let values = [("id", &*function.id()), ("age", &*age.to_string()), ("retries", &*retries.to_string())];
    fill(include_str!("../../template/each/failures.yaml"), &values)
}

/// What starts the function.
fn events(function: &Function) -> anyhow::Result<String> {
    let id = function.id();
    match function.source {
        Source::Caller => Ok(String::new()),
        Source::Route(endpoint) => {
            let authorizer = if endpoint.needs_token() { "Jwt" } else { "NONE" };
            let values = [("method", endpoint.method.as_str()), ("path", endpoint.path), ("authorizer", authorizer)];
            fill(include_str!("../../template/each/route.yaml"), &values)
        }
        Source::StatusChange { max_age_seconds, .. } => {
            let machines = machines::names(&WorkflowKind::ALL);
            let machines: String = machines.iter().map(|name| format!("- {}\n", machines::arn(name))).collect();
            let values = [("id", &*id), ("state_machines", &*machines), ("age", &*max_age_seconds.to_string())];
            fill(include_str!("../../template/each/status-change.yaml"), &values)
        }
        Source::Schedule { every, window_minutes, max_age_seconds } => {
            let window = match window_minutes {
                None => "Mode: \"OFF\"".to_owned(),
                Some(minutes) => format!("Mode: FLEXIBLE, MaximumWindowInMinutes: {minutes}"),
            };
            let age = max_age_seconds.to_string();
            let values = [("id", &*id), ("every", every), ("window", &*window), ("age", &*age)];
            fill(include_str!("../../template/each/schedule.yaml"), &values)
        }
    }
}

/// What the scheduler does in the name of all schedules: it invokes their functions, and sends what it cannot deliver.
fn schedule_statements(functions: &[Function]) -> String {
    let scheduled = functions.iter().filter(|function| matches!(function.source, Source::Schedule { .. }));
    let (always, sometimes): (Vec<_>, Vec<_>) = scheduled.partition(|function| function.condition.is_none());
    let mut statements = String::new();
    for (action, resource) in [("lambda:InvokeFunction", "Function"), ("sqs:SendMessage", "DeadLetters")] {
        let arn = |function: &Function| format!("!GetAtt {}{resource}.Arn", function.id());
        statements += &allow(&[action], always.iter().map(|function| arn(function)));
        for function in &sometimes {
            statements += &allow_if(function.condition.unwrap_or_default(), action, &arn(function));
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use activities::Activity;

    use super::*;

    static WITHOUT_KEYS: Activity = Activity { name: "make_backup", ..Activity::NOTHING };
    static WITH_KEYS: Activity = Activity {
        name: "make_backup",
        function: activities::Function { keys: true, ..activities::Function::USUAL },
        ..Activity::NOTHING
    };

    #[test]
    fn only_the_function_of_an_activity_with_keys_is_told_of_them_and_may_use_them() {
        let [with, without] = [&WITH_KEYS, &WITHOUT_KEYS].map(crate::functions::activity);
        assert_eq!(with.serve, "serve_with_keys(&activities::MAKE_BACKUP)");
        assert_eq!(without.serve, "serve(&activities::MAKE_BACKUP)");
        let [with, without] = [with, without].map(|function| resources(&function).unwrap());
        let environment = indent(include_str!("../../template/each/keys.yaml"), 4);
        let statements =
            [("kms:Decrypt, kms:GenerateDataKey", "BackupKey"), ("kms:GetPublicKey, kms:Sign", "BackupSigningKey")]
                .map(|(actions, key)| {
                    format!("- Effect: Allow\n  Action: [{actions}]\n  Resource: !GetAtt {key}.Arn\n")
                });
        let statements = indent(&statements.concat(), 12);
        assert!(with.contains(&environment) && with.contains(&statements), "{with}");
        assert!(!without.contains("BackupKey") && !without.contains("Environment"), "{without}");
        assert_eq!(with.replace(&environment, "").replace(&statements, ""), without);
    }
}

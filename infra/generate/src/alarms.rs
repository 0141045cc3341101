//! The alarms on functions that fail.

use crate::functions::{Function, Package};
use crate::text::fill;

/// CloudWatch adds up so many metrics in one alarm.
const MAX_METRICS: usize = 10;

/// Functions whose errors count together.
struct Group {
    id: &'static str,
    description: &'static str,
    /// So many errors in five minutes are none.
    threshold: &'static str,
    /// Times five minutes.
    periods: &'static str,
    condition: Option<&'static str>,
    package: Package,
}

const GROUPS: [Group; 4] = [
    Group {
        id: "Endpoint",
        description: "An endpoint ended with an error that is none of its answers, or ran out of time",
        threshold: "0",
        periods: "1",
        condition: None,
        package: Package::Endpoints,
    },
    Group {
        id: "Activity",
        description: "Activities fail more often than their services are used to; executions may be undone",
        // What fails of itself is repeated, and is an error to Lambda all the same: only many are worth a look.
        threshold: "!Ref ActivityErrorThreshold",
        periods: "3",
        condition: None,
        package: Package::Activities,
    },
    Group {
        id: "Event",
        description: "A function that events or a schedule start has failed",
        threshold: "0",
        periods: "1",
        condition: None,
        package: Package::Events,
    },
    Group {
        id: "Temporal",
        description: "Temporal cannot be reached, or refuses the service",
        threshold: "0",
        periods: "1",
        condition: Some("HasTemporal"),
        package: Package::Events,
    },
];

/// An alarm for each group, or several if it is large.
pub(crate) fn resources(functions: &[Function]) -> anyhow::Result<String> {
    let mut alarms = Vec::new();
    for group in &GROUPS {
        let is_own = |function: &&Function| function.package == group.package && function.condition == group.condition;
        let own: Vec<&Function> = functions.iter().filter(is_own).collect();
        for (number, own) in own.chunks(MAX_METRICS).enumerate() {
            alarms.push(alarm(group, number, own)?);
        }
    }
    Ok(alarms.join("\n"))
}

fn alarm(group: &Group, number: usize, functions: &[&Function]) -> anyhow::Result<String> {
    let metric = |(number, function): (usize, &&Function)| {
        let values = [("number", &*(number + 1).to_string()), ("id", &*function.id())];
        fill(include_str!("../../template/each/error-metric.yaml"), &values)
    };
    let metrics: String = functions.iter().enumerate().map(metric).collect::<anyhow::Result<_>>()?;
    let number = if number == 0 { String::new() } else { (number + 1).to_string() };
    fill(
        include_str!("../../template/each/error-alarm.yaml"),
        &[
            ("id", group.id),
            ("number", &number),
            ("condition", &group.condition.map(|name| format!("Condition: {name}")).unwrap_or_default()),
            ("description", group.description),
            ("threshold", group.threshold),
            ("periods", group.periods),
            ("metrics", &metrics),
        ],
    )
}

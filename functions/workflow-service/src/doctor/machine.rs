//! This program and this process's limits.

use rustix::process::{Resource, getrlimit};

use super::Finding;

/// Below this the connections to the services alone (32 idle ones for each of five) use them up.
const FEWEST_FILES: u64 = 256;

/// What a server with some hundred clients needs.
const ENOUGH_FILES: u64 = 1_024;

pub(super) fn version() -> Finding {
    let (version, system, machine) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    Finding::ok("version", format!("workflow-service {version} on {system} {machine}"))
}

pub(super) fn open_files() -> Finding {
    judge_open_files(getrlimit(Resource::Nofile).current)
}

/// None is no limit.
fn judge_open_files(limit: Option<u64>) -> Finding {
    const CHECK: &str = "open files";
    let advice = "raise the limit: `ulimit -n 4096`, or LimitNOFILE=4096 in a unit of systemd";
    match limit {
        None => Finding::ok(CHECK, "no limit"),
        Some(limit) if limit < FEWEST_FILES => Finding::problem(CHECK, format!("at most {limit}"), advice),
        Some(limit) if limit < ENOUGH_FILES => Finding::warning(CHECK, format!("at most {limit}"), advice),
        Some(limit) => Finding::ok(CHECK, format!("at most {limit}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn few_files_are_a_problem_and_some_are_a_warning() {
        for (limit, outcome) in [
            (Some(64), Outcome::Problem),
            (Some(256), Outcome::Warning),
            (Some(1_023), Outcome::Warning),
            (Some(1_024), Outcome::Ok),
            (None, Outcome::Ok),
        ] {
            assert_eq!(judge_open_files(limit).outcome, outcome, "{limit:?}");
        }
    }
}

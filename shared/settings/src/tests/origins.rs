//! Where values come from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::Value;

use super::survey;
use crate::declarations::{OF_FUNCTIONS, OF_SERVER};
use crate::{Effective, Origin, Settings, Sources, Survey};

const FILE: &str = "[server]\nport = 9000\nhost = \"::1\"\n[workflows]\ndefault_timeout = \"5m\"\n";

fn by_path(effective: Vec<Effective>) -> BTreeMap<&'static str, Effective> {
    effective.into_iter().map(|setting| (setting.path, setting)).collect()
}

#[test]
fn each_value_says_where_it_comes_from() {
    let variables = [("WORKFLOW__SERVER__PORT", "9001"), ("WORKFLOW__STORE__DATA_DIR", "a"), ("PATH", "/bin")];
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), FILE).expect("a file");
    let sources = Sources::new(Some(file.path()), variables);
    let survey = Survey::new(&sources.with_option("--data-dir", "store.data_dir", Some("b")));
    assert_eq!(survey.settings.expect("good").data_dir, Path::new("b"));
    let effective = by_path(survey.effective);
    for (path, value, origin) in [
        ("server.host", Some(Value::from("::1")), Origin::File),
        ("server.port", Some(9001.into()), Origin::Variable("WORKFLOW__SERVER__PORT".to_owned())),
        ("server.timeout_seconds", Some(30.into()), Origin::Default),
        ("workflows.default_timeout", Some("5m".into()), Origin::File),
        ("workflows.retry_policy.backoff_coefficient", Some(2.0.into()), Origin::Default),
        ("auth.allow_open", Some(false.into()), Origin::Default),
        ("temporal.worker_identity", None, Origin::Default),
        ("store.data_dir", Some("b".into()), Origin::CommandLine("--data-dir")),
    ] {
        let setting = &effective[path];
        assert_eq!((&setting.value, &setting.origin), (&value, &origin), "{path}");
        assert_eq!(setting.problem, None, "{path}");
    }
}

#[test]
fn a_bad_value_is_shown_with_its_problem_and_the_others_as_they_are() {
    let survey = survey("[server]\nport = 0\ntimeout_seconds = 7\n", &[]);
    let effective = by_path(survey.effective);
    assert_eq!(effective["server.port"].value, Some(0.into()));
    assert_eq!(effective["server.port"].problem.as_deref(), Some("expected 1 to 65535, got 0"));
    assert_eq!(effective["server.timeout_seconds"].value, Some(7.into()));
    assert_eq!(survey.settings.expect_err("one is bad").problems().len(), 1);
}

#[test]
fn without_its_file_only_the_file_is_reported() {
    let missing = Sources::new(Some(Path::new("/nowhere/settings.toml")), [("WORKFLOW__SERVER__PORT", "0")]);
    let problems = Settings::of(&missing).expect_err("it is missing");
    assert_eq!(problems.problems().len(), 1);
    assert!(problems.to_string().contains("/nowhere/settings.toml: "), "{problems}");
}

/// A declaration that nobody reads would be refused, or listed without having any effect.
#[test]
fn what_is_declared_is_what_is_read() {
    let declared: BTreeSet<&str> = OF_SERVER.iter().map(|setting| setting.path()).collect();
    assert_eq!(declared.len(), OF_SERVER.len(), "each is declared once");
    assert!(OF_FUNCTIONS.iter().all(|path| !declared.contains(path)));
    for path in declared {
        let variable = crate::keys::variable(path);
        let problems = Settings::load(None, [(variable.as_str(), "\u{0}")].into_iter()).err();
        let problems = problems.map(|problems| problems.to_string()).unwrap_or_default();
        assert!(!problems.contains("there is no such setting"), "{path}: {problems}");
    }
}

/// The settings of the README, those that are commented out included.
fn documented() -> toml::Table {
    let readme = include_str!("../../../../functions/workflow-service/README.md");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of TOML");
    let line = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n";
    block.lines().map(line).collect::<String>().parse().expect("TOML")
}

#[test]
fn the_readme_has_every_setting_with_its_default() {
    let mut keys = crate::keys::Keys::new(crate::keys::Naming::Path);
    keys.add_table("", documented());
    let documented = by_path(keys.effective(&OF_SERVER));
    let defaults = by_path(Survey::new(&Sources::new(None, std::iter::empty::<(&str, &str)>())).effective);
    for (path, documented) in documented {
        assert_eq!(documented.origin, Origin::File, "{path} is missing");
        if let Some(default) = &defaults[path].value {
            assert_eq!(documented.value.as_ref(), Some(default), "{path}");
        }
    }
}

//! Variables that are not text.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use crate::{FunctionSettings, Settings};

/// No UTF-8.
fn odd(prefix: &str) -> OsString {
    OsStr::from_bytes(&[prefix.as_bytes(), &[0xff]].concat()).to_owned()
}

fn variables() -> Vec<(OsString, OsString)> {
    vec![
        ("WORKFLOW__SERVER__PORT".into(), odd("80")),
        (odd("WORKFLOW__SERVER__HOST"), "127.0.0.1".into()),
        ("LESSOPEN".into(), odd("|")),
        (odd("X"), odd("Y")),
    ]
}

#[test]
fn a_setting_that_is_not_utf_8_is_refused_by_name_and_other_variables_are_ignored() {
    let problems = Settings::load(None, variables().into_iter()).expect_err("two are refused");
    let expected = ["WORKFLOW__SERVER__PORT: its value is not UTF-8", "WORKFLOW__SERVER__HOST\u{fffd}: is not UTF-8"];
    assert_eq!(problems.problems(), expected);
    Settings::load(None, variables().into_iter().skip(2)).expect("others are ignored");

    let function = FunctionSettings::new(variables()).read(|_| ()).expect_err("two are refused");
    assert_eq!(function.problems(), expected);
    FunctionSettings::new(variables().into_iter().skip(2)).read(|_| ()).expect("others are ignored");
}

#[test]
fn a_setting_has_one_variable() {
    let variables = [("WORKFLOW__SERVER__PORT", "1"), ("WORKFLOW__server__port", "2")];
    let problems = Settings::load(None, variables.into_iter()).expect_err("nobody knows which one counts");
    let expected = "server.port: is set by WORKFLOW__SERVER__PORT and by WORKFLOW__server__port";
    assert_eq!(problems.problems(), [expected]);
}

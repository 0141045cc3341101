//! Transformations: JSONata files that bring a thing of an older schema version to the next one.
//!
//! A file is named `<service>.<type>.<version>.jsonata`. Its input is a thing's `data`, its result what the service is to know
//! of it instead. A thing of that version or a newer one must stay as it is, so that a transformation may be repeated. Cases
//! beside the file say what it does; a test runs them.

use std::time::Duration;

use contracts::ErrorName;
use jlens_core::{Bindings, Expression, Options};
use serde_json::Value;

/// A transformation to a schema version.
struct Transformation {
    service: &'static str,
    entity_type: &'static str,
    version: u64,
    text: &'static str,
}

macro_rules! transformations {
    ($($service:literal $entity_type:literal $version:literal),* $(,)?) => {
        &[$(Transformation {
            service: $service,
            entity_type: $entity_type,
            version: $version,
            text: include_str!(concat!(
                "../../../../statemachines/transformations/", $service, ".", $entity_type, ".", $version, ".jsonata"
            )),
        }),*]
    };
}

/// Every transformation.
static ALL: &[Transformation] = transformations!["user" "profile" 2];

/// The transformations of a type up to a version, in their order.
pub(super) fn up_to(service: &str, entity_type: &str, version: u64) -> Vec<String> {
    let mut found: Vec<&Transformation> = ALL
        .iter()
        .filter(|of| of.service == service && of.entity_type == entity_type && of.version <= version)
        .collect();
    found.sort_by_key(|of| of.version);
    found.into_iter().map(|of| of.text.to_owned()).collect()
}

/// The versions that there are transformations to.
pub(super) fn versions(service: &str, entity_type: &str) -> Vec<u64> {
    let of_type = ALL.iter().filter(|of| of.service == service && of.entity_type == entity_type);
    of_type.map(|of| of.version).collect()
}

/// Transformations, ready to be used, with their text.
pub(super) struct Steps(Vec<(Expression, String)>);

/// Why a thing cannot be transformed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotTransformed {
    pub(super) code: &'static str,
    /// Without the values of the thing: they may be personal.
    pub(super) message: String,
}

/// What one evaluation may take.
const MAX_STEPS: u64 = 1_000_000;
const MAX_DEPTH: usize = 200;
const MAX_BYTES: usize = 4 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_secs(2);

impl Steps {
    pub(super) fn compile(texts: &[String]) -> Result<Self, String> {
        let compiled =
            texts.iter().map(|text| Ok((Expression::compile(text)?, text.clone()))).collect::<Result<_, _>>();
        compiled
            .map(Self)
            .map_err(|error: jlens_core::Error| format!("a transformation is no JSONata: {}", error.code()))
    }

    /// What becomes of a thing's data.
    pub(super) fn of(&self, data: &Value) -> Result<Value, NotTransformed> {
        self.0.iter().try_fold(data.clone(), |data, (step, text)| transformed(step, text, &data))
    }
}

fn transformed(step: &Expression, text: &str, data: &Value) -> Result<Value, NotTransformed> {
    let mut options = Options::new().max_steps(MAX_STEPS).max_depth(MAX_DEPTH).timeout(MAX_TIME);
    options = options.max_string_length(MAX_BYTES).max_result_size(MAX_BYTES).now(0).seed(0);
    let refused = |message: String| NotTransformed { code: ErrorName::InvalidInput.as_str(), message };
    match step.evaluate_with(Some(data), &Bindings::new(), &options) {
        Ok(Some(mut value @ Value::Object(_))) => {
            whole_numbers(&mut value);
            Ok(value)
        }
        Ok(_) => Err(refused("its transformation gives no object".to_owned())),
        Err(error) => {
            let message = error.message();
            // It may quote values, unless the transformation says just this itself.
            let told =
                if !message.is_empty() && text.contains(&message) { format!(": {message}") } else { String::new() };
            Err(refused(format!("its transformation ends with the error {}{told}", error.code())))
        }
    }
}

/// JSONata counts in floating point: 1.0 is 1.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15);
            if let Some(whole) = whole {
                *value = Value::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        about: String,
        before: Value,
        /// What becomes of it; null if it is refused.
        after: Value,
    }

    fn folder() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../statemachines/transformations"))
    }

    #[test]
    fn every_file_is_in_the_list_and_has_cases() {
        let files = std::fs::read_dir(folder()).expect("the folder is there");
        let names = files.map(|file| file.expect("it can be read").file_name().into_string().expect("it is a name"));
        let found: BTreeSet<String> = names.filter(|name| name != "README.md").collect();
        let expected = ALL.iter().flat_map(|of| {
            let name = format!("{}.{}.{}", of.service, of.entity_type, of.version);
            [format!("{name}.jsonata"), format!("{name}.cases.json")]
        });
        assert_eq!(found, expected.collect());
    }

    #[test]
    fn every_transformation_does_what_its_cases_say_and_may_be_repeated() {
        for of in ALL {
            let name = format!("{}.{}.{}", of.service, of.entity_type, of.version);
            let cases = std::fs::read(folder().join(format!("{name}.cases.json"))).expect("it has cases");
            let cases: Vec<Case> = serde_json::from_slice(&cases).expect("they are cases");
            let steps = Steps::compile(&[of.text.to_owned()]).expect("it is JSONata");
            assert!(cases.iter().any(|case| case.after != case.before), "{name}: a case that changes something");
            for Case { about, before, after } in cases {
                match steps.of(&before) {
                    Ok(changed) => {
                        assert_eq!(changed, after, "{name}: {about}");
                        assert_eq!(steps.of(&changed), Ok(changed), "{name}, repeated: {about}");
                    }
                    Err(refused) => assert_eq!(Value::Null, after, "{name}: {about}: {refused:?}"),
                }
            }
        }
    }

    #[test]
    fn numbers_stay_whole_and_errors_quote_no_values() {
        let steps = |text: &str| Steps::compile(&[text.to_owned()]).expect("it is JSONata");
        let counted = steps(r#"$merge([$, {"n": n + 1}])"#).of(&json!({ "n": 1, "half": 0.5 }));
        assert_eq!(counted, Ok(json!({ "n": 2, "half": 0.5 })));
        for text in ["$error(name)", "$error('no ' & name)", "name + 1", "name"] {
            let refused = steps(text).of(&json!({ "name": "Ada Secret" })).expect_err("it is refused");
            assert!(!refused.message.contains("Ada"), "{}", refused.message);
        }
        let refused = steps("$error('the name is too long')").of(&json!({ "name": "Ada" })).expect_err("it is refused");
        assert!(refused.message.ends_with(": the name is too long"), "{}", refused.message);
        assert!(Steps::compile(&["(".to_owned()]).is_err());
    }

    #[test]
    fn only_what_the_service_takes_is_used() {
        assert_eq!(up_to("user", "profile", 1).len(), 0);
        assert_eq!(up_to("user", "profile", 2).len(), 1);
        assert_eq!(versions("user", "usage"), Vec::<u64>::new());
    }
}

//! The dataset map of an installation: the one that `[compliance] dataset` names, or the one that comes along.

use std::fmt;
use std::path::Path;

use contracts::dataset::Dataset;
use contracts::fields::BadField;
use serde_json::Value;

/// The map that comes along: it fits the services' contract.
const DEFAULT: &str = include_str!("dataset.toml");

/// Everything that is wrong with a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidDataset {
    /// The file, if it is not the one that comes along.
    pub file: Option<String>,
    /// One problem each, with its place.
    pub problems: Vec<String>,
}

impl fmt::Display for InvalidDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or("the program");
        write!(f, "the dataset map of {file} cannot be used:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for InvalidDataset {}

/// The map in this file, or the one that comes along.
///
/// # Errors
/// Everything that is wrong with it.
pub fn dataset(file: Option<&Path>) -> Result<Dataset, InvalidDataset> {
    let name = file.map(|file| file.display().to_string());
    let refused = |problems| InvalidDataset { file: name.clone(), problems };
    let text = match file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| refused(vec![error.to_string()]))?,
        None => DEFAULT.to_owned(),
    };
    parsed(&text).map_err(refused)
}

fn parsed(text: &str) -> Result<Dataset, Vec<String>> {
    let value: Value = toml::from_str(text).map_err(|error| vec![error.to_string().trim_end().to_owned()])?;
    Dataset::read(&value).map_err(|bad| bad.iter().map(told).collect())
}

/// `/auth/account/subject` as `auth.account.subject`, as the file has it.
fn told(bad: &BadField) -> String {
    let place = bad.pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
    if place.is_empty() { bad.detail.clone() } else { format!("{place}: {}", bad.detail) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_that_comes_along_is_good() {
        assert_eq!(dataset(None).map(|dataset| dataset.types.len()), Ok(9));
    }

    #[test]
    fn every_problem_is_told_with_its_place() {
        let text = "version = 1\n[auth.account]\nsubject = 1\n[auth.account.fields]\na = { category = \"x\" }\n";
        let problems = parsed(text).expect_err("it is bad");
        let places: Vec<&str> = problems.iter().map(|problem| problem.split(": ").next().unwrap_or_default()).collect();
        assert_eq!(
            places,
            [
                "auth.account.subject",
                "auth.account.fields.a.category",
                "auth.account.fields.a.strategy",
                "auth.account.fields"
            ]
        );
        let problems = parsed("version = \n").expect_err("no TOML");
        assert!(problems[0].contains("line 1"), "{problems:?}");
        let error = dataset(Some(Path::new("nowhere/map.toml"))).expect_err("no file");
        assert!(error.to_string().starts_with("the dataset map of nowhere/map.toml cannot be used:\n  "), "{error}");
    }
}

//! How texts are put together.

use anyhow::{Context as _, bail};

const BEGIN: &str = "# Written by `cargo xtask generate`:\n";
const END: &str = "# End of what `cargo xtask generate` writes.\n";

/// `create-user-account` as `CreateUserAccount`.
pub(crate) fn pascal(kebab: &str) -> String {
    let word = |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    kebab.split('-').map(|part| -> String { word(part) }).collect()
}

/// Puts values in the places of `<name>`. A line that holds nothing else takes all lines of the value, each indented as it
/// is, or is left out if there are none.
pub(crate) fn fill(piece: &str, values: &[(&str, &str)]) -> anyhow::Result<String> {
    let value = |name: &str| {
        let found = values.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value).with_context(|| format!("<{name}> has no value"))
    };
    let mut filled = String::new();
    for line in piece.lines() {
        let content = line.trim_start();
        let whole = content.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        if let Some(name) = whole.filter(|name| !name.contains('<')) {
            filled += &indent(value(name)?, line.len() - content.len());
            continue;
        }
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('<') {
            let (name, after) = after.split_once('>').with_context(|| format!("'{line}' does not end its <name>"))?;
            filled += before;
            filled += value(name)?;
            rest = after;
        }
        filled += rest;
        filled.push('\n');
    }
    Ok(filled)
}

/// All lines indented by so many more spaces.
pub(crate) fn indent(text: &str, spaces: usize) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{:spaces$}{line}\n", "") };
    text.lines().map(line).collect()
}

/// The text of a file with this between its marks.
pub(crate) fn between_marks(text: &str, new: &str) -> anyhow::Result<String> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else { bail!("the marks are missing: {BEGIN}{END}") };
    Ok(format!("{before}{BEGIN}{new}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_resources() {
        assert_eq!(pascal("start-user-onboarding"), "StartUserOnboarding");
    }

    #[test]
    fn a_value_takes_its_place() {
        let piece = "<id>Role:\n  <condition>\n  List:\n    <items>\n";
        let values = [("id", "Health"), ("condition", ""), ("items", "- a\n\n- b\n")];
        assert_eq!(fill(piece, &values).unwrap(), "HealthRole:\n  List:\n    - a\n\n    - b\n");
        assert!(fill("a: <unknown>\n", &values).is_err());
        assert!(fill("<id> and <unknown>\n", &values).is_err());
    }

    #[test]
    fn what_is_outside_of_the_marks_stays() {
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(between_marks(&text, "new\n").unwrap(), format!("before\n{BEGIN}new\n{END}after\n"));
        assert!(between_marks("before\n", "new\n").is_err());
    }
}

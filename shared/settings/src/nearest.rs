//! What somebody may have meant who wrote a setting that does not exist.

/// So many letters that are wrong, missing or too many are a slip of the pen.
const SLIPS: usize = 2;

/// The path that is meant most likely: one that differs by a slip, or the only one with the same key elsewhere.
pub(crate) fn nearest<'a>(unknown: &str, paths: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let slip = paths.clone().map(|path| (distance(unknown, path), path)).min().filter(|(slips, _)| *slips <= SLIPS);
    let key = |path: &'a str| path.rsplit('.').next();
    let mut elsewhere = paths.filter(|path| key(path) == unknown.rsplit('.').next());
    let only = match (elsewhere.next(), elsewhere.next()) {
        (Some(path), None) => Some(path),
        _ => None,
    };
    slip.map(|(_, path)| path).or(only)
}

/// The number of letters to add, remove or replace (Levenshtein's distance).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (column, other) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_or_another_section_is_understood() {
        let paths = ["server.port", "server.host", "workflows.default_timeout", "engine.limit", "temporal.limit"];
        for (unknown, expected) in [
            ("server.prot", Some("server.port")),
            ("server.ports", Some("server.port")),
            ("workflows.default-timeout", Some("workflows.default_timeout")),
            ("workflow.default_timeout", Some("workflows.default_timeout")),
            ("port", Some("server.port")),
            ("retries.default_timeout", Some("workflows.default_timeout")),
            ("store.limit", None),
            ("server.colour", None),
        ] {
            assert_eq!(nearest(unknown, paths.into_iter()), expected, "{unknown}");
        }
    }

    #[test]
    fn the_distance_counts_letters() {
        for (from, to, letters) in [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("port", "port", 0)] {
            assert_eq!(distance(from, to), letters, "{from} {to}");
        }
    }
}

//! Names of files in a package. What people and services call a file may be anything.

use contracts::characters::is_refused;

/// Characters of a name.
const MAX_CHARS: usize = 80;
/// What some systems do not allow in a name, or give a meaning.
const REFUSED: [char; 9] = ['/', '\\', ':', '*', '?', '"', '<', '>', '|'];
/// Names that mean devices on some systems, whatever comes after the first dot.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// A path for the file with this number, from 1 on. It leads nowhere else, is nobody else's, and can be read.
pub(in super::super) fn path_of(number: u64, name: &str) -> String {
    format!("files/{number:05}-{}", safe(name))
}

fn safe(name: &str) -> String {
    let is_good = |letter: &char| !is_refused(*letter) && !REFUSED.contains(letter);
    let kept: String = name.chars().map(|letter| if is_good(&letter) { letter } else { '_' }).take(MAX_CHARS).collect();
    let kept = kept.trim_matches(|letter: char| letter == '.' || letter.is_whitespace());
    let stem = kept.split('.').next().unwrap_or_default().to_lowercase();
    match kept {
        "" => "file".to_owned(),
        kept if DEVICES.contains(&stem.as_str()) => format!("_{kept}"),
        kept => kept.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_where_they_belong() {
        for (name, expected) in [
            ("welcome.md", "welcome.md"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("C:\\Windows\\win.ini", "C__Windows_win.ini"),
            ("a\u{0}b\nc", "a_b_c"),
            ("photo\u{202e}gpj.exe", "photo_gpj.exe"),
            ("..", "file"),
            ("", "file"),
            (" . x . ", "x"),
            ("CON.txt", "_CON.txt"),
            ("Übersicht 2026.pdf", "Übersicht 2026.pdf"),
        ] {
            assert_eq!(path_of(7, name), format!("files/00007-{expected}"), "{name:?}");
        }
        assert_eq!(path_of(1, &"x".repeat(500)).chars().count(), "files/00001-".len() + MAX_CHARS);
    }
}

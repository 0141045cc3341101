//! Characters that a text of people does without: control characters, and those that nobody sees.
//!
//! A text with them is shown as another one: U+202E turns what follows around, and a zero width space makes two names of what
//! looks like one. Refused are the categories Cc, Zl and Zp of Unicode, and Cf with two exceptions:
//!
//! - The signs that stand around numbers in Arabic, Syriac and Kaithi (`Prepended_Concatenation_Mark`) are seen.
//! - The joiners U+200C and U+200D are part of how Persian, the scripts of India and many emoji are written. They are accepted
//!   behind a character that can be joined: one that is seen, is not ASCII and has no upper or lower case.
//!
//! So three flags that are written with tag characters (England, Scotland, Wales) are refused, and no other emoji are.

use std::ops::RangeInclusive;

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// The category Cf without the exceptions, Zl and Zp, in order (Unicode 17).
const HIDDEN: [RangeInclusive<char>; 14] = [
    '\u{AD}'..='\u{AD}',
    '\u{61C}'..='\u{61C}',
    '\u{180E}'..='\u{180E}',
    '\u{200B}'..='\u{200B}',
    '\u{200E}'..='\u{200F}',
    '\u{2028}'..='\u{202E}',
    '\u{2060}'..='\u{2064}',
    '\u{2066}'..='\u{206F}',
    '\u{FEFF}'..='\u{FEFF}',
    '\u{FFF9}'..='\u{FFFB}',
    '\u{13430}'..='\u{1343F}',
    '\u{1BCA0}'..='\u{1BCA3}',
    '\u{1D173}'..='\u{1D17A}',
    '\u{E0001}'..='\u{E007F}',
];

/// What leaves no mark either, though it is of another category: fillers, variation selectors and what else is ignored
/// where it cannot be shown (`Default_Ignorable_Code_Point`), and the Braille pattern without dots. They are accepted, but
/// a text of nothing else is blank.
const BLANK: [RangeInclusive<char>; 11] = [
    '\u{34F}'..='\u{34F}',
    '\u{115F}'..='\u{1160}',
    '\u{17B4}'..='\u{17B5}',
    '\u{180B}'..='\u{180F}',
    '\u{2065}'..='\u{2065}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{FE00}'..='\u{FE0F}',
    '\u{FFA0}'..='\u{FFA0}',
    '\u{FFF0}'..='\u{FFF8}',
    '\u{E0000}'..='\u{E0FFF}',
];

/// The first character of a text that is refused, other than those in `allowed`.
pub(crate) fn first_refused(text: &str, allowed: &[char]) -> Option<char> {
    let mut before = None;
    text.chars().find(|&letter| {
        let behind = before.replace(letter);
        match letter {
            ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER => !behind.is_some_and(is_joined),
            _ => is_refused(letter) && !allowed.contains(&letter),
        }
    })
}

/// Whether anything of a character is seen.
pub(crate) fn is_seen(letter: char) -> bool {
    let is_joiner = matches!(letter, ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER);
    !is_joiner && !letter.is_whitespace() && !is_refused(letter) && !is_in(&BLANK, letter)
}

/// Whether it controls, hides or reorders what is beside it, and so has no place in a name.
pub fn is_refused(letter: char) -> bool {
    letter.is_control() || is_in(&HIDDEN, letter)
}

/// Whether a joiner behind it can mean anything. A variation selector is part of the emoji before it.
fn is_joined(letter: char) -> bool {
    let is_cased = letter.is_lowercase() || letter.is_uppercase();
    !letter.is_ascii() && !is_cased && (is_seen(letter) || matches!(letter, '\u{FE00}'..='\u{FE0F}'))
}

fn is_in(ranges: &[RangeInclusive<char>], letter: char) -> bool {
    // Most letters of most texts are before all of them.
    letter >= '\u{AD}' && ranges.iter().any(|range| range.contains(&letter))
}

#[cfg(test)]
mod tests {
    use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark};
    use icu_properties::{CodePointMapData, CodePointSetData};

    use super::*;

    #[test]
    fn the_tables_are_those_of_unicode() {
        let categories = CodePointMapData::<GeneralCategory>::new();
        let are_seen = CodePointSetData::new::<PrependedConcatenationMark>();
        let are_ignored = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        for letter in '\0'..=char::MAX {
            let is_expected = match categories.get(letter) {
                GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => true,
                GeneralCategory::Format => {
                    let is_joiner = letter == ZERO_WIDTH_JOINER || letter == ZERO_WIDTH_NON_JOINER;
                    !is_joiner && !are_seen.contains(letter)
                }
                // Between the tag characters are some that are not assigned yet.
                _ => matches!(letter, '\u{E0002}'..='\u{E001F}'),
            };
            assert_eq!(is_refused(letter), is_expected, "U+{:04X}", u32::from(letter));
            assert!(!are_ignored.contains(letter) || !is_seen(letter), "U+{:04X}", u32::from(letter));
        }
    }

    #[test]
    fn what_people_write_is_accepted() {
        for text in [
            "John Doe",
            "Zoë O'Neil-Müller",
            "Zoe\u{308}",
            "山田 太郎",
            "מרים",
            "محمد",
            "\u{645}\u{6CC}\u{200C}\u{62E}\u{648}\u{627}\u{647}\u{645}",
            "\u{D05}\u{D28}\u{D3F}\u{D32}\u{D4D}\u{200D}",
            "\u{DC1}\u{DCA}\u{200D}\u{DBB}\u{DD3}",
            "👩🏽\u{200D}💻 and ❤\u{FE0F}\u{200D}🔥",
            "🇩🇪 ©️",
            "\u{600}12",
            "a\u{A0}b\u{3000}c",
        ] {
            assert_eq!(first_refused(text, &[]), None, "{text}");
            assert!(text.chars().any(is_seen), "{text}");
        }
    }

    #[test]
    fn what_nobody_sees_is_refused() {
        for (text, refused) in [
            ("a\u{0}b", '\u{0}'),
            ("a\tb", '\t'),
            ("a\u{7F}", '\u{7F}'),
            ("a\u{85}b", '\u{85}'),
            ("pass\u{AD}word", '\u{AD}'),
            ("\u{202E}nimda", '\u{202E}'),
            ("a\u{202A}b", '\u{202A}'),
            ("a\u{2066}b\u{2069}", '\u{2066}'),
            ("\u{200E}a", '\u{200E}'),
            ("\u{61C}a", '\u{61C}'),
            ("ad\u{200B}min", '\u{200B}'),
            ("\u{FEFF}admin", '\u{FEFF}'),
            ("a\u{2028}b", '\u{2028}'),
            ("a\u{2029}b", '\u{2029}'),
            ("a\u{E0041}", '\u{E0041}'),
            ("ad\u{200D}min", '\u{200D}'),
            ("adm\u{456}\u{200C}n", '\u{200C}'),
            ("\u{200C}\u{645}", '\u{200C}'),
            ("\u{645} \u{200D}", '\u{200D}'),
            ("\u{645}\u{200D}\u{200D}", '\u{200D}'),
            ("1\u{200D}", '\u{200D}'),
        ] {
            assert_eq!(first_refused(text, &[]), Some(refused), "{}", text.escape_unicode());
        }
        assert_eq!(first_refused("two\r\n\tlines", &['\r', '\n', '\t']), None);
    }

    #[test]
    fn a_text_of_what_leaves_no_mark_is_blank() {
        for text in ["", " \u{A0}\u{3000}", "\u{3164}", "\u{2800}\u{115F}", "\u{FE0F}", "\u{34F}\u{E0100}"] {
            assert!(!text.chars().any(is_seen), "{}", text.escape_unicode());
        }
    }
}

//! What of a service's things belongs to a person: which questions it is asked, and what of an answer leaves.

use std::collections::BTreeSet;

use contracts::dataset::{Category, DatasetType, first_mention, is_own, mentioned, projected};
use contracts::{ActivityError, ErrorName};
use downstream::data::{Personal, Thing};

use super::Plan;
use super::lines::{About, ThingLine};

/// What a service is asked for of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Own,
    /// Things that mention the person in this one of the fields for mentions.
    Mention(usize),
}

impl Question {
    /// The person's own things first, if the type has such, then those that mention the person.
    pub(super) fn number(of: &DatasetType, number: usize) -> Option<Self> {
        let own = of.subject.as_ref().map(|_| Self::Own);
        own.into_iter().chain((0..of.mentions.len()).map(Self::Mention)).nth(number)
    }

    /// The same for the service.
    pub(super) fn asked(self, of: &DatasetType) -> Personal<'_> {
        match self {
            Self::Own => Personal::Own,
            Self::Mention(place) => Personal::Mention(&of.mentions[place]),
        }
    }
}

/// Whose data is asked for, and which.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    person: &'a str,
    categories: &'a [Category],
}

impl Plan {
    pub(super) fn wish(&self) -> Wish<'_> {
        Wish { person: &self.subject, categories: &self.categories }
    }
}

/// What of a thing leaves; nothing if an earlier question had it. A service that answers with other things than it was asked
/// for would give away what is somebody else's.
pub(super) fn line(
    wish: Wish<'_>,
    of: &DatasetType,
    question: Question,
    thing: &Thing,
    unlisted: &mut BTreeSet<String>,
) -> Result<Option<ThingLine>, ActivityError> {
    let id = thing.id.clone();
    let (is_own, mention) = (is_own(of, &thing.data, wish.person), first_mention(of, &thing.data, wish.person));
    match (question, mention) {
        (Question::Own, _) if is_own => {
            let data = projected(of, &thing.data, wish.categories, unlisted);
            Ok(Some(ThingLine { id, about: About::Person, data }))
        }
        (Question::Mention(asked), Some(first)) if !is_own && first == asked => {
            let data = mentioned(of, &thing.data, wish.person);
            Ok(Some(ThingLine { id, about: About::Mention, data }))
        }
        (Question::Mention(asked), Some(first)) if is_own || first < asked => Ok(None),
        _ => {
            let message = format!("{}: answered with a {} of somebody else", of.service, of.entity_type);
            Err(ActivityError::new(ErrorName::IntegrityViolation, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::dataset::Dataset;
    use serde_json::{Value, json};

    use super::*;

    fn of_shares() -> DatasetType {
        let map = json!({ "version": 1, "file": { "file": {
            "subject": "owner", "mentions": ["editor", "readers"],
            "fields": { "name": { "category": "content", "strategy": "delete" } },
        } } });
        Dataset::read(&map).expect("a good map").types.remove(0)
    }

    fn told(question: Question, data: Value) -> Result<Option<ThingLine>, String> {
        let wish = Wish { person: "u", categories: &[Category::Content] };
        let thing = Thing { id: "f".to_owned(), version: None, data, references: Vec::new() };
        line(wish, &of_shares(), question, &thing, &mut BTreeSet::new()).map_err(|error| error.error)
    }

    #[test]
    fn a_thing_leaves_once_and_nobody_elses_does() {
        let line = |about, data| Ok(Some(ThingLine { id: "f".to_owned(), about, data }));
        let own = json!({ "owner": "u", "editor": "u", "name": "a", "secret": 1 });
        let shared = json!({ "owner": "x", "editor": "u", "readers": ["y", "u"], "name": "b" });
        let read = json!({ "owner": "x", "editor": "y", "readers": ["u"], "name": "c" });
        let foreign = json!({ "owner": "x", "editor": "y", "readers": ["z"], "name": "d" });
        let violation = Err("IntegrityViolation".to_owned());
        let (by_editor, by_reader) = (Question::Mention(0), Question::Mention(1));
        for (question, data, expected) in [
            (Question::Own, &own, line(About::Person, json!({ "owner": "u", "name": "a" }))),
            (by_editor, &own, Ok(None)),
            (by_editor, &shared, line(About::Mention, json!({ "editor": "u", "readers": ["u"] }))),
            (by_reader, &shared, Ok(None)),
            (by_reader, &read, line(About::Mention, json!({ "readers": ["u"] }))),
            (Question::Own, &shared, violation.clone()),
            (by_editor, &read, violation.clone()),
            (by_editor, &foreign, violation.clone()),
            (Question::Own, &foreign, violation),
        ] {
            assert_eq!(told(question, data.clone()), expected, "{question:?} {data}");
        }
    }

    #[test]
    fn the_persons_own_things_come_first() {
        let mut of = of_shares();
        let questions = |of: &DatasetType| (0..9).map_while(|number| Question::number(of, number)).collect::<Vec<_>>();
        assert_eq!(questions(&of), [Question::Own, Question::Mention(0), Question::Mention(1)]);
        of.subject = None;
        assert_eq!(questions(&of), [Question::Mention(0), Question::Mention(1)]);
    }
}

//! What a route says of itself: what it takes, what it answers, and who uses it. The published contract is made of it, so a
//! route without it does not compile.

use super::EntityType;

/// What a route takes and answers.
pub(crate) struct Doc {
    /// What it does, in a line.
    pub(crate) summary: &'static str,
    /// Which workflows and activities use it, and what else a caller should know.
    pub(crate) used_by: &'static str,
    /// The parameters of the query.
    pub(crate) query: &'static [Member],
    /// The fields of the body.
    pub(crate) takes: &'static [Member],
    /// The status of success.
    pub(crate) status: u16,
    /// What a success answers.
    pub(crate) answers: Shape,
    /// Refusals beyond those of every route of its kind.
    pub(crate) refuses: &'static [(u16, &'static str)],
}

/// A field of an object, or a parameter.
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) shape: Shape,
    /// When it is there.
    pub(crate) presence: Presence,
    /// What it means.
    pub(crate) about: &'static str,
}

/// When a field is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Always.
    Required,
    /// Always, but it may be null.
    Nullable,
    /// It may be left out, or null.
    Optional,
}

/// What a field holds.
pub(crate) enum Shape {
    /// An id.
    Id,
    /// A string that is not empty.
    Text,
    /// A string.
    AnyText,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A point in time.
    Time,
    /// A boolean.
    Flag,
    /// A whole number from 0 on.
    Count,
    /// An object of strings.
    TextMap,
    /// What changes in an object of strings; null removes an entry.
    TextMapChanges,
    /// A list of strings.
    Texts,
    /// Any object.
    AnyObject,
    /// Anything.
    Anything,
    /// An object with these fields.
    Object(&'static [Member]),
    /// A list of objects with these fields.
    List(&'static [Member]),
    /// A thing of this type, with its tenant.
    Owned(&'static EntityType),
    /// A list of such things.
    AllOwned(&'static EntityType),
    /// A thing of one of the service's types.
    Record,
    /// What can be taken in as a thing of the type at hand.
    OwnImport,
    /// What can be taken in as a thing of one of the service's types.
    Import,
    /// What an operation of the service needs.
    OperationData,
    /// The name of one of the service's types.
    TypeName,
    /// Bytes.
    Bytes,
}

impl Doc {
    /// A route that takes nothing and answers 200.
    pub(crate) const fn new(summary: &'static str, used_by: &'static str, answers: Shape) -> Self {
        Self { summary, used_by, query: &[], takes: &[], status: 200, answers, refuses: &[] }
    }

    /// A route that creates something, and answers 201.
    pub(crate) const fn created(summary: &'static str, used_by: &'static str, answers: Shape) -> Self {
        Self { status: 201, ..Self::new(summary, used_by, answers) }
    }
}

impl Member {
    /// A field that is always there.
    pub(crate) const fn required(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, shape, presence: Presence::Required, about }
    }

    /// A field that is always there and may be null.
    pub(crate) const fn nullable(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, shape, presence: Presence::Nullable, about }
    }

    /// A field that may be left out.
    pub(crate) const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, shape, presence: Presence::Optional, about }
    }
}

/// A refusal of things that are not there.
pub(crate) const NOT_FOUND: (u16, &str) = (404, "there is no such thing in this tenant");

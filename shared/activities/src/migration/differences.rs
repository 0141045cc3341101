//! Finds by digests where copies differ from what they are copies of, so that only that is read.

use std::collections::BTreeMap;

use contracts::ActivityError;
use downstream::data::{Digest, DigestOf, Within, digest, just_after};

use super::{Plan, Set};
use crate::Context;

/// Things of a digest: at first, and when a range that differs is narrowed.
const LIMITS: [u32; 3] = [10_000, 1_000, 100];
/// More ranges than that are not worth it: then everything is read.
const MAX_RANGES: usize = 1_000;

/// Where copies differ.
pub(super) struct Differences {
    pub(super) ranges: Vec<Within>,
    /// Things outside of these ranges: their copies are the same.
    pub(super) same: u64,
    /// What has changed after it was compared is to be looked at again.
    pub(super) watermark: String,
}

/// A set, and how both of its sides are hashed.
struct Comparing<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    set: &'a Set,
    originals: &'a BTreeMap<String, String>,
    copies: BTreeMap<String, String>,
}

/// Compares a set of copies, whose fields are at these paths of the originals. None if the services do not tell enough: then
/// everything is to be read.
pub(super) async fn find(
    context: &Context<'_>,
    plan: &Plan,
    set: &Set,
    fields: &BTreeMap<String, String>,
) -> Result<Option<Differences>, ActivityError> {
    let copies = fields.keys().map(|name| (name.clone(), name.clone())).collect();
    let comparing = Comparing { context, plan, set, originals: fields, copies };
    let mut found = Differences { ranges: Vec::new(), same: 0, watermark: String::new() };
    // Ranges that are to be compared, the first one last, each with its place in `LIMITS`.
    let mut open = vec![(Within::default(), 0)];
    while let Some((range, level)) = open.pop() {
        let limit = LIMITS[level];
        let original = comparing.original(&range, Some(limit)).await?;
        if found.watermark.is_empty() {
            found.watermark.clone_from(&original.watermark);
        }
        let is_all = original.count < u64::from(limit);
        let rest = match (&original.last_id, is_all) {
            (_, true) => None,
            (Some(last), false) => Some(just_after(last)),
            (None, false) => return Ok(None),
        };
        let compared = Within { to_id: rest.clone().or_else(|| range.to_id.clone()), ..range.clone() };
        if let Some(from_id) = rest {
            open.push((Within { from_id: Some(from_id), ..range.clone() }, level));
        }
        let copy = comparing.copy(&compared).await?;
        if (original.count, &original.sha256) == (copy.count, &copy.sha256) {
            found.same += original.count;
        } else if let Some(next) = (level + 1..LIMITS.len()).find(|next| u64::from(LIMITS[*next]) < original.count) {
            open.push((compared, next));
        } else {
            found.add(compared);
        }
        if found.ranges.len() + open.len() > MAX_RANGES {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

impl Differences {
    /// Adds a range behind the others. Ranges without anything between them become one.
    fn add(&mut self, range: Within) {
        match self.ranges.last_mut() {
            Some(last) if last.to_id.is_some() && last.to_id == range.from_id => last.to_id = range.to_id,
            Some(_) | None => self.ranges.push(range),
        }
    }
}

impl Comparing<'_> {
    async fn original(&self, within: &Within, limit: Option<u32>) -> Result<Digest, ActivityError> {
        let of = DigestOf { within, names: self.originals, limit };
        digest(self.context.downstream, self.set.source()?, &self.set.entity_type, &self.plan.source, of).await
    }

    async fn copy(&self, within: &Within) -> Result<Digest, ActivityError> {
        let of = DigestOf { within, names: &self.copies, limit: None };
        digest(self.context.downstream, self.set.target()?, &self.set.to_type, &self.plan.target, of).await
    }
}

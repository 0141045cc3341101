//! Reads things of a set, page by page.

use contracts::ActivityError;
use downstream::data::{Page, PageOf, Thing, Within, just_after, page};

use super::{Part, Plan, Set};
use crate::Context;

/// The things of a part, after one that is done.
pub(super) struct Reading<'a> {
    context: &'a Context<'a>,
    tenant_id: &'a str,
    set: &'a Set,
    /// What is left to read: one question for all, or one for each id.
    questions: std::vec::IntoIter<Within>,
    current: Option<(Within, Option<String>)>,
}

impl<'a> Reading<'a> {
    /// Begins after the thing with this id.
    pub(super) fn part(
        context: &'a Context<'a>,
        tenant_id: &'a str,
        set: &'a Set,
        part: &Part,
        after: Option<&str>,
    ) -> Self {
        let questions = match &part.ids {
            Some(ids) => {
                let left = ids.iter().filter(|id| after.is_none_or(|after| id.as_str() > after));
                left.map(|id| Within::only(id)).collect()
            }
            None => {
                let from_id = after.map(just_after).or_else(|| part.within.from_id.clone());
                vec![Within { from_id, filters: set.filters.clone(), ..part.within.clone() }]
            }
        };
        Self { context, tenant_id, set, questions: questions.into_iter(), current: None }
    }

    /// The next things, and what has changed after they were read; none after the last ones.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, ActivityError> {
        let (within, cursor) = match self.current.take() {
            Some(current) => current,
            None => match self.questions.next() {
                Some(within) => (within, None),
                None => return Ok(None),
            },
        };
        let of = PageOf { cursor: cursor.as_deref(), changed_since: None, within: Some(&within) };
        let (service, entity_type) = (self.set.source()?, &self.set.entity_type);
        let mut page = page(self.context.downstream, service, entity_type, self.tenant_id, of).await?;
        self.current = page.next_cursor.take().map(|cursor| (within, Some(cursor)));
        Ok(Some(page))
    }
}

/// What has changed of a set since it was planned, page by page.
pub(super) struct Changes<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    set: &'a Set,
    since: String,
    cursor: Option<String>,
    is_over: bool,
}

/// Some of what has changed.
pub(super) struct Changed {
    pub(super) things: Vec<Thing>,
    /// The ids of those that are gone.
    pub(super) gone: Vec<String>,
    /// Where to go on after the last page.
    pub(super) watermark: String,
}

impl<'a> Changes<'a> {
    pub(super) fn since(context: &'a Context<'a>, plan: &'a Plan, set: &'a Set, watermark: String) -> Self {
        Self { context, plan, set, since: watermark, cursor: None, is_over: false }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Changed>, ActivityError> {
        if self.is_over {
            return Ok(None);
        }
        let set = self.set;
        let within = Within { filters: set.filters.clone(), ..Within::default() };
        let of = PageOf { cursor: self.cursor.as_deref(), changed_since: Some(&self.since), within: Some(&within) };
        let page = page(self.context.downstream, set.source()?, &set.entity_type, &self.plan.source, of).await?;
        self.cursor = page.next_cursor;
        self.is_over = self.cursor.is_none();
        let is_meant = |id: &str| set.ids.as_ref().is_none_or(|ids| ids.iter().any(|meant| meant == id));
        Ok(Some(Changed {
            things: page.items.into_iter().filter(|thing| is_meant(&thing.id)).collect(),
            gone: page.deletions.into_iter().map(|gone| gone.id).filter(|id| is_meant(id)).collect(),
            watermark: page.watermark,
        }))
    }
}

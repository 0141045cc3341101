//! What can be done to one thing of many.

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::fields::AN_ID;
use super::request::is_id;
use super::{EntityType, Fields, Member, Problem, Row, Tx};

/// One of the things that a request is about.
pub(crate) struct Item {
    /// What kind of thing it is.
    pub(crate) entity: &'static EntityType,
    /// Its id.
    pub(crate) id: String,
    /// The key that it is done and undone by.
    pub(crate) key: String,
    /// What the operation needs to know.
    pub(crate) data: Value,
    /// Where in the item that is.
    pub(super) place: &'static str,
}

impl Item {
    /// Makes the thing what `after` says, unless it is that already.
    pub(crate) async fn put_changed(&self, tx: &mut Tx<'_>, before: &Row, mut after: Row) -> Result<ItemDone, Problem> {
        if *before == after {
            return Ok(ItemDone::unchanged("it is so already"));
        }
        if let Some(column) = self.entity.written_at {
            after.insert(column.to_owned(), tx.now().into());
        }
        tx.put(self.entity.table, after).await?;
        Ok(ItemOutcome::Updated.into())
    }
}

/// Something that can be done to a thing; the type is what it needs to know.
pub(crate) trait Operation: Sized + Send + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Whether it makes a thing, whose id must then be one.
    const CREATES: bool = false;
    /// What it does, in a line.
    const ABOUT: &'static str;
    /// What it needs.
    const TAKES: &'static [Member];

    /// Reads what the caller says; what is wrong with it `data` remembers.
    fn read(data: &mut Fields<'_>) -> Self;

    /// Does it. A problem takes this item back.
    fn apply(self, item: &Item, tx: &mut Tx<'_>) -> impl Future<Output = Result<ItemDone, Problem>> + Send;
}

/// How an operation runs, whatever its type.
pub(crate) type Run = for<'t> fn(&'t Item, &'t mut Tx<'_>) -> BoxFuture<'t, Result<ItemDone, Problem>>;

/// An operation by its name.
pub(crate) struct OperationOf {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) takes: &'static [Member],
    pub(super) run: Run,
}

impl OperationOf {
    pub(crate) const fn new<O: Operation>() -> Self {
        Self { name: O::NAME, about: O::ABOUT, takes: O::TAKES, run: |item, tx| Box::pin(run::<O>(item, tx)) }
    }
}

async fn run<O: Operation>(item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
    let mut data = Fields::at(item.place.to_owned(), &item.data);
    let operation = O::read(&mut data);
    data.finish()?;
    if O::CREATES && !is_id(&item.id) {
        return Err(Problem::unprocessable(format!("the id {AN_ID}")));
    }
    operation.apply(item, tx).await
}

/// What has been done to an item.
pub(crate) struct ItemDone {
    pub(super) outcome: ItemOutcome,
    pub(super) data: Value,
    /// The thing as it was before.
    pub(super) before: Value,
    /// Why nothing has been done.
    pub(super) why: Option<&'static str>,
}

/// What became of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemOutcome {
    /// It is new.
    Created,
    /// It has changed.
    Updated,
    /// It was so before.
    Unchanged,
    /// It is on its way.
    Sent,
    /// It has been handed out.
    Exported,
    /// It has been worked on.
    Processed,
    /// It is gone.
    Deleted,
}

impl ItemOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Sent => "sent",
            Self::Exported => "exported",
            Self::Processed => "processed",
            Self::Deleted => "deleted",
        }
    }
}

impl ItemDone {
    /// Something without more to say about it.
    pub(crate) fn new(outcome: ItemOutcome) -> Self {
        Self { outcome, data: Value::Null, before: Value::Null, why: None }
    }

    /// Nothing, and why.
    pub(super) fn unchanged(why: &'static str) -> Self {
        Self { why: Some(why), ..Self::new(ItemOutcome::Unchanged) }
    }

    /// With an answer.
    pub(crate) fn with(self, data: Value) -> Self {
        Self { data, ..self }
    }

    /// A change that is the result of work on the thing.
    pub(crate) fn processed(self) -> Self {
        let changed = self.outcome == ItemOutcome::Updated;
        Self { outcome: if changed { ItemOutcome::Processed } else { self.outcome }, ..self }
    }

    /// What is remembered under the item's key.
    pub(super) fn into_body(self) -> Value {
        json!({ "outcome": self.outcome.as_str(), "data": self.data, "before": self.before, "why": self.why })
    }
}

impl From<ItemOutcome> for ItemDone {
    fn from(outcome: ItemOutcome) -> Self {
        Self::new(outcome)
    }
}

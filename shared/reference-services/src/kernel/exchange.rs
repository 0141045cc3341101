//! What can be done to everything that a service holds: hand it out, take it in, delete it.

use serde_json::Value;

use super::log::LogKind;
use super::{Fields, Item, ItemDone, ItemOutcome, Member, Operation, OperationOf, Problem, Row, Shape, Tx};

/// The operations of every type.
pub(super) static OPERATIONS: &[OperationOf] = &[OperationOf::new::<DataExport>(), OperationOf::new::<DataImport>()];

/// What may become of a record whose thing is there already.
pub(super) const ON_CONFLICT: &[&str] = &["fail", "skip", "overwrite"];

/// Answers the record.
struct DataExport;

impl Operation for DataExport {
    const NAME: &'static str = "DataExport";
    const ABOUT: &'static str = "Answers the thing; the logs say that it has left the house.";
    const TAKES: &'static [Member] = &[];

    fn read(_: &mut Fields<'_>) -> Self {
        Self
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let row = item.entity.get(tx, &item.id).await?;
        tx.log_change(LogKind::Export, item.entity.table, &row).await?;
        Ok(ItemDone::new(ItemOutcome::Exported).with(item.entity.record(row).into()))
    }
}

/// Makes the thing what the record says.
struct DataImport(Import);

impl Operation for DataImport {
    const NAME: &'static str = "DataImport";
    const CREATES: bool = true;
    const ABOUT: &'static str = "Makes the thing what the record says.";
    const TAKES: &'static [Member] = &[
        Member::required("record", Shape::OwnImport, ""),
        Member::optional("on_conflict", Shape::Words(ON_CONFLICT), "fail unless given"),
        Member::optional("if_version", Shape::Count, "the version that the thing must have"),
        Member::optional("before_images", Shape::Flag, ""),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        Self(Import::read_record("record", data))
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        self.0.apply(item, tx).await
    }
}

/// Makes the thing what a record says. One that is so already stays as it is.
pub(super) struct Import {
    /// The field that holds the record.
    field: &'static str,
    record: Row,
    on_conflict: &'static str,
    condition: Condition,
}

impl Import {
    fn read_record(field: &'static str, data: &mut Fields<'_>) -> Self {
        Self {
            field,
            record: data.object(field),
            on_conflict: data.optional_one_of("on_conflict", ON_CONFLICT).unwrap_or("fail"),
            condition: Condition::read(data),
        }
    }
}

impl Operation for Import {
    const NAME: &'static str = "import";
    const CREATES: bool = true;
    const ABOUT: &'static str = "Makes the thing what the record says.";
    const TAKES: &'static [Member] = &[
        Member::required("data", Shape::OwnImport, ""),
        Member::optional("on_conflict", Shape::Words(ON_CONFLICT), "fail unless given"),
        Member::optional("if_version", Shape::Count, "the version that the thing must have"),
        Member::optional("before_images", Shape::Flag, ""),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        Self::read_record("data", data)
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let entity = item.entity;
        let before = entity.find(tx, &item.id).await?;
        let place = format!("{}/{}", item.place, self.field);
        let row = entity.row(place, &item.id, &self.record, before.as_ref(), &tx.now())?;
        entity.check_version(tx, &item.id, self.condition.if_version).await?;
        let Some(before) = before else {
            entity.check_tenant(tx.call, &item.id)?;
            // Not as what a workflow has created for a user: what somebody has made of it since stays.
            tx.put(entity.table, row).await?;
            return Ok(ItemOutcome::Created.into());
        };
        let before = entity.record(before);
        let is_same = entity.record(row.clone()) == before;
        let done = match self.on_conflict {
            "overwrite" if is_same => ItemDone::unchanged("it is so already"),
            "overwrite" => {
                tx.put(entity.table, row).await?;
                ItemOutcome::Updated.into()
            }
            "skip" => ItemDone::unchanged(THERE_IS_ONE),
            _ => return Err(Problem::conflict(THERE_IS_ONE)),
        };
        Ok(self.condition.with_before(done, before))
    }
}

const THERE_IS_ONE: &str = "there is one with this id";

/// Deletes the thing and what belongs to it.
pub(super) struct Delete {
    condition: Condition,
}

impl Operation for Delete {
    const NAME: &'static str = "delete";
    const ABOUT: &'static str = "Deletes the thing.";
    const TAKES: &'static [Member] = &[
        Member::optional("if_version", Shape::Count, "the version that the thing must have"),
        Member::optional("before_images", Shape::Flag, ""),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        Self { condition: Condition::read(data) }
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let row = item.entity.get(tx, &item.id).await?;
        item.entity.check_version(tx, &item.id, self.condition.if_version).await?;
        let before = item.entity.record(row.clone());
        tx.delete(item.entity.table, row).await?;
        Ok(self.condition.with_before(ItemOutcome::Deleted.into(), before))
    }
}

/// What each item of a batch may say beside what is to be done.
pub(super) struct Condition {
    /// The version that the thing must have.
    pub(super) if_version: Option<i64>,
    /// Whether the answer shows the thing as it was before.
    before_images: bool,
}

impl Condition {
    pub(super) fn read(data: &mut Fields<'_>) -> Self {
        Self { if_version: data.optional_count("if_version"), before_images: data.optional_flag("before_images") }
    }

    pub(super) fn with_before(&self, done: ItemDone, before: Row) -> ItemDone {
        ItemDone { before: if self.before_images { before.into() } else { Value::Null }, ..done }
    }
}

//! How much each user does, day by day.

use serde_json::json;

use crate::kernel::{EntityType, Field, Kind, Reference, Rows, Table, row};

pub(super) const SCHEMA: &str = "
    CREATE TABLE usage (
        tenant_id TEXT NOT NULL,
        usage_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        day TEXT NOT NULL,
        actions INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, usage_id),
        UNIQUE (tenant_id, user_id, day)
    ) STRICT;
";

pub(super) static USAGE_ROWS: Table =
    Table::new("usage", &["tenant_id", "usage_id"], "the user's usage of the day is known, or its id is taken");

pub(super) static USAGE: EntityType = EntityType {
    subject_field: Some("user_id"),
    references: &[Reference::new("user_id", "auth", "account")],
    personal: &[("day", "usage"), ("actions", "usage")],
    retention_days: Some(730),
    ..EntityType::new(
        "usage",
        &USAGE_ROWS,
        "usage_id",
        &[
            Field::new("usage_id", Kind::Id),
            Field::new("user_id", Kind::Id),
            Field::new("day", Kind::Text),
            Field::new("actions", Kind::Count),
        ],
    )
};

pub(super) fn demo() -> Rows {
    let days = [("user-123", "2026-02-26", 41), ("user-123", "2026-02-27", 17), ("user-124", "2026-02-27", 5)];
    let rows = days.map(|(user_id, day, actions)| {
        let usage = json!({
            "tenant_id": "tenant-123", "usage_id": format!("{user_id}-{day}"), "user_id": user_id, "day": day,
            "actions": actions,
        });
        (&USAGE_ROWS, row(usage))
    });
    rows.into()
}

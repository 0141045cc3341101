//! What the Tenant service knows by heart of the User service's profiles. Nobody keeps the copies up to date but those
//! who compare the two.

use serde_json::json;

use crate::kernel::{EntityType, Field, Kind, Reference, Replica, Rows, Table, row};

pub(super) const SCHEMA: &str = "
    CREATE TABLE profile_copies (
        tenant_id TEXT NOT NULL REFERENCES tenants ON DELETE CASCADE,
        profile_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        name TEXT,
        email TEXT,
        PRIMARY KEY (tenant_id, profile_id)
    ) STRICT;
    CREATE INDEX profile_copies_by_user ON profile_copies (tenant_id, user_id);
";

pub(super) static PROFILE_COPIES: Table =
    Table::new("profile_copies", &["tenant_id", "profile_id"], "there is a copy of the profile");

pub(super) static PROFILE_COPY: EntityType = EntityType {
    subject_field: Some("user_id"),
    references: &[Reference::new("profile_id", "user", "profile"), Reference::new("user_id", "auth", "account")],
    replica_of: Some(Replica {
        service: "user",
        entity_type: "profile",
        fields: &[("user_id", "user_id"), ("name", "profile_data.name"), ("email", "profile_data.email")],
    }),
    personal: &[("name", "personal"), ("email", "personal")],
    ..EntityType::new(
        "profile_copy",
        &PROFILE_COPIES,
        "profile_id",
        &[
            Field::new("profile_id", Kind::Id),
            Field::new("user_id", Kind::Id),
            Field::new("name", Kind::NullableText),
            Field::new("email", Kind::NullableText),
        ],
    )
};

/// Of the profiles in `tenant-123` the first has a copy, the second one under another name, the third none; and there
/// is a copy of a profile that does not exist.
pub(super) fn demo() -> Rows {
    let copies = [
        ("123", "Demo User", "demo.user@example.com"),
        ("124", "Second Usr", "second.user@example.com"),
        ("126", "Fourth User", "fourth.user@example.com"),
    ];
    let rows = copies.map(|(number, name, email)| {
        let copy = json!({
            "tenant_id": "tenant-123", "profile_id": format!("profile-{number}"), "user_id": format!("user-{number}"),
            "name": name, "email": email,
        });
        (&PROFILE_COPIES, row(copy))
    });
    rows.into()
}

//! What can be done to many memberships at once.

use serde_json::{Value, json};

use super::{MEMBERSHIPS, TENANTS};
use crate::kernel::{Fields, Item, ItemDone, ItemOutcome, Operation, OperationOf, Problem, Tx, row};

pub(super) static OF_MEMBERSHIPS: &[OperationOf] = &[
    OperationOf::new::<UserCreation>(),
    OperationOf::new::<PermissionUpdate>(),
    OperationOf::new::<UserDeactivation>(),
];

/// A new membership.
struct UserCreation {
    role: String,
    permissions: Value,
}

impl Operation for UserCreation {
    const NAME: &'static str = "UserCreation";
    const CREATES: bool = true;

    fn read(data: &mut Fields<'_>) -> Self {
        Self { role: data.text("role"), permissions: data.texts("permissions") }
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        tx.get(&TENANTS, &[]).await?;
        let member = json!({
            "user_id": item.id, "role": self.role, "permissions": self.permissions, "active": true,
            "updated_at": tx.now(),
        });
        tx.create(&MEMBERSHIPS, row(member)).await?;
        Ok(ItemOutcome::Created.into())
    }
}

/// Another role or other permissions.
struct PermissionUpdate {
    role: Option<String>,
    permissions: Option<Value>,
}

impl Operation for PermissionUpdate {
    const NAME: &'static str = "PermissionUpdate";

    fn read(data: &mut Fields<'_>) -> Self {
        Self { role: data.optional_text("role"), permissions: data.optional_texts("permissions") }
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let before = item.entity.get(tx, &item.id).await?;
        let mut member = before.clone();
        for (field, value) in [("role", self.role.map(Value::from)), ("permissions", self.permissions)] {
            if let Some(value) = value {
                member.insert(field.to_owned(), value);
            }
        }
        item.put_changed(tx, &before, member).await
    }
}

/// The user has no access any more.
struct UserDeactivation;

impl Operation for UserDeactivation {
    const NAME: &'static str = "UserDeactivation";

    fn read(_: &mut Fields<'_>) -> Self {
        Self
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let before = item.entity.get(tx, &item.id).await?;
        let mut member = before.clone();
        member.insert("active".to_owned(), false.into());
        item.put_changed(tx, &before, member).await
    }
}

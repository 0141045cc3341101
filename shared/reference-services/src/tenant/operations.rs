//! What can be done to many memberships at once.

use serde_json::{Value, json};

use super::{MEMBERSHIPS, TENANTS};
use crate::kernel::{Fields, Item, ItemDone, ItemOutcome, Member, Operation, OperationOf, Problem, Shape, Tx, row};

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
    const ABOUT: &'static str = "A new membership of the user whose id the item has.";
    const TAKES: &'static [Member] =
        &[Member::required("role", Shape::Text, ""), Member::required("permissions", Shape::Texts, "")];

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
    const ABOUT: &'static str = "Another role or other permissions.";
    const TAKES: &'static [Member] =
        &[Member::optional("role", Shape::Text, ""), Member::optional("permissions", Shape::Texts, "")];

    fn read(data: &mut Fields<'_>) -> Self {
        let (role, permissions) = (data.optional_text("role"), data.optional_texts("permissions"));
        if role.is_none() && permissions.is_none() {
            data.refuse("role", "or permissions must be given");
        }
        Self { role, permissions }
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
    const ABOUT: &'static str = "The user has no access any more.";
    const TAKES: &'static [Member] = &[];

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

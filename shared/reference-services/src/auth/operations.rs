//! What can be done to many accounts at once.

use super::{ACCOUNTS, ACTIVE, DEACTIVATED, create, sessions};
use crate::kernel::{Fields, Item, ItemDone, ItemOutcome, Member, Operation, OperationOf, Problem, Shape, Tx};

pub(super) static OF_ACCOUNTS: &[OperationOf] =
    &[OperationOf::new::<UserCreation>(), OperationOf::new::<UserUpdate>(), OperationOf::new::<UserDeactivation>()];

/// A new account.
struct UserCreation {
    email: String,
    name: String,
    role: String,
}

impl Operation for UserCreation {
    const NAME: &'static str = "UserCreation";
    const CREATES: bool = true;
    const ABOUT: &'static str = "A new account under the id of the item.";
    const TAKES: &'static [Member] = &[
        Member::required("email", Shape::Text, ""),
        Member::required("name", Shape::Text, ""),
        Member::required("role", Shape::Text, ""),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        Self { email: data.text("email"), name: data.text("name"), role: data.text("role") }
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        create(tx, &item.id, [&self.email, &self.name, &self.role]).await?;
        Ok(ItemOutcome::Created.into())
    }
}

/// Another address, name or role.
struct UserUpdate {
    changes: [(&'static str, Option<String>); 3],
}

impl Operation for UserUpdate {
    const NAME: &'static str = "UserUpdate";
    const ABOUT: &'static str = "Another address, name or role.";
    const TAKES: &'static [Member] = &[
        Member::optional("email", Shape::Text, ""),
        Member::optional("name", Shape::Text, ""),
        Member::optional("role", Shape::Text, ""),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        let changes = ["email", "name", "role"].map(|field| (field, data.optional_text(field)));
        if changes.iter().all(|(_, value)| value.is_none()) {
            data.refuse("email", "or name or role must be given");
        }
        Self { changes }
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let before = item.entity.get(tx, &item.id).await?;
        let mut account = before.clone();
        for (field, value) in self.changes {
            if let Some(value) = value {
                account.insert(field.to_owned(), value.into());
            }
        }
        item.put_changed(tx, &before, account).await
    }
}

/// The account may not be used any more, and who is signed in to the tenant with it is signed out.
struct UserDeactivation;

impl Operation for UserDeactivation {
    const NAME: &'static str = "UserDeactivation";
    const ABOUT: &'static str = "The account may not be used any more, and its sessions in the tenant are revoked.";
    const TAKES: &'static [Member] = &[];

    fn read(_: &mut Fields<'_>) -> Self {
        Self
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let mut account = item.entity.get(tx, &item.id).await?;
        let (revoked, _) = sessions::revoke(tx, &item.id).await?;
        let was_active = account["status"] == ACTIVE;
        if was_active {
            account.insert("status".to_owned(), DEACTIVATED.into());
            tx.put(&ACCOUNTS, account).await?;
        }
        let changed = was_active || revoked > 0;
        Ok(if changed { ItemOutcome::Updated } else { ItemOutcome::Unchanged }.into())
    }
}

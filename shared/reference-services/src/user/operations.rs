//! What can be done to many profiles at once.

use serde_json::Value;

use super::{DEACTIVATED, create};
use crate::kernel::{Fields, Item, ItemDone, ItemOutcome, Member, Operation, OperationOf, Problem, Row, Shape, Tx};

pub(super) static OF_PROFILES: &[OperationOf] =
    &[OperationOf::new::<UserCreation>(), OperationOf::new::<UserUpdate>(), OperationOf::new::<UserDeactivation>()];

/// A new profile.
struct UserCreation {
    user_id: String,
    profile_data: Value,
    preferences: Value,
}

impl Operation for UserCreation {
    const NAME: &'static str = "UserCreation";
    const CREATES: bool = true;
    const ABOUT: &'static str = "A new profile under the id of the item.";
    const TAKES: &'static [Member] = &[
        Member::required("user_id", Shape::Id, ""),
        Member::required("profile_data", Shape::TextMap, ""),
        Member::optional("preferences", Shape::TextMap, ""),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        Self {
            user_id: data.id("user_id"),
            profile_data: data.text_map("profile_data"),
            preferences: data.optional_text_map("preferences"),
        }
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        create(tx, &item.id, &self.user_id, [self.profile_data, self.preferences]).await?;
        Ok(ItemOutcome::Created.into())
    }
}

/// Other data or preferences.
struct UserUpdate {
    changes: [(&'static str, Row); 2],
}

impl Operation for UserUpdate {
    const NAME: &'static str = "UserUpdate";
    const ABOUT: &'static str = "Other data or preferences; what is not named stays.";
    const TAKES: &'static [Member] = &[
        Member::optional("profile_data", Shape::TextMapChanges, ""),
        Member::optional("preferences", Shape::TextMapChanges, ""),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        let changes = ["profile_data", "preferences"].map(|field| (field, data.text_map_changes(field)));
        if changes.iter().all(|(_, entries)| entries.is_empty()) {
            data.refuse("profile_data", "or preferences must be given");
        }
        Self { changes }
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let before = item.entity.get(tx, &item.id).await?;
        let mut profile = before.clone();
        for (field, changes) in self.changes {
            let entries = profile.get_mut(field).and_then(Value::as_object_mut);
            let Some(entries) = entries else { continue };
            for (name, value) in changes {
                if value.is_null() {
                    entries.remove(&name);
                } else {
                    entries.insert(name, value);
                }
            }
        }
        item.put_changed(tx, &before, profile).await
    }
}

/// The user may not do anything any more.
struct UserDeactivation;

impl Operation for UserDeactivation {
    const NAME: &'static str = "UserDeactivation";
    const ABOUT: &'static str = "The user may not do anything any more.";
    const TAKES: &'static [Member] = &[];

    fn read(_: &mut Fields<'_>) -> Self {
        Self
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let before = item.entity.get(tx, &item.id).await?;
        let mut profile = before.clone();
        profile.insert("status".to_owned(), DEACTIVATED.into());
        item.put_changed(tx, &before, profile).await
    }
}

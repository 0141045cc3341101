//! What can be done to many files at once.

use serde_json::json;

use super::content::checksum;
use super::{CONTENTS, FILES, WORKSPACES};
use crate::kernel::{Fields, Item, ItemDone, ItemOutcome, Member, Operation, Problem, Shape, Tx};

/// What a file's processing is.
pub(super) enum FileProcessing {
    /// Computes the checksum of the bytes.
    Checksum,
    /// Gives it another name.
    Rename(String),
    /// Puts it into another workspace.
    Move(String),
    /// Deletes it with its bytes.
    Delete,
}

impl Operation for FileProcessing {
    const NAME: &'static str = "FileProcessing";
    const ABOUT: &'static str = "Computes the checksum of the bytes, or renames, moves or deletes the file.";
    const TAKES: &'static [Member] = &[
        Member::required("action", Shape::Words(&["checksum", "rename", "move", "delete"]), ""),
        Member::optional("name", Shape::Text, "with rename"),
        Member::optional("workspace_id", Shape::Text, "with move"),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        match data.one_of("action", &["checksum", "rename", "move", "delete"]) {
            "rename" => Self::Rename(data.text("name")),
            "move" => Self::Move(data.text("workspace_id")),
            "delete" => Self::Delete,
            _ => Self::Checksum,
        }
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let before = item.entity.get(tx, &item.id).await?;
        let mut file = before.clone();
        match self {
            Self::Checksum => {
                let sha256 = checksum(&tx.get(&CONTENTS, &[&item.id]).await?)?;
                file.insert("sha256".to_owned(), sha256.as_str().into());
                let done = item.put_changed(tx, &before, file).await?;
                return Ok(done.processed().with(json!({ "sha256": sha256 })));
            }
            Self::Rename(name) => file.insert("name".to_owned(), name.into()),
            Self::Move(workspace_id) => {
                if tx.find(&WORKSPACES, &[&workspace_id]).await?.is_none() {
                    return Err(Problem::unprocessable(format!("there is no workspace {workspace_id}")));
                }
                file.insert("workspace_id".to_owned(), workspace_id.into())
            }
            Self::Delete => {
                tx.delete(&FILES, before).await?;
                return Ok(ItemOutcome::Deleted.into());
            }
        };
        item.put_changed(tx, &before, file).await
    }
}

//! Forgets what is kept of a person besides their things: what an undo would bring back, first answers, names in logs.

use std::collections::BTreeSet;

use axum::routing::MethodFilter;
use serde_json::{Value, json};
use sqlx::Row as _;

use super::log::subject_of;
use super::table::decode;
use super::{Call, Doc, Done, Fields, Member, Mutation, Problem, Row, Shape, Table, Tx};

/// `POST /api/v1/data/forget`.
pub(super) struct Forget {
    subject: String,
    pseudonym: String,
}

impl Mutation for Forget {
    const METHOD: MethodFilter = MethodFilter::POST;
    const ROUTE: &'static str = "/api/v1/data/forget";
    const DOC: Doc = Doc {
        takes: &[
            Member::required("subject", Shape::Text, "the person"),
            Member::required("pseudonym", Shape::Id, "what stands in the logs instead"),
        ],
        ..Doc::new(
            "Forgets what is kept of a person besides their things.",
            "Erasures, after they have deleted or masked the person's things (forget_person): what an undo would bring back \
             and the first answers go, and their keys are refused with 410 from then on. The entries of the logs stay, \
             with the pseudonym in the place of the person. Neither the bytes of the database nor of its journal hold any \
             of it afterwards.",
            Shape::Object(&[
                Member::required("forgotten", Shape::Count, "images and answers that are gone"),
                Member::required("renamed", Shape::Count, "entries of the logs that name the pseudonym now"),
                Member::required("forgotten_at", Shape::Time, ""),
            ]),
        )
    };

    const LEAVES_NO_BYTES: bool = true;

    fn read(_: &Call, body: &mut Fields<'_>) -> Self {
        Self { subject: body.text("subject"), pseudonym: body.id("pseudonym") }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let things = self.things(tx).await?;
        let mut keys: BTreeSet<String> = things.iter().filter_map(|thing| thing.key.clone()).collect();
        let mut forgotten = 0;
        for (entity_type, id) in things.iter().map(|thing| (&thing.entity_type, &thing.id)).collect::<BTreeSet<_>>() {
            let definition = tx.service.definition();
            let Ok(entity) = definition.entity_type(entity_type) else { continue };
            let row_key = match entity.table.key {
                [_] => vec![id.clone()],
                _ => vec![tx.call.tenant_id.clone(), id.clone()],
            };
            // What a row consists of besides has no type of its own.
            let is_part = |table: &Table| definition.entity_types.iter().all(|of| of.table.name != table.name);
            let parts = entity.table.dependents.iter().map(|dependent| dependent.table).filter(|table| is_part(table));
            for table in std::iter::once(entity.table).chain(parts) {
                forgotten += self.forget_images(tx, table, &row_key, &mut keys).await?;
                // The entries of parts do not say whose they are.
                let entries =
                    "UPDATE logs SET entity_id = ?1 WHERE tenant_id = ?2 AND entity_id = ?3 AND subject IS NULL";
                self.rename(tx, entries, id).await?;
            }
            sqlx::query("DELETE FROM versions WHERE table_name = ? AND tenant_id = ? AND id = ? AND is_deleted = 1")
                .bind(entity.table.name)
                .bind(&tx.reader.call.tenant_id)
                .bind(id)
                .execute(&mut *tx.reader.connection)
                .await?;
            // Answers that nothing was to be done, too: they have no effect.
            let answers =
                sqlx::query_scalar("SELECT key FROM answers WHERE tenant_id = ? AND entity = ? AND entity_id = ?");
            let answers = answers.bind(&tx.reader.call.tenant_id).bind(entity_type).bind(id);
            keys.extend(answers.fetch_all(&mut *tx.reader.connection).await?);
            self.rename(tx, "UPDATE ledger SET entity_id = ?1 WHERE tenant_id = ?2 AND entity_id = ?3", id).await?;
        }
        for table in tx.service.definition().tables.iter().filter(|table| table.key == ["user_id"]) {
            forgotten += self.forget_note(tx, table, &mut keys).await?;
        }
        for key in &keys {
            forgotten += forget_answer(tx, key).await?;
        }
        let subject = &self.subject;
        let about = "UPDATE logs SET subject = ?1, entity_id = ?1 WHERE tenant_id = ?2 AND subject = ?3";
        let renamed = self.rename(tx, about, subject).await?;
        let by = "UPDATE logs SET actor = ?1 WHERE tenant_id = ?2 AND actor = ?3";
        let renamed = renamed + self.rename(tx, by, subject).await?;
        let body = json!({ "forgotten": forgotten, "renamed": renamed, "forgotten_at": tx.now() });
        Ok(Done::ok("person", &self.pseudonym, body))
    }
}

/// What the logs say was done with something of the person.
struct Logged {
    entity_type: String,
    id: String,
    key: Option<String>,
}

impl Forget {
    async fn things(&self, tx: &mut Tx<'_>) -> Result<Vec<Logged>, Problem> {
        let select = "SELECT DISTINCT entity_type, entity_id, key FROM logs WHERE tenant_id = ? AND subject = ?";
        let query = sqlx::query(select).bind(&tx.reader.call.tenant_id).bind(&self.subject);
        let rows = query.fetch_all(&mut *tx.reader.connection).await?;
        let logged = rows.iter().map(|row| {
            Ok(Logged {
                entity_type: row.try_get("entity_type")?,
                id: row.try_get("entity_id")?,
                key: row.try_get("key")?,
            })
        });
        Ok(logged.collect::<sqlx::Result<_>>()?)
    }

    /// Forgets what was there before a row was changed, if that was the person's; the keys that an undo would ask for.
    async fn forget_images(
        &self,
        tx: &mut Tx<'_>,
        table: &'static Table,
        row_key: &[String],
        keys: &mut BTreeSet<String>,
    ) -> Result<u64, Problem> {
        let rows = sqlx::query("SELECT seq, key, before_image FROM effects WHERE table_name = ? AND row_key = ?")
            .bind(table.name)
            .bind(Value::from(row_key).to_string())
            .fetch_all(&mut *tx.reader.connection)
            .await?;
        let entity = tx.service.definition().entity_types.iter().find(|entity| entity.table.name == table.name);
        let mut forgotten = 0;
        for row in rows {
            let image: Option<&str> = row.try_get("before_image")?;
            let image: Option<Row> = image.map(serde_json::from_str).transpose().map_err(decode)?;
            let subject = image.as_ref().and_then(|image| subject_of(entity.copied(), image));
            if subject.is_some_and(|subject| subject != self.subject) {
                continue;
            }
            if let Some(blob_id) = image.as_ref().and_then(|image| image.get("blob_id")?.as_str())
                && table.list(tx.reader.connection, &[("blob_id", blob_id)]).await?.is_empty()
            {
                let delete = sqlx::query("DELETE FROM chunks WHERE blob_id = ?").bind(blob_id);
                delete.execute(&mut *tx.reader.connection).await?;
            }
            keys.insert(row.try_get("key")?);
            let seq: i64 = row.try_get("seq")?;
            sqlx::query("DELETE FROM effects WHERE seq = ?").bind(seq).execute(&mut *tx.reader.connection).await?;
            forgotten += 1;
        }
        Ok(forgotten)
    }

    /// Forgets what a service notes of each person for itself, in a table that the data port does not show.
    async fn forget_note(
        &self,
        tx: &mut Tx<'_>,
        table: &'static Table,
        keys: &mut BTreeSet<String>,
    ) -> Result<u64, Problem> {
        let key = [self.subject.clone()];
        let note = table.find(tx.reader.connection, &key).await?;
        if note.is_some_and(|note| note.get("tenant_id").and_then(Value::as_str) != Some(&tx.reader.call.tenant_id)) {
            // The person works in another tenant now, which has it.
            return Ok(0);
        }
        table.delete(tx.reader.connection, &key).await?;
        self.forget_images(tx, table, &key, keys).await
    }

    /// Puts the pseudonym in the place of a name; how often.
    async fn rename(&self, tx: &mut Tx<'_>, update: &'static str, name: &str) -> Result<u64, Problem> {
        let query = sqlx::query(update).bind(&self.pseudonym).bind(&tx.reader.call.tenant_id).bind(name);
        Ok(query.execute(&mut *tx.reader.connection).await?.rows_affected())
    }
}

/// Forgets the first answer to a key. Whatever still arrives under the key is refused: it must not bring the person back.
async fn forget_answer(tx: &mut Tx<'_>, key: &str) -> Result<u64, Problem> {
    let tenant_id = tx.reader.call.tenant_id.clone();
    let now = tx.now();
    sqlx::query(
        "INSERT INTO tombstones (tenant_id, key, undone, undone_at) VALUES (?, ?, 0, ?) ON CONFLICT DO NOTHING",
    )
    .bind(&tenant_id)
    .bind(key)
    .bind(now)
    .execute(&mut *tx.reader.connection)
    .await?;
    let delete = sqlx::query("DELETE FROM answers WHERE tenant_id = ? AND key = ?").bind(&tenant_id).bind(key);
    Ok(delete.execute(&mut *tx.reader.connection).await?.rows_affected())
}

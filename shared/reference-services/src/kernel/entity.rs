//! What a service says about the things that it holds, so that the kernel can hand them out and take them in.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::fields::{not_empty, of_texts, text_map};
use super::item::Run;
use super::{Call, Fields, OperationOf, Problem, Reader, Row, Table, exchange};

/// A kind of thing that a service holds, one row each.
pub(crate) struct EntityType {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where the rows are.
    pub(crate) table: &'static Table,
    /// The field that holds its id, the last column of the table's key.
    pub(crate) id_field: &'static str,
    /// The field that holds the id of the user whom it is about.
    pub(crate) subject_field: Option<&'static str>,
    /// Its fields, in the order of the columns.
    pub(crate) fields: &'static [Field],
    /// The column that says when a row was written, which is no field.
    pub(crate) written_at: Option<&'static str>,
    /// The fields that hold the ids of other things.
    pub(crate) references: &'static [Reference],
    /// The fields that hold something of a person, as paths, each with its category.
    pub(crate) personal: &'static [(&'static str, &'static str)],
    /// Raised by a change of its fields that a reader must know of.
    pub(crate) schema_version: u32,
    /// How long it is kept; absent: until somebody deletes it.
    pub(crate) retention_days: Option<u32>,
    /// What it is a copy of.
    pub(crate) replica_of: Option<Replica>,
    /// What can be done to it beyond what can be done to everything.
    pub(crate) operations: &'static [OperationOf],
}

/// A field of an entity.
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
}

/// What a field holds.
pub(crate) enum Kind {
    /// An id.
    Id,
    /// A string that is not empty.
    Text,
    /// A string that is not empty, and that no other thing of the type has.
    UniqueText,
    /// A string, or nothing.
    NullableText,
    /// One of these words; the first one unless given.
    OneOf(&'static [&'static str]),
    /// A point in time; the current one unless given.
    Time,
    /// An object of strings.
    TextMap,
    /// A list of strings.
    Texts,
    /// An object.
    Object,
    /// A boolean.
    Flag,
    /// A whole number from 0 on.
    Count,
}

/// A field that holds the id of another thing.
pub(crate) struct Reference {
    /// The field.
    pub(crate) field: &'static str,
    /// Whose thing it is.
    pub(crate) service: &'static str,
    /// The type of the thing.
    pub(crate) entity_type: &'static str,
}

/// What something is a copy of.
pub(crate) struct Replica {
    /// Whose thing it is.
    pub(crate) service: &'static str,
    /// The type of the thing, which has the same id.
    pub(crate) entity_type: &'static str,
    /// Each field of the copy with the path to the field that it is a copy of.
    pub(crate) fields: &'static [(&'static str, &'static str)],
}

impl Field {
    pub(crate) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }
}

impl Reference {
    pub(crate) const fn new(field: &'static str, service: &'static str, entity_type: &'static str) -> Self {
        Self { field, service, entity_type }
    }
}

impl EntityType {
    /// A type without references and operations of its own.
    pub(crate) const fn new(
        name: &'static str,
        table: &'static Table,
        id_field: &'static str,
        fields: &'static [Field],
    ) -> Self {
        Self {
            name,
            table,
            id_field,
            fields,
            subject_field: None,
            written_at: None,
            references: &[],
            personal: &[],
            schema_version: 1,
            retention_days: None,
            replica_of: None,
            operations: &[],
        }
    }

    /// The names of the operations on things of this type.
    pub(super) fn operation_names(&self) -> impl Iterator<Item = &'static str> {
        self.operations.iter().chain(exchange::OPERATIONS).map(|operation| operation.name)
    }

    /// What an operation does to things of this type.
    pub(super) fn operation(&self, name: &str) -> Option<Run> {
        let all = self.operations.iter().chain(exchange::OPERATIONS);
        all.into_iter().find(|operation| operation.name == name).map(|operation| operation.run)
    }

    /// The row of the call's tenant with this id.
    pub(crate) async fn find(&self, reader: &mut Reader<'_>, id: &str) -> Result<Option<Row>, Problem> {
        if self.is_the_tenant() {
            return if id == reader.call.tenant_id { reader.find(self.table, &[]).await } else { Ok(None) };
        }
        reader.find(self.table, &[id]).await
    }

    /// The row of the call's tenant with this id; a problem if there is none.
    pub(crate) async fn get(&self, reader: &mut Reader<'_>, id: &str) -> Result<Row, Problem> {
        self.find(reader, id).await?.ok_or_else(Problem::not_found)
    }

    /// A row's fields: neither whose it is nor when it was written.
    pub(super) fn record(&self, mut row: Row) -> Row {
        row.retain(|column, _| self.fields.iter().any(|field| field.name == column));
        row
    }

    /// The row that a record makes of the one before, or everything that is wrong with the record. A time that the record
    /// leaves out stays.
    pub(super) fn row(
        &self,
        place: String,
        id: &str,
        record: &Row,
        before: Option<&Row>,
        now: &str,
    ) -> Result<Row, Problem> {
        let value = Value::Object(record.clone());
        let mut errors = Fields::at(place, &value);
        let mut row = Row::new();
        for field in self.fields {
            let given = record.get(field.name).filter(|value| !value.is_null()).cloned();
            let value = given.unwrap_or_else(|| match field.kind {
                _ if field.name == self.id_field => id.into(),
                Kind::Time => before.map_or_else(|| now.into(), |before| before[field.name].clone()),
                Kind::OneOf(words) => words.first().copied().into(),
                _ => Value::Null,
            });
            if value.is_null() && !matches!(field.kind, Kind::NullableText) {
                errors.refuse(field.name, "is missing");
            } else if !value.is_null() && !field.kind.admits(&value) {
                errors.refuse(field.name, field.kind.expected());
            }
            row.insert(field.name.to_owned(), value);
        }
        for unknown in record.keys().filter(|name| self.fields.iter().all(|field| field.name != *name)) {
            errors.refuse(unknown, "is no field of this type");
        }
        if row.get(self.id_field).and_then(Value::as_str) != Some(id) {
            errors.refuse(self.id_field, "is not the id of the item");
        }
        errors.finish()?;
        if let Some(column) = self.written_at {
            row.insert(column.to_owned(), now.into());
        }
        Ok(row)
    }

    /// Nobody makes another tenant's tenant.
    pub(super) fn check_tenant(&self, call: &Call, id: &str) -> Result<(), Problem> {
        if self.is_the_tenant() && id != call.tenant_id {
            return Err(Problem::new(StatusCode::FORBIDDEN, "the tenant of the item is not the header's"));
        }
        Ok(())
    }

    /// The ids of other things that the record holds.
    pub(super) fn references_of(&self, record: &Row) -> Value {
        let held = self.references.iter().filter_map(|Reference { field, service, entity_type }| {
            let id = record.get(*field)?.as_str()?;
            Some(json!({ "field": field, "service": service, "type": entity_type, "id": id }))
        });
        held.collect()
    }

    /// Whether this is the tenant itself, of which a caller sees one.
    fn is_the_tenant(&self) -> bool {
        self.table.key.len() == 1
    }
}

impl Kind {
    pub(super) fn is_unique(&self) -> bool {
        matches!(self, Self::UniqueText)
    }

    fn admits(&self, value: &Value) -> bool {
        match self {
            Self::Id => value.as_str().is_some_and(|id| !id.is_empty()),
            Self::Text | Self::UniqueText => not_empty(value).is_some(),
            Self::NullableText => value.is_string(),
            Self::OneOf(words) => words.iter().any(|word| value == word),
            Self::Time => value.is_string(),
            Self::TextMap => text_map(value).is_some(),
            Self::Texts => of_texts(value).is_some(),
            Self::Object => value.is_object(),
            Self::Flag => value.is_boolean(),
            Self::Count => value.as_i64().is_some_and(|count| count >= 0),
        }
    }

    fn expected(&self) -> String {
        match self {
            Self::Id | Self::Text | Self::UniqueText => "must be a string that is not empty".to_owned(),
            Self::NullableText => "must be a string or null".to_owned(),
            Self::OneOf(words) => format!("must be one of {}", words.join(", ")),
            Self::Time => "must be a point in time".to_owned(),
            Self::TextMap => "must be an object of strings".to_owned(),
            Self::Texts => "must be a list of strings".to_owned(),
            Self::Object => "must be an object".to_owned(),
            Self::Flag => "must be a boolean".to_owned(),
            Self::Count => "must be a whole number from 0 on".to_owned(),
        }
    }
}

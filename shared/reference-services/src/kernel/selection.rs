//! Which things of a type a caller asks for.

use serde_json::{Value, json};

use super::entity::Kind;
use super::{Call, EntityType, Problem};

/// A question for things of one type.
pub(super) struct Selection {
    /// The parameters that it consists of, in order.
    asked: Vec<(String, String)>,
    /// Conditions on the columns of the row `e`.
    pub(super) fields: String,
    /// What the conditions on columns are compared with.
    pub(super) values: Vec<String>,
    from_id: Option<String>,
    to_id: Option<String>,
}

impl Selection {
    /// `subject`, `from_id` (included), `to_id` (not included) and `filter.<field>`, all of which must hold.
    pub(super) fn read(call: &Call, entity: &EntityType) -> Result<Self, Problem> {
        let mut selection = Self {
            asked: Vec::new(),
            fields: "true".to_owned(),
            values: Vec::new(),
            from_id: call.query("from_id")?,
            to_id: call.query("to_id")?,
        };
        for (name, value) in call.parameters()? {
            if name == "subject" {
                match entity.subject_field {
                    Some(field) => selection.add(&format!("e.{field} = ?"), [value.clone()]),
                    None => selection.add("false", []),
                }
            } else if let Some(path) = name.strip_prefix("filter.") {
                selection.add_filter(entity, path, &value)?;
            } else if name != "from_id" && name != "to_id" {
                continue;
            }
            selection.asked.push((name, value));
        }
        selection.asked.sort();
        Ok(selection)
    }

    fn add_filter(&mut self, entity: &EntityType, path: &str, value: &str) -> Result<(), Problem> {
        let (name, entry) = path.split_once('.').map_or((path, None), |(name, entry)| (name, Some(entry)));
        let field = entity.fields.iter().find(|field| field.name == name);
        let column = field.map(|field| format!("e.{}", field.name)).unwrap_or_default();
        match (field.map(|field| &field.kind), entry) {
            (Some(Kind::TextMap | Kind::Object), Some(entry)) if !entry.contains('"') => self.add(
                &format!("CAST(json_extract({column}, ?) AS TEXT) = ?"),
                [format!("$.\"{entry}\""), value.to_owned()],
            ),
            (Some(Kind::Flag), None) if value == "true" || value == "false" => {
                self.add(&format!("{column} = {value}"), []);
            }
            (Some(Kind::Count), None) if value.parse::<i64>().is_ok() => {
                self.add(&format!("{column} = ?"), [value.to_owned()]);
            }
            (
                Some(Kind::Id | Kind::Text | Kind::UniqueText | Kind::NullableText | Kind::OneOf(_) | Kind::Time),
                None,
            ) => self.add(&format!("{column} = ?"), [value.to_owned()]),
            _ => {
                let message = format!("'filter.{path}' names no field of this type, or its value is none of the field");
                return Err(Problem::bad_request(message));
            }
        }
        Ok(())
    }

    fn add<const N: usize>(&mut self, condition: &str, values: [String; N]) {
        self.fields.push_str(" AND ");
        self.fields.push_str(condition);
        self.values.extend(values);
    }

    /// The conditions on ids, and what they are compared with.
    pub(super) fn ids(&self, column: &str) -> (String, Vec<String>) {
        let bounds = [(&self.from_id, ">="), (&self.to_id, "<")];
        let conditions: String = bounds
            .into_iter()
            .filter(|(bound, _)| bound.is_some())
            .map(|(_, comparison)| format!(" AND {column} {comparison} ?"))
            .collect();
        (conditions, bounds.into_iter().filter_map(|(bound, _)| bound.clone()).collect())
    }

    /// What tells this question from others.
    pub(super) fn asked(&self) -> Value {
        json!(self.asked)
    }
}

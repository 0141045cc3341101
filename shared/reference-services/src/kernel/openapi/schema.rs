//! Schemas: of what routes take and answer, and of the things that a service holds.

use super::super::doc::{Member, Presence, Shape};
use super::super::entity::{EntityType, Field, Kind};
use super::super::item::OperationOf;
use super::super::yaml::Node;
use super::Describe;

impl Describe {
    pub(super) fn object(&self, members: &[Member]) -> Node {
        let properties = members.iter().map(|member| (member.name.to_owned(), self.member(member)));
        let required = members.iter().filter(|member| member.presence != Presence::Optional);
        object(properties.collect(), required.map(|member| member.name))
    }

    fn member(&self, member: &Member) -> Node {
        let schema = self.schema(&member.shape);
        let schema = if member.presence == Presence::Required { schema } else { or_null(schema) };
        if member.about.is_empty() { schema } else { schema.with("description", member.about.into()) }
    }

    pub(super) fn schema(&self, shape: &Shape) -> Node {
        match shape {
            Shape::Id => typed("string").with("pattern", "^[A-Za-z0-9._-]{1,128}$".into()),
            Shape::Text => text(),
            Shape::AnyText => typed("string"),
            Shape::Words(list) => words(list.iter().copied()),
            Shape::Time => time(),
            Shape::Flag => typed("boolean"),
            Shape::Count => count(),
            Shape::TextMap => text_map(),
            Shape::TextMapChanges => typed("object").with("additionalProperties", or_null(typed("string"))),
            Shape::Texts => list(typed("string")),
            Shape::AnyObject => typed("object"),
            Shape::Anything => Node::Map(Vec::new()),
            Shape::Object(members) => self.object(members),
            Shape::List(members) => list(self.object(members)),
            Shape::Owned(entity) => owned(entity),
            Shape::AllOwned(entity) => list(owned(entity)),
            Shape::Record => self.any_of(|entity| vec![entity.name.to_owned()]),
            Shape::OwnImport => match self.own {
                Some(entity) => reference("schemas", &import_name(entity)),
                None => self.schema(&Shape::Import),
            },
            Shape::Import => self.any_of(|entity| vec![import_name(entity)]),
            Shape::OperationData => self
                .any_of(|entity| entity.all_operations().map(|operation| operation_name(entity, operation)).collect()),
            Shape::TypeName => words(self.definition.entity_types.iter().map(|entity| entity.name)),
            Shape::Bytes => Node::Map(Vec::new()),
        }
    }

    fn any_of(&self, names: impl Fn(&EntityType) -> Vec<String>) -> Node {
        let names = self.definition.entity_types.iter().flat_map(|entity| names(entity));
        Node::map([("anyOf", Node::List(names.map(|name| reference("schemas", &name)).collect()))])
    }
}

pub(super) fn import_name(entity: &EntityType) -> String {
    format!("{}.import", entity.name)
}

pub(super) fn operation_name(entity: &EntityType, operation: &OperationOf) -> String {
    format!("{}.{}", entity.name, operation.name)
}

/// A thing as it is handed out.
pub(super) fn record(entity: &EntityType, more: &[&str]) -> Node {
    let fields = entity.fields.iter().map(|field| (field.name.to_owned(), field_schema(&field.kind)));
    let more_fields = more.iter().map(|name| ((*name).to_owned(), typed("string")));
    let names = entity.fields.iter().map(|field| field.name).chain(more.iter().copied());
    object(fields.chain(more_fields).collect(), names)
}

/// A thing as the routes about one thing answer it.
fn owned(entity: &EntityType) -> Node {
    let is_tenant = entity.fields.iter().any(|field| field.name == "tenant_id");
    let own: &[&str] = if is_tenant { &[] } else { &["tenant_id"] };
    let more: Vec<_> = own.iter().copied().chain(entity.written_at).collect();
    record(entity, &more)
}

/// A thing as it is taken in.
pub(super) fn import(entity: &EntityType) -> Node {
    let may_be_left_out = |field: &Field| {
        field.name == entity.id_field || matches!(field.kind, Kind::NullableText | Kind::OneOf(_) | Kind::Time)
    };
    let fields = entity.fields.iter().map(|field| {
        let schema = field_schema(&field.kind);
        let is_null = may_be_left_out(field) && !matches!(field.kind, Kind::NullableText);
        (field.name.to_owned(), if is_null { or_null(schema) } else { schema })
    });
    let required = entity.fields.iter().filter(|field| !may_be_left_out(field)).map(|field| field.name);
    object(fields.collect(), required)
}

fn field_schema(kind: &Kind) -> Node {
    match kind {
        Kind::Id | Kind::Text | Kind::UniqueText => text(),
        Kind::NullableText => or_null(typed("string")),
        Kind::OneOf(list) => words(list.iter().copied()),
        Kind::Time => time(),
        Kind::TextMap => text_map(),
        Kind::Texts => list(typed("string")),
        Kind::Object => typed("object"),
        Kind::Flag => typed("boolean"),
        Kind::Count => count(),
    }
}

fn text() -> Node {
    typed("string").with("minLength", Node::Plain("1".to_owned()))
}

fn time() -> Node {
    typed("string").with("format", "date-time".into())
}

fn text_map() -> Node {
    typed("object").with("additionalProperties", typed("string"))
}

fn count() -> Node {
    typed("integer").with("minimum", Node::Plain("0".to_owned()))
}

fn object<'n>(properties: Vec<(String, Node)>, required: impl Iterator<Item = &'n str>) -> Node {
    let required: Vec<_> = required.map(Node::from).collect();
    let mut object = typed("object");
    if !properties.is_empty() {
        object.add("properties", Node::Map(properties));
    }
    if !required.is_empty() {
        object.add("required", Node::List(required));
    }
    object
}

fn typed(name: &str) -> Node {
    Node::map([("type", name.into())])
}

fn list(items: Node) -> Node {
    typed("array").with("items", items)
}

pub(super) fn words(list: impl Iterator<Item = &'static str>) -> Node {
    Node::map([("enum", Node::List(list.map(Node::from).collect()))])
}

/// The same, or null.
fn or_null(schema: Node) -> Node {
    let Node::Map(mut entries) = schema else { return schema };
    for (name, node) in &mut entries {
        match node {
            Node::Text(kind) if name == "type" => *node = Node::List(vec![kind.as_str().into(), "null".into()]),
            Node::List(words) if name == "enum" => words.push(Node::Plain("null".to_owned())),
            Node::List(choices) if name == "anyOf" => choices.push(typed("null")),
            _ => {}
        }
    }
    Node::Map(entries)
}

pub(super) fn reference(part: &str, name: &str) -> Node {
    Node::map([("$ref", format!("#/components/{part}/{name}").into())])
}

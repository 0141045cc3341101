//! The description of a service in OpenAPI 3.1, made of what its routes, types and operations say of themselves.

use super::doc::{Doc, Member, Presence, Shape};
use super::entity::{EntityType, Field, Kind};
use super::item::OperationOf;
use super::routes::{Described, Keys};
use super::yaml::Node;
use super::{Definition, Service, exchange};
use crate::ServiceKind;

/// What is refused by every route under `/api/v1`.
const BAD_REQUEST: (u16, &str) = (400, "a header, a parameter or the JSON cannot be used");

/// What a refusal answers.
const PROBLEM: &[Member] = &[
    Member::required("type", Shape::AnyText, ""),
    Member::required("title", Shape::AnyText, ""),
    Member::required("status", Shape::Count, "that of the answer"),
    Member::required("detail", Shape::AnyText, "for people"),
    Member::optional("errors", Shape::List(FIELD_ERRORS), "what is wrong with which field of the body"),
];
const FIELD_ERRORS: &[Member] = &[
    Member::required("pointer", Shape::AnyText, "JSON pointer to the field"),
    Member::required("detail", Shape::AnyText, ""),
];

/// The document.
pub(crate) fn document(kind: ServiceKind) -> String {
    let definition = kind.definition();
    let describe = Describe { definition, own: None };
    let name = kind.name();
    let info = Node::map([
        ("title", format!("The {name} service, as the workflows need it").into()),
        ("version", "1".into()),
        ("description", "Written from the reference service; README.md beside this file tells what it means.".into()),
    ]);
    let mut paths: Vec<(String, Node)> = Vec::new();
    for route in Service::routes(definition).described {
        let operation = describe.operation(&route);
        match paths.iter_mut().find(|(path, _)| *path == route.route) {
            Some((_, methods)) => add(methods, route.method, operation),
            None => paths.push((route.route.to_owned(), Node::Map(vec![(route.method.to_owned(), operation)]))),
        }
    }
    let document = Node::map([
        ("openapi", "3.1.0".into()),
        ("info", info),
        ("paths", Node::Map(paths)),
        ("components", describe.components()),
    ]);
    format!(
        "# Written by `UPDATE_CONTRACTS=1 cargo test -p e2e --test it contract::description`.\n{}",
        document.document()
    )
}

fn add(map: &mut Node, name: &str, node: Node) {
    if let Node::Map(entries) = map {
        entries.push((name.to_owned(), node));
    }
}

/// Describes what one service has.
struct Describe {
    definition: &'static Definition,
    /// The type at hand, where only one is.
    own: Option<&'static EntityType>,
}

impl Describe {
    fn operation(&self, route: &Described) -> Node {
        let Doc { summary, used_by, query, takes, status, answers, refuses } = route.doc;
        let words = route.route.split('/').filter(|word| !matches!(*word, "" | "api" | "v1"));
        let words: Vec<_> = words.map(|word| word.trim_matches(['{', '}'])).collect();
        let operation_id = format!("{}_{}", route.method, words.join("_"));
        let mut operation = Node::map([
            ("operationId", operation_id.into()),
            ("summary", (*summary).into()),
            ("description", (*used_by).into()),
        ]);
        let mut parameters: Vec<_> = route_parameters(route.route).map(|name| self.path_parameter(name)).collect();
        parameters.extend(query.iter().map(|member| self.parameter(member)));
        if route.route.starts_with("/api/") {
            parameters.push(reference("parameters", "Tenant"));
            parameters.push(reference("parameters", "User"));
        }
        if route.keys == Keys::Header {
            parameters.push(reference("parameters", "Key"));
        }
        if !parameters.is_empty() {
            add(&mut operation, "parameters", Node::List(parameters));
        }
        if route.is_upload {
            add(&mut operation, "requestBody", content("application/octet-stream", Node::Map(Vec::new()), true));
        } else if !takes.is_empty() {
            let is_required = takes.iter().any(|member| member.presence == Presence::Required);
            add(&mut operation, "requestBody", content("application/json", self.object(takes), is_required));
        }
        let mut responses = vec![(status.to_string(), self.answer("done", answers))];
        if !route.route.starts_with("/api/") {
            responses.push(("503".to_owned(), self.answer("the service does not work", answers)));
            return operation.with("responses", Node::Map(responses));
        }
        let common: &[(u16, &str)] = match route.keys {
            Keys::None => &[BAD_REQUEST],
            Keys::Header => &[
                BAD_REQUEST,
                (410, "the key has been undone"),
                (422, "a field cannot be used, or the key has been used for another request"),
            ],
            Keys::Items => &[BAD_REQUEST, (422, "a field cannot be used")],
        };
        let mut refusals: Vec<_> = common.iter().chain(*refuses).collect();
        refusals.sort_by_key(|(status, _)| *status);
        responses.extend(refusals.into_iter().map(|(status, why)| (status.to_string(), problem(why))));
        responses.push(("default".to_owned(), problem("the service cannot answer now")));
        operation.with("responses", Node::Map(responses))
    }

    fn answer(&self, about: &str, answers: &Shape) -> Node {
        let is_bytes = matches!(answers, Shape::Bytes);
        let media = if is_bytes { "application/octet-stream" } else { "application/json" };
        let media = Node::Map(vec![(media.to_owned(), schema_of(self.schema(answers)))]);
        Node::map([("description", about.into()), ("content", media)])
    }

    fn path_parameter(&self, name: &str) -> Node {
        let schema = match name {
            "type" => self.schema(&Shape::TypeName),
            "operation" => words(self.operation_names().into_iter()),
            _ => self.schema(&Shape::Text),
        };
        Node::map([("name", name.into()), ("in", "path".into()), ("required", true.into()), ("schema", schema)])
    }

    fn parameter(&self, member: &Member) -> Node {
        let Member { name, shape, presence: _, about } = member;
        let schema = self.schema(shape);
        Node::map([
            ("name", (*name).into()),
            ("in", "query".into()),
            ("description", (*about).into()),
            ("schema", schema),
        ])
    }

    fn object(&self, members: &[Member]) -> Node {
        let properties = members.iter().map(|member| (member.name.to_owned(), self.member(member)));
        let required = members.iter().filter(|member| member.presence != Presence::Optional);
        object(properties.collect(), required.map(|member| member.name))
    }

    fn member(&self, member: &Member) -> Node {
        let schema = self.schema(&member.shape);
        let schema = if member.presence == Presence::Required { schema } else { or_null(schema) };
        if member.about.is_empty() { schema } else { schema.with("description", member.about.into()) }
    }

    fn schema(&self, shape: &Shape) -> Node {
        match shape {
            Shape::Id => typed("string").with("pattern", "^[A-Za-z0-9._-]{1,128}$".into()),
            Shape::Text => typed("string").with("minLength", Node::Plain("1".to_owned())),
            Shape::AnyText => typed("string"),
            Shape::Words(list) => words(list.iter().copied()),
            Shape::Time => typed("string").with("format", "date-time".into()),
            Shape::Flag => typed("boolean"),
            Shape::Count => typed("integer").with("minimum", Node::Plain("0".to_owned())),
            Shape::TextMap => typed("object").with("additionalProperties", typed("string")),
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

    fn operation_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> =
            self.definition.entity_types.iter().flat_map(|entity| entity.operation_names()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn components(&self) -> Node {
        let header = |name: &str, is_required: bool, about: &str| {
            Node::map([
                ("name", name.into()),
                ("in", "header".into()),
                ("required", is_required.into()),
                ("description", about.into()),
                ("schema", self.schema(&Shape::Text)),
            ])
        };
        let parameters = Node::map([
            ("Tenant", header("X-Tenant-ID", true, "Whose data it is about.")),
            ("User", header("X-User-ID", false, "The acting user, for the logs.")),
            (
                "Key",
                header(
                    "Idempotency-Key",
                    true,
                    "At most 255 characters. The same key has one effect, and is what it is undone by.",
                ),
            ),
        ]);
        let problem = self.object(PROBLEM);
        let mut schemas = vec![("Problem".to_owned(), problem)];
        for entity in self.definition.entity_types {
            schemas.push((entity.name.to_owned(), record(entity, &[])));
            schemas.push((import_name(entity), import(entity)));
            for operation in entity.all_operations() {
                let own = Self { own: Some(entity), ..*self };
                let data = own.object(operation.takes).with("description", operation.about.into());
                schemas.push((operation_name(entity, operation), data));
            }
        }
        Node::map([("parameters", parameters), ("schemas", Node::Map(schemas))])
    }
}

fn import_name(entity: &EntityType) -> String {
    format!("{}.import", entity.name)
}

fn operation_name(entity: &EntityType, operation: &OperationOf) -> String {
    format!("{}.{}", entity.name, operation.name)
}

/// A thing as it is handed out.
fn record(entity: &EntityType, more: &[&str]) -> Node {
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
fn import(entity: &EntityType) -> Node {
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
        Kind::Id | Kind::Text | Kind::UniqueText => typed("string").with("minLength", Node::Plain("1".to_owned())),
        Kind::NullableText => or_null(typed("string")),
        Kind::OneOf(list) => words(list.iter().copied()),
        Kind::Time => typed("string").with("format", "date-time".into()),
        Kind::TextMap => typed("object").with("additionalProperties", typed("string")),
        Kind::Texts => list(typed("string")),
        Kind::Object => typed("object"),
        Kind::Flag => typed("boolean"),
        Kind::Count => typed("integer").with("minimum", Node::Plain("0".to_owned())),
    }
}

fn object<'n>(properties: Vec<(String, Node)>, required: impl Iterator<Item = &'n str>) -> Node {
    let required: Vec<_> = required.map(Node::from).collect();
    let mut object = typed("object");
    if !properties.is_empty() {
        add(&mut object, "properties", Node::Map(properties));
    }
    if !required.is_empty() {
        add(&mut object, "required", Node::List(required));
    }
    object
}

fn typed(name: &str) -> Node {
    Node::map([("type", name.into())])
}

fn list(items: Node) -> Node {
    typed("array").with("items", items)
}

fn words(list: impl Iterator<Item = &'static str>) -> Node {
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

fn reference(part: &str, name: &str) -> Node {
    Node::map([("$ref", format!("#/components/{part}/{name}").into())])
}

fn schema_of(schema: Node) -> Node {
    Node::map([("schema", schema)])
}

fn content(media: &str, schema: Node, is_required: bool) -> Node {
    let media = Node::Map(vec![(media.to_owned(), schema_of(schema))]);
    Node::map([("required", is_required.into()), ("content", media)])
}

fn problem(why: &str) -> Node {
    let schema = schema_of(reference("schemas", "Problem"));
    let media = Node::Map(vec![("application/problem+json".to_owned(), schema)]);
    Node::map([("description", why.into()), ("content", media)])
}

/// The parameters in a route's template.
fn route_parameters(route: &str) -> impl Iterator<Item = &str> {
    route.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

impl EntityType {
    /// The operations on things of this type: its own, then those of every type.
    fn all_operations(&self) -> impl Iterator<Item = &'static OperationOf> {
        self.operations.iter().chain(exchange::OPERATIONS)
    }
}

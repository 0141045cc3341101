//! The description of a service in OpenAPI 3.1, made of what its routes, types and operations say of themselves.

mod schema;

use super::doc::{Doc, Member, Presence, Shape};
use super::entity::EntityType;
use super::item::OperationOf;
use super::routes::{Described, Keys};
use super::yaml::Node;
use super::{Definition, Service, exchange};
use crate::ServiceKind;
use schema::{import, import_name, operation_name, record, reference, words};

/// What is refused by every route under `/api/v1`.
const BAD_REQUEST: (u16, &str) = (400, "a header, a parameter or the JSON cannot be used");

/// What is refused by every route that takes the number of a lease.
const FENCED: (u16, &str) =
    (409, "a call with a higher X-Fence has written things of this type; the code is Fenced, and nothing is done");

/// What a refusal answers.
const PROBLEM: &[Member] = &[
    Member::required("type", Shape::AnyText, ""),
    Member::required("title", Shape::AnyText, ""),
    Member::required("status", Shape::Count, "that of the answer"),
    Member::required("detail", Shape::AnyText, "for people"),
    Member::optional("code", Shape::AnyText, "tells it from others of the same status"),
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
            Some((_, methods)) => methods.add(route.method, operation),
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
        if route.is_fenced() {
            parameters.push(reference("parameters", "Fence"));
        }
        if route.keys == Keys::Header {
            parameters.push(reference("parameters", "Key"));
        }
        if !parameters.is_empty() {
            operation.add("parameters", Node::List(parameters));
        }
        if route.is_upload {
            operation.add("requestBody", content("application/octet-stream", Node::Map(Vec::new()), true));
        } else if !takes.is_empty() {
            let is_required = takes.iter().any(|member| member.presence == Presence::Required);
            operation.add("requestBody", content("application/json", self.object(takes), is_required));
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
        let fenced: &[(u16, &str)] = if route.is_fenced() { &[FENCED] } else { &[] };
        let mut refusals: Vec<_> = common.iter().chain(fenced).chain(*refuses).collect();
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

    fn operation_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> =
            self.definition.entity_types.iter().flat_map(|entity| entity.operation_names()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn components(&self) -> Node {
        let header = |name: &str, is_required: bool, about: &str, shape: Shape| {
            Node::map([
                ("name", name.into()),
                ("in", "header".into()),
                ("required", is_required.into()),
                ("description", about.into()),
                ("schema", self.schema(&shape)),
            ])
        };
        let parameters = Node::map([
            ("Tenant", header("X-Tenant-ID", true, "Whose data it is about.", Shape::Text)),
            ("User", header("X-User-ID", false, "The acting user, for the logs.", Shape::Text)),
            ("Fence", header("X-Fence", false, "The number of the lease under which the caller writes.", Shape::Count)),
            (
                "Key",
                header(
                    "Idempotency-Key",
                    true,
                    "At most 255 characters. The same key has one effect, and is what it is undone by.",
                    Shape::Text,
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

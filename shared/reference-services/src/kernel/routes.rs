//! The routes of a service, with what they say of themselves.

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::doc::Doc;
use super::{Mutation, Query, Service, Upload, mutation, query, upload};

/// Collects a service's routes.
pub(crate) struct Routes {
    pub(super) router: Router<Service>,
    pub(super) described: Vec<Described>,
}

/// A route's description.
pub(super) struct Described {
    /// In lower case.
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) keys: Keys,
    /// Whether its body is bytes.
    pub(super) is_upload: bool,
    pub(super) doc: &'static Doc,
}

/// Where the keys are that a request is done and undone by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Nowhere: it changes nothing.
    None,
    /// In the header.
    Header,
    /// In each item.
    Items,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self { router: Router::new(), described: Vec::new() }
    }

    /// Adds a route that changes something.
    pub(crate) fn mutation<M: Mutation>(self) -> Self {
        let described = Described::new(M::METHOD, M::ROUTE, Keys::Header, &M::DOC);
        self.add(described, on(M::METHOD, mutation::handle::<M>))
    }

    /// Adds a route that takes in bytes.
    pub(crate) fn upload<U: Upload>(self) -> Self {
        let described = Described::new(U::METHOD, U::ROUTE, Keys::Header, &U::DOC);
        self.add(Described { is_upload: true, ..described }, on(U::METHOD, upload::handle::<U>))
    }

    /// Adds a route that reads.
    pub(crate) fn query<Q: Query>(self) -> Self {
        let described = Described::new(MethodFilter::GET, Q::ROUTE, Keys::None, &Q::DOC);
        self.add(described, on(MethodFilter::GET, query::handle::<Q>))
    }

    pub(super) fn add(mut self, described: Described, handler: MethodRouter<Service>) -> Self {
        self.router = self.router.route(described.route, handler);
        self.described.push(described);
        self
    }
}

impl Described {
    pub(super) fn new(method: MethodFilter, route: &'static str, keys: Keys, doc: &'static Doc) -> Self {
        const NAMES: [(MethodFilter, &str); 3] =
            [(MethodFilter::POST, "post"), (MethodFilter::PUT, "put"), (MethodFilter::DELETE, "delete")];
        let name = NAMES.into_iter().find(|(known, _)| *known == method).map_or("get", |(_, name)| name);
        Self { method: name, route, keys, is_upload: false, doc }
    }

    /// Whether a lease may be lost before it is called: it writes for whoever changes many things.
    pub(super) fn is_fenced(&self) -> bool {
        self.keys == Keys::Items || self.is_upload
    }
}

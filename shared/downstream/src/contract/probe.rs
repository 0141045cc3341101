//! What rules ask a service with, and what they have made there.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::example::Example;
use super::request::{ACTOR, Request, Tenant};
use super::{Breach, Stop, Target};
use crate::{TransportFault, retry_after};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a service may say that it is busy, and the longest wait before it is asked again.
const MAX_ATTEMPTS: u32 = 5;
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A tenant that has none of the rules' things.
pub(super) const OTHER_TENANT: &str = "contract-check-other";

/// Asks the service, and remembers what has to be taken back.
pub(super) struct Probe {
    pub(super) target: Target,
    pub(super) example: Example,
    /// What sets the ids of this check apart from those of others.
    run: String,
    count: u32,
    /// What the service says that it holds; `null` if it does not.
    pub(super) catalogue: Value,
    /// The keys that may have done something, in order.
    pub(super) keys: Vec<String>,
    /// Types and ids of the things that may be there.
    pub(super) things: Vec<(String, String)>,
}

impl Probe {
    /// Looks whether the service is there at all.
    pub(super) async fn open(target: &Target) -> Result<Self, TransportFault> {
        let mut probe = Self {
            target: target.clone(),
            example: Example::of(target.service),
            run: format!("{:x}", target.clock.now().as_microsecond()),
            count: 0,
            catalogue: Value::Null,
            keys: Vec::new(),
            things: Vec::new(),
        };
        probe.deliver(&Request::health()).await?;
        if let Ok(answer) = probe.deliver(&Request::get("/data")).await
            && answer.status.is_success()
        {
            probe.catalogue = answer.body;
        }
        Ok(probe)
    }

    /// An id or key that nobody has used.
    pub(super) fn new_id(&mut self) -> String {
        self.count += 1;
        format!("contract-check-{}-{:03}", self.run, self.count)
    }

    /// The answer.
    pub(super) async fn send(&mut self, request: Request) -> Result<Answer, Stop> {
        self.deliver(&request).await.map_err(|fault| {
            let came = format!("no answer: the service {fault}");
            Stop::Broken(Breach { sent: request.to_string(), came, expected: "an answer".to_owned() })
        })
    }

    /// The answer, once the service is not busy any more.
    async fn deliver(&mut self, request: &Request) -> Result<Answer, TransportFault> {
        if let Some(key) = request.key.as_ref().filter(|key| !self.keys.contains(key)) {
            self.keys.push(key.clone());
        }
        let mut attempts = 1;
        loop {
            let answer = self.attempt(request).await?;
            if answer.status != StatusCode::TOO_MANY_REQUESTS || attempts == MAX_ATTEMPTS {
                self.remember_answered(request, &answer);
                return Ok(answer);
            }
            attempts += 1;
            let clock = &*self.target.clock;
            let seconds = retry_after::seconds(&answer.headers, clock.now()).unwrap_or(1);
            clock::sleep(clock, Duration::from_secs(seconds).min(MAX_PAUSE)).await;
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, TransportFault> {
        let message = self.message(request).map_err(|_| TransportFault::Unreachable)?;
        let clock = &*self.target.clock;
        let answer = clock::timeout(clock, DEADLINE, self.target.transport.send(message)).await;
        let (parts, bytes) = answer.unwrap_or(Err(TransportFault::Unanswered))?.into_parts();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Answer { sent: request.to_string(), status: parts.status, headers: parts.headers, bytes, body })
    }

    /// Notes what has been created under an id of the service's own.
    fn remember_answered(&mut self, request: &Request, answer: &Answer) {
        let id = self.example.answered_id.and_then(|field| answer.body[field].as_str());
        if let Some(id) = id.filter(|_| request.method != Method::GET && answer.status.is_success()) {
            self.remember(self.example.entity_type, id);
        }
    }

    fn message(&self, request: &Request) -> http::Result<http::Request<Bytes>> {
        let uri = format!("{}{}", self.target.base, request.path);
        let mut message = http::Request::builder().method(&request.method).uri(uri).header("x-user-id", ACTOR);
        message = match request.tenant {
            Tenant::Own => message.header("x-tenant-id", &self.target.tenant_id),
            Tenant::Other => message.header("x-tenant-id", OTHER_TENANT),
            Tenant::Unnamed => message,
        };
        if let Some(authorization) = &self.target.authorization {
            message = message.header("authorization", authorization);
        }
        if let Some(key) = &request.key {
            message = message.header("idempotency-key", key);
        }
        if let Some(fence) = request.fence {
            message = message.header("x-fence", fence);
        }
        if request.body.is_some() {
            message = message.header("content-type", request.content_type);
        }
        message.body(request.body.clone().unwrap_or_default())
    }

    /// Skips the rule unless the service holds things of the example's type.
    pub(super) fn needs_data_port(&self) -> Result<(), Stop> {
        let name = self.example.entity_type;
        let types = self.catalogue["entity_types"].as_array().into_iter().flatten();
        let is_held = types.into_iter().any(|held| held["type"] == name);
        let reason = || Stop::Skipped(format!("GET /api/v1/data lists no type '{name}'"));
        if is_held { Ok(()) } else { Err(reason()) }
    }

    /// Creates a thing by the call that is made for it.
    pub(super) async fn create(&mut self, id: &str, key: &str) -> Result<Answer, Stop> {
        self.remember(self.example.entity_type, id);
        self.send(self.creation(id).with_key(key)).await
    }

    /// The call that creates a thing.
    pub(super) fn creation(&self, id: &str) -> Request {
        let (method, path, body) = (self.example.creation)(&self.target.tenant_id, id);
        Request::new(method, path).with_body(&body)
    }

    /// Notes that there may be such a thing.
    pub(super) fn remember(&mut self, entity_type: &str, id: &str) {
        let thing = (entity_type.to_owned(), id.to_owned());
        if !self.things.contains(&thing) {
            self.things.push(thing);
        }
    }

    /// Undoes what a key did.
    pub(super) async fn undo(&mut self, key: &str) -> Result<Answer, Stop> {
        let own = format!("{}-undo", self.new_id());
        let request = Request::new(Method::DELETE, format!("/effects/{key}")).with_key(&own);
        let answer = self.send(request).await;
        // An undo is nothing that could be undone.
        self.keys.retain(|known| *known != own);
        answer
    }

    /// `import`, `delete` or `mask` of things of the example's type. Each item has an id and a key.
    pub(super) async fn change(&mut self, action: &str, common: Value, items: &[Value]) -> Result<Answer, Stop> {
        let request = self.changing(action, common, items);
        self.send(request).await
    }

    /// The request for that.
    pub(super) fn changing(&mut self, action: &str, common: Value, items: &[Value]) -> Request {
        for item in items {
            self.keys.extend(item["key"].as_str().map(str::to_owned).filter(|key| !self.keys.contains(key)));
            self.remember(self.example.entity_type, item["id"].as_str().unwrap_or_default());
        }
        let mut body = common;
        body["items"] = json!(items);
        Request::post(format!("/data/{}/{action}", self.example.entity_type), &body)
    }

    /// Makes a thing what the record says. The key.
    pub(super) async fn put(&mut self, id: &str, record: Value) -> Result<String, Stop> {
        let key = self.new_id();
        let item = json!({ "id": id, "key": key, "data": record });
        let answer = self.change("import", json!({ "on_conflict": "overwrite" }), &[item]).await;
        match answer {
            Ok(answer) if matches!(answer.body["results"][0]["status"].as_str(), Some("created" | "updated")) => {
                Ok(key)
            }
            // That it works is another rule's matter.
            _ => Err(Stop::Skipped("there is nothing to try it with, as an import has failed".to_owned())),
        }
    }

    /// A thing that is there. Its id, and the key that it was made by.
    pub(super) async fn given(&mut self) -> Result<(String, String), Stop> {
        self.needs_data_port()?;
        let id = self.new_id();
        let key = self.put(&id, (self.example.record)(&id)).await?;
        Ok((id, key))
    }

    /// The thing as pages show it.
    pub(super) async fn find(&mut self, id: &str) -> Result<Option<Value>, Stop> {
        let entity_type = self.example.entity_type;
        let found = self.find_of(entity_type, id).await;
        found.map_err(|_| Stop::Skipped("things cannot be looked at, as GET /api/v1/data/{type} fails".to_owned()))
    }

    /// The thing of this type as pages show it.
    pub(super) async fn find_of(&mut self, entity_type: &str, id: &str) -> Result<Option<Value>, Stop> {
        let answer = self.send(Request::get(format!("/data/{entity_type}?from_id={id}&limit=1"))).await?;
        Ok(answer.list("items")?.iter().find(|item| item["id"] == id).cloned())
    }
}

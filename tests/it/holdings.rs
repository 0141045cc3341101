//! Everything that the services hold of a tenant: made at random, changed at random, and read, past our own service.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use contracts::effect::sha256_hex;
use http::{Method, StatusCode};
use reference_services::ServiceKind;
use serde_json::{Map, Value, json};

use crate::interpreter::dice::Dice;
use crate::subjects::ask;
use crate::world::{Site, TENANT};

/// A type of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) kind: ServiceKind,
    pub(crate) name: &'static str,
}

const fn of(kind: ServiceKind, name: &'static str) -> Type {
    Type { kind, name }
}

const ACCOUNT: Type = of(ServiceKind::Auth, "account");
const SESSION: Type = of(ServiceKind::Auth, "session");
const PROFILE: Type = of(ServiceKind::User, "profile");
const USAGE: Type = of(ServiceKind::User, "usage");
const THE_TENANT: Type = of(ServiceKind::Tenant, "tenant");
const MEMBERSHIP: Type = of(ServiceKind::Tenant, "membership");
const PROFILE_COPY: Type = of(ServiceKind::Tenant, "profile_copy");
const WORKSPACE: Type = of(ServiceKind::File, "workspace");
const FILE: Type = of(ServiceKind::File, "file");
const NOTIFICATION: Type = of(ServiceKind::Notifications, "notification");

/// Every type: what is referred to before what refers to it.
const TYPES: [Type; 10] =
    [ACCOUNT, SESSION, PROFILE, USAGE, THE_TENANT, MEMBERSHIP, PROFILE_COPY, WORKSPACE, FILE, NOTIFICATION];

/// The bytes of files, as a type of their own.
pub(crate) const CONTENT: &str = "file_content";

/// Things by service, type and id: their data and references; of bytes, how many there are and their hash.
pub(crate) type Held = BTreeMap<(&'static str, &'static str, String), Value>;

/// All that the services hold of the tenant.
pub(crate) async fn held(site: &Site) -> Held {
    let mut held = Held::new();
    for of in TYPES {
        for (id, thing) in things(site, of).await {
            held.insert((of.kind.name(), of.name, id), thing);
        }
    }
    for id in ids(&held, FILE) {
        if let Some(bytes) = get(site, FILE.kind, &content_of(&id)).await {
            let content = json!({ "size": bytes.len(), "sha256": sha256_hex(&bytes) });
            held.insert((FILE.kind.name(), CONTENT, id), content);
        }
    }
    held
}

/// The things of a type, by id.
async fn things(site: &Site, Type { kind, name }: Type) -> BTreeMap<String, Value> {
    let (mut things, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = get(site, kind, &format!("/api/v1/data/{name}?limit=1000{cursor}")).await;
        let page: Value = serde_json::from_slice(&page.unwrap()).unwrap();
        for item in page["items"].as_array().unwrap() {
            let thing = json!({ "data": item["data"], "references": item["references"] });
            things.insert(item["id"].as_str().unwrap().to_owned(), thing);
        }
        let Some(next) = page["next_cursor"].as_str() else { return things };
        cursor = format!("&cursor={next}");
    }
}

/// Where the bytes of a file are.
fn content_of(id: &str) -> String {
    format!("/api/v1/data/file/{id}/content")
}

/// What a service answers; none if it has nothing there.
async fn get(site: &Site, kind: ServiceKind, path: &str) -> Option<Bytes> {
    let (status, body) = ask(site, kind, Method::GET, path, "", Bytes::new()).await;
    assert!([StatusCode::OK, StatusCode::NOT_FOUND].contains(&status), "{path}: {status}");
    Some(body).filter(|_| status == StatusCode::OK)
}

/// The ids of a type.
fn ids(held: &Held, of: Type) -> Vec<String> {
    held.keys().filter(|(_, name, _)| *name == of.name).map(|(_, _, id)| id.clone()).collect()
}

/// How many references lead to a thing that is not there, of a type that is.
pub(crate) fn dangling(held: &Held, services: &BTreeSet<&str>) -> usize {
    let references = held.values().flat_map(|thing| thing["references"].as_array().into_iter().flatten());
    let is_dangling = |reference: &&Value| {
        let text = |name: &str| reference[name].as_str().unwrap();
        let is_there =
            |of: &Type| of.name == text("type") && held.contains_key(&(of.kind.name(), of.name, text("id").to_owned()));
        services.contains(text("service")) && !TYPES.iter().any(is_there)
    };
    references.filter(is_dangling).count()
}

/// What things may belong to and refer to.
#[derive(Default)]
struct Owners {
    accounts: Vec<String>,
    profiles: Vec<String>,
    workspaces: Vec<String>,
}

/// Makes and changes things at random.
pub(crate) struct Maker<'a> {
    site: &'a Site,
    dice: &'a mut Dice,
    /// What makes the next id, key or address another one than all before.
    number: usize,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(site: &'a Site, dice: &'a mut Dice) -> Self {
        Self { site, dice, number: 0 }
    }

    pub(crate) fn dice(&mut self) -> &mut Dice {
        self.dice
    }

    fn next(&mut self) -> usize {
        self.number += 1;
        self.number
    }

    async fn ids(&self, of: Type) -> Vec<String> {
        things(self.site, of).await.into_keys().collect()
    }

    async fn owners(&self) -> Owners {
        Owners {
            accounts: self.ids(ACCOUNT).await,
            profiles: self.ids(PROFILE).await,
            workspaces: self.ids(WORKSPACE).await,
        }
    }

    /// Fills the tenant with at most so many things of each type; sometimes it has nothing but these.
    pub(crate) async fn populate(&mut self, most: usize) {
        if self.dice.below(2) == 0 {
            self.delete_all().await;
        }
        for of in TYPES {
            let count = self.dice.below(most + 1);
            self.add(of, count).await;
        }
    }

    /// Deletes, changes and adds things.
    pub(crate) async fn damage(&mut self) {
        match self.dice.below(8) {
            0 => self.delete_all().await,
            1 => self.delete(THE_TENANT, vec![TENANT.to_owned()]).await,
            _ => {}
        }
        for of in TYPES {
            let there = self.ids(of).await;
            let (doomed, left): (Vec<_>, Vec<_>) = there.into_iter().partition(|_| self.dice.below(6) == 0);
            if of != THE_TENANT {
                self.delete(of, doomed).await;
            }
            let changed = left.into_iter().filter(|_| self.dice.below(4) == 0).collect();
            self.change(of, changed).await;
            let more = self.dice.below(5);
            self.add(of, more).await;
        }
    }

    /// One small change.
    pub(crate) async fn touch(&mut self) {
        let of = *self.dice.one_of(&TYPES);
        let there = self.ids(of).await;
        let any = there.get(self.dice.below(there.len().max(1))).cloned();
        match (self.dice.below(3), any) {
            (0, _) | (_, None) => self.add(of, 1).await,
            (1, Some(id)) if of != THE_TENANT => self.delete(of, vec![id]).await,
            (_, Some(id)) => self.change(of, vec![id]).await,
        }
    }

    /// Somebody new gets the address of an account that `held` has, if nobody else has it any more.
    pub(crate) async fn take_an_address(&mut self, held: &Held) {
        let accounts = ids(held, ACCOUNT);
        let Some(id) = accounts.get(self.dice.below(accounts.len().max(1))) else { return };
        let of_old = &held[&(ACCOUNT.kind.name(), ACCOUNT.name, id.clone())];
        let mut thief = self.record(ACCOUNT, "thief", &Owners::default()).unwrap();
        thief["email"] = of_old["data"]["email"].clone();
        self.delete(ACCOUNT, vec![id.clone()]).await;
        self.import(ACCOUNT, vec![thief]).await;
    }

    async fn delete_all(&mut self) {
        for of in TYPES.into_iter().rev() {
            let ids = self.ids(of).await;
            self.delete(of, ids).await;
        }
    }

    async fn delete(&mut self, of: Type, ids: Vec<String>) {
        let items = ids.into_iter().map(|id| json!({ "id": id, "key": format!("delete-{}", self.next()) }));
        let items = items.collect();
        self.each(of, "delete", items, json!({})).await;
    }

    async fn add(&mut self, of: Type, count: usize) {
        let owners = self.owners().await;
        let ids: Vec<String> = match of {
            THE_TENANT => vec![TENANT.to_owned()],
            of => (0..count).map(|_| self.id(of, &owners)).collect(),
        };
        let records: Vec<Value> = ids.iter().filter_map(|id| self.record(of, id, &owners)).collect();
        self.import(of, records).await;
        if of == FILE {
            self.give_bytes(ids).await;
        }
    }

    /// Changes things that are there: some of their fields, of files their bytes.
    async fn change(&mut self, of: Type, changed: Vec<String>) {
        let (there, owners) = (things(self.site, of).await, self.owners().await);
        let (mut records, mut rewritten) = (Vec::new(), Vec::new());
        for id in changed {
            let mut record = there[&id]["data"].clone();
            let Some(Value::Object(other)) = self.record(of, &id, &owners) else { continue };
            for (name, value) in other {
                // What is said of bytes stays true.
                if !["size_bytes", "sha256"].contains(&name.as_str()) && self.dice.below(2) == 0 {
                    record[name] = value;
                }
            }
            records.push(record);
            if of == FILE && self.dice.below(2) == 0 {
                rewritten.push(id);
            }
        }
        self.import(of, records).await;
        self.give_bytes(rewritten).await;
    }

    async fn import(&mut self, of: Type, records: Vec<Value>) {
        let id_field = match of {
            MEMBERSHIP | ACCOUNT => "user_id".to_owned(),
            PROFILE_COPY => "profile_id".to_owned(),
            of => format!("{}_id", of.name),
        };
        let item = |record: Value| json!({ "id": record[&id_field], "key": format!("import-{}", self.next()), "data": record });
        let items = records.into_iter().map(item).collect();
        self.each(of, "import", items, json!({ "on_conflict": "overwrite" })).await;
    }

    /// Does something to many things. What is not possible beside the others does not happen.
    async fn each(&mut self, of: Type, what: &str, items: Vec<Value>, mut body: Value) {
        for items in items.chunks(100) {
            body["items"] = items.into();
            let path = format!("/api/v1/data/{}/{what}", of.name);
            let (status, answer) = ask(self.site, of.kind, Method::POST, &path, "", body.to_string().into()).await;
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(status, StatusCode::OK, "{path}: {answer}");
            let is_fine = |code: &Value| code.is_null() || ["Conflict", "NotFound"].iter().any(|fine| code == *fine);
            let results = answer["results"].as_array().unwrap();
            assert!(results.iter().all(|result| is_fine(&result["code"])), "{path}: {answer}");
        }
    }

    /// Files get other bytes; one that is not there stays away.
    async fn give_bytes(&mut self, files: Vec<String>) {
        for id in files {
            const PIECE: usize = 192 * 1024;
            let size = match self.dice.below(24) {
                0..4 => continue,
                4..8 => 0,
                8 => PIECE - 1 + self.dice.below(3),
                9 => self.dice.below(3 * PIECE),
                10 => self.dice.below(100_000),
                _ => self.dice.below(2_000),
            };
            let mut bytes = Vec::with_capacity(size + 8);
            while bytes.len() < size {
                bytes.extend(self.dice.below(usize::MAX).to_le_bytes());
            }
            bytes.truncate(size);
            let (path, key) = (content_of(&id), format!("bytes-{}", self.next()));
            let (status, _) = ask(self.site, ServiceKind::File, Method::PUT, &path, &key, bytes.into()).await;
            assert!([StatusCode::OK, StatusCode::NOT_FOUND].contains(&status), "{path}: {status}");
        }
    }

    /// A new id. Some things have the id of what they belong to.
    fn id(&mut self, of: Type, owners: &Owners) -> String {
        let owners: &[String] = match of {
            MEMBERSHIP => &owners.accounts,
            PROFILE_COPY => &owners.profiles,
            _ => &[],
        };
        if !owners.is_empty() && self.dice.below(4) > 0 {
            return self.dice.one_of(owners).clone();
        }
        let number = self.next();
        let padding = if self.dice.below(10) == 0 { "x".repeat(100) } else { String::new() };
        let prefix = *self.dice.one_of(&["", "A", "a", "-", "_", ".", "..", "Z9", "~"]);
        format!("{}{number}{padding}", prefix.replace('~', "z"))
    }

    /// Something that refers to one of these, or to nothing that there is.
    fn reference(&mut self, there: &[String]) -> String {
        if there.is_empty() || self.dice.below(6) == 0 {
            return format!("nobody-{}", self.next());
        }
        self.dice.one_of(there).clone()
    }

    /// A record of this type and id; none if there is nothing that it can belong to.
    fn record(&mut self, of: Type, id: &str, owners: &Owners) -> Option<Value> {
        let owner = self.reference(&owners.accounts);
        let [name, role, at] = [self.text(), self.text(), self.text()];
        Some(match of {
            ACCOUNT => json!({
                "user_id": id, "email": format!("{}{}@ex\u{e4}mple.com", self.text(), self.next()), "name": name,
                "role": role, "status": self.dice.one_of(&["active", "deactivated"]), "created_at": at,
            }),
            // One without an account would go with the next account of its user.
            SESSION if owners.accounts.contains(&owner) => json!({
                "session_id": id, "user_id": owner, "session_data": self.text_map(),
                "active": self.dice.below(2) == 0, "created_at": at, "revoked_at": self.nullable(),
            }),
            SESSION => return None,
            PROFILE => json!({
                // A user has one profile.
                "profile_id": id, "user_id": format!("holder-{}", self.next()), "profile_data": self.text_map(),
                "preferences": self.text_map(), "status": self.dice.one_of(&["active", "deactivated"]),
                "created_at": at,
            }),
            USAGE => json!({
                "usage_id": id, "user_id": owner, "day": format!("{}{}", self.text(), self.next()),
                "actions": self.count(),
            }),
            THE_TENANT => json!({
                "tenant_id": id, "tenant_name": name, "subscription_tier": role, "features": self.texts(),
                "quotas": self.object(3), "settings": self.object(3),
                "status": self.dice.one_of(&["active", "suspended"]), "created_at": at,
            }),
            MEMBERSHIP => json!({
                "user_id": id, "role": role, "permissions": self.texts(), "active": self.dice.below(2) == 0,
            }),
            PROFILE_COPY => json!({
                "profile_id": id, "user_id": owner, "name": self.nullable(), "email": self.nullable(),
            }),
            WORKSPACE => json!({
                "workspace_id": id, "user_id": owner, "workspace_config": self.text_map(), "created_at": at,
            }),
            FILE => json!({
                "file_id": id, "workspace_id": self.reference(&owners.workspaces), "user_id": owner, "name": name,
                "content_type": "text/plain", "size_bytes": 0, "created_at": at,
                // Wanted of some: the service keeps it true from then on.
                "sha256": (self.dice.below(3) == 0).then(|| sha256_hex(b"")),
            }),
            _ => json!({
                "notification_id": id, "notification_type": role, "recipient": name, "message": self.text(),
                "metadata": self.text_map(), "delivery_status": "queued", "subject_id": self.nullable(),
                "sent_at": at,
            }),
        })
    }

    /// A text that is not blank.
    fn text(&mut self) -> String {
        const PARTS: [&str; 16] = [
            "a",
            "Z",
            "0",
            " ",
            "\"",
            "\\",
            "\n",
            "\t",
            "\u{1}",
            "e\u{301}",
            "\u{e9}",
            "\u{5d0}",
            "\u{1f600}",
            "\u{2028}",
            "{}",
            "</",
        ];
        let length = if self.dice.below(40) == 0 { 4_000 } else { 1 + self.dice.below(12) };
        let text: String = (0..length).map(|_| *self.dice.one_of(&PARTS)).collect();
        if text.trim().is_empty() { "t".to_owned() } else { text }
    }

    fn maybe_empty(&mut self) -> String {
        if self.dice.below(4) == 0 { String::new() } else { self.text() }
    }

    fn nullable(&mut self) -> Option<String> {
        (self.dice.below(3) > 0).then(|| self.maybe_empty())
    }

    fn texts(&mut self) -> Vec<String> {
        (0..self.dice.below(4)).map(|_| self.maybe_empty()).collect()
    }

    fn text_map(&mut self) -> Map<String, Value> {
        (0..self.dice.below(4)).map(|_| (self.maybe_empty(), self.maybe_empty().into())).collect()
    }

    fn count(&mut self) -> i64 {
        let any = i64::try_from(self.dice.below(1 << 62)).unwrap();
        *self.dice.one_of(&[0, 1, any, i64::MAX])
    }

    fn object(&mut self, depth: usize) -> Map<String, Value> {
        (0..self.dice.below(4)).map(|_| (self.maybe_empty(), self.value(depth))).collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.dice.below(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => (self.dice.below(2) == 0).into(),
            2 => self.count().into(),
            3 => u64::MAX.into(),
            4 => self.fraction().into(),
            5 => self.maybe_empty().into(),
            6 => (0..self.dice.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => self.object(depth - 1).into(),
        }
    }

    /// A number that is not whole, of any size.
    fn fraction(&mut self) -> f64 {
        let any = f64::from_bits(self.dice.below(usize::MAX) as u64);
        if any.is_finite() { any } else { 0.1 }
    }
}

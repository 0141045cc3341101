//! Whether a tenant neither sees nor changes what another one has.

use http::Method;
use serde_json::json;

use super::probe::Probe;
use super::request::{Request, Tenant};
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "isolation.pages",
        proves: "the pages of a tenant show nothing of another one",
        change: "read with the tenant of X-Tenant-ID in every condition, or refuse a tenant that the caller may not \
                 name",
        run: |probe| Box::pin(pages(probe)),
    },
    Rule {
        name: "isolation.changes",
        proves: "a tenant cannot delete what another one has",
        change: "look for what is to be changed by tenant and id, and answer as if it were not there",
        run: |probe| Box::pin(changes(probe)),
    },
    Rule {
        name: "isolation.undo",
        proves: "a tenant cannot undo what another one did",
        change: "keep keys by tenant: the same key of another tenant is another key",
        run: |probe| Box::pin(undo(probe)),
    },
];

async fn pages(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let path = format!("/data/{}?from_id={id}&limit=1", probe.example.entity_type);
    let answer = probe.send(Request::get(path).of(Tenant::Other)).await?;
    if answer.status.is_client_error() {
        return Ok(());
    }
    let items = answer.list("items")?;
    answer.require(items.iter().all(|item| item["id"] != id.as_str()), "no thing of another tenant")
}

async fn changes(probe: &mut Probe) -> Result<(), Stop> {
    let (id, _) = probe.given().await?;
    let body = json!({ "items": [{ "id": id, "key": probe.new_id() }] });
    let path = format!("/data/{}/delete", probe.example.entity_type);
    let answer = probe.send(Request::post(path, &body).of(Tenant::Other)).await?;
    answer.require(probe.find(&id).await?.is_some(), "that the thing is still there")?;
    let is_refused = !answer.status.is_success() || answer.body["results"][0]["status"] == "failed";
    answer.require(is_refused, "a refusal, or the result 'failed'")
}

async fn undo(probe: &mut Probe) -> Result<(), Stop> {
    let (id, key) = probe.given().await?;
    let own = probe.new_id();
    let request = Request::new(Method::DELETE, format!("/effects/{key}")).with_key(&own).of(Tenant::Other);
    let answer = probe.send(request).await?;
    probe.keys.retain(|known| *known != own);
    answer.require(probe.find(&id).await?.is_some(), "that the thing is still there")?;
    let is_refused = !answer.status.is_success() || answer.body["undone"] == false;
    answer.require(is_refused, "a refusal, or 'undone' false")
}

//! Whether the service says how it is.

use super::probe::Probe;
use super::request::Request;
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "health.answers",
    proves: "GET /health answers with success while the service works, to everybody",
    change: "answer GET /health with 200 and {\"status\": \"healthy\"}, without asking for a tenant or a key",
    run: |probe| Box::pin(answers(probe)),
}];

async fn answers(probe: &mut Probe) -> Result<(), Stop> {
    probe.send(Request::health()).await?.done().map(drop)
}

//! Whether the service creates what it is asked for, under the id that the caller has chosen.

use super::probe::Probe;
use super::{Rule, Stop};
use crate::Service;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "creation.keeps-the-chosen-id",
        proves: "a new thing has the id that the caller chose, and is there",
        change: "use the id of the request and answer with it: a workflow whose step is repeated must meet the same \
                 thing again",
        run: |probe| Box::pin(keeps_the_chosen_id(probe)),
    },
    Rule {
        name: "creation.refuses-a-second",
        proves: "a thing is not created again by another key",
        change: "answer 409 if the id (or what else is unique, as an address) is taken, and leave what is there as \
                 it is",
        run: |probe| Box::pin(refuses_a_second(probe)),
    },
];

async fn keeps_the_chosen_id(probe: &mut Probe) -> Result<(), Stop> {
    if probe.target.service == Service::Notifications {
        return Err(Stop::Skipped("the ids of notifications are the service's own".to_owned()));
    }
    let (id, key) = (probe.new_id(), probe.new_id());
    let answer = probe.create(&id, &key).await?;
    answer.done()?;
    if let Some(field) = probe.example.answered_id {
        answer.require(answer.body[field] == id.as_str(), format!("the id of the request as '{field}'"))?;
    }
    probe.needs_data_port()?;
    let is_there = probe.find(&id).await?.is_some();
    answer.require(is_there, "that the new thing is among the items of GET /api/v1/data/{type}")
}

async fn refuses_a_second(probe: &mut Probe) -> Result<(), Stop> {
    if !probe.example.refuses_second {
        return Err(Stop::Skipped("the call that creates things of this type may be made again".to_owned()));
    }
    let (id, first, second) = (probe.new_id(), probe.new_id(), probe.new_id());
    probe.create(&id, &first).await?.done()?;
    probe.create(&id, &second).await?.refused(409)
}

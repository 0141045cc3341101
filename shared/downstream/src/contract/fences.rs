//! Whether somebody who has lost a lease is kept from writing. That is a recommendation: a service that does not compare the
//! numbers breaks no promise.

use http::StatusCode;
use serde_json::json;

use super::answer::Answer;
use super::probe::Probe;
use super::{Rule, Stop};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "fences.refuse-late-writes",
    proves: "a write with a lower X-Fence than an earlier one is refused, and one without is not",
    change: "answer 409 with the code Fenced and do nothing if a write of the same tenant and type has come with a higher \
             X-Fence; a write without the header is not compared",
    run: |probe| Box::pin(refuse_late_writes(probe)),
}];

/// Numbers that no lease has: whoever works in the tenant meanwhile has higher ones.
const LATER: u64 = 2;
const EARLIER: u64 = 1;

async fn refuse_late_writes(probe: &mut Probe) -> Result<(), Stop> {
    probe.needs_data_port()?;
    let mut answer = write(probe, Some(LATER)).await?;
    // A lease has been seen before, whose number is higher.
    if answer.status.is_success() {
        answer = write(probe, Some(EARLIER)).await?;
    }
    if answer.status != StatusCode::CONFLICT {
        let reason = "the service does not compare X-Fence, which is recommended: an attempt that has lost its lease may \
                      still write";
        return Err(Stop::Skipped(reason.to_owned()));
    }
    answer.require(answer.body["code"] == "Fenced", "the code Fenced")?;
    write(probe, None).await?.results(1).map(drop)
}

/// Takes in a new thing under the number of a lease.
async fn write(probe: &mut Probe, fence: Option<u64>) -> Result<Answer, Stop> {
    let (id, key) = (probe.new_id(), probe.new_id());
    let item = json!({ "id": id, "key": key, "data": (probe.example.record)(&id) });
    let request = probe.changing("import", json!({}), &[item]);
    let request = if let Some(fence) = fence { request.with_fence(fence) } else { request };
    probe.send(request).await
}

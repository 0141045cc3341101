//! Whether a worker beside the deployment on AWS has credentials.

use std::time::Duration;

use clock::Clock;
use settings::Settings;

use super::Finding;

const CHECK: &str = "aws";

/// How long a role's credentials may take: outside of AWS nobody answers at all.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn examine(settings: &Settings, clock: &dyn Clock) -> Finding {
    let advice = "set AWS_REGION and credentials of a role that may use the table, the bucket and the functions";
    match clock::timeout(clock, TIMEOUT, crate::aws::clients(settings.has_own_roots)).await {
        Some(Ok(_)) => Finding::ok(CHECK, "there are a region and credentials"),
        Some(Err(error)) => Finding::problem(CHECK, format!("{error:#}"), advice),
        None => Finding::problem(CHECK, format!("no credentials within {TIMEOUT:?}"), advice),
    }
}

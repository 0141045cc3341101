//! What is done about backups without anybody asking: they are made, and removed when their time is up.

use std::time::Duration;

use contracts::Timestamp;
use contracts::backup::{BackupRequest, BackupSchedule};
use contracts::services::SERVICES;
use serde_json::json;
use store::{Backups, Removed, StoreError, remove_due_backups};

use crate::access::Caller;
use crate::{Problem, Starting, start, start_backup};

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptHouse {
    /// Tenants whose backup of the present period is begun, now or before.
    pub begun: usize,
    /// Tenants whose backup could not be begun, which was logged: the next call tries again.
    pub not_begun: usize,
    /// Backups that were removed, and those that are due and are still there.
    pub removed: Removed,
}

/// Begins the backups of the present period that are not begun yet, and removes those whose time is up. May be called as often
/// as one likes, by several processes too.
///
/// # Errors
/// It is not known which backups are due.
pub async fn keep_backups(
    starting: &Starting,
    backups: &dyn Backups,
    schedule: Option<&BackupSchedule>,
) -> Result<KeptHouse, StoreError> {
    let now = starting.api.clock.now();
    let mut kept = KeptHouse::default();
    for tenant_id in schedule.iter().flat_map(|schedule| &schedule.tenants) {
        let Some(schedule) = schedule else { break };
        match begin(starting, schedule, tenant_id, now).await {
            Ok(()) => kept.begun += 1,
            Err(problem) => {
                kept.not_begun += 1;
                tracing::error!(tenant_id, problem = problem.detail(), "a scheduled backup is not begun");
            }
        }
    }
    kept.removed = remove_due_backups(backups, &*starting.blobs, now).await?;
    Ok(kept)
}

async fn begin(starting: &Starting, schedule: &BackupSchedule, tenant_id: &str, now: Timestamp) -> Result<(), Problem> {
    let request = BackupRequest {
        backup_id: backup_id(schedule.every, now),
        tenant_id: tenant_id.to_owned(),
        services: SERVICES.map(str::to_owned).to_vec(),
        keep_days: schedule.keep_days,
        keep_count: schedule.keep_count,
    };
    // The period makes it the same backup, also where the schedule says since then that it is to be kept longer.
    let of_period = json!({ "backup_id": request.backup_id });
    let key = start::key_of_own_id(start_backup::PATH, "backup_id", &request.backup_id, &of_period);
    start::begin(starting, &request, Caller::schedule(tenant_id), Some(key)).await.map(drop)
}

/// What the backup of a period is called: by the begin of the period.
fn backup_id(every: Duration, now: Timestamp) -> String {
    let every = i64::try_from(every.as_secs()).unwrap_or(i64::MAX).max(1);
    let begin = now.as_second().div_euclid(every) * every;
    let begin = Timestamp::from_second(begin).unwrap_or(now);
    format!("scheduled-{}", begin.strftime("%Y%m%dT%H%M%SZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_one_name() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let at = |text: &str| text.parse::<Timestamp>().expect("a moment");
        for (every, now, expected) in [
            (hours(24), "2026-11-29T00:00:00Z", "scheduled-20261129T000000Z"),
            (hours(24), "2026-11-29T23:59:59Z", "scheduled-20261129T000000Z"),
            (hours(6), "2026-11-29T18:30:00Z", "scheduled-20261129T180000Z"),
            (hours(1), "1969-12-31T23:30:00Z", "scheduled-19691231T230000Z"),
        ] {
            assert_eq!(backup_id(every, at(now)), expected, "{now}");
        }
    }
}

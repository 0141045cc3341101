//! `kill -9` at any moment, hundreds of times: nothing acknowledged is lost, nothing happens twice, nothing is left
//! behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use reference_services::{Fault, FaultRule, ServiceKind};

use crate::dice::Dice;
use crate::invariants::one_effect;
use crate::process::{Site, pause};
use crate::world::TENANT;

/// How often, unless `CRASH_KILLS` says otherwise.
const KILLS: usize = 500;
/// Its workspaces are always refused, so that its executions are compensated.
const REFUSED_TENANT: &str = "tenant-456";

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_and_double_nothing() {
    let seed = 20_260_101;
    let kills = kills();
    println!("seed {seed}, {kills} kills");
    let mut dice = Dice(seed);
    let site = Site::new().await;
    let refuse = FaultRule {
        method: None,
        route: Some("/api/v1/workspaces".to_owned()),
        tenant: Some(REFUSED_TENANT.to_owned()),
        times: None,
        skip: 0,
        fault: Fault::Status { status: 400, retry_after_seconds: None },
    };
    site.services.set_faults(ServiceKind::File, vec![refuse]);
    let before = site.services.snapshot(Some(REFUSED_TENANT)).await.unwrap();
    let members_before = members(&site).await;

    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    let mut unanswered: Vec<(String, String)> = Vec::new();
    for kill in 0..kills {
        let mut server = site.spawn(None);
        // Some are killed while they are still starting.
        if dice.below(10) == 0 {
            pause(Duration::from_millis(dice.below(30) as u64)).await;
        } else {
            site.until_up(&mut server).await;
            let mut starts = std::mem::take(&mut unanswered);
            for (tenant, name) in [(TENANT, "good"), (REFUSED_TENANT, "refused")] {
                starts.push((tenant.to_owned(), format!("{name}-{kill}@example.com")));
            }
            let requests = join_all(starts.iter().map(|(tenant, email)| site.start(tenant, email)));
            let kill_after = Duration::from_millis(dice.below(120) as u64);
            let answers = clock::timeout(&clock::SystemClock, kill_after, requests).await;
            let answers = answers.unwrap_or_else(|| vec![None; starts.len()]);
            for ((tenant, email), answer) in starts.into_iter().zip(answers) {
                match answer {
                    Some(id) => {
                        let earlier = acknowledged.insert(email.clone(), id.clone());
                        assert!(earlier.is_none_or(|earlier| earlier == id), "{email} was started twice");
                    }
                    None => unanswered.push((tenant, email)),
                }
            }
            pause(Duration::from_millis(dice.below(60) as u64)).await;
        }
        server.kill().await.unwrap();
    }

    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    for (tenant, email) in &unanswered {
        let id = site.start(tenant, email).await.expect("the server is up");
        acknowledged.insert(email.clone(), id);
    }
    let good = site.until_all_ended(TENANT).await;
    let refused = site.until_all_ended(REFUSED_TENANT).await;

    let stored: BTreeSet<&String> = good.iter().chain(&refused).map(|(id, _)| id).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|(_, id)| !stored.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!(stored.len(), acknowledged.len(), "one execution per key");
    let not = |rows: &[(String, String)], wanted: &str| {
        rows.iter().filter(|(_, status)| status != wanted).cloned().collect::<Vec<_>>()
    };
    assert_eq!(not(&good, "Completed"), []);
    assert_eq!(not(&refused, "Failed"), []);
    one_effect(&site.services.ledger().await.unwrap()).unwrap();
    assert_eq!(site.services.snapshot(Some(REFUSED_TENANT)).await.unwrap(), before, "something was left behind");
    assert_eq!(members(&site).await, members_before + good.len(), "a member for each completed onboarding");
    println!("{kills} kills, {} executions, 0 lost, 0 doubled", stored.len());
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn kills() -> usize {
    std::env::var("CRASH_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

async fn members(site: &Site) -> usize {
    let snapshot = site.services.snapshot(Some(TENANT)).await.unwrap();
    snapshot["tenant"]["memberships"].as_array().unwrap().len()
}

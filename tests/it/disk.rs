//! A disk that takes no more, or files that are taken away: the process stops acknowledging, says why, and loses nothing.

use std::time::Duration;

use crate::process::{Site, pause};
use crate::world::TENANT;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_error_stops_the_process_and_loses_nothing() {
    let site = Site::new().await;
    // No file may grow beyond 1,000 KiB; without the trap the kernel would kill instead of refusing the write.
    let mut server = site.spawn(Some("trap '' XFSZ; ulimit -f 1000; exec \"$@\""));
    site.until_up(&mut server).await;
    let mut acknowledged = Vec::new();
    for number in 0..2_000 {
        match site.start(TENANT, &format!("disk-{number}@example.com")).await {
            Some(id) => acknowledged.push(id),
            None => break,
        }
    }
    assert!((1..2_000).contains(&acknowledged.len()), "{} starts", acknowledged.len());
    let mut ended = None;
    for _ in 0..200 {
        ended = server.try_wait().unwrap();
        if ended.is_some() {
            break;
        }
        pause(Duration::from_millis(50)).await;
    }
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "the process ends by itself");
    let said = site.stderr();
    assert!(said.contains("writing failed"), "it says why: {said}");

    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let all = site.until_all_ended(TENANT).await;
    for id in &acknowledged {
        let found = all.iter().find(|(stored, _)| stored == id);
        assert_eq!(found.map(|(_, status)| status.as_str()), Some("Completed"), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_is_moved_stops_the_process_and_nothing_acknowledged_is_lost() {
    let site = Site::new().await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let acknowledged = site.start(TENANT, "before@example.com").await.unwrap();
    let elsewhere = site.data_dir().with_extension("elsewhere");
    std::fs::rename(site.data_dir(), &elsewhere).unwrap();
    assert_eq!(site.start(TENANT, "after@example.com").await, None, "a restart would not find it");
    let ended = clock::timeout(&clock::SystemClock, Duration::from_secs(20), server.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(1), "the process ends by itself");
    let said = std::fs::read_to_string(elsewhere.join("stderr.log")).unwrap();
    assert!(said.contains("was deleted or moved while it was in use"), "it says why: {said}");

    std::fs::rename(&elsewhere, site.data_dir()).unwrap();
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let all = site.until_all_ended(TENANT).await;
    assert!(all.contains(&(acknowledged, "Completed".to_owned())), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_data_refuses_to_start() {
    let site = Site::new().await;
    let mut first = site.spawn(None);
    site.until_up(&mut first).await;
    // Another port, the same data.
    let second = site.spawn(Some("export WORKFLOW__SERVER__PORT=$((WORKFLOW__SERVER__PORT + 1)); exec \"$@\""));
    let output = second.wait_with_output().await.unwrap();
    assert!(!output.status.success());
    let said = site.stderr();
    assert!(said.contains("in use by another"), "{said}");
    assert!(site.data_dir().join("lock").exists());
}

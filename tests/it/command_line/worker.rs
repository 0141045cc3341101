//! `workflow-service worker` says that it works once it does.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::command;
use crate::peers;
use crate::process::pause;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_says_that_it_works_once_the_server_has_let_it_in() {
    let Some(mut temporal) = peers::OwnTemporal::start() else { return };
    temporal.stop();
    let directory = tempfile::tempdir().unwrap();
    // One that it creates, so that it has nothing to say about the rights of others.
    let data_dir = directory.path().join("data");
    let mut worker = command(&["worker", "--data-dir", data_dir.to_str().unwrap()]).await;
    worker.env("WORKFLOW__ENGINE__KIND", "temporal").env("WORKFLOW__TEMPORAL__SERVER_URL", temporal.address());
    let mut worker = worker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(worker.stdout.take().unwrap()).lines();
    let mut complaints = BufReader::new(worker.stderr.take().unwrap()).lines();
    let complaint = complaints.next_line().await.unwrap().unwrap();
    assert!(complaint.ends_with("trying again in 5s"), "{complaint}");
    let early = clock::timeout(&clock::SystemClock, Duration::from_millis(500), said.next_line()).await;
    assert!(early.is_none(), "{early:?}");
    temporal.start_again();
    let line = said.next_line().await.unwrap().unwrap();
    assert_eq!(
        line,
        format!("works for {} in the namespace default, task queue workflow-service-queue", temporal.address())
    );
    pause(Duration::from_millis(200)).await;
    worker.kill().await.unwrap();
    assert_eq!(said.next_line().await.unwrap(), None, "it says so once");
}

//! Every engine passes the suite of its port.

use std::sync::Arc;

use clock::{SharedClock, VirtualClock};
use engine::conformance::Subject;
use engine_embedded::{EmbeddedEngine, Limits};
use store_sql::{Durability, FileBlobs, SqlStore};

use crate::world::run;

#[test]
fn the_embedded_engine() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let made = std::cell::Cell::new(0);
        engine::conformance::run(async |runner, definition| {
            made.set(made.get() + 1);
            let file = directory.path().join(format!("{}.db", made.get()));
            let store = Arc::new(SqlStore::open(&file, Durability::Process).await.unwrap());
            let clock: SharedClock = Arc::new(VirtualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
            let engine = EmbeddedEngine::new(
                store.clone(),
                Arc::new(FileBlobs::open(&directory.path().join("blobs")).await.unwrap()),
                runner,
                Arc::clone(&clock),
                Limits::default(),
                Arc::new(move |_| Some(definition.clone())),
            );
            Subject { orchestrator: Arc::new(engine), executions: store.clone(), history: store, clock }
        })
        .await;
    });
}

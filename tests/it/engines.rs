//! Every engine passes the suite of its port.

use std::sync::Arc;

use clock::{SharedClock, SystemClock, VirtualClock};
use contracts::WorkflowKind;
use engine::conformance::Subject;
use engine_embedded::{EmbeddedEngine, Limits};
use engine_stepfunctions::StepFunctions;
use store_sql::{Durability, FileBlobs, SqlStore};

use crate::aws::{self, Given, Options};
use crate::world::run;

#[test]
fn the_embedded_engine() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let made = std::cell::Cell::new(0);
        engine::conformance::run(async |runner, definition| {
            made.set(made.get() + 1);
            let file = directory.path().join(format!("{}.db", made.get()));
            let clock: SharedClock = Arc::new(VirtualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
            let store = Arc::new(SqlStore::open(&file, Durability::Process, Arc::clone(&clock)).await.unwrap());
            let engine = EmbeddedEngine::new(
                store.clone(),
                Arc::new(FileBlobs::open(&directory.path().join("blobs")).await.unwrap()),
                runner,
                Arc::clone(&clock),
                Limits::default(),
                Arc::new(move |_| Some(definition.clone())),
            );
            Subject { engine: Arc::new(engine), executions: store.clone(), history: store, clock }
        })
        .await;
    });
}

#[test]
fn step_functions() {
    aws::run(|aws| async move {
        let stacks = std::cell::RefCell::new(Vec::new());
        engine::conformance::run(async |activities, definition| {
            let given = Some(Given { definition, activities });
            let stack = aws.stack(Options { given, ..Options::default() }).await;
            let machines = [(WorkflowKind::UserOnboarding, stack.machine_arn.clone())].into();
            let client = aws.sfn.clone();
            let (executions, history) = (Arc::new(stack.store.clone()), Arc::new(stack.store.clone()));
            stacks.borrow_mut().push(stack);
            Subject {
                engine: Arc::new(StepFunctions::new(|| client, machines)),
                executions,
                history,
                clock: Arc::new(SystemClock),
            }
        })
        .await;
    });
}

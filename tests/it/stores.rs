//! Every store passes the suite of its ports.

use std::sync::Arc;

use clock::{SharedClock, VirtualClock};
use store::conformance;
use store_aws::DynamoStore;

use crate::peers;
use crate::world::run;

#[test]
fn the_dynamodb_store() {
    let Some(endpoint) = peers::dynamodb() else { return };
    run(async {
        let client = peers::dynamodb_client(endpoint);
        let time = std::sync::Mutex::new(None::<SharedClock>);
        let made = std::cell::Cell::new(0);
        let open = async || {
            made.set(made.get() + 1);
            let table = format!("stores-{}", made.get());
            store_aws::create_table(&client, &table).await.unwrap();
            let clock: SharedClock = Arc::new(VirtualClock::new(conformance::epoch()));
            *time.lock().unwrap() = Some(Arc::clone(&clock));
            {
                let client = client.clone();
                DynamoStore::new(|| client, table, clock)
            }
        };
        conformance::step_store(open, |at| {
            let clock = time.lock().unwrap().clone().unwrap();
            async move { clock::sleep_until(&*clock, at).await }
        })
        .await;
    });
}

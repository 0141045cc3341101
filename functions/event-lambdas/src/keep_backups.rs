//! Every hour: backups that are due by the schedule are begun, and those whose time is up are removed.

use api::{KeptHouse, Starting, keep_backups};
use contracts::backup::BackupSchedule;
use endpoint_lambdas::StartingSettings;
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use store_aws::DynamoStore;

use crate::{Error, run};

/// Serves the schedule.
pub async fn serve() -> Result<(), Error> {
    aws_clients::log();
    let (settings, schedule) =
        settings::of_function(|settings| (StartingSettings::read(settings), settings.backup_schedule()))?;
    let (starting, store) = settings.open();
    run(async |_: LambdaEvent<Value>| handle(&starting, &store, schedule.as_ref()).await).await
}

async fn handle(starting: &Starting, store: &DynamoStore, schedule: Option<&BackupSchedule>) -> Result<Value, Error> {
    let KeptHouse { begun, not_begun, removed } = keep_backups(starting, store, schedule).await?;
    tracing::info!(begun, not_begun, removed = removed.backups, left = removed.left, "backups");
    match not_begun {
        0 => Ok(json!({ "begun": begun, "removed": removed.backups, "left": removed.left })),
        // For the alarm on the function's errors; why is in the log.
        _ => Err(format!("the backups of {not_begun} tenants were not begun, those of {begun} were").into()),
    }
}

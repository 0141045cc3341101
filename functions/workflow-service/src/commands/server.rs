//! `workflow-service server`

use std::process::ExitCode;

use workflow_service::{App, Settings, Surroundings};

use super::output::announce;
use super::serve::{listen_to_api, temporal_hint, until_stopped};

pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let listener = listen_to_api(&settings).await?;
    let app = App::open(&settings, Surroundings::real()?).await?;
    announce(format!("workflow-service listens on http://{}", listener.local_addr()?));
    announce(format!("data in {}, {} workflows resumed", settings.data_dir.display(), app.recovered));
    if let api::Access::Closed(reason) = &settings.access {
        announce(format!("every request but /health and /ready is answered 401: {reason}"));
    }
    let how =
        "set engine.kind = \"temporal\" (WORKFLOW__ENGINE__KIND=temporal) and start `workflow-service worker` too";
    if let Some(hint) = temporal_hint(&settings, how) {
        announce(hint);
    }
    let router = app.router.clone();
    until_stopped(app, vec![(listener, router)]).await
}

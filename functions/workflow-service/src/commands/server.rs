//! `workflow-service server`

use std::process::ExitCode;

use workflow_service::edge::Allotment;
use workflow_service::{App, Settings};

use super::output::announce;
use super::serve::{Beside, listen_to_api, serve_api, temporal_hint, until_stopped, within};

pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let listener = listen_to_api(&settings).await?;
    let allotment = Allotment::new(&settings, false);
    let (settings, surroundings) = within(&allotment, settings)?;
    let app = App::open(&settings, surroundings).await?;
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
    let api = serve_api(&settings, &allotment, listener, app.router.clone());
    until_stopped(app, api, Beside::default()).await
}

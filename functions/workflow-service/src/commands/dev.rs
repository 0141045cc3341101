//! `workflow-service dev`

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clock::{SharedClock, SystemClock};
use contracts::EngineKind;
use downstream::Service;
use reference_services::{ServiceKind, Services};
use workflow_service::app::{create_private, temporal_connector};
use workflow_service::edge::{Allotment, Connections, Hosts, Server};
use workflow_service::{App, Settings};

use super::keys::init_if_missing;
use super::output::announce;
use super::serve::{Beside, listen, listen_to_api, serve_api, temporal_hint, until_stopped, within};
use super::working::Working;

pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let api_listener = listen_to_api(&settings).await?;
    create_private(&settings.data_dir)?;
    let has_new_keys = init_if_missing(&settings)?;
    let services = Services::open(&settings.data_dir.join("services"), Arc::new(SystemClock)).await?;
    let seeded = services.seed_demo().await?;
    let allotment = Allotment::new(&settings, true);
    let connections = Connections::new(allotment.to_services);
    let mut beside = Beside::default();
    for service in Service::ALL {
        let (name, address) = address(settings.service_url(service)).await?;
        let (listener, router) = (listen(address).await?, services.router(kind(service)));
        beside.services.push(Server::start(listener, router, &connections, Hosts::OfThisMachine(vec![name])));
    }
    let worker = match settings.engine {
        EngineKind::Temporal => Some(check_temporal(&settings).await?),
        EngineKind::Embedded | EngineKind::StepFunctions => None,
    };
    // Last, as it goes on with what was under way: the services must be there by then.
    let (settings, surroundings) = within(&allotment, settings)?;
    let app = App::open(&settings, surroundings).await?;
    let api = serve_api(&settings, &allotment, api_listener, app.router.clone());
    announce(greeting(&settings, &app, seeded, worker.as_deref()));
    if has_new_keys {
        announce(format!("created the keys of backups: {}", settings.key_file.display()));
    }
    if worker.is_some() {
        beside.worker = Some(Working::start(app.worker(&settings)?));
    }
    until_stopped(app, api, beside).await
}

/// Where the server is, if there is one: everything else of a trial is here.
async fn check_temporal(settings: &Settings) -> anyhow::Result<String> {
    let clock: SharedClock = Arc::new(SystemClock);
    let connector = temporal_connector(settings, &clock)?;
    match connector.check().await {
        Ok(()) => Ok(format!("{} (namespace {})", connector.address(), connector.namespace())),
        Err(problem) => bail!(
            "{problem}\n`dev --engine temporal` needs a Temporal server. One for a trial: \
             `go install github.com/temporalio/cli/cmd/temporal@v1.5.1`, then `temporal server start-dev`; another one by \
             temporal.server_url (WORKFLOW__TEMPORAL__SERVER_URL) or Temporal's own variables."
        ),
    }
}

fn kind(service: Service) -> ServiceKind {
    match service {
        Service::Auth => ServiceKind::Auth,
        Service::User => ServiceKind::User,
        Service::Tenant => ServiceKind::Tenant,
        Service::File => ServiceKind::File,
        Service::Notifications => ServiceKind::Notifications,
    }
}

/// Where a reference service listens, and the name of that host: where the settings say that the service is, if that is on
/// this machine.
async fn address(url: &str) -> anyhow::Result<(String, SocketAddr)> {
    let parsed = reqwest::Url::parse(url)?;
    let (Some(host), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
        bail!("{url} has no host and port");
    };
    let mut addresses = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await?;
    match addresses.find(|address| address.ip().is_loopback()) {
        Some(address) => Ok((host.to_owned(), address)),
        None => bail!("`dev` serves the services itself, so {url} must be on this machine; `server` calls other hosts"),
    }
}

/// What there is and what to try, for people.
fn greeting(settings: &Settings, app: &App, seeded: bool, temporal: Option<&str>) -> String {
    let port = settings.port;
    let mut lines = vec![
        format!("workflow-service dev: everything on this machine, data in {}", settings.data_dir.display()),
        String::new(),
        format!("  API            http://localhost:{port}   (/health, /ready, /api/v1/workflows)"),
    ];
    for service in Service::ALL {
        let url = settings.service_url(service).replace("127.0.0.1", "localhost");
        lines.push(format!("  {:<14} {url}", service.as_str()));
    }
    lines.extend(temporal.map(|temporal| format!("  {:<14} {temporal}", "temporal")));
    lines.extend(temporal_hint(settings, "use `dev --engine temporal`").map(|hint| format!("\n  {hint}")));
    lines.push(String::new());
    lines.push(format!(
        "  {} tenants tenant-123, tenant-456 and tenant-789 (suspended), users user-123 and user-124; {} workflows \
         resumed",
        if seeded { "created demo data:" } else { "demo data:" },
        app.recovered
    ));
    lines.push(String::new());
    lines.push("try:".to_owned());
    lines.push(format!(
        "  curl -X POST http://localhost:{port}/api/v1/workflows/user-onboarding -H \"Content-Type: application/json\" \
         -H \"X-Tenant-ID: tenant-123\" -d '{{\"user_email\":\"user@example.com\",\"user_name\":\"John Doe\",\
         \"tenant_id\":\"tenant-123\",\"role\":\"user\",\"send_welcome_email\":true,\"setup_default_workspace\":true,\
         \"assign_default_permissions\":true,\"create_sample_data\":false}}'"
    ));
    lines.join("\n")
}

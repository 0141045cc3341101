//! `workflow-service health`: which server it asks, and what it makes of the answers.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::json;

use super::scripted::{Scripted, ok};
use super::{Ended, command};
use crate::process::Site;

#[tokio::test]
async fn health_shows_the_services_of_a_tenant() {
    let server = Scripted::new(|request| match request.line.as_str() {
        "GET /health" => ok(json!({ "status": "healthy", "version": "1.2.3" })),
        "GET /ready" => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "status": "not_ready", "checks": { "engine": true, "services": false } })),
        )
            .into_response(),
        _ => {
            let detail = |service: &str, healthy: bool, affected_by: &[&str]| {
                json!({
                    "service": service, "healthy": healthy, "latency_ms": 12, "depends_on": ["auth"],
                    "reason": (!healthy).then_some("answered 503"), "affected_by": affected_by,
                })
            };
            let details = [detail("auth", false, &[]), detail("file", true, &["auth"])];
            ok(json!({ "overall_healthy": false, "details": details, "affected_workflows": ["user_onboarding"] }))
        }
    })
    .await;
    let services = server.run(&["health"]).await;
    services.assert(1, "SERVICE  STATE        LATENCY  DEPENDS ON  AFFECTED BY  REASON", "");
    services.assert(1, "auth     not healthy  12 ms    auth                     answered 503", "");
    services.assert(1, "file     healthy      12 ms    auth        auth", "");
    services.assert(1, "affected workflows: user_onboarding", "");
    services.assert(1, "  services  does not work", "");
    assert_eq!(server.seen().pop().unwrap().body, json!({}));
    server.run(&["health", "--service", "auth,file"]).await;
    assert_eq!(server.seen().pop().unwrap().body, json!({ "services": ["auth", "file"] }));
    // For a container that lives, however its surroundings are.
    let plain = async |arguments: &[&str]| {
        let mut command = server.command(arguments).await;
        command.env_remove("WORKFLOW_SERVICE_TENANT");
        Ended::of(command).await
    };
    plain(&["health"]).await.assert(0, "version 1.2.3", "");
    plain(&["health", "--ready"]).await.assert(1, "not ready", "");
    let json = plain(&["health", "-o", "json"]).await.json();
    assert_eq!((&json["healthy"], &json["ready"]["checks"]["services"]), (&json!(true), &json!(false)));
    plain(&["health", "--url", "http://127.0.0.1:1"]).await.assert(1, "cannot be reached", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_the_port_of_the_settings() {
    let site = Site::new().await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let port = site.url("").rsplit(':').next().unwrap().to_owned();
    let health = async |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = command(arguments).await;
        command.envs(variables.iter().copied());
        Ended::of(command).await
    };
    let healthy = format!("http://127.0.0.1:{port} version");
    health(&[("WORKFLOW__SERVER__PORT", &port)], &["health"]).await.assert(0, &healthy, "");
    // `0.0.0.0` is where a server listens, not where it is.
    let anywhere = [("WORKFLOW__SERVER__PORT", port.as_str()), ("WORKFLOW__SERVER__HOST", "0.0.0.0")];
    health(&anywhere, &["health"]).await.assert(0, &healthy, "");
    let file = site.data_dir().join("settings.toml");
    std::fs::write(&file, format!("[server]\nport = {port}\n")).unwrap();
    let file = file.to_str().unwrap();
    health(&[], &["health", "--config", file]).await.assert(0, &healthy, "");
    health(&[], &["health", "--config", file, "--url", "http://127.0.0.1:1"]).await.assert(1, "not healthy", "");
    server.kill().await.unwrap();
    health(&[("WORKFLOW__SERVER__PORT", &port)], &["health"]).await.assert(1, "cannot be reached", "");
}

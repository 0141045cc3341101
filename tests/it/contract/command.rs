//! `workflow-service check-service` as people and programs see it.

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use downstream::Service;
use reference_services::ServiceKind;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::{TENANT, clock, layer, services};
use crate::process;

/// Serves the router. Its URL.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Exit code, standard output and standard error.
async fn check(url: &str, service: Service, options: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(process::binary().await);
    command.args(["check-service", url, "--as", service.as_str()]).args(options).env_remove("WORKFLOW_CHECK_TOKEN");
    let output = command.kill_on_drop(true).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tells_of_every_rule_and_exits_by_them() {
    let services = services(&clock()).await;
    let good = serve(services.router(ServiceKind::Auth)).await;
    let (code, stdout, stderr) = check(&good, Service::Auth, &["--tenant", TENANT]).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().take(5).collect()).collect();
    assert!(lines.iter().any(|line| line.starts_with(&["ok", "undo.leaves-a-tombstone"])), "{stdout}");
    let skipped = ["skipped", "content.comes-back-as-it-went", "because", "only", "the"];
    assert!(lines.iter().any(|line| *line == skipped), "{stdout}");
    assert!(stdout.ends_with(" 0 failed, 1 skipped\n"), "{stdout}");

    let deaf = layer(services.router(ServiceKind::Auth), async |request, next| {
        let is_undo = request.uri().path().starts_with("/api/v1/effects/");
        if is_undo { StatusCode::NOT_IMPLEMENTED.into_response() } else { next.run(request).await }
    });
    let (code, stdout, _) = check(&serve(deaf).await, Service::Auth, &["--tenant", TENANT, "--json"]).await;
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &document["failed"]), (1, &5.into()), "{stdout}");
    let rules = document["rules"].as_array().unwrap();
    let failed = rules.iter().find(|rule| rule["rule"] == "undo.takes-back-a-creation").unwrap();
    assert_eq!(failed["breach"]["came"], "501, no body");
    assert!(failed["change"].as_str().is_some_and(|change| change.contains("remember under each key")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_is_said() {
    let (code, _, stderr) = check("http://127.0.0.1:1", Service::User, &["--tenant", TENANT]).await;
    assert_eq!((code, stderr.as_str()), (2, "error: user could not be reached\n"));
    let tenant = ["--tenant", TENANT];
    for (url, options, said) in [
        ("http://user.example.com", &tenant[..], "must use https"),
        ("https://a:secret@user.example.com", &tenant, "has user information"),
        ("http://127.0.0.1:1", &["--tenant", "a b"], "a tenant's id is"),
        ("http://127.0.0.1:1", &["--tenant", TENANT, "--token", "hunter2\n"], "the token has characters"),
    ] {
        let (code, stdout, stderr) = check(url, Service::User, options).await;
        assert!(code == 2 && stdout.is_empty() && stderr.contains(said), "{url} {code} {stderr}");
        assert!(!stderr.contains("secret") && !stderr.contains("hunter2"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed_and_the_token_goes_along() {
    let services = services(&clock()).await;
    let elsewhere = serve(services.router(ServiceKind::User)).await;
    let moved = Router::new().fallback(move |uri: axum::http::Uri| async move {
        (StatusCode::TEMPORARY_REDIRECT, [("location", format!("{elsewhere}{uri}"))])
    });
    let (code, stdout, _) = check(&serve(moved).await, Service::User, &["--tenant", TENANT]).await;
    assert!(code == 1 && stdout.contains("307"), "{code} {stdout}");
    assert!(services.ledger().await.unwrap().is_empty());
    let guarded = layer(services.router(ServiceKind::User), async |request, next| {
        let is_let_in = request.headers().get("authorization").is_some_and(|value| value == "Bearer hunter2");
        if is_let_in { next.run(request).await } else { StatusCode::UNAUTHORIZED.into_response() }
    });
    let url = serve(guarded).await;
    let (code, stdout, stderr) = check(&url, Service::User, &["--tenant", TENANT, "--token", "hunter2"]).await;
    assert!(code == 0 && !stdout.contains("hunter2"), "{code} {stdout} {stderr}");
}

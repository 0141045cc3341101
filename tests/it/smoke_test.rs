//! `infra/smoke-test`, against an API behind what stands for API Gateway's authorizer.

use std::sync::Arc;
use std::time::Duration;

use api::GatewayClaims;
use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use clock::SystemClock;
use http::{Request, StatusCode, header};
use reference_services::{Fault, FaultRule, ServiceKind};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::audit::behind_a_gateway;
use crate::aws::root;
use crate::world::{TENANT, World, run};

const TOKEN: &str = "the.good.one";

/// As API Gateway does it: without a token that it knows, a request does not get far.
async fn authorize(mut request: Request<Body>, next: Next) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|token| token.to_str().ok());
    match (request.uri().path(), token.and_then(|token| token.strip_prefix("Bearer "))) {
        ("/health", _) => {}
        (_, Some(TOKEN)) => {
            let claims = [("sub", "user-1".to_owned()), ("tenants", format!("[{TENANT}]"))];
            let claims = claims.map(|(name, value)| (name.to_owned(), value));
            request.extensions_mut().insert(GatewayClaims(claims.into()));
        }
        _ => return (StatusCode::UNAUTHORIZED, r#"{"message":"Unauthorized"}"#).into_response(),
    }
    next.run(request).await
}

/// Serves these routes, and lets the script look at them; its exit code, and what it says.
async fn tested(routes: Router, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut script = Command::new(root().join("infra/smoke-test"));
    script.arg(&url).env("TENANT", TENANT).env("TOKEN", TOKEN).env("NO_PROXY", "*").env("PATIENCE", "5");
    let output = script.envs(variables.iter().copied()).kill_on_drop(true).output();
    let output = clock::timeout(&SystemClock, Duration::from_secs(60), output).await.unwrap().unwrap();
    server.abort();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains(TOKEN), "{said}");
    (output.status.code(), said)
}

/// What it found wrong.
fn failures(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("FAILED  ")?.split(':').next()).collect()
}

#[test]
fn the_smoke_test_tells_a_good_deployment_from_bad_ones() {
    run(async {
        let world = World::new().await;
        let folder = tempfile::tempdir().unwrap();
        let behind = behind_a_gateway(&world, folder.path(), Arc::new(world.app.store.clone())).await;
        let good = behind.clone().layer(from_fn(authorize));
        let (code, said) = tested(good.clone(), &[]).await;
        assert_eq!((code, failures(&said)), (Some(0), vec![]), "{said}");
        assert_eq!(said.lines().count(), 8, "a line for each check: {said}");
        assert!(said.lines().last().unwrap().ends_with("ends: Completed"), "{said}");

        // Who asks nobody for a token.
        let open = world.app.router.clone();
        let (code, said) = tested(open, &[]).await;
        let expected = ["no token, reading", "no token, starting", "a forged token", "a foreign tenant"];
        assert_eq!((code, failures(&said)), (Some(1), expected.to_vec()), "{said}");

        // Routes that were not deployed.
        let nothing = Router::new().layer(from_fn(authorize));
        let (code, said) = tested(nothing, &[]).await;
        assert_eq!(code, Some(1));
        assert!(failures(&said).contains(&"an onboarding starts"), "{said}");

        // A token that is not for the tenant.
        let (code, said) = tested(good.clone(), &[("TENANT", "tenant-789")]).await;
        assert_eq!((code, failures(&said)), (Some(1), vec!["the token's tenant", "an onboarding starts"]), "{said}");

        // A service that does not work.
        world.services.set_faults(
            ServiceKind::Auth,
            vec![FaultRule::on("POST", "/api/v1/users", Fault::Status { status: 503, retry_after_seconds: None })],
        );
        let (code, said) = tested(good.clone(), &[]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.lines().last().unwrap().contains("expected Completed, got Failed"), "{said}");

        let (code, said) = tested(good, &[("TOKEN", "")]).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("TOKEN is not set"), "{said}");
    });
}

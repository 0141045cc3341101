//! Where output goes, what is never in it, and the exit codes of what cannot be done.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use axum::response::{IntoResponse as _, Redirect};
use serde_json::json;
use tokio::process::Command;

use super::scripted::{Scripted, ok, refused};
use super::{Ended, binary, command};

async fn many_workflows() -> Scripted {
    Scripted::new(|_| {
        let row = |number| {
            json!({ "workflow_id": format!("w{number}"), "status": "Running", "started_at": "2026-01-02T03:04:05.6Z" })
        };
        let rows: Vec<_> = (0..200).map(row).collect();
        // Without an end, as long as somebody reads.
        ok(json!({ "workflows": rows, "total_count": 1_000_000, "next_page_token": "next" }))
    })
    .await
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let server = many_workflows().await;
    let mut shell = Command::new("bash");
    shell.args(["-c", "set -o pipefail; \"$@\" | head -2", "bash"]).arg(binary().await).arg("list");
    shell.env("WORKFLOW_SERVICE_URL", &server.url).env("WORKFLOW_SERVICE_TENANT", "t");
    let ended = Ended::of(shell).await;
    let expected = "WORKFLOW  STATUS   STARTED               UPDATED  USER\nw0        Running  2026-01-02T03:04:05Z\n";
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, expected, ""));
    assert!(server.lines().len() < 1_000, "it stops when nobody reads any more");
}

#[tokio::test]
async fn a_full_device_is_an_error() {
    let server = many_workflows().await;
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let statemachine = concat!(env!("CARGO_MANIFEST_DIR"), "/../statemachines/user-onboarding.asl.json");
    for arguments in [
        &["list", "--limit", "1"][..],
        &["list", "--limit", "1", "-o", "json"],
        &["health", "--url", &server.url],
        &["completions", "zsh"],
        &["lint", statemachine],
        &["dataset", "lint"],
        &["render", statemachine],
        &["--help"],
        &["--version"],
    ] {
        let mut command = server.command(arguments).await;
        let output = command.stdout(full()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, "error: cannot write to standard output: No space left on device (os error 28)\n");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        // Nor does a standard error that cannot be written make it panic.
        let mut command = server.command(arguments).await;
        assert_eq!(command.stdout(full()).stderr(full()).status().await.unwrap().code(), Some(1), "{arguments:?}");
    }
    let mut wrong = command(&["list", "--bogus"]).await;
    assert_eq!(wrong.stderr(full()).status().await.unwrap().code(), Some(2));
}

#[tokio::test]
async fn variables_that_are_not_utf8_are_named_or_do_not_matter() {
    let server = many_workflows().await;
    let with = async |name: &str| {
        let mut command = server.command(&["list", "--limit", "1"]).await;
        Ended::of({
            command.env(name, OsStr::from_bytes(b"\xff"));
            command
        })
        .await
    };
    for name in ["WORKFLOW_SERVICE_URL", "WORKFLOW_SERVICE_TENANT", "WORKFLOW_SERVICE_USER", "WORKFLOW_SERVICE_TOKEN"] {
        with(name).await.assert(2, "", &format!("({name}) is not UTF-8"));
    }
    with("RUST_LOG").await.assert(2, "", "RUST_LOG is not UTF-8");
    for name in ["NO_COLOR", "LANG", "TERM", "HTTPS_PROXY", "UNRELATED"] {
        with(name).await.assert(0, "w0", "");
    }
}

#[tokio::test]
async fn a_directive_of_the_log_that_cannot_be_used_is_refused() {
    let server = many_workflows().await;
    for (directives, code, said) in [
        ("info,inof", 2, "RUST_LOG: 'inof' is not a level"),
        ("sqlx=loud", 2, "RUST_LOG: 'sqlx=loud' cannot be used"),
        ("", 0, ""),
        ("warn,hyper=error", 0, ""),
    ] {
        let mut command = server.command(&["list", "--limit", "1"]).await;
        command.env("RUST_LOG", directives);
        Ended::of(command).await.assert(code, "", said);
    }
}

#[tokio::test]
async fn tokens_and_passwords_are_sent_and_never_shown() {
    let server = Scripted::new(|_| refused(401, "no")).await;
    let with_password = server.url.replace("http://", "http://user:secret@");
    for (arguments, authorization) in [
        (&["list", "--url", &with_password][..], "Basic dXNlcjpzZWNyZXQ="),
        (&["list", "--url", &with_password, "--token", "secret"], "Bearer secret"),
    ] {
        let mut command = server.command(arguments).await;
        command.env("RUST_LOG", "trace");
        let ended = Ended::of(command).await;
        ended.assert(4, "", "401 Unauthorized: no");
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
        assert_eq!(server.seen().pop().unwrap().headers["authorization"], authorization);
        assert_eq!(server.seen().pop().unwrap().headers.get_all("authorization").iter().count(), 1);
    }
    for url in ["ftp://user:secret@host", "http://user:secret@host:port", "http://user:secret@127.0.0.1:1"] {
        let ended = Ended::of(command(&["list", "--tenant", "t", "--url", url]).await).await;
        assert!(matches!(ended.code, 2 | 5) && !ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    let mut help = command(&["list", "--help"]).await;
    help.env("WORKFLOW_SERVICE_TOKEN", "secret").env("WORKFLOW_SERVICE_URL", "http://user:secret@host");
    assert!(!Ended::of(help).await.stdout.contains("secret"));
}

#[tokio::test]
async fn the_path_of_an_address_is_kept() {
    let server = many_workflows().await;
    for (path, line) in [
        ("", "GET /api/v1/workflows?page_size=1"),
        ("/", "GET /api/v1/workflows?page_size=1"),
        ("/stage", "GET /stage/api/v1/workflows?page_size=1"),
        ("/a/stage/", "GET /a/stage/api/v1/workflows?page_size=1"),
    ] {
        let url = format!("{}{path}", server.url);
        server.run(&["list", "--limit", "1", "--url", &url]).await.assert(0, "w0", "");
        assert_eq!(server.lines().pop().unwrap(), line);
    }
}

#[tokio::test]
async fn exit_codes_tell_what_kind_of_error_it_was() {
    let server = Scripted::new(|request| match request.line.as_str() {
        line if line.contains("/broken/") => refused(500, "broken"),
        line if line.contains("/moved/") => Redirect::permanent("https://elsewhere/").into_response(),
        line if line.contains("/page/") => "<html>".into_response(),
        _ => refused(404, "There is no such workflow."),
    })
    .await;
    server.run(&["describe", "a"]).await.assert(4, "", "404 Not Found: There is no such workflow.");
    server.run(&["describe", "broken"]).await.assert(5, "", "500 Internal Server Error: broken");
    server.run(&["describe", "page"]).await.assert(5, "", "its answer is not JSON");
    server.run(&["describe", "moved"]).await.assert(4, "", "redirects to https://elsewhere/");
    let gone = command(&["describe", "a", "--tenant", "t", "--url", "http://127.0.0.1:1"]).await;
    Ended::of(gone).await.assert(5, "", "http://127.0.0.1:1 cannot be reached: Connection refused");
    Ended::of(command(&["describe", "a"]).await).await.assert(2, "", "which tenant?");
    Ended::of(command(&["describe"]).await).await.assert(2, "", "<ID>");
    Ended::of(command(&["lint", "/nowhere"]).await).await.assert(1, "", "/nowhere: No such file");
    Ended::of(command(&["dataset", "lint", "/nowhere"]).await).await.assert(1, "/nowhere: No such file", "");
    let help = Ended::of(command(&["--help"]).await).await;
    help.assert(0, "5  the server cannot be reached", "");
}

#[tokio::test]
async fn a_dataset_map_is_checked_and_a_bad_one_is_not_used() {
    Ended::of(command(&["dataset", "lint"]).await).await.assert(0, "the map that comes along: ok, 9 types", "");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("map.toml");
    std::fs::write(&file, "version = 1\n[auth.account]\nsubject = \"user_id\"\n").unwrap();
    let name = file.to_str().unwrap();
    let told = format!("{name}: auth.account.fields: is missing");
    Ended::of(command(&["dataset", "lint", name]).await).await.assert(1, &told, "");
    for arguments in [&["server", "--data-dir", "data"][..], &["doctor", "--data-dir", "data"]] {
        let mut command = command(arguments).await;
        command.current_dir(directory.path()).env("WORKFLOW__COMPLIANCE__DATASET", name);
        let ended = Ended::of(command).await;
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains("auth.account.fields: is missing"), "{arguments:?}: {said}");
        assert_eq!(ended.code, 1, "{arguments:?}");
    }
}

#[tokio::test]
async fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Ended::of(command(&["completions", shell]).await).await;
        script.assert(0, "terminate", "");
        script.assert(0, "started-after", "");
    }
}

//! The commands against the real server.

use std::process::Stdio;
use std::time::Duration;

use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Ended, command};
use crate::process::{Site, pause};

/// What a start needs.
fn request(email: &str) -> Value {
    json!({ "user_email": email, "user_name": "Jane Roe", "tenant_id": "tenant-123", "role": "user",
        "setup_default_workspace": true })
}

async fn at(site: &Site, arguments: &[&str]) -> Command {
    let mut command = command(arguments).await;
    command.env("WORKFLOW_SERVICE_URL", site.url("")).env("WORKFLOW_SERVICE_TENANT", "tenant-123");
    command
}

async fn run(site: &Site, arguments: &[&str]) -> Ended {
    Ended::of(at(site, arguments).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_start_list_describe_and_follow() {
    let site = Site::new().await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;

    let file = site.data_dir().join("request.json");
    std::fs::write(&file, request("file@example.com").to_string()).unwrap();
    let file = file.to_str().unwrap();
    let started = run(&site, &["start", "user-onboarding", "--input", file, "--wait"]).await;
    started.assert(0, "\nCompleted\n", "");
    let completed = started.stdout.lines().next().unwrap();
    let refused = Fault::Status { status: 400, retry_after_seconds: None };
    site.services.set_faults(ServiceKind::File, vec![FaultRule::on("POST", "/api/v1/workspaces", refused)]);
    let inline = request("inline@example.com").to_string();
    let started = run(&site, &["start", "user_onboarding", "--input", &inline, "--wait", "-o", "json"]).await;
    started.assert(3, "", "started user_onboarding_");
    let failed = started.json()["workflow_id"].as_str().unwrap().to_owned();
    assert_eq!(started.json()["status"], "Failed");

    let list = run(&site, &["list"]).await;
    let lines: Vec<Vec<&str>> = list.stdout.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(lines[..3], [vec!["WORKFLOW", "STATUS"], vec![&failed, "Failed"], vec![completed, "Completed"]]);
    let json = run(&site, &["list", "--limit", "1", "--type", "user-onboarding", "-o", "json"]).await.json();
    assert_eq!((&json["workflows"][0]["workflow_id"], &json["total_count"]), (&json!(failed), &json!(2)));
    assert_eq!(json["workflows"].as_array().unwrap().len(), 1);
    run(&site, &["list", "--status", "completed"]).await.assert(0, completed, "");

    let described = run(&site, &["describe", &failed]).await;
    for wanted in ["status        Failed", "SetupUserFileWorkspace", "undo CreateUserAccount", "undone", "after "] {
        described.assert(0, wanted, "");
    }
    assert!(!described.stdout.contains("inline@example.com"), "no personal data in a timeline");
    let json = run(&site, &["describe", &failed, "-o", "json"]).await.json();
    assert_eq!(json["workflow"]["failure"]["step"], "SetupUserFileWorkspace");
    let events = json["events"].as_array().unwrap().len();
    let followed = run(&site, &["history", &failed, "--follow"]).await;
    followed.assert(3, "WorkflowExecutionFailed", "");
    assert_eq!(followed.stdout.lines().count(), events + 1, "a header and every event");
    run(&site, &["history", completed, "--follow"]).await.assert(0, "WorkflowExecutionCompleted", "");

    run(&site, &["cancel", &failed]).await.assert(4, "", "409 Conflict: It has ended: Failed.");
    run(&site, &["describe", "nothing"]).await.assert(4, "", "404 Not Found: There is no such workflow.");
    let wrong = run(&site, &["start", "user-onboarding", "--input", "{}"]).await;
    wrong.assert(4, "", "\n  /user_email is missing");
    run(&site, &["start", "user-onboarding", "--input", "{\"a\""]).await.assert(2, "", "--input is not JSON: EOF");
    run(&site, &["start", "user-onboarding", "--input", "nowhere"]).await.assert(2, "", "nowhere cannot be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_survives_a_server_that_is_killed() {
    let site = Site::new().await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let slowly = Fault::Delay { delay_ms: 1_500 };
    site.services.set_faults(ServiceKind::File, vec![FaultRule::on("POST", "/api/v1/workspaces", slowly)]);
    let mut waiting = at(&site, &["start", "user-onboarding", "--input", "-", "--wait"]).await;
    waiting.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut waiting = waiting.spawn().unwrap();
    let mut stdin = waiting.stdin.take().unwrap();
    let input = request("killed@example.com").to_string();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await.unwrap();
    drop(stdin);
    let workspaces = || site.services.faults_fired(ServiceKind::File)[0];
    while workspaces() == 0 {
        pause(Duration::from_millis(20)).await;
    }
    server.kill().await.unwrap();
    pause(Duration::from_millis(1_500)).await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let ended = waiting.wait_with_output().await.unwrap();
    let (stdout, stderr) = (super::text(&ended.stdout), super::text(&ended.stderr));
    assert_eq!(ended.status.code(), Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("\nCompleted\n"), "{stdout}");
    assert_eq!(stderr.matches("trying again until there is an answer").count(), 1, "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_take_a_migration_back() {
    let site = Site::new().await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let sync = json!({ "migration_id": "sync", "target_tenant_id": "tenant-123", "migration_type": "CrossServiceSync",
        "data_selectors": [{ "service": "user", "entity_type": "profile" }],
        "migration_options": { "create_backup": false } });
    let started = run(&site, &["start", "data-migration", "--input", &sync.to_string(), "--wait"]).await;
    started.assert(0, "\nCompleted\n", "");
    let migration = started.stdout.lines().next().unwrap();
    let reversed = run(&site, &["reverse", migration, "--reason", "by mistake"]).await;
    reversed.assert(0, "Accepted: a new execution takes back what was migrated.", "");
    let reversal = reversed.stdout.lines().next().unwrap();
    assert!(reversal.starts_with("data_migration_") && reversal != migration, "the new id comes first: {reversal}");
    let again = run(&site, &["reverse", migration]).await;
    again.assert(0, reversal, "");
    let started = run(&site, &["start", "user-onboarding", "--input", &request("r@example.com").to_string()]).await;
    let other = run(&site, &["reverse", started.stdout.trim()]).await;
    other.assert(4, "", "It is no data migration: only those can be reversed.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_file_is_started_once_for_its_operation_id() {
    let site = Site::new().await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let file = site.data_dir().join("users.csv");
    std::fs::write(&file, "entity_id,email,name\nuser-1001,one@example.com,One\nuser-1002,two@example.com,Two\n")
        .unwrap();
    let input = json!({ "operation_id": "job-1", "tenant_id": "tenant-123", "operation_type": "UserCreation",
        "operation_data": { "role": "user" } });
    let template = site.data_dir().join("job.json");
    std::fs::write(&template, input.to_string()).unwrap();
    let [file, input] = [&file, &template].map(|path| path.to_str().unwrap());
    let start = ["start", "bulk-operation", "--input", input, "--entities", file, "--wait", "-o", "json"];
    let wrong = run(&site, &start).await;
    wrong.assert(3, "", "started bulk_operation_");
    std::fs::write(input, std::fs::read_to_string(input).unwrap().replace("job-1", "job-2")).unwrap();
    std::fs::write(
        file,
        std::fs::read_to_string(file)
            .unwrap()
            .replace("entity_id", "service,entity_type,entity_id")
            .replace("\nuser", "\nauth,account,user"),
    )
    .unwrap();
    let first = run(&site, &start).await;
    first.assert(0, "", "started bulk_operation_");
    assert_eq!(first.json()["items"]["completed"], 2, "{}", first.stdout);
    let again = run(&site, &start).await;
    assert_eq!(again.json()["workflow_id"], first.json()["workflow_id"], "the same file for the same operation");
    std::fs::write(file, std::fs::read_to_string(file).unwrap().replace("Two", "Three")).unwrap();
    let other = run(&site, &start).await;
    other.assert(4, "", "422 Unprocessable Entity: This operation_id came with another body before.");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_place_list_show_and_release_holds() {
    let site = Site::new().await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;

    let subject = ["holds", "create", "case-7", "--subject", "user-9", "--reason", "a lawsuit"];
    let placed = run(&site, &subject).await;
    placed.assert(0, "case-7 holds everything of user-9, until it is released\n", "");
    let usage = ["holds", "create", "usage", "--category", "usage", "--category", "contact", "--reason", "a law"];
    let usage = [&usage[..], &["--until", "2999-01-01T00:00:00Z"]].concat();
    let placed = run(&site, &usage).await;
    placed.assert(0, "usage holds contact, usage of everybody, until 2999-01-01T00:00:00Z\n", "");
    placed.assert(0, "Some of the same data may be held by case-7\n", "");
    let record = ["holds", "create", "one", "--record", "auth/account/7", "--reason", "evidence", "-o", "json"];
    let placed = run(&site, &record).await.json();
    assert_eq!(placed["record"], json!({ "service": "auth", "entity_type": "account", "entity_id": "7" }));

    let list = run(&site, &["holds", "list"]).await;
    let lines: Vec<Vec<&str>> = list.stdout.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(lines, [["HOLD", "STATE"], ["one", "active"], ["usage", "active"], ["case-7", "active"]]);
    let list = run(&site, &["holds", "list", "--subject", "user-9", "--state", "active", "-o", "json"]).await.json();
    assert_eq!((list["holds"].as_array().unwrap().len(), &list["holds"][0]["hold_id"]), (1, &json!("case-7")));

    let released = run(&site, &["holds", "release", "case-7", "--reason", "it is over"]).await;
    released.assert(0, "case-7 is released since 2", "");
    released.assert(0, "Some of what it held may still be held by one, usage\n", "");
    let shown = run(&site, &["holds", "show", "case-7"]).await;
    for wanted in
        ["hold case-7, released, placed at 2", "Holds everything of user-9", "Reason: a lawsuit", ": it is over"]
    {
        shown.assert(0, wanted, "");
    }
    let json = run(&site, &["holds", "show", "case-7", "-o", "json"]).await.json();
    assert_eq!(json["released"]["reason"], "it is over");

    run(&site, &["holds", "show", "nothing"]).await.assert(4, "", "404 Not Found: There is no such hold.");
    run(&site, &["holds", "show", ".."]).await.assert(2, "", "'..' is no name of a hold");
    let wrong = run(&site, &["holds", "create", "x", "--record", "auth", "--reason", "r"]).await;
    wrong.assert(2, "", "--record auth: expected SERVICE/TYPE/ID");
    let wrong = run(&site, &["holds", "create", "x", "--category", "secrets", "--reason", "r"]).await;
    wrong.assert(4, "", "/data_categories/0 must be one of ");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_list_show_and_extend_requests() {
    let site = Site::new().await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let slow = FaultRule::on("GET", "/api/v1/data/{type}", Fault::Delay { delay_ms: 8_000 });
    site.services.set_faults(ServiceKind::Auth, vec![slow]);
    let request = |id: &str, received_at: Value| {
        json!({ "compliance_id": id, "tenant_id": "tenant-123", "compliance_type": "GdprDataExport",
            "subject_user_id": "user-123", "received_at": received_at })
    };
    for (id, received_at) in [("late", json!("2020-01-01T00:00:00Z")), ("open", Value::Null)] {
        let input = request(id, received_at).to_string();
        run(&site, &["start", "compliance", "--input", &input]).await.assert(0, "compliance_", "");
    }
    let list = run(&site, &["requests", "list"]).await;
    let lines: Vec<Vec<&str>> = list.stdout.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    let expected =
        [["REQUEST", "TYPE", "STATE"], ["late", "GdprDataExport", "overdue"], ["open", "GdprDataExport", "open"]];
    assert_eq!(lines, expected);
    let list = run(&site, &["requests", "list", "--state", "open", "-o", "json"]).await.json();
    assert_eq!(
        (list["requests"].as_array().unwrap().len(), &list["requests"][0]["compliance_id"]),
        (1, &json!("open"))
    );
    run(&site, &["requests", "list", "--due-before", "2021-01-01T00:00:00Z"]).await.assert(0, "late", "");
    let extended = run(&site, &["requests", "extend", "open", "--reason", "much data"]).await;
    extended.assert(0, "open must be answered by 2", "");
    let shown = run(&site, &["requests", "show", "open"]).await;
    for wanted in
        ["request open, GdprDataExport, open, answered by compliance_", "Of user-123\n", ": much data\n", "Days left: "]
    {
        shown.assert(0, wanted, "");
    }
    let refused = run(&site, &["requests", "extend", "late", "--reason", "r"]).await;
    refused.assert(4, "", "409 Conflict: The answer to the request late was due at 2020-02-01");
    run(&site, &["requests", "show", "nothing"]).await.assert(4, "", "404 Not Found: There is no such request.");
    run(&site, &["requests", "show", ".."]).await.assert(2, "", "'..' is no name of a request");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_make_drill_list_show_restore_and_remove_backups() {
    let site = Site::new().await;
    let data_dir = site.data_dir().to_str().unwrap().to_owned();
    run(&site, &["keys", "init", "--data-dir", &data_dir]).await.assert(0, "", "");
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;

    let created =
        run(&site, &["backup", "create", "nightly", "--service", "auth", "--keep-days", "3", "-o", "json"]).await;
    created.assert(0, "", "started cross_service_backup_");
    assert_eq!(created.json()["result"]["services_backed_up"], json!(["auth"]));
    run(&site, &["backup", "list"]).await.assert(0, "never", "");
    let drilled = run(&site, &["backup", "drill", "nightly"]).await;
    drilled.assert(0, "Completed\n", "started cross_service_restore_");
    let list = run(&site, &["backup", "list"]).await;
    let cells: Vec<&str> = list.stdout.lines().nth(1).unwrap().split("  ").filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells.len(), 6, "{}", list.stdout);
    assert!(
        cells[0] == "nightly" && cells[4].trim().starts_with("until ") && cells[5].contains("passed in "),
        "{cells:?}"
    );
    let shown = run(&site, &["backup", "show", "nightly"]).await;
    for wanted in ["backup nightly, made from ", "auth     account", "Kept: until ", "Last drill: passed in "] {
        shown.assert(0, wanted, "");
    }
    let json = run(&site, &["backup", "list", "-o", "json"]).await.json();
    assert_eq!(json["backups"][0]["last_drill"]["passed"], true);

    let dry = run(&site, &["backup", "restore", "nightly", "--dry-run", "--on-conflict", "skip", "-o", "json"]).await;
    assert_eq!(
        (&dry.json()["result"]["dry_run"], &dry.json()["result"]["records_restored"]),
        (&json!(true), &json!(0))
    );
    let copied = run(&site, &["backup", "restore", "nightly", "--into", "tenant-copy", "-o", "json"]).await.json();
    assert_eq!(copied["result"]["tenant_id"], "tenant-copy");

    run(&site, &["backup", "delete", "nightly"]).await.assert(0, "nightly is deleted. Its files are removed.\n", "");
    run(&site, &["backup", "delete", "nightly"]).await.assert(4, "", "404 Not Found: There is no such backup.");
    run(&site, &["backup", "show", "nightly"]).await.assert(4, "", "There is no such backup.");
    run(&site, &["backup", "drill", "nightly"]).await.assert(4, "", "404 Not Found: There is no such backup.");
    run(&site, &["backup", "create", "nightly", "--service", "auth", "--keep-days", "3"]).await.assert(
        4,
        "",
        "has been removed: ask for one with another backup_id",
    );
    run(&site, &["backup", "show", ".."]).await.assert(2, "", "'..' is no name of a backup");
}

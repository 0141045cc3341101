//! `cargo xtask local`, as a person uses it: the README's lines against it, and what is left when it is stopped. It takes
//! the ports that it takes and compiles the functions once more, so it runs where `LOCAL_STACK` is set: `cargo xtask prove`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::aws::root;

/// Everything that it listens on.
const PORTS: [u16; 8] = [9000, 9001, 9002, 8080, 8081, 8082, 8083, 8085];

/// A variable that all of its processes inherit.
const MARK: &str = "LOCAL_STACK_MARK";

/// A running `cargo xtask local`, with processes that are told by their mark.
struct Local {
    child: Child,
    mark: String,
}

impl Local {
    fn start(arguments: &[&str]) -> Self {
        let mark = format!("{MARK}={}-{}", std::process::id(), arguments.join("-"));
        let (name, value) = mark.split_once('=').unwrap();
        let mut command = Command::new(env!("CARGO"));
        command.args(["xtask", "local"]).args(arguments).env(name, value).current_dir(root());
        let mut local = Self { child: command.stdin(Stdio::null()).spawn().unwrap(), mark };
        // It compiles first.
        for _ in 0..1_800 {
            if PORTS.iter().all(|port| listens(*port)) {
                return local;
            }
            assert_eq!(local.child.try_wait().unwrap(), None, "it has stopped");
            std::thread::sleep(Duration::from_secs(1));
        }
        panic!("it does not come up");
    }

    /// Stops it with a signal, and waits until nothing of it is left.
    fn stop(mut self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(100));
            if self.child.try_wait().unwrap().is_some() && self.processes().is_empty() {
                let listening: Vec<u16> = PORTS.into_iter().filter(|port| listens(*port)).collect();
                assert!(listening.is_empty(), "after SIG{signal} somebody listens on {listening:?}");
                return;
            }
        }
        let left = self.processes();
        let names = left.iter().map(|process| std::fs::read_to_string(process.join("cmdline")).unwrap_or_default());
        panic!("after SIG{signal} there is left: {:?}", names.collect::<Vec<_>>());
    }

    /// What bears its mark.
    fn processes(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let mark = self.mark.as_bytes();
        let is_marked = |process: &PathBuf| {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark)
        };
        all.filter(is_marked).collect()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Only after a failure there is anything.
        for process in self.processes() {
            let _ = Command::new("kill").arg("-9").arg(process.file_name().unwrap()).status();
        }
        let _ = self.child.wait();
    }
}

/// A source file that a developer is at; as it was when this is dropped.
struct Edited {
    file: PathBuf,
    before: String,
}

impl Edited {
    fn replace(file: &str, from: &str, to: &str) -> Self {
        let file = root().join(file);
        let before = std::fs::read_to_string(&file).unwrap();
        assert!(before.contains(from), "{before}");
        std::fs::write(&file, before.replace(from, to)).unwrap();
        Self { file, before }
    }
}

impl Drop for Edited {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.file, &self.before);
    }
}

fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The README's `curl` lines: in blocks, and within sentences.
fn readme_lines() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let line = |line: &str| {
        let within = line.split('`').find(|part| part.starts_with("curl ")).map(str::to_owned);
        if line.starts_with("curl ") { Some(line.to_owned()) } else { within }
    };
    readme.lines().filter_map(line).filter(|line| line.contains("//localhost:")).collect()
}

/// Runs a line of the README as it is, but for the port of the API.
fn run(line: &str) -> Value {
    let line = line.replace("//localhost:8084", "//localhost:9000");
    println!("$ {line}");
    let output = Command::new("sh").args(["-c", &line.replacen("curl", "curl --silent --show-error", 1)]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    serde_json::from_str(&said).unwrap_or_default()
}

/// Waits for the end of an execution.
fn ended(status_line: &str, id: &str) -> Value {
    for _ in 0..240 {
        let status = run(&status_line.replace("<workflow_id>", id));
        if status["status"] != "Running" && status["status"] != "Pending" {
            return status;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("{id} does not end");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn the_readme_is_right_about_it_and_nothing_is_left() {
    if std::env::var("LOCAL_STACK").is_err() {
        println!("skipped: the local stack, which `cargo xtask prove` tries (LOCAL_STACK is not set)");
        return;
    }
    let lines = readme_lines();
    let line = |part: &str| lines.iter().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part}"));
    let local = Local::start(&[]);
    let started = run(line("user@example.com"));
    let status = ended(line("/status"), started["workflow_id"].as_str().unwrap());
    assert_eq!(status["status"], "Completed", "{status}");
    assert!(run(line(":8080/api/v1/notifications")).to_string().contains("user@example.com"));
    run(line("PUT http://localhost:8083/_control/faults"));
    let failed = run(line("second@example.com"));
    let failed = ended(line("/status"), failed["workflow_id"].as_str().unwrap());
    assert_eq!(failed["status"], "Failed");
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("ServiceUnavailable from file: answered 503 (3 attempts)"), "as everywhere: {error}");
    run(line("DELETE http://localhost:8083/_control/faults"));
    let health = || run("curl http://localhost:8084/health")["status"].clone();
    assert_eq!(health(), "healthy");
    {
        let _edited = Edited::replace("shared/api/src/health.rs", "\"healthy\"", "\"edited\"");
        for _ in 0..240 {
            std::thread::sleep(Duration::from_secs(1));
            if health() == "edited" {
                break;
            }
        }
        assert_eq!(health(), "edited", "a change is live after a recompile");
    }
    local.stop("INT");

    // Nobody hears of the end but the reconciler, which comes every minute and leaves alone what is younger.
    let local = Local::start(&["--status-events", "drop"]);
    let started = run(line("user@example.com"));
    let began = clock::Clock::now(&clock::SystemClock);
    let status = ended(line("/status"), started["workflow_id"].as_str().unwrap());
    assert_eq!(status["status"], "Completed", "{status}");
    assert!(clock::Clock::now(&clock::SystemClock).duration_since(began).as_secs() > 30, "the event has arrived");
    local.stop("KILL");

    let local = Local::start(&["--status-events", "double"]);
    let started = run(line("user@example.com"));
    assert_eq!(ended(line("/status"), started["workflow_id"].as_str().unwrap())["status"], "Completed");
    local.stop("TERM");
    Local::start(&[]).stop("HUP");
}

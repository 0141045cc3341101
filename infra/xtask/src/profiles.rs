//! `cargo xtask bench profiles`: the release profile, decided by measurement. CPU seconds rather than a clock's, so that
//! what else runs on the machine counts for little.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{cargo, run};

/// What is measured: a function that calls DynamoDB and Step Functions.
const FUNCTION: [&str; 4] = ["--package", "endpoint-lambdas", "--bin", "start-user-onboarding"];

/// What is compared: name, `opt-level`, `lto`, `codegen-units`. The first is the one that is deployed.
const PROFILES: [(&str, &str, &str, &str); 4] = [
    ("z, no LTO", "z", "off", "16"),
    ("z, fat LTO", "z", "fat", "1"),
    ("s, thin LTO", "s", "thin", "1"),
    ("3, thin LTO", "3", "thin", "1"),
];

pub(crate) fn measure() -> anyhow::Result<()> {
    // What measures is not itself measured, but its own time to spawn a process is: it is built as for that bench.
    run(&mut cargo(&["build", "--release", "--package", "bench", "--bin", "cold-start"]))?;
    let mut rows = Vec::new();
    for (number, profile) in PROFILES.into_iter().enumerate() {
        rows.push(measure_one(profile, number == 0)?);
        report(&rows)?;
    }
    println!("{:<12} {:>8} {:>11} {:>9} {:>10}", "profile", "zip", "first build", "relink", "first poll");
    for row in &rows {
        let number = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "{:<12} {:>5.2} MB {:>9.0} s {:>7.0} s {:>10.2}",
            row["profile"].as_str().unwrap_or_default(),
            number("zip_bytes") / 1e6,
            number("first_build_cpu_seconds"),
            number("relink_cpu_seconds"),
            number("wall_ratio"),
        );
        if let Some(all) = row["all_functions_cpu_seconds"].as_f64() {
            println!("{:<12} all other functions after that: {all:.0} s", "");
        }
    }
    Ok(())
}

fn measure_one((name, opt_level, lto, units): (&str, &str, &str, &str), is_ours: bool) -> anyhow::Result<Value> {
    let folder = target(name);
    if Path::new(&folder).exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.clone())?;
    }
    let build = |arguments: &[&str]| {
        let before = cpu_seconds_of_children()?;
        let mut build = cargo(&["build", "--release", "--quiet", "--target-dir", &folder]);
        build.envs([
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", opt_level),
            ("CARGO_PROFILE_RELEASE_LTO", lto),
            ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", units),
        ]);
        run(build.args(arguments))?;
        anyhow::Ok(cpu_seconds_of_children()? - before)
    };
    let first_build = build(&FUNCTION)?;
    // As after a change in the function itself.
    std::fs::remove_file(format!("{folder}/release/start-user-onboarding"))?;
    let source =
        std::fs::File::options().append(true).open("functions/endpoint-lambdas/src/bin/start-user-onboarding.rs");
    source?.set_modified(now())?;
    let relink = build(&FUNCTION)?;
    // One yardstick for all: that of the first.
    let hello = format!("{folder}/release/hello");
    match is_ours {
        true => drop(build(&["--package", "bench", "--bin", "hello"])?),
        false => drop(std::fs::copy(format!("{}/release/hello", target(PROFILES[0].0)), hello)?),
    }
    let mut row = compared(&format!("{folder}/release"))?;
    row["profile"] = name.into();
    row["first_build_cpu_seconds"] = json!(first_build);
    row["relink_cpu_seconds"] = json!(relink);
    if is_ours {
        let packages = ["endpoint-lambdas", "activity-lambdas", "event-lambdas"];
        let arguments: Vec<&str> =
            packages.iter().flat_map(|package| ["--package", package]).chain(["--bins"]).collect();
        row["all_functions_cpu_seconds"] = json!(build(&arguments)?);
    }
    Ok(row)
}

fn target(profile: &str) -> String {
    format!("target/profiles/{}", profile.replace(", ", "-").replace(' ', "-"))
}

/// The function against hello-world.
fn compared(folder: &str) -> anyhow::Result<Value> {
    let mut command = std::process::Command::new("target/release/cold-start");
    let output = command.args(["--in", folder]).stderr(Stdio::inherit()).output()?;
    serde_json::from_slice(&output.stdout).context("cold-start says nothing")
}

#[expect(clippy::disallowed_methods, reason = "a chore, not the service")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// What ended children, and theirs, have used, in user and system mode.
fn cpu_seconds_of_children() -> anyhow::Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").context("this needs Linux")?;
    // The name before it may hold anything. Fields 16 and 17 of proc_pid_stat(5); after the name comes the third.
    let fields = stat.rsplit_once(')').context("a name in brackets")?.1.split_whitespace().skip(13).take(2);
    let mut ticks = 0.0;
    for field in fields {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks / TICKS_PER_SECOND)
}

fn report(rows: &[Value]) -> anyhow::Result<()> {
    std::fs::create_dir_all("target/bench")?;
    std::fs::write("target/bench/profiles.json", format!("{:#}\n", json!(rows)))?;
    Ok(())
}

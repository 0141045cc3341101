//! Measures of several rounds, and what they are made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::bail;
use serde_json::{Value, json};

/// What was measured, by what it is.
#[derive(Debug, Default)]
pub struct Measured(BTreeMap<String, Vec<f64>>);

impl Measured {
    /// One measure more, which is printed too.
    pub fn add(&mut self, what: impl Into<String>, value: f64) {
        let what = what.into();
        println!("{value:>14.3} {what}");
        self.0.entry(what).or_default().push(value);
    }

    /// The median of all rounds.
    pub fn median(&self, what: &str) -> f64 {
        let mut values = self.0.get(what).cloned().unwrap_or_default();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// All medians, one a line.
    pub fn print(&self) {
        for what in self.0.keys() {
            println!("{:>10.3} {what}", self.median(what));
        }
    }

    /// Writes what there is, with the machine's load before and after, and says which goals are missed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn report(&self, file: &Path, rounds: usize, load: [String; 2], missed: &[String]) -> anyhow::Result<ExitCode> {
        println!("medians of {rounds} rounds, load {load:?}");
        let medians: BTreeMap<&String, f64> = self.0.keys().map(|what| (what, self.median(what))).collect();
        let report = json!({ "medians": medians, "rounds": self.0, "n": rounds, "load": load, "missed": missed });
        std::fs::write(file, format!("{report:#}\n"))?;
        for missed in missed {
            println!("missed: {missed}");
        }
        Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// How busy the machine is.
pub fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

/// An empty folder.
///
/// # Errors
/// It cannot be made.
pub fn fresh(scratch: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let directory = scratch.join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Runs a part in a process of its own; what it prints.
///
/// # Errors
/// It fails.
pub fn report_of(command: &mut Command) -> anyhow::Result<Value> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A number of a report.
pub fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or(f64::NAN)
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "it measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Of a process, or of `self`, in user and system mode.
pub fn cpu_seconds(process: &str) -> f64 {
    // Clock ticks are hundredths of a second on every Linux that matters.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

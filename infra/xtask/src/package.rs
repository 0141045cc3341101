//! `cargo xtask package`: `sam build`, and whether what it builds would start on Lambda.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

use crate::{environment, run};

/// Amazon Linux 2023, which `provided.al2023` is, has this version of the C library.
const GLIBC: (u32, u32) = (2, 34);

const OUTPUT: &str = "target/sam-build";

#[derive(Debug, Args)]
pub(crate) struct Package {
    /// The processor; this machine's unless given. For another one, `rustup target add` its target first.
    #[arg(long, value_enum, default_value = OWN)]
    architecture: Architecture,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Architecture {
    #[value(name = "arm64")]
    Arm64,
    #[value(name = "x86_64")]
    X86_64,
}

const OWN: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };

impl Architecture {
    /// The template's name of it, and ELF's (`e_machine`).
    fn names(self) -> (&'static str, u16) {
        match self {
            Self::Arm64 => ("arm64", 183),
            Self::X86_64 => ("x86_64", 62),
        }
    }
}

impl Package {
    /// For the processor of this machine.
    pub(crate) fn own() -> anyhow::Result<Self> {
        let architecture = Architecture::from_str(OWN, false).map_err(anyhow::Error::msg)?;
        Ok(Self { architecture })
    }

    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let (architecture, machine) = self.architecture.names();
        let (lint, runtime) = (installed("lint")?, installed("runtime")?);
        let path = environment("PATH").unwrap_or_default();
        let mut sam = Command::new(format!("{lint}/bin/python"));
        sam.arg(format!("{lint}/bin/sam")).args(["build", "--build-dir", OUTPUT]);
        sam.args(["--parameter-overrides", &format!("Architecture={architecture}")]);
        // cargo-lambda finds Zig in the Python that is on the path.
        sam.env("PATH", format!("{runtime}/bin:{path}")).env("SAM_CLI_TELEMETRY", "0");
        sam.env("CARGO_TARGET_DIR", std::env::current_dir()?.join("target/sam"));
        run(&mut sam)?;
        let binaries = binaries()?;
        for binary in &binaries {
            let file = format!("{OUTPUT}/{}Function/bootstrap", pascal(binary));
            let bytes = std::fs::read(&file).with_context(|| format!("{binary} has no {file}"))?;
            ensure!(bytes.starts_with(b"\x7fELF"), "{file} is no executable");
            ensure!(bytes.get(18..20) == Some(&machine.to_le_bytes()), "{file} is not for {architecture}");
            let glibc = glibc(&bytes).with_context(|| format!("{file} needs no C library"))?;
            ensure!(
                glibc <= GLIBC,
                "{file} needs GLIBC {}.{}, and Lambda has {}.{}",
                glibc.0,
                glibc.1,
                GLIBC.0,
                GLIBC.1
            );
            println!("{file}: {} bytes, GLIBC {}.{}", bytes.len(), glibc.0, glibc.1);
        }
        println!("{} functions for {architecture}", binaries.len());
        Ok(())
    }
}

/// The latest version of the C library of which it needs something: the names are in its table of strings.
fn glibc(binary: &[u8]) -> Option<(u32, u32)> {
    const PREFIX: &[u8] = b"\0GLIBC_";
    let starts = binary.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    let version = |at: usize| {
        let name = binary.get(at + PREFIX.len()..)?.split(|byte| *byte == 0).next()?;
        let (major, minor) = std::str::from_utf8(name).ok()?.split_once('.')?;
        // Some have a third number.
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    };
    starts.filter_map(|(at, _)| version(at)).max()
}

/// Where a peer is, which is installed if need be.
pub(crate) fn installed(what: &str) -> anyhow::Result<String> {
    let output = Command::new("infra/peers/install").arg(what).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "infra/peers/install {what} did not succeed, for the reason above");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn binaries() -> anyhow::Result<Vec<String>> {
    let mut binaries = Vec::new();
    for package in ["endpoint-lambdas", "activity-lambdas", "event-lambdas"] {
        for file in std::fs::read_dir(Path::new("functions").join(package).join("src/bin"))? {
            let file = file?.path();
            binaries.push(file.file_stem().context("a source has a name")?.to_string_lossy().into_owned());
        }
    }
    binaries.sort();
    Ok(binaries)
}

fn pascal(kebab: &str) -> String {
    let word = |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    kebab.split('-').map(|part| -> String { word(part) }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_latest_version_of_the_c_library_counts() {
        let names = b"\0__libc_start_main\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0";
        assert_eq!(super::glibc(names), Some((2, 34)));
        assert_eq!(super::glibc(b"\0no_libc\0"), None);
    }

    #[test]
    fn names_of_functions() {
        assert_eq!(super::pascal("start-user-onboarding"), "StartUserOnboarding");
    }
}

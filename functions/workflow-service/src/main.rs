//! `workflow-service`: the server, the trial, and an operator's commands.

mod commands;
mod logging;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser as _;
use commands::exit::{self, Exit};
use commands::output::{Output, say};

/// Executions are many small values, made and dropped all the time: a transition costs half of what it costs with the
/// C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match commands::Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => return show(&shown),
    };
    if let Err(error) = logging::start(cli.json_logs) {
        say(format!("error: {error:#}"));
        return Exit::WrongUsage.into();
    }
    let mut output = Output::of_process();
    let ended = cli.run(&mut output).await;
    let written = output.flush();
    match ended.and_then(|code| written.map(|()| code)) {
        Ok(code) => code,
        Err(error) => {
            say(format!("error: {error:#}"));
            exit::of(&error).into()
        }
    }
}

/// Help and version go to standard output, what is wrong with the arguments to standard error.
fn show(shown: &clap::Error) -> ExitCode {
    match shown.print() {
        Err(error) if !shown.use_stderr() && error.kind() != ErrorKind::BrokenPipe => {
            say(format!("error: cannot write to standard output: {error}"));
            Exit::Failed.into()
        }
        _ if shown.use_stderr() => Exit::WrongUsage.into(),
        _ => Exit::Done.into(),
    }
}

//! The program `burnrec` as a function, for the program itself and for the Python package, which brings it: reads the command
//! line, calls the library, prints.
//!
//! Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130
//! interrupted: a signal stopped training, and stderr says how to go on, or a second signal ended the program at once.

use std::io::Write;

use clap::Parser;

use crate::cli::{Cli, Command, LogFormat};
pub use crate::start::Start;
use crate::{commands, interrupt, start};

/// The names and texts of the configs of `burnrec demo`; the first is that of its bench.
pub const DEMO_CONFIGS: [(&str, &str); 8] = commands::demo::CONFIGS;

/// What a command does, as far as its memory is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It ends.
    Ending,
    /// It answers requests for months.
    Serving,
}

/// Runs the program and returns its exit code. `begin` is called once the command is known. Signals are handled from then on,
/// for as long as the process lives.
pub fn main(started: Start, begin: impl FnOnce(Work)) -> u8 {
    let start = start::keep(started);
    let code = match Cli::try_parse_from(&start.words) {
        Ok(cli) => {
            begin(if matches!(cli.command, Command::Serve(_) | Command::Jobs(_)) {
                Work::Serving
            } else {
                Work::Ending
            });
            run(cli)
        }
        Err(usage) => {
            // An error here would say that nobody reads the message.
            let _ = usage.print();
            u8::try_from(usage.exit_code()).unwrap_or(2)
        }
    };
    // Rust's runtime does this at the end of a process that it has started, which this one may not be.
    let _ = std::io::stdout().flush();
    code
}

fn run(cli: Cli) -> u8 {
    let logs_json = logs_json(&cli.command);
    match commands::run(cli) {
        Ok(()) => 0,
        Err(error) if is_closed_pipe(&error) => 0,
        Err(error) if interrupt::is_cause_of(&error) => {
            eprintln!("{error}");
            interrupt::EXIT_CODE
        }
        Err(error) => {
            match logs_json {
                true => tracing::error!("{}", told(&error)),
                false => eprintln!("error: {}", told(&error)),
            }
            1
        }
    }
}

/// Returns whether all that stderr gets is to be JSON.
fn logs_json(command: &Command) -> bool {
    let format = match command {
        Command::Serve(args) => args.server.log,
        Command::Replay(args) => args.server.log,
        Command::Drain(args) => args.server.log,
        Command::Erase(args) => args.person.log,
        Command::ExportUser(args) => args.person.log,
        Command::Jobs(args) => args.server.log,
        Command::Repartition(args) => args.server.log,
        _ => LogFormat::Text,
    };
    format == LogFormat::Json
}

/// Returns the message of an error and of its causes, each text once: many errors repeat that of their cause.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text
}

/// Returns whether the reader of stdout, such as `head`, has closed the pipe, which is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

//! The `burnrec` program: reads the command line, calls the crates, prints.
//!
//! Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130
//! interrupted: a signal stopped training, and stderr says how to go on, or a second signal ended the program at once.

mod cli;
mod commands;
mod interrupt;
mod layers;
mod progress;
mod show;
mod tracking;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, LogFormat};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Makes the allocator keep freed memory for the next tensor, unless `MIMALLOC_PURGE_DELAY` says otherwise: returning
/// it to the system between training steps costs half of a step in page faults. `serve`, which runs for months, returns
/// what it has not used for 5 s: at 200 ms, a busy service clears returned pages anew for a tenth of its time.
fn keep_freed_memory(command: &Command) {
    // The number of `mi_option_purge_delay` in mimalloc.h. The delay is in milliseconds; -1 means never.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    let delay = if matches!(command, Command::Serve(_)) { 5000 } else { -1 };
    // SAFETY: sets a number that the allocator reads.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, delay) }
}

/// Returns whether all that stderr gets is to be JSON.
fn logs_json(command: &Command) -> bool {
    let format = match command {
        Command::Serve(args) => args.server.log,
        Command::Replay(args) => args.server.log,
        Command::Drain(args) => args.server.log,
        Command::Jobs(args) => args.server.log,
        Command::Repartition(args) => args.server.log,
        _ => LogFormat::Text,
    };
    format == LogFormat::Json
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    keep_freed_memory(&cli.command);
    let logs_json = logs_json(&cli.command);
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if interrupt::is_cause_of(&error) => {
            eprintln!("{error}");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            match logs_json {
                true => tracing::error!("{}", told(&error)),
                false => eprintln!("error: {}", told(&error)),
            }
            ExitCode::FAILURE
        }
    }
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

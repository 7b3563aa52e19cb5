//! `--mlflow`: what a command tells a tracking server. A server that does not answer before the work begins ends the command;
//! one that fails later is named on stderr, and what was computed stays.

use std::path::Path;

use anyhow::Result;
use burnrec::interchange::mlflow::{Run, Server, Status};
use serde_json::Value;

use crate::cli::Tracking;
use crate::interrupt;

/// Begins the run of a command, where one was asked for, with the directory that it writes and these settings.
pub fn begin(
    args: &Tracking,
    name: &str,
    out: &Path,
    tags: &[(&str, String)],
    settings: &Value,
) -> Result<Option<Run>> {
    let Some(address) = &args.mlflow else { return Ok(None) };
    let server = Server::from_env(address)?;
    let dir = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    let tags = [tags, &[("burnrec.dir", dir.display().to_string())]].concat();
    let run = Run::begin(&server, &args.experiment, name, &tags)?;
    if let Err(error) = run.params(settings) {
        // It is there, and would seem to be running for ever.
        warn(run.end(Status::Failed));
        return Err(error.into());
    }
    eprintln!("MLflow: run {} of experiment {:?} on {}", run.id(), args.experiment, server.address());
    Ok(Some(run))
}

/// Ends the run of a command as the command ended.
pub fn end<T>(run: Option<Run>, outcome: &Result<T>) {
    let status = match outcome {
        Ok(_) => Status::Finished,
        Err(error) if interrupt::is_cause_of(error) => Status::Killed,
        Err(_) => Status::Failed,
    };
    if let Some(run) = run {
        warn(run.end(status));
    }
}

/// Says that something is not on the server; what it is about is done all the same.
pub fn warn(sent: burnrec::Result<()>) {
    if let Err(error) = sent {
        eprintln!("warning: not all of it is on the tracking server: {error}");
    }
}

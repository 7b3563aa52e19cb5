//! `jobs`: commands that come over REST or by a schedule, until a signal stops it.

use std::path::Path;

use anyhow::{Context, Result};
use burnrec::serve::jobs::{JobServer, JobsConfig};

use super::serve::{log, teller};
use crate::cli::Jobs;
use crate::layers::table;
use crate::{interrupt, program};

/// Reads a config file, overridden by the environment and by the `--set` settings.
pub fn read(file: &Path, set: &[String]) -> Result<JobsConfig> {
    let named = || file.display().to_string();
    let config: JobsConfig = table(file, set)?.try_into().with_context(named)?;
    config.validate().with_context(named)?;
    Ok(config)
}

pub fn run(args: Jobs) -> Result<()> {
    log(args.log)?;
    let tell = teller(args.log);
    let server = JobServer::open(read(&args.config, &args.settings.set)?, program::start().program.clone())?;
    interrupt::install_telling(tell)?;
    let (scheme, address) = server.address();
    tell(&format!("jobs on {scheme}://{address}; Ctrl-C stops, and jobs that run go on"));
    Ok(server.run(&interrupt::asked)?)
}

//! `jobs`: commands that come over REST or by a schedule, until a signal stops it.

use std::path::Path;

use anyhow::{Context, Result};
use burnrec::serve::jobs::{JobServer, JobsConfig};

use super::serve::{log, teller};
use crate::cli::Jobs;
use crate::layers::{Overrides, given, variables};
use crate::{interrupt, start};

/// Reads a config file with the settings that are given.
pub fn read(file: &Path, given: &Overrides) -> Result<JobsConfig> {
    let named = || file.display().to_string();
    let config: JobsConfig = given.table(file)?.try_into().with_context(named)?;
    config.validate().with_context(named)?;
    Ok(config)
}

pub fn run(args: Jobs) -> Result<()> {
    let args = args.server;
    log(args.log)?;
    let tell = teller(args.log);
    let config = read(&args.config, &given(&args.settings.set)?)?;
    let own = variables().map(|(name, _)| name).collect();
    let server = JobServer::open(config, start::get().program.clone(), own)?;
    interrupt::install_telling(tell)?;
    let (scheme, address) = server.address();
    tell(&format!("jobs on {scheme}://{address}; Ctrl-C stops, and jobs that run go on"));
    Ok(server.run(&interrupt::asked)?)
}

//! The command line of the scoring service.

use std::path::PathBuf;

use burnrec::serve::config::Start;
use clap::{Args, ValueEnum};

use super::Settings;

#[derive(Args)]
pub struct ServeConfigArgs {
    /// The config file; configs/serve.toml explains every key.
    pub config: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
    /// How logs look.
    #[arg(long, default_value = "text")]
    pub log: LogFormat,
}

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    pub serve: ServeConfigArgs,
    /// Where a group that has committed no offset begins: earliest, latest, ts=UNIX_MS, last=1h, offsets=0:17,1:4.
    #[arg(long)]
    pub from: Option<String>,
}

#[derive(Args)]
pub struct Replay {
    #[command(flatten)]
    pub serve: ServeConfigArgs,
    /// What was rejected, in place of the requests.
    #[arg(long)]
    pub rejects: bool,
    /// Where to begin: committed (where the last replay ended), earliest, latest, ts=UNIX_MS, last=1h, offsets=0:17,1:4.
    #[arg(long, default_value = "committed")]
    pub from: Start,
    /// Where to end, likewise; latest is the end as it is now.
    #[arg(long, default_value = "latest")]
    pub to: Start,
    /// Print how the events ended as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Repartition {
    #[command(flatten)]
    pub serve: ServeConfigArgs,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Drain {
    #[command(flatten)]
    pub serve: ServeConfigArgs,
    /// The directory of Parquet files to add to; it is made where it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Jobs {
    /// The config file; configs/jobs.toml explains every key.
    pub config: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
    /// How logs look.
    #[arg(long, default_value = "text")]
    pub log: LogFormat,
}

#[derive(Args)]
pub struct Job {
    /// The directory of the job.
    pub dir: PathBuf,
}

/// How logs look.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

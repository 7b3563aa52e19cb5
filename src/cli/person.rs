//! The command line of what is held of one person.

use std::path::PathBuf;

use clap::Args;

use super::{LogFormat, Settings};

/// Where to look.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub struct Places {
    /// The config of a service: the user's histories in its state topic. May be given several times, as all of these.
    #[arg(long, value_name = "CONFIG")]
    pub service: Vec<PathBuf>,
    /// A directory of events that `drain` writes.
    #[arg(long, value_name = "DIR")]
    pub events: Vec<PathBuf>,
    /// A directory that `prepare` wrote.
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// A run directory, and the runs that it takes its scores from.
    #[arg(long, value_name = "DIR")]
    pub run: Vec<PathBuf>,
    /// A directory of releases: all that are in it.
    #[arg(long, value_name = "DIR")]
    pub releases: Vec<PathBuf>,
}

/// Of whom, and where.
#[derive(Args)]
pub struct Person {
    /// The user's id.
    #[arg(long, allow_hyphen_values = true)]
    pub user: String,
    #[command(flatten)]
    pub places: Places,
    #[command(flatten)]
    pub settings: Settings,
    /// How logs look.
    #[arg(long, default_value = "text")]
    pub log: LogFormat,
}

#[derive(Args)]
pub struct Erase {
    #[command(flatten)]
    pub person: Person,
    /// Only say what the places hold.
    #[arg(long)]
    pub dry_run: bool,
    /// How many seconds the service has to confirm that it has forgotten the user.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub wait_s: u64,
    /// Who does it, for the logs of releases; the user of this shell by default.
    #[arg(long, env = "USER", default_value = "unknown")]
    pub by: String,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct ExportUser {
    #[command(flatten)]
    pub person: Person,
    /// The file to write, in place of stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

//! The command line of releases.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Device, Settings};

#[derive(Args)]
pub struct Release {
    #[command(subcommand)]
    pub act: ReleaseAct,
}

#[derive(Subcommand)]
pub enum ReleaseAct {
    /// Add a saved run as a release, which serves nothing until it is promoted.
    Publish {
        /// A run directory.
        run: PathBuf,
        /// The directory of releases; it is made where it is not there.
        dir: PathBuf,
        #[command(flatten)]
        by: By,
    },
    /// List the releases, with their scores on test.
    List {
        /// The directory of releases.
        dir: PathBuf,
        /// All that was ever done, in order.
        #[arg(long)]
        log: bool,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Serve a release from now on: services that serve DIR/promoted take it up.
    Promote {
        /// The directory of releases.
        dir: PathBuf,
        /// The number of the release.
        release: u32,
        #[command(flatten)]
        by: By,
    },
    /// Serve the release again that was promoted before the present one.
    Rollback {
        /// The directory of releases.
        dir: PathBuf,
        #[command(flatten)]
        by: By,
    },
    /// Remove old releases, but never the one that serves nor the one that a rollback would serve.
    Prune {
        /// The directory of releases.
        dir: PathBuf,
        /// How many of the newest to keep.
        #[arg(long)]
        keep: usize,
        #[command(flatten)]
        by: By,
    },
}

#[derive(Args)]
pub struct Retrain {
    /// The config file; configs/retrain.toml explains every key.
    pub config: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub device: Device,
    #[command(flatten)]
    pub by: By,
    /// Print what the gate found as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct By {
    /// Who does it, for the log; the user of this shell by default.
    #[arg(long, env = "USER", default_value = "unknown")]
    pub by: String,
    /// Why, for the log.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
}

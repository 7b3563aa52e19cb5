//! The command line of `bench` and `report`.

use std::path::PathBuf;

use burnrec_bench::record::Task;
use clap::Args;

use super::{Device, Tracking};

#[derive(Args)]
pub struct Bench {
    /// The config file, such as configs/bench.toml.
    pub config: PathBuf,
    /// A ratings file or a directory with one.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Directory for splits, runs, records and the report. One that has records of the same bench goes on.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The first seed alone with what the config calls quick, and no search of settings: about a minute.
    #[arg(long)]
    pub quick: bool,
    /// The first so many seeds of the config alone.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub seeds: Option<u16>,
    /// Run the cases of peers too: implicit, Spark, PyTorch. PYTHON names the interpreter that has
    /// benches/peers/requirements.txt.
    #[arg(long)]
    pub peers: bool,
    /// Take the settings as they stand in the config, and search none on this data.
    #[arg(long)]
    pub no_tune: bool,
    /// Begin anew where another bench is.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub tracking: Tracking,
    #[command(flatten)]
    pub device: Device,
}

#[derive(Args)]
pub struct Report {
    /// Directories of benches. Several make one report.
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,
    /// Directory to write the report into; the first of the others by default.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// One case of a bench, in a process of its own.
#[derive(Args)]
pub struct BenchCase {
    /// The directory of the bench.
    pub dir: PathBuf,
    /// What is asked.
    pub task: Task,
    /// The seed of the split.
    pub seed: u64,
    /// The name of the case.
    pub case: String,
}

//! The command line as types.

mod bench;
mod ctl;
mod interchange;
mod person;
mod prepare;
mod release;
mod serve;

use std::path::PathBuf;

use burnrec::models::DeviceChoice;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use bench::{Bench, BenchCase, Report};
pub use ctl::{Again, Ctl, CtlAct, Events, Note, Wish};
pub use interchange::{Export, ExportFormat, Graph, Import, Tracking};
pub use person::{Erase, ExportUser, Person};
pub use prepare::{FilterAndSplit, Input, Prepare, SplitKind};
pub use release::{By, Release, ReleaseAct, Retrain};
pub use serve::{Drain, Job, Jobs, LogFormat, Repartition, Replay, Serve};

/// Recommenders trained, judged side by side, and served.
#[derive(Parser)]
#[command(name = "burnrec", version, long_version = long_version(), about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Threads to compute with; all cores by default.
    #[arg(long, global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Download a MovieLens dataset into the cache and print where it is.
    Fetch(Fetch),
    /// Make synthetic ratings with the shape of a known dataset.
    Synth(Synth),
    /// Read ratings, filter and split them, and save the split.
    Prepare(Prepare),
    /// Train the model of a config and judge it.
    Train(Train),
    /// Search for the best settings of a model, judging each trial on valid.
    Tune(Tune),
    /// Judge a trained model again.
    Evaluate(Evaluate),
    /// Recommend items to one user, or to all.
    Recommend(Recommend),
    /// Score pairs of users and items.
    Score(Score),
    /// List the items most like one.
    Similar(Similar),
    /// Write a run for other programs: factors as Parquet, Spark's ALS, ONNX, MLflow, the Hugging Face Hub.
    Export(Export),
    /// Make a run of a model that Spark's ALS saved.
    Import(Import),
    /// Score events from Kafka and HTTP until Ctrl-C.
    Serve(Serve),
    /// Change a service while it runs: versions of its config, pause, roll back; and make the tokens for it.
    Ctl(Ctl),
    /// Answer a range of events, or what was rejected, again.
    Replay(Replay),
    /// Add the events of the topics to files that training reads, each once.
    Drain(Drain),
    /// Move users' histories to where their events come, after topics have got more partitions.
    Repartition(Repartition),
    /// Train a model anew on what came since, judge it beside the one that serves, and promote it if it is not worse.
    Retrain(Retrain),
    /// Keep the versions of a model, and say which of them serves.
    Release(Release),
    /// Erase a user: the history in a service, drained events, prepared data, runs and releases.
    Erase(Erase),
    /// Write all that these places hold of a user, as JSON.
    ExportUser(ExportUser),
    /// Train every model of a config on the same splits, judge them side by side, and write the report.
    Bench(Bench),
    /// Write the report of one or several benches again, from their records.
    Report(Report),
    /// One case of a bench; `bench` starts it.
    #[command(hide = true)]
    BenchCase(BenchCase),
    /// Run commands of burnrec that come over REST or by a schedule, as Apache Livy runs batches.
    Jobs(Jobs),
    /// One job; `jobs` starts it.
    #[command(hide = true)]
    Job(Job),
    /// Check a config file, of a training, a search, a bench, the service or a retraining, and print it with every default.
    Check(Check),
    /// Show the whole thing on synthetic data, or on yours, in about a minute.
    Demo(Demo),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
pub struct Fetch {
    /// ml-100k, ml-1m, ml-latest-small, ml-20m, ml-25m or ml-32m.
    pub name: String,
    /// Another address to load from, in place of GroupLens.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Where to keep it; the user's cache by default.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

#[derive(Args)]
pub struct Synth {
    /// Take the size of this dataset: ml-100k, ml-1m or ml-20m.
    #[arg(long, required_unless_present_all = ["users", "items", "rows"], conflicts_with_all = ["users", "items", "rows"])]
    pub like: Option<String>,
    /// Number of users.
    #[arg(long)]
    pub users: Option<u32>,
    /// Number of items.
    #[arg(long)]
    pub items: Option<u32>,
    /// Number of rating rows.
    #[arg(long)]
    pub rows: Option<u32>,
    /// Another seed gives other data.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Directory to write `ratings.csv` and `movies.csv` into.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct Settings {
    /// Set a key of the config: `--set dim=64`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Args)]
pub struct Train {
    /// The config file.
    pub config: PathBuf,
    /// A directory that `prepare` wrote.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The run directory to write.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub device: Device,
    /// Replace a run that is already there.
    #[arg(long)]
    pub force: bool,
    /// Go on after the newest checkpoint of a run that was stopped; without one, start from the first epoch.
    #[arg(long, conflicts_with = "force")]
    pub resume: bool,
    #[command(flatten)]
    pub tracking: Tracking,
    /// Print the record as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Tune {
    /// A config file with a table `[search]`.
    pub config: PathBuf,
    /// A directory that `prepare` wrote.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Directory for the trials and `best.toml`; a search that is there goes on where it was.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub device: Device,
    /// Throw away the trials that are already there.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub tracking: Tracking,
    /// Print all trials, the best first, as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Copy)]
pub struct Device {
    /// auto, cpu, gpu or gpu:N.
    #[arg(long = "device", default_value = "auto")]
    pub choice: DeviceChoice,
}

/// One of the two holdouts.
#[derive(Clone, Copy, ValueEnum)]
pub enum On {
    /// The one that settings are chosen on.
    Valid,
    /// The one that is touched once.
    Test,
}

#[derive(Args)]
pub struct Evaluate {
    /// A run directory.
    pub run: PathBuf,
    /// The prepared data; where the run was trained by default.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Which holdout.
    #[arg(long, default_value = "test")]
    pub on: On,
    #[command(flatten)]
    pub device: Device,
    /// Print the scores as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Recommend {
    /// A run directory.
    pub run: PathBuf,
    /// The user's id.
    #[arg(long, allow_hyphen_values = true, required_unless_present = "all")]
    pub user: Option<String>,
    /// For every user, into a file.
    #[arg(long, conflicts_with = "user", requires = "out")]
    pub all: bool,
    /// The file to write: Parquet or CSV, by its ending.
    #[arg(long, value_name = "FILE", requires = "all")]
    pub out: Option<PathBuf>,
    /// How many items.
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub k: u32,
    /// Also items that the user has seen.
    #[arg(long)]
    pub include_seen: bool,
    /// Only these items: ids with commas between, or `@FILE` with one a line, or a column of items in CSV, TSV or Parquet.
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    pub only: Option<String>,
    /// None of these items, known or not: likewise.
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    pub without: Option<String>,
    #[command(flatten)]
    pub device: Device,
    /// Print as one JSON object.
    #[arg(long, conflicts_with = "all")]
    pub json: bool,
}

#[derive(Args)]
pub struct Score {
    /// A run directory.
    pub run: PathBuf,
    /// A CSV or Parquet file with a user and an item column.
    #[arg(long, value_name = "FILE")]
    pub pairs: PathBuf,
    /// The file to write: Parquet or CSV, by its ending.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    #[command(flatten)]
    pub device: Device,
}

#[derive(Args)]
pub struct Similar {
    /// A run directory.
    pub run: PathBuf,
    /// The item's id.
    #[arg(long, allow_hyphen_values = true)]
    pub item: String,
    /// How many items.
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub k: u32,
    #[command(flatten)]
    pub device: Device,
    /// Print as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Check {
    /// The config file.
    pub config: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Args)]
pub struct Demo {
    /// Your ratings, in place of synthetic ones.
    #[arg(long, value_name = "PATH")]
    pub ratings: Option<PathBuf>,
    /// Keep the runs in this directory.
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    pub out: PathBuf,
    #[command(flatten)]
    pub device: Device,
}

/// The version with those of the libraries that numbers and messages depend on.
fn long_version() -> &'static str {
    static VERSION: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let kafka = burnrec::serve::kafka_client_version();
    let burn = burnrec::models::BURN_VERSION;
    VERSION.get_or_init(|| format!("{}\nburn {burn}, librdkafka {kafka}", env!("CARGO_PKG_VERSION")))
}

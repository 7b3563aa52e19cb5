//! One file per subcommand.

mod bench;
mod demo;
mod evaluate;
mod export;
mod prepare;
mod recommend;
mod replay;
mod score;
mod serve;
mod similar;
mod source;
mod train;
mod tune;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use burnrec::models::Compute;
use burnrec::{DeviceChoice, Recommender, device};
use burnrec_bench::bench::cluster::ClusterConfig;
use clap::CommandFactory;

use crate::cli::{Cli, Command};
use crate::show;

/// Opens a saved run, and says on stderr which device a network scores on.
fn open(run: &Path, choice: DeviceChoice) -> Result<Recommender> {
    let recommender = Recommender::open_on(run, choice)?;
    if recommender.model.config().scores_on() == Compute::Device {
        // Opening a device again gives the same one.
        eprintln!("{}", show::device(&device::open(choice)?.name, None));
    }
    Ok(recommender)
}

/// Runs the subcommand.
pub fn run(cli: Cli) -> Result<()> {
    if let Some(threads) = cli.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        pool.build_global().context("cannot start the threads")?;
    }
    ClusterConfig::register()?;
    match cli.command {
        Command::Fetch(args) => source::fetch(args),
        Command::Synth(args) => source::synth(args),
        Command::Prepare(args) => prepare::run(args),
        Command::Train(args) => train::run(args),
        Command::Tune(args) => tune::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Recommend(args) => recommend::run(args),
        Command::Score(args) => score::run(args),
        Command::Similar(args) => similar::run(args),
        Command::Export(args) => export::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Report(args) => bench::report_of(args),
        Command::BenchCase(args) => bench::case(args),
        Command::Check(args) => train::check(args),
        Command::Demo(args) => demo::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "burnrec", &mut script);
            Ok(std::io::stdout().write_all(&script)?)
        }
    }
}

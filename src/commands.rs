//! One file per subcommand.

mod bench;
mod check;
mod ctl;
pub mod demo;
mod drain;
mod evaluate;
mod export;
mod jobs;
mod opening;
mod person;
mod prepare;
mod recommend;
mod release;
mod repartition;
mod replay;
mod retrain;
mod score;
mod serve;
mod similar;
mod source;
mod train;
mod tune;

use std::io::Write;

use anyhow::{Context, Result};
use burnrec_bench::bench::cluster::ClusterConfig;
use clap::CommandFactory;

use crate::cli::{Cli, Command};
use crate::start;

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
        Command::Import(args) => export::import(args),
        Command::Serve(args) => serve::run(args),
        Command::Ctl(args) => ctl::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Drain(args) => drain::run(args),
        Command::Repartition(args) => repartition::run(args),
        Command::Retrain(args) => retrain::run(args),
        Command::Release(args) => release::run(args),
        Command::Erase(args) => person::erase(args),
        Command::ExportUser(args) => person::export(args),
        Command::Bench(args) => bench::run(args),
        Command::Report(args) => bench::report_of(args),
        Command::Jobs(args) => jobs::run(args),
        Command::Job(args) => Ok(burnrec::serve::jobs::supervise(args.dir, &start::get().program)?),
        Command::BenchCase(args) => bench::case(args),
        Command::Check(args) => check::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "burnrec", &mut script);
            Ok(std::io::stdout().write_all(&script)?)
        }
    }
}

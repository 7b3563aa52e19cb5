//! One file per subcommand.

mod bench;
mod ctl;
pub mod demo;
mod drain;
mod evaluate;
mod export;
mod jobs;
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
use std::path::Path;

use anyhow::{Context, Result};
use burnrec::models::Compute;
use burnrec::{DeviceChoice, Recommender, device};
use burnrec_bench::bench::cluster::ClusterConfig;
use clap::CommandFactory;

use crate::cli::{Cli, Command};
use crate::{program, show};

/// The pairs that a network scores on the CPU in about the time in which a card is opened and its kernels are compiled.
const FEW_PAIRS: usize = 1 << 24;

/// Opens a saved run to score so many pairs, and says on stderr which device a network scores on: by `auto` few pairs are
/// scored on the CPU.
fn open(run: &Path, choice: DeviceChoice, n_pairs: usize) -> Result<Recommender> {
    let choice = for_pairs(choice, n_pairs);
    let recommender = Recommender::open_on(run, choice)?;
    if recommender.model.config().scores_on() == Compute::Device {
        // Opening a device again gives the same one.
        eprintln!("{}", show::device(&device::open(choice)?.name, None));
    }
    Ok(recommender)
}

/// Returns the device to score so many pairs on.
fn for_pairs(choice: DeviceChoice, n_pairs: usize) -> DeviceChoice {
    if choice == DeviceChoice::Auto && n_pairs < FEW_PAIRS { DeviceChoice::Cpu } else { choice }
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
        Command::Job(args) => Ok(burnrec::serve::jobs::supervise(args.dir, &program::start().program)?),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_scores_few_pairs_on_the_cpu() {
        let gpu = DeviceChoice::Gpu(None);
        assert_eq!(for_pairs(DeviceChoice::Auto, 3_000), DeviceChoice::Cpu);
        assert_eq!(for_pairs(DeviceChoice::Auto, 6_040 * 3_706), DeviceChoice::Auto);
        assert_eq!(for_pairs(gpu, 3_000), gpu);
    }
}

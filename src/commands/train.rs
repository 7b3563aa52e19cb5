//! `train` and `check`: a config, and what comes of it.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burnrec_bench::bench::plan::{BenchPlan, Extent};
use burnrec_data::Prepared;
use burnrec_models::DeviceChoice;
use burnrec_models::checkpoint::{self, Run};
use burnrec_models::device::{self, OpenDevice};
use burnrec_train::TrainConfig;
use burnrec_train::checkpoints::{self, Checkpoints};
use burnrec_train::record::{EpochLog, EpochRecord, Phase, RunRecord};
use burnrec_train::run::{Trained, run as run_config};

use crate::cli::{Check, Train};
use crate::interrupt;
use crate::layers::{overrides, serve_config, table, train_config, tune_config};
use crate::progress::Bars;
use crate::show;

pub fn check(args: Check) -> Result<()> {
    let (file, set) = (&args.config, &args.settings.set);
    let table = table(file, set)?;
    let has = |key: &str| table.contains_key(key);
    let text = if has("models") {
        toml::to_string(&serve_config(file, set)?)?
    } else if has("search") {
        toml::to_string(&tune_config(file, set)?.to_table())?
    } else if has("ranking") || has("rating") {
        toml::to_string(&BenchPlan::read(file, "auto", Extent { peers: true, ..Extent::default() })?)?
    } else {
        toml::to_string(&train_config(file, set)?.to_table())?
    };
    write!(std::io::stdout(), "{text}")?;
    Ok(())
}

pub fn run(args: Train) -> Result<()> {
    let config = train_config(&args.config, &args.settings.set)?;
    let data = Prepared::open(&args.data)?;
    let device = device_for(&config, args.device.choice)?;
    let begin = match (args.resume, args.force) {
        (true, _) => Begin::Resume,
        (false, true) => Begin::Replace,
        (false, false) => Begin::New,
    };
    interrupt::install()?;
    let record = match train(&data, &args.data, &config, &device, &args.out, begin) {
        Err(error) if interrupt::is_cause_of(&error) => {
            let how = how_to_go_on(&args.out)?;
            return Err(error.context(how));
        }
        other => other?,
    };
    if args.json {
        show::say(format_args!("{}", serde_json::to_string(&record)?))?;
    } else {
        print_record(&record, &config, &args.out)?;
    }
    Ok(())
}

/// What an interrupted run says last.
fn how_to_go_on(out: &Path) -> Result<String> {
    let settings = overrides().map(|(name, value)| format!("{name}={} ", show::quoted(&value)));
    let command = settings.collect::<String>() + &show::command_line(&["--force", "--resume"]);
    Ok(match checkpoints::newest(out)? {
        Some((phase, epoch, _)) => {
            format!("interrupted; {phase} epoch {epoch} is saved; go on with:\n{command} --resume")
        }
        None => format!("interrupted before there was a checkpoint; start again with:\n{command}"),
    })
}

/// The device for a config: the host for models that do not learn on Burn.
pub fn device_for(config: &TrainConfig, choice: DeviceChoice) -> Result<OpenDevice> {
    match (&config.burn, choice) {
        (None, DeviceChoice::Auto | DeviceChoice::Cpu) => Ok(device::open(DeviceChoice::Cpu)?),
        (None, _) => bail!("--device {choice}: {} computes on the CPU only", config.model.name()),
        (Some(_), choice) => {
            let device = device::open(choice)?;
            eprintln!("device: {}", device.name);
            Ok(device)
        }
    }
}

/// What to do about a run that is already there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Refuse to touch it.
    New,
    /// Start anew in its place.
    Replace,
    /// Go on after its newest checkpoint; start anew without one.
    Resume,
}

/// Trains and judges a config and saves the run, with a line on stderr and in `record.jsonl` for each epoch.
pub fn train(
    data: &Prepared,
    data_dir: &Path,
    config: &TrainConfig,
    device: &OpenDevice,
    out: &Path,
    begin: Begin,
) -> Result<RunRecord> {
    let (mut checkpoints, mut log) = open(data, config, device, out, begin)?;
    let bars = Bars::default();
    let mut run_bar = bars.run(config, checkpoints.newest());
    let mut on_epoch = |epoch: &EpochRecord| {
        bars.line(&epoch_line(config, epoch));
        run_bar.epoch(epoch);
        log.add(epoch)
    };
    let trained = run_config(data, config, device, Some(&mut checkpoints), &mut on_epoch, &bars)?;
    let Trained { model, chosen, seen, mut record } = trained;
    record.data.path = std::path::absolute(data_dir).ok();
    let run = Run {
        model,
        chosen,
        users: data.users.clone(),
        items: data.items.clone(),
        titles: data.titles.clone(),
        seen,
    };
    checkpoint::save(out, &run, record.data.clone(), serde_json::to_value(&record)?)?;
    checkpoints.clear()?;
    Ok(record)
}

/// The run directory, ready for the next epoch: its checkpoints, and its log up to the newest of them.
fn open(
    data: &Prepared,
    config: &TrainConfig,
    device: &OpenDevice,
    out: &Path,
    begin: Begin,
) -> Result<(Checkpoints, EpochLog)> {
    let lines = out.join("record.jsonl");
    if begin == Begin::Resume {
        if checkpoint::manifest(out).is_ok() {
            bail!(
                "{}: found a finished run, expected one that was stopped; --force trains it anew",
                out.display()
            );
        }
        if let Some(checkpoints) = Checkpoints::resume(out, config, data, device)? {
            let newest = checkpoints.newest().context("a run that goes on has a checkpoint")?;
            eprintln!("{}: goes on after {} epoch {}", out.display(), newest.phase, newest.epoch);
            if newest.device != checkpoints.device() {
                eprintln!(
                    "the checkpoint was made on {}; on {} the numbers may be others",
                    newest.device,
                    checkpoints.device()
                );
            }
            let log = EpochLog::up_to(&lines, newest.phase, newest.epoch)?;
            return Ok((checkpoints, log));
        }
        eprintln!("{}: no checkpoint to go on after; starts from the first epoch", out.display());
    }
    let replace = begin == Begin::Replace;
    checkpoint::make_room(out, replace)?;
    let checkpoints = Checkpoints::start(out, config, data, device, replace)?;
    Ok((checkpoints, EpochLog::create(&lines)?))
}

fn epoch_line(config: &TrainConfig, epoch: &EpochRecord) -> String {
    let metric = config.select_by();
    let of = match epoch.phase {
        Phase::Choose => format!("epoch {}/{}", epoch.epoch, config.run.epochs),
        Phase::Refit => format!("refit epoch {}", epoch.epoch),
    };
    let loss = epoch.loss.map(|loss| format!("  loss {loss:.5}")).unwrap_or_default();
    let valid = epoch.valid.as_ref().and_then(|scores| scores.value(metric));
    let valid = valid.map(|value| format!("  valid {metric} {value:.4}")).unwrap_or_default();
    let rate = epoch.samples_per_second / 1e6;
    format!("{} {of}{loss}{valid}  {:.2} s  {rate:.2} M samples/s", config.model.name(), epoch.seconds)
}

fn print_record(record: &RunRecord, config: &TrainConfig, out: &Path) -> Result<()> {
    let (valid, test) = (&record.metrics.valid, &record.metrics.test);
    let row =
        |&metric| vec![format!("{metric}"), show::interval(valid, metric), show::interval(test, metric)];
    let rows: Vec<Vec<String>> = test.metrics.keys().map(row).collect();
    let mut stdout = std::io::stdout().lock();
    let synthetic = if record.data.synthetic { " (synthetic)" } else { "" };
    writeln!(stdout, "{} on {}{synthetic}, {}", record.model, record.data.name, test.protocol)?;
    show::table(&mut stdout, &["metric", "valid [95 %]", "test [95 %]"], &rows)?;
    writeln!(
        stdout,
        "{} epochs, chosen by {} on valid; final fit {:.2} s on {}; {} weights; peak memory {:.0} MB",
        record.epochs,
        config.select_by(),
        record.fit_seconds,
        record.device,
        record.parameters,
        record.peak_memory_bytes as f64 / 1e6,
    )?;
    writeln!(stdout, "saved to {0}; next: burnrec recommend {0} --user ID", out.display())?;
    Ok(())
}

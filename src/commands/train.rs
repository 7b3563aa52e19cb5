//! `train`: trains the model of a config.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use burnrec::interchange::mlflow::{Run, Tracked};
use burnrec::train::checkpoints::{self, Manifest};
use burnrec::train::device::AutoDevice;
use burnrec::train::record::EpochRecord;
use burnrec::train::run_dir::Watch;
use burnrec::{Begin, DeviceChoice, Metric, Phase, Prepared, RunRecord, TrainConfig, Trained, Training};

use crate::cli::Train;
use crate::interrupt;
use crate::layers::{given, variables};
use crate::progress::{Bars, RunBar};
use crate::{show, tracking};

pub fn run(args: Train) -> Result<()> {
    let config = given(&args.settings.set)?.train_config(&args.config)?;
    let data = Prepared::open(&args.data)?;
    let begin = match (args.resume, args.force) {
        (true, _) => Begin::Resume,
        (false, true) => Begin::Replace,
        (false, false) => Begin::New,
    };
    interrupt::install()?;
    let name = format!("{} {}", config.model().kind(), args.out.display());
    let tags = data_tags(&data);
    let settings = serde_json::to_value(config.to_table())?;
    let mut tracked = tracking::begin(&args.tracking, &name, &args.out, &tags, &settings)?;
    let trained = train(&data, &args.data, &config, args.device.choice, (&args.out, begin), tracked.as_mut());
    if let (Some(run), Ok(trained)) = (&mut tracked, &trained) {
        tracking::warn(run.record(&trained.record));
    }
    tracking::end(tracked, &trained);
    let record = match trained {
        Err(error) if interrupt::is_cause_of(&error) => {
            let how = how_to_go_on(&args.out)?;
            return Err(error.context(how));
        }
        other => other?.record,
    };
    if args.json {
        show::say(format_args!("{}", serde_json::to_string(&record)?))?;
    } else {
        print_record(&record, &config, &args.out)?;
    }
    Ok(())
}

/// Returns the last message of an interrupted run: the epoch that is saved, and the command that resumes.
fn how_to_go_on(out: &Path) -> Result<String> {
    let settings = variables().map(|(name, value)| format!("{name}={} ", show::quoted(&value)));
    let settings: String = settings.collect();
    let command = |without: &[&str]| settings.clone() + &show::command_line(without);
    Ok(match checkpoints::newest(out)? {
        Some((phase, epoch, _)) => {
            let command = command(&["--force", "--resume"]);
            format!("interrupted; {phase} epoch {epoch} is saved; go on with:\n{command} --resume")
        }
        None => {
            format!(
                "interrupted before there was a checkpoint; start again with:\n{}",
                command(&["--resume"])
            )
        }
    })
}

/// Reports a run on stderr: a line for each epoch, and a bar for the whole run.
pub struct Told<'a> {
    config: &'a TrainConfig,
    out: &'a Path,
    begin: Begin,
    bars: &'a Bars,
    bar: Option<RunBar>,
}

impl<'a> Told<'a> {
    /// Makes the reporter of a run of `config` into the directory `out`.
    pub fn new(config: &'a TrainConfig, out: &'a Path, begin: Begin, bars: &'a Bars) -> Self {
        Self { config, out, begin, bars, bar: None }
    }
}

impl Watch for Told<'_> {
    fn begun(&mut self, resumed: Option<&Manifest>, device: &str, auto: Option<&AutoDevice>) {
        // `cpu` alone is plain code on the host, which is nothing to choose from.
        if device != "cpu" {
            eprintln!("{}", show::device(device, auto));
        }
        match resumed {
            Some(newest) => {
                eprintln!("{}: goes on after {} epoch {}", self.out.display(), newest.phase, newest.epoch);
                if newest.device != device {
                    let made = &newest.device;
                    eprintln!("the checkpoint was made on {made}; on {device} the numbers may be others");
                }
            }
            None if self.begin == Begin::Resume => {
                eprintln!(
                    "{}: no checkpoint to go on after; starts from the first epoch",
                    self.out.display()
                );
            }
            None => {}
        }
        self.bar = Some(self.bars.run(self.config, resumed));
    }

    fn epoch(&mut self, epoch: &EpochRecord) {
        self.bars.line(&epoch_line(self.config, epoch));
        if let Some(bar) = &mut self.bar {
            bar.epoch(epoch);
        }
    }
}

/// Trains a config into a directory, with a line on stderr for each epoch, which `tracked` gets too.
pub fn train(
    data: &Prepared,
    data_dir: &Path,
    config: &TrainConfig,
    device: DeviceChoice,
    (out, begin): (&Path, Begin),
    tracked: Option<&mut Run>,
) -> Result<Trained> {
    let bars = Bars::default();
    let mut told = Told::new(config, out, begin, &bars);
    let training = Training::new(config.clone()).device(device).progress(&bars);
    let trained = match tracked {
        Some(run) => {
            let mut watch = Tracked { run, next: &mut told };
            training.watched(out, begin, data, Some(data_dir), &mut watch)
        }
        None => training.watched(out, begin, data, Some(data_dir), &mut told),
    };
    Ok(trained?)
}

/// Returns the tags that say what was trained on.
pub fn data_tags(data: &Prepared) -> [(&'static str, String); 3] {
    [
        ("burnrec.data", data.name.clone()),
        ("burnrec.data_hash", data.manifest.hash.clone()),
        ("burnrec.synthetic", data.synthetic.to_string()),
    ]
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
    // A shorter time says more about the clock than about the pace.
    let rate = (epoch.seconds > 1e-3).then(|| format!("  {:.2} M samples/s", epoch.samples_per_second / 1e6));
    format!("{} {of}{loss}{valid}  {:.2} s{}", config.model().kind(), epoch.seconds, rate.unwrap_or_default())
}

fn print_record(record: &RunRecord, config: &TrainConfig, out: &Path) -> Result<()> {
    let (valid, test) = (&record.metrics.valid, &record.metrics.test);
    let row =
        |&metric| vec![format!("{metric}"), show::interval(valid, metric), show::interval(test, metric)];
    let rows: Vec<Vec<String>> = valid.metrics.keys().map(row).collect();
    let mut stdout = std::io::stdout().lock();
    let synthetic = if record.data.synthetic { " (synthetic)" } else { "" };
    writeln!(stdout, "{} on {}{synthetic}, {}", record.model, record.data.name, test.protocol)?;
    show::table(&mut stdout, &["metric", "valid [95 %]", "test [95 %]"], &rows)?;
    if let (Some(cold), None) = (test.cold_pairs, test.value(Metric::Rmse)) {
        writeln!(
            stdout,
            "no rating of test is judged: all {cold} are of users or items without a training row"
        )?;
    }
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

//! `tune`: search for the best settings of a model.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use burnrec::interchange::mlflow::metric_name;
use burnrec::models::Error::Interrupted;
use burnrec::train::device::{ChosenDevice, Work, choose};
pub use burnrec::train::tune::BEST;
use burnrec::train::tune::{SearchResult, TrialOutcome, TrialRecord, TuneConfig, search};
use burnrec::{DeviceChoice, Prepared};
use serde_json::{Value, json};

use super::train::data_tags;
use crate::cli::Tune;
use crate::interrupt;
use crate::layers::tune_config;
use crate::progress::Bars;
use crate::{show, tracking};

/// The most trials that the printed table shows.
const SHOWN: usize = 10;

pub fn run(args: Tune) -> Result<()> {
    let config = tune_config(&args.config, &args.settings.set)?;
    let data = Prepared::open(&args.data)?;
    let bars = Bars::default();
    let name = format!("tune {} {}", config.trials()[0].config.model().kind(), args.out.display());
    let settings = serde_json::to_value(config.to_table())?;
    let mut tracked = tracking::begin(&args.tracking, &name, &args.out, &data_tags(&data), &settings)?;
    if tracked.is_some() {
        // So that the server is told of it: a signal ends the search after the trial that it comes in.
        interrupt::install()?;
    }
    let metric = metric_name(config.metric());
    let found = search_into(&config, &data, args.device.choice, &args.out, args.force, &bars, &mut |trial| {
        tracked.iter().for_each(|run| tracking::warn(run.trial(trial, &metric)));
        if interrupt::asked() { Err(Interrupted.into()) } else { Ok(()) }
    });
    if let (Some(run), Ok(SearchResult { trials, .. })) = (&mut tracked, &found)
        && let [TrialRecord { number, outcome: TrialOutcome::Scored { value, epoch, .. }, .. }, ..] =
            trials[..]
    {
        run.metric(&format!("valid/{metric}"), value, u64::from(epoch));
        tracking::warn(run.tags(&[("burnrec.best_trial", number.to_string())]));
    }
    tracking::end(tracked, &found);
    let found = found.map_err(|error| match interrupt::is_cause_of(&error) {
        true => error.context("interrupted; the finished trials are kept, and the same command goes on"),
        false => error,
    })?;
    if found.resumed > 0 {
        eprintln!("{} finished trials were taken up from {}", found.resumed, args.out.display());
    }
    if args.json {
        let object = json!({
            "model": config.trials()[0].config.model().kind(),
            "data": { "name": data.name, "synthetic": data.synthetic, "hash": data.manifest.hash },
            "protocol": found.protocol,
            "metric": config.metric(),
            "folds": config.search().folds,
            "resumed": found.resumed,
            "trials": found.trials,
            "best_config": args.out.join(BEST),
        });
        show::say(object)?;
        return Ok(());
    }
    print(&args, &config, &data, &found)
}

/// Searches into the directory `out`, with a line on stderr for each trial, of which `on_trial` hears too.
pub fn search_into(
    config: &TuneConfig,
    data: &Prepared,
    device: DeviceChoice,
    out: &Path,
    force: bool,
    bars: &Bars,
    on_trial: &mut dyn FnMut(&TrialRecord) -> burnrec::train::Result<()>,
) -> Result<SearchResult> {
    let first = &config.trials()[0].config;
    let fits = config.trials().len() * config.search().folds.unwrap_or(1) as usize;
    let work = Work::of_choices(first, fits);
    let ChosenDevice { device, auto } = choose(first, device, data, work, None, bars)?;
    if first.trains_on_device(&device) {
        eprintln!("{}", show::device(&device.name, auto.as_ref()));
    }
    let mut told = |trial: &TrialRecord| {
        bars.line(&trial_line(config, trial));
        on_trial(trial)
    };
    Ok(search(data, config, &device, out, force, &mut told, bars)?)
}

fn trial_line(config: &TuneConfig, trial: &TrialRecord) -> String {
    let settings = trial.settings.as_object().into_iter().flatten();
    let settings: Vec<String> = settings.map(|(key, value)| format!("{key}={}", cell(value))).collect();
    let came = match &trial.outcome {
        TrialOutcome::Scored { value, epoch, .. } => {
            let stopped = if trial.stopped { ", stopped" } else { "" };
            format!("valid {} {value:.4}  epoch {epoch}{stopped}", config.metric())
        }
        TrialOutcome::Failed { failed } => format!("failed: {failed}"),
    };
    let (number, n) = (trial.number, config.trials().len());
    format!("trial {number}/{n}  {came}  {:.2} s  {}", trial.seconds, settings.join(" "))
}

fn print(args: &Tune, config: &TuneConfig, data: &Prepared, found: &SearchResult) -> Result<()> {
    let (n, metric) = (found.trials.len(), config.metric().to_string());
    let keys: Vec<&str> = config.search().space.keys().map(String::as_str).collect();
    let head: Vec<&str> = [&["trial"][..], &keys, &[metric.as_str(), "epoch", "seconds"]].concat();
    let row = |trial: &TrialRecord| match &trial.outcome {
        TrialOutcome::Scored { value, epoch, .. } => {
            let mut row = vec![trial.number.to_string()];
            row.extend(keys.iter().map(|key| cell(&trial.settings[*key])));
            row.extend([format!("{value:.4}"), epoch.to_string(), format!("{:.2}", trial.seconds)]);
            Some(row)
        }
        TrialOutcome::Failed { .. } => None,
    };
    let rows: Vec<Vec<String>> = found.trials.iter().filter_map(row).collect();
    let failed = n - rows.len();
    let on = config.search().folds.map_or("valid".to_owned(), |folds| format!("{folds} folds, their mean"));
    let synthetic = if data.synthetic { " (synthetic)" } else { "" };
    let model = config.trials()[0].config.model().kind();
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{model} on {}{synthetic}: {n} trials judged on {on}, {}", data.name, found.protocol)?;
    show::table(&mut stdout, &head, &rows[..rows.len().min(SHOWN)])?;
    if rows.len() > SHOWN || failed > 0 {
        let more = rows.len().saturating_sub(SHOWN);
        writeln!(stdout, "{more} more, {failed} failed: {}", args.out.join("trials.jsonl").display())?;
    }
    let best = args.out.join(BEST);
    let (best, data) = (best.display(), args.data.display());
    writeln!(stdout, "saved to {best}; next: burnrec train {best} --data {data} --out DIR")?;
    Ok(())
}

/// Returns a setting as text; strings are not quoted.
fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

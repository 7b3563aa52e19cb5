//! `retrain`: from the newest events to a promoted release, or to the reason why there is none.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burnrec::data::split::TimePoint;
use burnrec::data::write::lock_dir;
use burnrec::serve::kafka::drain;
use burnrec::train::gate::{Gate, Verdict};
use burnrec::train::releases::By;
use burnrec::{
    Begin, DeviceChoice, Filters, PrepareOptions, Prepared, Progress, Recommender, Releases, SplitConfig,
    TrainConfig,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{train, tune};
use crate::cli::Retrain;
use crate::interrupt;
use crate::layers::{serve_config, table, train_config, tune_config};
use crate::progress::Bars;
use crate::show;

/// The keys of the config; `configs/retrain.toml` explains them.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetrainConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<PathBuf>,
    ratings: PathBuf,
    train: PathBuf,
    releases: PathBuf,
    work: PathBuf,
    #[serde(default = "five")]
    keep: usize,
    #[serde(default = "four_fifths")]
    valid_from: TimePoint,
    #[serde(default = "nine_tenths")]
    test_from: TimePoint,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    filters: Filters,
    #[serde(default)]
    gate: Gate,
}

fn five() -> usize {
    5
}

fn four_fifths() -> TimePoint {
    TimePoint::Quantile(0.8)
}

fn nine_tenths() -> TimePoint {
    TimePoint::Quantile(0.9)
}

impl RetrainConfig {
    /// Reads a config file, overridden by the environment and by the `--set` settings.
    pub fn read(file: &Path, set: &[String]) -> Result<Self> {
        let named = || file.display().to_string();
        let config: Self = table(file, set)?.try_into().with_context(named)?;
        config.gate.validate().with_context(named)?;
        Ok(config)
    }
}

pub fn run(args: Retrain) -> Result<()> {
    let config = RetrainConfig::read(&args.config, &args.settings.set)?;
    interrupt::install()?;
    let _alone = lock_dir(&config.work)?;
    let releases = Releases::new(&config.releases);
    let promoted = if config.releases.exists() { releases.promoted()? } else { None };
    if let Some(service) = &config.service {
        let bars = Bars::default();
        let drained = drain(&serve_config(service, &[])?, &config.ratings, &bars)?;
        bars.end();
        bars.check()?;
        step(format!("{} new events, {} in all", drained.events, drained.in_all));
    }
    let data_dir = config.work.join("data");
    let data = prepare(&config, &data_dir)?;
    step(format!("{} rows of train, {} users of test", data.split.train.len(), data.split.test.len()));
    let train_config = settings(&config, &data, args.device.choice)?;
    let run = config.work.join("run");
    let trained =
        train::train(&data, &data_dir, &train_config, args.device.choice, (&run, Begin::Replace), None)?;
    let serving = promoted
        .map(|release| Recommender::open_on(releases.path(release), args.device.choice))
        .transpose()?;
    let bars = Bars::default();
    let verdict = config.gate.judge(&trained, serving.as_ref(), &data, &bars)?;
    bars.end();
    let note = told(&config.gate, &verdict, promoted);
    let by = By { name: &args.by.by, note: if args.by.note.is_empty() { &note } else { &args.by.note } };
    let release = releases.publish(&run, by)?;
    if verdict.refused.is_none() {
        releases.promote(release, by)?;
        releases.prune(config.keep, by)?;
    }
    if args.json {
        let (value, users) = (verdict.candidate, verdict.users);
        let serving = verdict.serving.map(|(value, difference)| {
            let interval = difference.interval.map(|interval| [interval.low, interval.high]);
            json!({ "release": promoted, "value": value, "difference": difference.value, "interval": interval, "p": difference.p })
        });
        show::say(json!({
            "release": release, "promoted": verdict.refused.is_none(), "metric": config.gate.metric, "value": value, "users": users,
            "serving": serving, "refused": verdict.refused
        }))?;
    }
    match verdict.refused {
        Some(why) => bail!(
            "release {release} is not promoted: {why}; it stays in {} for a look",
            config.releases.display()
        ),
        None if !args.json => show::say(format!("release {release} is promoted: {note}")).map_err(Into::into),
        None => Ok(()),
    }
}

/// Says on stderr what is done.
fn step(text: impl Display) {
    eprintln!("{text}");
}

/// Reads, filters and splits the ratings by time, and keeps the split for a look.
fn prepare(config: &RetrainConfig, dir: &Path) -> Result<Prepared> {
    let RetrainConfig { valid_from, test_from, seed, .. } = *config;
    let split = Some(SplitConfig::Temporal { valid_from, test_from });
    let options =
        PrepareOptions { filters: config.filters.clone(), split, seed, ..PrepareOptions::default() };
    let data = burnrec::prepare(&config.ratings, &options)?;
    data.save(dir)?;
    Ok(data)
}

/// Returns the settings to train with: those of the config, or the best that its search finds.
fn settings(config: &RetrainConfig, data: &Prepared, device: DeviceChoice) -> Result<TrainConfig> {
    if !table(&config.train, &[])?.contains_key("search") {
        return train_config(&config.train, &[]);
    }
    let out = config.work.join("tune");
    tune::search_into(
        &tune_config(&config.train, &[])?,
        data,
        device,
        &out,
        true,
        &Bars::default(),
        &mut |_| Ok(()),
    )?;
    train_config(&out.join(tune::BEST), &[])
}

/// Returns what the gate found, for the log of releases.
fn told(gate: &Gate, verdict: &Verdict, promoted: Option<u32>) -> String {
    let Verdict { candidate, serving, users, refused } = verdict;
    let found = match (serving, promoted) {
        (Some((value, difference)), Some(release)) => format!(
            "{} {candidate:.4} beside {value:.4} of release {release} (p {:.3}), {users} users",
            gate.metric, difference.p
        ),
        _ => format!("{} {candidate:.4}, {users} users, the first to serve", gate.metric),
    };
    if refused.is_some() { format!("refused: {found}") } else { found }
}

//! Searches the settings of a case on valid of its split, within the budget that all cases of a bench share. Test is not
//! touched.

use std::path::Path;
use std::time::Instant;

use burnrec_data::Prepared;
use burnrec_models::{DeviceChoice, Progress};
use burnrec_train::device::{Work, choose};
use burnrec_train::metrics::Metric;
use burnrec_train::tune::{Budget, TrialOutcome, TrialRecord, search, sort};
use burnrec_train::{Error, Result, TrainConfig};
use toml::Table;

use super::{arguments, peer};
use crate::record::Tuned;

/// Returns the best settings of a model, with how they were found. The trials are kept in `dir`, so that a search that was
/// stopped goes on.
///
/// # Errors
/// When all trials fail, or a file cannot be written.
pub fn of_model(
    data: &Prepared,
    config: &TrainConfig,
    (budget, space): (Budget, &Table),
    choice: DeviceChoice,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<(TrainConfig, Tuned)> {
    let seed = config.run.seed;
    let trials = budget.search(config.to_table(), space, seed)?;
    let work = Work::of_choices(config, trials.trials().len());
    let device = choose(config, choice, data, work, None, progress)?.device;
    let found = search(data, &trials, &device, dir, false, &mut |_| Ok(()), progress)?.trials;
    let tuned = Tuned::of(budget, space, &found)?;
    let best = trials.trials().iter().find(|trial| trial.number == found[0].number);
    let best = best.expect("a record is of one of the trials").config.clone();
    Ok((best, tuned))
}

/// Returns the best arguments of a peer's script, with how they were found.
///
/// # Errors
/// When all trials fail.
pub fn of_peer(
    data: &Prepared,
    (script, args): (&str, &[String]),
    (budget, space): (Budget, &Table),
    metric: Metric,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<(Vec<String>, Tuned)> {
    let train = data.split.train.to_csr(data.users.len(), data.items.len());
    let all = budget.settings(&arguments::stands(args, space)?, space, data.manifest.seed)?;
    let mut done: Vec<TrialRecord> = Vec::new();
    for (settings, number) in all.iter().zip(1..) {
        if done.iter().map(|trial| trial.seconds).sum::<f64>() > budget.seconds {
            break;
        }
        progress.check()?;
        let start = Instant::now();
        let args = arguments::with(args, settings);
        let judged =
            peer::judge(data, &train, &data.split.valid, metric.is_rating(), dir, script, &args, progress);
        let value = judged.and_then(|(_, scores)| {
            let value = scores.value(metric).filter(|value| value.is_finite());
            value.ok_or_else(|| Error::Evaluate {
                found: format!("no {metric}"),
                expected: "a finite value".into(),
            })
        });
        let outcome = match value {
            Ok(value) => TrialOutcome::Scored { value, epoch: 0, folds: Vec::new() },
            Err(error) => TrialOutcome::Failed { failed: error.to_string() },
        };
        let settings = serde_json::to_value(settings).expect("settings are plain values");
        let (curve, seconds) = (Vec::new(), start.elapsed().as_secs_f64());
        done.push(TrialRecord { number, settings, outcome, curve, stopped: false, seconds });
    }
    sort(&mut done, metric);
    let tuned = Tuned::of(budget, space, &done)?;
    Ok((arguments::with(args, &all[done[0].number - 1]), tuned))
}

//! The search itself: one trial after the other, each judged on valid, the best written as a config to train.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burnrec_data::split::{Fold, folds};
use burnrec_data::write::write_file;
use burnrec_data::{Csr, Holdout, Prepared};
use burnrec_models::device::OpenDevice;
use burnrec_models::trained::{Answering, TrainedRows};
use burnrec_models::{Error as ModelError, FitInput, Learner, Phase, Progress, Scorer, Silent};
use serde_json::json;

use super::log::{BEST, Log, VERSION, settings};
use super::{FoldScore, Trial, TrialOutcome, TrialRecord, TuneConfig};
use crate::evaluate::{EvaluateOptions, able, evaluate, protocol};
use crate::fit::{EpochSelection, FitState, fit};
use crate::metrics::Metric;
use crate::run::options;
use crate::{Error, Result, TrainConfig};

/// The number of the format of a search's directory; another one is refused.
const FORMAT: u32 = 1;

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What relevant items were ranked against: `full ranking`, or `99 drawn candidates`.
    pub protocol: String,
    /// How many trials had been finished by an earlier command.
    pub taken_up: usize,
    /// All trials, the best first and failed ones last; of equal ones the earlier comes first.
    pub trials: Vec<TrialRecord>,
}

/// Runs the trials of a search that `dir` does not have yet, and writes the best settings there as a config,
/// `best.toml`.
///
/// Each trial is trained on train and keeps its best epoch on valid. With `folds` it is trained once for each fold of a
/// cross-validation over train and valid ([`folds`]), the epoch being chosen in each fold, and its value is the mean
/// over the folds. Test is not touched. A trial that diverges or cannot be judged is recorded as failed, and the search
/// goes on. `on_trial` is called after every trial. With `replace` an earlier search in `dir` is removed.
///
/// # Errors
/// When `dir` holds another search or something else, the data cannot be cut into the folds, the model cannot fold in
/// the users of the data, all trials failed, or a file cannot be written.
pub fn search(
    data: &Prepared,
    config: &TuneConfig,
    device: &OpenDevice,
    dir: &Path,
    replace: bool,
    on_trial: &mut dyn FnMut(&TrialRecord) -> Result<()>,
    progress: &dyn Progress,
) -> Result<Found> {
    let (split, trials) = (&data.split, config.trials());
    let (mut log, mut done) = Log::open(dir, &about(data, config), trials, replace)?;
    let taken_up = done.len();
    let in_order = trials.iter().any(|trial| trial.config.model().reads_order());
    let train;
    let cut;
    let pairs: Vec<(&Csr, &Holdout)> = match config.search().folds {
        None => {
            train = data.matrix(&split.train, in_order);
            vec![(&train, &split.valid)]
        }
        Some(n) => {
            if let Some(key) = trials.iter().find_map(|trial| trial.config.trainer.starts_from_runs()) {
                let expected = "no folds: the runs that training starts from have seen what a fold holds out";
                return Err(ModelError::config(key, "with search.folds", expected).into());
            }
            cut = folds(split, data.users.len(), n, config.search().seed(), in_order)?;
            cut.iter().map(|Fold { train, valid }| (train, valid)).collect()
        }
    };
    let protocol = protocol(pairs[0].1);
    if let (true, Some(trial)) = (split.valid.fold_in, trials.first()) {
        able(&*learner(&trial.config, pairs[0].0, data, device)?.model())?;
    }
    progress.begin("tune", trials.len() as u64);
    progress.advance(taken_up as u64);
    for trial in trials {
        if done.iter().any(|record| record.number == trial.number) {
            continue;
        }
        let start = Instant::now();
        let outcome = outcome(trial, &pairs, config.search().folds.is_some(), data, device)?;
        let seconds = start.elapsed().as_secs_f64();
        let record = TrialRecord { number: trial.number, settings: settings(trial), outcome, seconds };
        log.append(&record)?;
        on_trial(&record)?;
        done.push(record);
        progress.advance(1);
    }
    progress.end();
    sort(&mut done, config.metric());
    let best = best(data, config, &protocol, &done)?;
    write_file(&dir.join(BEST), best.as_bytes())?;
    Ok(Found { protocol, taken_up, trials: done })
}

/// Returns all that the trials depend on, for the file of the search's settings.
fn about(data: &Prepared, config: &TuneConfig) -> serde_json::Value {
    let mut about = json!({
        "format": FORMAT,
        VERSION: env!("CARGO_PKG_VERSION"),
        "metric": config.metric(),
        "data": { "name": data.name, "synthetic": data.synthetic, "hash": data.manifest.hash },
    });
    for (key, value) in config.identity() {
        about[key] = json!(value);
    }
    about
}

/// Trains and judges a trial on each pair of a training matrix and a holdout. A failure that the trial's settings may
/// cause, such as divergence, is an outcome; every other failure is an error.
fn outcome(
    trial: &Trial,
    pairs: &[(&Csr, &Holdout)],
    has_folds: bool,
    data: &Prepared,
    device: &OpenDevice,
) -> Result<TrialOutcome> {
    let mut scores = Vec::new();
    for (fold, pair) in pairs.iter().enumerate() {
        match choose(trial, *pair, data, device) {
            Ok(score) => scores.push(score),
            Err(error @ (Error::Model(ModelError::Diverged { .. }) | Error::Evaluate { .. })) => {
                let of = if has_folds { format!("fold {}: ", fold + 1) } else { String::new() };
                return Ok(TrialOutcome::Failed { failed: format!("{of}{error}") });
            }
            Err(error) => return Err(error),
        }
    }
    let mean = |of: fn(&FoldScore) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
    let (value, epoch) = (mean(|score| score.value), mean(|score| f64::from(score.epoch)).round() as u32);
    Ok(TrialOutcome::Scored { value, epoch, folds: if has_folds { scores } else { Vec::new() } })
}

/// Makes the learner of a trial over `train`.
fn learner<'a>(
    config: &TrainConfig,
    train: &'a Csr,
    data: &'a Prepared,
    device: &'a OpenDevice,
) -> Result<Box<dyn Learner + 'a>> {
    let fit = FitInput { train, data, phase: Phase::Choose, seed: config.run.seed, device };
    Ok(config.trainer.learner(&fit)?)
}

/// Trains on `train` and returns the best epoch on `valid`.
fn choose(
    trial: &Trial,
    (train, valid): (&Csr, &Holdout),
    data: &Prepared,
    device: &OpenDevice,
) -> Result<FoldScore> {
    let (config, metric) = (&trial.config, trial.config.select_by());
    let options = EvaluateOptions { resamples: 0, ..options(config) };
    let trained = Arc::new(TrainedRows::of(train));
    let on_valid =
        |scorer: &dyn Scorer| evaluate(&Answering::new(scorer, &trained), valid, train, &options, &Silent);
    let selection = EpochSelection { evaluate: &on_valid, metric };
    let mut learner = learner(config, train, data, device)?;
    let epochs = config.run.epochs;
    let fitted = fit(
        &mut *learner,
        &config.run,
        epochs,
        Some(selection),
        FitState::default(),
        &mut |_, _, _| Ok(()),
        &Silent,
    )?;
    let epoch = fitted.epoch;
    let value = fitted.value.map_or(f64::NAN, |value| if metric.higher_is_better() { value } else { -value });
    if !value.is_finite() {
        return Err(Error::evaluate(format!("{metric} = {value} after epoch {epoch}"), "a finite value"));
    }
    Ok(FoldScore { value, epoch })
}

/// Sorts trials, the best first; of equal ones the earlier comes first.
fn sort(trials: &mut [TrialRecord], metric: Metric) {
    let badness = |record: &TrialRecord| match record.value() {
        Some(value) if metric.higher_is_better() => -value,
        Some(value) => value,
        None => f64::INFINITY,
    };
    trials.sort_by(|a, b| badness(a).total_cmp(&badness(b)).then(a.number.cmp(&b.number)));
}

/// Returns the text of `best.toml`: the whole config of the best trial, with its score in a comment.
fn best(data: &Prepared, config: &TuneConfig, protocol: &str, trials: &[TrialRecord]) -> Result<String> {
    let (n, metric) = (trials.len(), config.metric());
    let TrialRecord { number, outcome, .. } = &trials[0];
    let value = match outcome {
        TrialOutcome::Scored { value, .. } => value,
        TrialOutcome::Failed { failed } => {
            let found = format!("{n} trials of which all failed, trial {number} with: {failed}");
            return Err(Error::evaluate(found, "at least one that can be trained and judged"));
        }
    };
    let on = match config.search().folds {
        None => "valid".to_owned(),
        Some(folds) => format!("the mean of {folds} folds of train and valid"),
    };
    let synthetic = if data.synthetic { " (synthetic)" } else { "" };
    let name = data.name.replace(char::is_control, " ");
    let table = config.trials()[number - 1].config.to_table();
    let settings = toml::to_string(&table).expect("settings are plain TOML values");
    Ok(format!(
        "# {metric} {value:.4} ({protocol}) on {on} of {name}{synthetic}: trial {number}, the best of {n}.\n{settings}"
    ))
}

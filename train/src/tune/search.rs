//! The search itself: one trial after the other, each judged on valid, the best written as a config to train.

use std::ops::ControlFlow;
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
use crate::evaluate::{EvaluateOptions, evaluate, protocol, require_fold_in};
use crate::fit::{EpochSelection, FitState, fit};
use crate::metrics::Metric;
use crate::record::EpochRecord;
use crate::run::options;
use crate::{Error, Result, TrainConfig};

/// The number of the format of a search's directory; another one is refused.
const FORMAT: u32 = 1;

/// What a search found.
#[derive(Clone, Debug)]
pub struct SearchResult {
    /// What relevant items were ranked against: `full ranking`, or `99 drawn candidates`.
    pub protocol: String,
    /// How many trials had been finished by an earlier command.
    pub resumed: usize,
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
) -> Result<SearchResult> {
    let (split, trials) = (&data.split, config.trials());
    let (mut log, mut done) = Log::open(dir, &about(data, config), trials, replace)?;
    let resumed = done.len();
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
        require_fold_in(&*learner(&trial.config, pairs[0].0, data, device)?.model())?;
    }
    let limit = config.search().seconds.unwrap_or(f64::INFINITY);
    progress.begin("tune", trials.len() as u64);
    progress.advance(resumed as u64);
    for trial in trials {
        if done.iter().any(|record| record.number == trial.number) {
            continue;
        }
        if done.iter().map(|record| record.seconds).sum::<f64>() > limit {
            break;
        }
        let start = Instant::now();
        let mut watch =
            Watch { earlier: &done, prunes: config.search().prune, curve: Vec::new(), stopped: false };
        let outcome = outcome(trial, &pairs, config.search().folds.is_some(), data, device, &mut watch)?;
        let Watch { mut curve, stopped, .. } = watch;
        if config.search().folds.is_some() {
            curve.clear();
        }
        let seconds = start.elapsed().as_secs_f64();
        let (number, settings) = (trial.number, settings(trial));
        let record = TrialRecord { number, settings, outcome, curve, stopped, seconds };
        log.append(&record)?;
        on_trial(&record)?;
        done.push(record);
        progress.advance(1);
    }
    progress.end();
    sort(&mut done, config.metric());
    let best = best(data, config, &protocol, &done)?;
    write_file(&dir.join(BEST), best.as_bytes())?;
    Ok(SearchResult { protocol, resumed, trials: done })
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
    watch: &mut Watch<'_>,
) -> Result<TrialOutcome> {
    let mut scores = Vec::new();
    for (fold, pair) in pairs.iter().enumerate() {
        match choose(trial, *pair, data, device, watch) {
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
    watch: &mut Watch<'_>,
) -> Result<FoldScore> {
    let (config, metric) = (&trial.config, trial.config.select_by());
    let options = EvaluateOptions { resamples: 0, ..options(config, valid) };
    let trained = Arc::new(TrainedRows::of(train));
    let on_valid =
        |scorer: &dyn Scorer| evaluate(&Answering::new(scorer, &trained), valid, train, &options, &Silent);
    let selection = EpochSelection { evaluate: &on_valid, metric };
    let mut learner = learner(config, train, data, device)?;
    let epochs = config.run.epochs;
    let mut after_epoch = |record: &EpochRecord, _: &dyn Learner, state: &FitState| {
        let best = state.best.as_ref().filter(|_| record.valid.is_some()).map(|best| best.value);
        let value = best.map(|value| if metric.higher_is_better() { value } else { -value });
        // The last epoch is not cut short.
        Ok(match value.is_some_and(|value| watch.falls_behind(value, metric) && record.epoch < epochs) {
            true => {
                watch.stopped = true;
                ControlFlow::Break(())
            }
            false => ControlFlow::Continue(()),
        })
    };
    let fitted = fit(
        &mut *learner,
        &config.run,
        epochs,
        Some(selection),
        FitState::default(),
        &mut after_epoch,
        &Silent,
    )?;
    let epoch = fitted.epoch;
    let value = fitted.value.map_or(f64::NAN, |value| if metric.higher_is_better() { value } else { -value });
    if !value.is_finite() {
        return Err(Error::evaluate(format!("{metric} = {value} after epoch {epoch}"), "a finite value"));
    }
    Ok(FoldScore { value, epoch })
}

/// Watches a trial beside the earlier ones.
struct Watch<'a> {
    earlier: &'a [TrialRecord],
    prunes: bool,
    /// The best value so far after each evaluation.
    curve: Vec<f64>,
    stopped: bool,
}

/// As many earlier trials must have come as far as a trial before it may fall behind them.
const LEAST_EARLIER: usize = 3;

impl Watch<'_> {
    /// Takes up the best value so far after one more evaluation; returns whether it is worse than the median of the earlier
    /// trials' after as many.
    fn falls_behind(&mut self, value: f64, metric: Metric) -> bool {
        self.curve.push(value);
        let n = self.curve.len();
        // A trial that ended by itself stays at its best value; of one that was stopped nothing is known beyond its end.
        let reached =
            |trial: &&TrialRecord| trial.curve.len() >= n || !(trial.curve.is_empty() || trial.stopped);
        let earlier = self.earlier.iter().filter(reached);
        let mut values: Vec<f64> = earlier.map(|trial| trial.curve[n.min(trial.curve.len()) - 1]).collect();
        if !self.prunes || values.len() < LEAST_EARLIER {
            return false;
        }
        values.sort_by(f64::total_cmp);
        let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        if metric.higher_is_better() { value < median } else { value > median }
    }
}

/// Sorts trials, the best first; of equal ones the earlier comes first.
pub fn sort(trials: &mut [TrialRecord], metric: Metric) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(curve: &[f64], stopped: bool) -> TrialRecord {
        let outcome = TrialOutcome::Failed { failed: String::new() };
        TrialRecord { number: 1, settings: json!({}), outcome, curve: curve.to_vec(), stopped, seconds: 0.0 }
    }

    #[test]
    fn a_trial_falls_behind_the_median_of_those_that_came_as_far() {
        let ndcg = Metric::Ndcg(10);
        let earlier = [
            trial(&[0.1, 0.3, 0.5], false),
            trial(&[0.2, 0.2], false),
            trial(&[0.3, 0.4, 0.4], false),
            trial(&[0.0], true),
        ];
        let watch = |prunes| Watch { earlier: &earlier, prunes, curve: Vec::new(), stopped: false };
        // The medians are .15 of all four, .3 of the three that came to the second evaluation, and .4.
        for (values, behind) in [
            ([0.16, 0.3, 0.4], [false; 3]),
            ([0.14, 0.3, 0.39], [true, false, true]),
            ([0.2, 0.29, 0.6], [false, true, false]),
        ] {
            let (mut prunes, mut never) = (watch(true), watch(false));
            assert_eq!(values.map(|value| prunes.falls_behind(value, ndcg)), behind, "{values:?}");
            assert_eq!(values.map(|value| never.falls_behind(value, ndcg)), [false; 3]);
            assert_eq!(prunes.curve, values);
        }
        assert!(
            !Watch { earlier: &earlier[..2], prunes: true, curve: Vec::new(), stopped: false }
                .falls_behind(0.0, ndcg)
        );
        assert!(
            watch(true).falls_behind(0.16, Metric::Rmse) && !watch(true).falls_behind(0.14, Metric::Rmse)
        );
    }
}

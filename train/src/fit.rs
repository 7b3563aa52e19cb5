//! The epoch loop of every training run.

use std::ops::ControlFlow;
use std::time::Instant;

use burnrec_models::{Learner, Model, Phase, Progress, Scorer};

use crate::evaluate::Scores;
use crate::metrics::Metric;
use crate::record::EpochRecord;
use crate::{Error, Result, RunConfig};

/// How the best epoch of a fit is selected.
pub struct EpochSelection<'a> {
    /// Scores a model on valid.
    pub evaluate: &'a dyn Fn(&dyn Scorer) -> Result<Scores>,
    /// The metric that chooses the epoch.
    pub metric: Metric,
}

/// The result of a fit.
pub struct Fitted {
    /// The model of the chosen epoch: the best on valid, or the last where there was no selection.
    pub model: Box<dyn Model>,
    /// The chosen epoch, counted from 1.
    pub epoch: u32,
    /// Its value of the metric `select_by`, negated for metrics where lower is better; `None` where there was no
    /// selection.
    pub value: Option<f64>,
    /// Training time of all epochs, in seconds, without evaluation.
    pub seconds: f64,
    /// In a refit, the model that was chosen on valid, if it is kept.
    pub chosen: Option<Best>,
    /// What computed the epochs ([`Learner::computed_by`]).
    pub computed_by: Option<String>,
}

impl Fitted {
    /// Returns the model as the best on valid, for the refit to keep; `None` where there was no selection.
    pub fn into_best(self) -> Option<Best> {
        self.value.map(|value| Best { epoch: self.epoch, value, model: self.model })
    }
}

/// Where a fit stands after an epoch: with the learner's own state, all that its next epochs depend on.
#[derive(Default)]
pub struct FitState {
    /// Epochs done.
    pub epoch: u32,
    /// Training time of them, in seconds, without evaluation.
    pub seconds: f64,
    /// Evaluations on valid since the best one; early stopping ends the fit when they reach its patience.
    pub since_best: u32,
    /// The best on valid so far; in a refit, the one that was chosen, if it is kept.
    pub best: Option<Best>,
}

/// The best model on valid so far.
pub struct Best {
    /// The epoch it is of, counted from 1.
    pub epoch: u32,
    /// Its value of the metric `select_by`, negated for metrics where lower is better.
    pub value: f64,
    /// The model.
    pub model: Box<dyn Model>,
}

/// Called after every epoch with all that the next ones depend on; says whether there are to be next ones.
pub type AfterEpoch<'a> = dyn FnMut(&EpochRecord, &dyn Learner, &FitState) -> Result<ControlFlow<()>> + 'a;

/// Trains from `state` on to at most `epochs`, or until the learner is finished. With a `selection` it evaluates every `run.eval_every` epochs and after
/// the last, and returns the model of the best epoch. Of equal values the earlier epoch is kept.
///
/// # Errors
/// When an epoch or an evaluation fails or is interrupted, or `after_epoch` fails.
pub fn fit(
    learner: &mut dyn Learner,
    run: &RunConfig,
    epochs: u32,
    selection: Option<EpochSelection<'_>>,
    mut state: FitState,
    after_epoch: &mut AfterEpoch<'_>,
    progress: &dyn Progress,
) -> Result<Fitted> {
    let phase = if selection.is_some() { Phase::Choose } else { Phase::Refit };
    let patience = run.early_stopping.map_or(u32::MAX, |stop| stop.patience);
    // A fit has at least one epoch, for its record.
    let ended = |learner: &dyn Learner, state: &FitState| state.epoch > 0 && learner.is_finished();
    while state.epoch < epochs && state.since_best < patience && !ended(learner, &state) {
        let start = Instant::now();
        let loss = learner.epoch(progress)?;
        let spent = start.elapsed().as_secs_f64();
        state.epoch += 1;
        state.seconds += spent;
        let epoch = state.epoch;
        let mut record = EpochRecord {
            phase,
            epoch,
            loss: loss.total,
            loss_parts: loss.parts,
            valid: None,
            seconds: spent,
            samples_per_second: loss.samples as f64 / spent.max(1e-9),
        };
        let is_due = epoch.is_multiple_of(run.eval_every) || epoch == epochs || learner.is_finished();
        if let Some(selection) = selection.as_ref().filter(|_| is_due) {
            let model = learner.model();
            let scores = (selection.evaluate)(&*model)?;
            let value = goodness(&scores, selection.metric)?;
            record.valid = Some(scores);
            if state.best.as_ref().is_none_or(|best| value > best.value) {
                state.best = Some(Best { epoch, value, model });
                state.since_best = 0;
            } else {
                state.since_best += 1;
            }
        }
        if after_epoch(&record, learner, &state)?.is_break() {
            break;
        }
    }
    let (seconds, computed_by) = (state.seconds, learner.computed_by());
    Ok(match (selection, state.best) {
        (Some(_), Some(Best { epoch, value, model })) => {
            Fitted { model, epoch, value: Some(value), seconds, chosen: None, computed_by }
        }
        (_, chosen) => {
            Fitted { model: learner.model(), epoch: state.epoch, value: None, seconds, chosen, computed_by }
        }
    })
}

/// Returns the value of a metric, negated where lower is better, so that higher is always better.
fn goodness(scores: &Scores, metric: Metric) -> Result<f64> {
    let value = scores.value(metric).ok_or_else(|| {
        let computed = scores.metrics.keys().map(Metric::to_string).collect::<Vec<_>>().join(", ");
        Error::evaluate(format!("select_by = \"{metric}\""), format!("a metric that is computed: {computed}"))
    })?;
    Ok(if metric.higher_is_better() { value } else { -value })
}

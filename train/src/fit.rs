//! The only epoch loop.

use std::time::Instant;

use burnrec_models::{Model, Scorer};

use crate::evaluate::Scores;
use crate::metrics::Metric;
use crate::record::{EpochRecord, Phase};
use crate::{Error, Learner, Progress, Result, RunConfig};

/// How a fit is judged while it goes on.
pub struct Judge<'a> {
    /// Scores a model on valid.
    pub evaluate: &'a dyn Fn(&dyn Scorer) -> Result<Scores>,
    /// The metric that chooses the epoch.
    pub metric: Metric,
}

/// What a fit gives.
pub struct Fitted {
    /// The model of the chosen epoch: the best on valid, or the last where nothing judged.
    pub model: Box<dyn Model>,
    /// The chosen epoch, counted from 1.
    pub epoch: u32,
    /// Training time of all epochs, in seconds, without evaluation.
    pub seconds: f64,
}

/// Trains for at most `epochs`, judging every `run.eval_every` of them and after the last. Of equal values the earlier epoch is kept.
///
/// # Errors
/// When an epoch or an evaluation fails, or `on_epoch` does.
pub fn fit(
    learner: &mut dyn Learner,
    run: &RunConfig,
    epochs: u32,
    judge: Option<Judge<'_>>,
    on_epoch: &mut dyn FnMut(&EpochRecord) -> Result<()>,
    progress: &dyn Progress,
) -> Result<Fitted> {
    let phase = if judge.is_some() { Phase::Choose } else { Phase::Refit };
    let mut best: Option<(f64, Fitted)> = None;
    let mut seconds = 0.0;
    let mut worse = 0;
    for epoch in 1..=epochs {
        let start = Instant::now();
        let loss = learner.epoch(progress)?;
        let spent = start.elapsed().as_secs_f64();
        seconds += spent;
        let mut record = EpochRecord {
            phase,
            epoch,
            loss: loss.total,
            loss_parts: loss.parts,
            valid: None,
            seconds: spent,
            samples_per_second: loss.samples as f64 / spent.max(1e-9),
        };
        if let Some(judge) = judge.as_ref().filter(|_| epoch % run.eval_every == 0 || epoch == epochs) {
            let model = learner.model();
            let scores = (judge.evaluate)(&*model)?;
            let value = goodness(&scores, judge.metric)?;
            record.valid = Some(scores);
            if best.as_ref().is_none_or(|(so_far, _)| value > *so_far) {
                best = Some((value, Fitted { model, epoch, seconds: 0.0 }));
                worse = 0;
            } else {
                worse += 1;
            }
        }
        on_epoch(&record)?;
        if judge.is_some() && run.early_stopping.is_some_and(|stop| worse >= stop.patience) {
            break;
        }
    }
    let fitted = match best {
        Some((_, fitted)) => fitted,
        None => Fitted { model: learner.model(), epoch: epochs, seconds: 0.0 },
    };
    Ok(Fitted { seconds, ..fitted })
}

/// The value of a metric, turned so that higher is better.
fn goodness(scores: &Scores, metric: Metric) -> Result<f64> {
    let value = scores.value(metric).ok_or_else(|| {
        let computed = scores.metrics.keys().map(Metric::to_string).collect::<Vec<_>>().join(", ");
        Error::evaluate(format!("select_by = \"{metric}\""), format!("a metric that is computed: {computed}"))
    })?;
    Ok(if metric.higher_is_better() { value } else { -value })
}

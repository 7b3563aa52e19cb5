//! A whole training run: choose the epoch on valid, fit again on train and valid together, touch test once.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burnrec_data::{Csr, Holdout, Prepared};
use burnrec_models::device::OpenDevice;
use burnrec_models::trained::{Answering, TrainedRows};
use burnrec_models::{DataFacts, FitInput, Learner, Phase, Progress, Recommender, Scorer};

use crate::checkpoints::{Checkpoints, Chosen};
use crate::device::AutoDevice;
use crate::evaluate::{EvaluateOptions, Scores, evaluate, require_fold_in};
use crate::fit::{Best, EpochSelection, FitState, Fitted, fit};
use crate::machine::{Machine, peak_memory_bytes};
use crate::record::{EpochRecord, Metrics, RunRecord};
use crate::{Result, TrainConfig};

/// A trained model with its record.
pub struct Trained {
    /// The model that was judged on test, with its ids.
    pub recommender: Recommender,
    /// How it was trained, and what it scored.
    pub record: RunRecord,
}

impl Trained {
    /// Sets in the record where the prepared data is saved.
    pub fn set_data_dir(&mut self, dir: Option<&Path>) {
        self.record.data.path = dir.and_then(|dir| std::path::absolute(dir).ok());
        self.recommender.data = self.record.data.clone();
        self.recommender.record = json(&self.record);
    }

    /// Sets in the record why `auto` took the device.
    pub fn set_auto_device(&mut self, auto: Option<AutoDevice>) {
        self.record.auto_device = auto;
        self.recommender.record = json(&self.record);
    }
}

fn json(record: &RunRecord) -> serde_json::Value {
    serde_json::to_value(record).expect("a record has only string keys")
}

/// Trains and judges a model by a config on prepared data, from the newest of `checkpoints` on if there is one;
/// `on_epoch` is called after every epoch.
///
/// # Errors
/// When the model cannot be made, diverges, or cannot be judged as the data's protocol asks; when a checkpoint cannot
/// be read or written; and [`Error::Interrupted`](burnrec_models::Error::Interrupted) when `progress` says to stop.
pub fn run(
    data: &Prepared,
    config: &TrainConfig,
    device: &OpenDevice,
    checkpoints: Option<&mut Checkpoints>,
    on_epoch: &mut dyn FnMut(&EpochRecord) -> Result<()>,
    progress: &dyn Progress,
) -> Result<Trained> {
    let newest = checkpoints.as_ref().and_then(|checkpoints| checkpoints.newest());
    let clock = Clock { start: Instant::now(), before: newest.map_or(0.0, |newest| newest.total_seconds) };
    let chosen = newest.and_then(|newest| newest.chosen.clone());
    let mut work = Work { data, config, device, checkpoints, on_epoch, progress, clock };

    let split = &data.split;
    let train = data.matrix(&split.train, config.model().reads_order());
    let options = |holdout: &Holdout| options(config, holdout);
    let (fitted, seen, valid) = match chosen {
        Some(chosen) => work.refit(train, chosen, None)?,
        None => {
            let quick = EvaluateOptions { resamples: 0, ..options(&split.valid) };
            let trained = Arc::new(TrainedRows::of(&train));
            let on_valid = |scorer: &dyn Scorer| {
                evaluate(&Answering::new(scorer, &trained), &split.valid, &train, &quick, progress)
            };
            let selection = EpochSelection { evaluate: &on_valid, metric: config.select_by() };
            let best = work.fit(&train, config.run.epochs, Some(selection), None)?;
            let answering = Answering::new(&*best.model, &trained);
            let valid = evaluate(&answering, &split.valid, &train, &options(&split.valid), progress)?;
            if config.run.refit {
                let chosen = Chosen { epochs: best.epoch, valid };
                // With 20 million rows a model takes hundreds of megabytes, so it is kept only where others start from
                // it.
                let keeps_chosen = config.trainer.keeps_chosen() || config.run.keep_chosen;
                work.refit(train, chosen, best.into_best().filter(|_| keeps_chosen))?
            } else {
                (best, train, valid)
            }
        }
    };
    let trained = Arc::new(TrainedRows::of(&seen));
    let answering = Answering::new(&*fitted.model, &trained);
    let test = evaluate(&answering, &split.test, &seen, &options(&split.test), progress)?;
    let record = record(data, config, device, &fitted, Metrics { valid, test }, clock.seconds());
    let recommender = Recommender::new(fitted.model, data.users.clone(), data.items.clone(), seen)
        .with_titles(data.titles.clone())
        .with_chosen(fitted.chosen.map(|best| best.model))
        .with_record(record.data.clone(), json(&record));
    Ok(Trained { recommender, record })
}

/// What the two fits of a run share.
struct Work<'a> {
    data: &'a Prepared,
    config: &'a TrainConfig,
    device: &'a OpenDevice,
    checkpoints: Option<&'a mut Checkpoints>,
    on_epoch: &'a mut dyn FnMut(&EpochRecord) -> Result<()>,
    progress: &'a dyn Progress,
    clock: Clock,
}

/// Measures the seconds of a run, those before it was resumed included.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    before: f64,
}

impl Clock {
    fn seconds(self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }
}

impl Work<'_> {
    /// Runs the final fit on train and valid together. Returns it with the matrix of both, and with the scores on valid
    /// of the chosen epoch.
    fn refit(&mut self, train: Csr, chosen: Chosen, best: Option<Best>) -> Result<(Fitted, Csr, Scores)> {
        let n_users = train.n_rows();
        let valid = self.data.matrix(&self.data.split.valid_rows, self.config.model().reads_order());
        let both = train.union(&valid, 0..n_users);
        // With 20 million rows the matrix takes hundreds of megabytes.
        drop(train);
        let fitted = self.fit(&both, chosen.epochs, None, Some((&chosen, best)))?;
        Ok((fitted, both, chosen.valid))
    }

    /// Runs one of the two fits, from the newest checkpoint on if that is of this fit.
    fn fit(
        &mut self,
        train: &Csr,
        epochs: u32,
        selection: Option<EpochSelection<'_>>,
        chosen: Option<(&Chosen, Option<Best>)>,
    ) -> Result<Fitted> {
        let phase = if selection.is_some() { Phase::Choose } else { Phase::Refit };
        let (data, device, seed) = (self.data, self.device, self.config.run.seed);
        let mut learner = self.config.trainer.learner(&FitInput { train, data, phase, seed, device })?;
        if self.data.split.valid.fold_in || self.data.split.test.fold_in {
            require_fold_in(&*learner.model())?;
        }
        let (chosen, best) = chosen.unzip();
        let mut state = match &self.checkpoints {
            Some(checkpoints) => checkpoints.load(phase, &mut *learner, train, self.config, self.device)?,
            None => FitState::default(),
        };
        state.best = state.best.or(best.flatten());
        let (progress, clock) = (self.progress, self.clock);
        let mut after_epoch = |record: &EpochRecord, learner: &dyn Learner, state: &FitState| {
            (self.on_epoch)(record)?;
            if let Some(checkpoints) = &mut self.checkpoints {
                checkpoints.save(learner, state, chosen, clock.seconds())?;
            }
            Ok(ControlFlow::Continue(()))
        };
        fit(&mut *learner, &self.config.run, epochs, selection, state, &mut after_epoch, progress)
    }
}

/// Returns how the models of a config are judged on a holdout.
pub fn options(config: &TrainConfig, holdout: &Holdout) -> EvaluateOptions {
    EvaluateOptions::of(config.model(), holdout, config.run.seed, Some(config.select_by()))
}

fn record(
    data: &Prepared,
    config: &TrainConfig,
    device: &OpenDevice,
    fitted: &Fitted,
    metrics: Metrics,
    total_seconds: f64,
) -> RunRecord {
    RunRecord {
        model: config.model().kind().to_owned(),
        config: config.to_table(),
        data: DataFacts {
            name: data.name.clone(),
            synthetic: data.synthetic,
            hash: data.manifest.hash.clone(),
            path: None,
        },
        metrics,
        fit_seconds: fitted.seconds,
        total_seconds,
        epochs: fitted.epoch,
        peak_memory_bytes: peak_memory_bytes(),
        parameters: fitted.model.n_parameters(),
        device: match &fitted.computed_by {
            Some(by) => format!("{}, by {by}", config.device_name(device)),
            None => config.device_name(device),
        },
        auto_device: None,
        threads: rayon::current_num_threads(),
        machine: Machine::read(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        burn: burnrec_models::BURN_VERSION.to_owned(),
    }
}

//! Trains, and evaluates any scorer, each in one call.

use std::path::Path;

use burnrec_data::{Csr, Holdout, Prepared};
use burnrec_models::saved::ERASED_FROM_ONE;
use burnrec_models::trained::Answering;
use burnrec_models::{DeviceChoice, Progress, Recommender, Scorer, Silent};
use burnrec_train::TrainConfig;
use burnrec_train::device::{ChosenDevice, Work, choose};
use burnrec_train::evaluate::{EvaluateOptions, Scores};
use burnrec_train::record::{EpochRecord, RunRecord};
use burnrec_train::run::{Trained, run};
use burnrec_train::run_dir::{Begin, Unwatched, Watch, run_to};

use crate::Result;

/// Trains a model: the epoch is chosen on valid, the final fit is on train and valid together, test is used once.
///
/// `config` holds the settings of a family ([`AlsConfig`](crate::AlsConfig), [`NeumfConfig`](crate::NeumfConfig) …), or
/// is a [`TrainConfig`], which holds those of training and of the run too. A network is trained on the CPU or on a
/// graphics card, whichever is faster for it. [`Training`] has more options.
///
/// # Errors
/// When a setting is out of its range, training diverges, or the model cannot be judged as the data's protocol asks.
pub fn train(data: &Prepared, config: impl Into<TrainConfig>) -> Result<Trained> {
    Training::new(config).run(data)
}

/// Judges a scorer on a holdout: every user's held-out items are ranked among the user's candidates, with ties and NaN
/// against the scorer. `train`, `[n_users, n_items]`, holds the rows that it learned from.
///
/// # Errors
/// When scorer, holdout and matrix do not fit each other, or users have to be folded in and the scorer cannot fold in.
pub fn evaluate(
    scorer: &dyn Scorer,
    holdout: &Holdout,
    train: &Csr,
    options: &EvaluateOptions,
) -> Result<Scores> {
    Ok(burnrec_train::evaluate::evaluate(scorer, holdout, train, options, &Silent)?)
}

/// The holdout that a run is judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvaluateOn {
    /// What chose the epoch.
    Valid,
    /// What nothing was chosen by.
    Test,
}

impl EvaluateOn {
    /// Returns the holdout.
    pub fn holdout(self, data: &Prepared) -> &Holdout {
        match self {
            Self::Valid => &data.split.valid,
            Self::Test => &data.split.test,
        }
    }
}

/// Judges a trained run again, as at its end: users and items without training rows count as unknown.
///
/// # Errors
/// When `data` is not the split that the run was trained on, its record is missing, or it is to be judged on valid and was
/// fitted again on train and valid together.
pub fn evaluate_run(
    run: &Recommender,
    data: &Prepared,
    on: EvaluateOn,
    progress: &dyn Progress,
) -> Result<Scores> {
    let refused = |found: &str, expected: String| {
        Err(burnrec_train::Error::Evaluate { found: found.to_owned(), expected }.into())
    };
    let config = RunRecord::of(run)?.run_config()?;
    if on == EvaluateOn::Valid && config.refit {
        let expected = "one trained with refit = false; its scores on valid from before are in its record";
        return refused("a model fitted again on train and valid", expected.to_owned());
    }
    if !data.had_hash(&run.data.hash) {
        let expected = format!("{}, which the run was trained on", run.data.hash);
        return refused(&format!("a split with hash {}", data.manifest.hash), expected);
    }
    if *run.users.vocab() != data.users {
        let expected = format!("the {} users of the run: {ERASED_FROM_ONE}", run.users.vocab().len());
        return refused(&format!("a split of {} users", data.users.len()), expected);
    }
    let holdout = on.holdout(data);
    let options = EvaluateOptions::of(&run.model.config(), holdout, config.seed, config.select_by);
    let answering = Answering::new(&*run.model, run.trained());
    Ok(burnrec_train::evaluate::evaluate(&answering, holdout, &run.seen, &options, progress)?)
}

/// A training run with all its options: config, device, progress, run directory.
pub struct Training<'a> {
    config: TrainConfig,
    device: DeviceChoice,
    progress: &'a dyn Progress,
}

impl Training<'static> {
    /// Makes a run of the settings of a family, or of a whole [`TrainConfig`].
    pub fn new(config: impl Into<TrainConfig>) -> Self {
        Self { config: config.into(), device: DeviceChoice::Auto, progress: &Silent }
    }
}

impl<'a> Training<'a> {
    /// Sets the device to train on. [`DeviceChoice::Auto`], the default, takes for a network the one that a short trial
    /// finds faster ([`choose`]), and for ALS the CPU.
    pub fn device(self, device: DeviceChoice) -> Self {
        Self { device, ..self }
    }

    /// Reports progress to `progress`, which may also stop the run.
    pub fn progress<'b>(self, progress: &'b dyn Progress) -> Training<'b> {
        Training { config: self.config, device: self.device, progress }
    }

    /// Trains, and writes no files.
    ///
    /// # Errors
    /// As [`train()`], and when the device is not available or `progress` says to stop.
    pub fn run(&self, data: &Prepared) -> Result<Trained> {
        self.run_watched(data, &mut Unwatched)
    }

    /// Trains, reports every epoch to `watch`, and writes no files.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub fn run_watched(&self, data: &Prepared, watch: &mut dyn Watch) -> Result<Trained> {
        self.config.validate()?;
        let work = Work::of_run(&self.config);
        let ChosenDevice { device, auto } =
            choose(&self.config, self.device, data, work, None, self.progress)?;
        watch.begun(None, &self.config.device_name(&device), auto.as_ref());
        let mut on_epoch = |epoch: &EpochRecord| {
            watch.epoch(epoch);
            Ok(())
        };
        let mut trained = run(data, &self.config, &device, None, &mut on_epoch, self.progress)?;
        trained.set_auto_device(auto);
        Ok(trained)
    }

    /// Trains into a run directory: each epoch adds a line to `record.jsonl`, and a checkpoint as often as
    /// `checkpoint_every` says.
    ///
    /// # Errors
    /// As [`Training::run`], and when `dir` holds a run that `begin` does not allow, or cannot be written.
    pub fn run_to(&self, dir: impl AsRef<Path>, begin: Begin, data: &Prepared) -> Result<Trained> {
        self.watched(dir.as_ref(), begin, data, None, &mut Unwatched)
    }

    /// Trains into a run directory and reports every epoch to `watch`; the record names `data_dir` as the data's
    /// folder.
    ///
    /// # Errors
    /// As [`Training::run_to`].
    pub fn watched(
        &self,
        dir: &Path,
        begin: Begin,
        data: &Prepared,
        data_dir: Option<&Path>,
        watch: &mut dyn Watch,
    ) -> Result<Trained> {
        self.config.validate()?;
        Ok(run_to(dir, begin, data, data_dir, &self.config, self.device, watch, self.progress)?)
    }
}

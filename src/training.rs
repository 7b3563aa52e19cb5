//! Trains, and evaluates any scorer, each in one call.

use std::path::Path;

use burnrec_data::{Csr, Holdout, Prepared};
use burnrec_models::{DeviceChoice, Progress, Scorer, Silent};
use burnrec_train::TrainConfig;
use burnrec_train::device::{ChosenDevice, Work, choose};
use burnrec_train::evaluate::{EvaluateOptions, Scores};
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
        self.config.validate()?;
        let work = Work::of_run(&self.config);
        let ChosenDevice { device, auto } =
            choose(&self.config, self.device, data, work, None, self.progress)?;
        let mut trained = run(data, &self.config, &device, None, &mut |_| Ok(()), self.progress)?;
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

//! Training and judging in one call.

use std::path::Path;

use burnrec_data::{Csr, Holdout, Prepared};
use burnrec_models::{DeviceChoice, Progress, Scorer, Silent};
use burnrec_train::TrainConfig;
use burnrec_train::evaluate::{EvaluateOptions, Scores};
use burnrec_train::run::{Trained, run};
use burnrec_train::run_dir::{Begin, Unwatched, Watch, run_to};

use crate::Result;

/// Trains a model: the epoch is chosen on valid, the final fit is on train and valid together, test is touched once.
///
/// `config` is the settings of a family ([`AlsConfig`](crate::AlsConfig), [`NeumfConfig`](crate::NeumfConfig) …), or a
/// [`TrainConfig`] with those of training and run too. A network is trained on a graphics card if there is one.
/// [`Training`] has more to choose.
///
/// # Errors
/// When a setting is out of its range, training diverges, or the model cannot be judged as the data's protocol asks.
pub fn train(data: &Prepared, config: impl Into<TrainConfig>) -> Result<Trained> {
    Training::new(config).run(data)
}

/// Judges a scorer on a holdout: every user's held-out items are ranked among the user's candidates, with ties and NaN
/// against the scorer. `train`, `[n_users, n_items]`, is what it learned from.
///
/// # Errors
/// When scorer, holdout and matrix do not fit each other, or users have to be folded in and the scorer cannot.
pub fn evaluate(
    scorer: &dyn Scorer,
    holdout: &Holdout,
    train: &Csr,
    options: &EvaluateOptions,
) -> Result<Scores> {
    Ok(burnrec_train::evaluate::evaluate(scorer, holdout, train, options, &Silent)?)
}

/// A training run with all that may be chosen about it.
pub struct Training<'a> {
    config: TrainConfig,
    device: DeviceChoice,
    progress: &'a dyn Progress,
}

impl Training<'static> {
    /// Takes the settings of a family, or of a whole run.
    pub fn new(config: impl Into<TrainConfig>) -> Self {
        Self { config: config.into(), device: DeviceChoice::Auto, progress: &Silent }
    }
}

impl<'a> Training<'a> {
    /// Chooses where networks are trained.
    pub fn device(self, device: DeviceChoice) -> Self {
        Self { device, ..self }
    }

    /// Tells how far the work is, and asks whether to stop.
    pub fn progress<'b>(self, progress: &'b dyn Progress) -> Training<'b> {
        Training { config: self.config, device: self.device, progress }
    }

    /// Trains in memory.
    ///
    /// # Errors
    /// As [`train()`], and when the device cannot be had or `progress` says to stop.
    pub fn run(&self, data: &Prepared) -> Result<Trained> {
        self.config.validate()?;
        let device = self.config.open_device(self.device)?;
        Ok(run(data, &self.config, &device, None, &mut |_| Ok(()), self.progress)?)
    }

    /// Trains into a run directory, with a checkpoint and a line in `record.jsonl` after each epoch.
    ///
    /// # Errors
    /// As [`Training::run`], and when `dir` holds what `begin` does not allow for, or cannot be written.
    pub fn run_to(&self, dir: impl AsRef<Path>, begin: Begin, data: &Prepared) -> Result<Trained> {
        self.watched(dir.as_ref(), begin, data, None, &mut Unwatched)
    }

    /// Trains into a run directory while `watch` hears of every epoch; the record says that the data lies in `data_dir`.
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
        let device = self.config.open_device(self.device)?;
        Ok(run_to(dir, begin, data, data_dir, &self.config, &device, watch, self.progress)?)
    }
}

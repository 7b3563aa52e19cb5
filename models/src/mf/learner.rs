//! Training matrix factorisation: the learner of all networks.

use std::path::Path;

use burnrec_data::Csr;

use super::{MfConfig, MfModel};
use crate::device::OpenDevice;
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::model::{Compute, Model};
use crate::nn::on_card::on_card;
use crate::nn::{NnLearner, NnTraining};
use crate::progress::Progress;
use crate::trainer::Trainable;
use crate::{Recency, Result};

impl Trainable for MfConfig {
    type Training = NnTraining;

    fn validate_training(training: &NnTraining) -> Result<()> {
        training.validate()
    }

    fn trains_on(&self) -> Compute {
        Compute::Device
    }

    fn learner<'a>(&self, training: &NnTraining, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        let FitInput { train, seed, device, .. } = *fit;
        Ok(match self.recency {
            Recency::None => Box::new(NnLearner::new(train, self, training, seed, device)?),
            _ => Box::new(AgedMfLearner::new(train, self, training, seed, device)?),
        })
    }
}

/// The learner of all networks, with its users folded in by the age of their rows in each model that it returns.
pub struct AgedMfLearner<'a> {
    learner: NnLearner,
    config: MfConfig,
    train: &'a Csr,
    device: &'a OpenDevice,
}

impl<'a> AgedMfLearner<'a> {
    /// Learns from the training matrix `[n_users, n_items]`, as [`NnLearner::new`].
    ///
    /// # Errors
    /// As [`NnLearner::new`], and when the ages of the rows count and are not known.
    pub fn new(
        train: &'a Csr,
        config: &MfConfig,
        training: &NnTraining,
        seed: u64,
        device: &'a OpenDevice,
    ) -> Result<Self> {
        config.recency.check(train)?;
        let learner = NnLearner::new(train, config, training, seed, device)?;
        Ok(Self { learner, config: config.clone(), train, device })
    }
}

impl Learner for AgedMfLearner<'_> {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        self.learner.epoch(progress)
    }

    fn model(&self) -> Box<dyn Model> {
        let trained = MfModel::of_weights(self.config.clone(), &self.learner.model().weights());
        let model = trained.of_users(self.train).expect("the rows were checked to have an order");
        let score = self.config.pair_score(model.dots.mean);
        on_card(Box::new(model), || score, &self.device.device)
    }

    fn is_finished(&self) -> bool {
        self.learner.is_finished()
    }

    fn computed_by(&self) -> Option<String> {
        self.learner.computed_by()
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        self.learner.save_state(dir)
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        self.learner.load_state(dir)
    }
}

//! Training matrix factorisation: the learner of all networks.

use super::MfConfig;
use crate::Result;
use crate::learner::{FitInput, Learner};
use crate::model::Compute;
use crate::nn::{NnLearner, NnTraining};
use crate::trainer::Trainable;

impl Trainable for MfConfig {
    type Training = NnTraining;

    fn validate_training(training: &NnTraining) -> Result<()> {
        training.validate()
    }

    fn trains_on(&self) -> Compute {
        Compute::Device
    }

    fn learner<'a>(&self, training: &NnTraining, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        Ok(Box::new(NnLearner::new(fit.train, self, training, fit.seed, fit.device)?))
    }
}

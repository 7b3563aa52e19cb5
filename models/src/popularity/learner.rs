//! The learner of popularity: it counts in one epoch, and there is no loss to minimise.

use std::path::Path;

use burnrec_data::Csr;

use super::{Popularity, PopularityConfig};
use crate::Result;
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::model::Model;
use crate::progress::Progress;
use crate::settings::NoSettings;
use crate::trainer::Trainable;

impl Trainable for PopularityConfig {
    type Training = NoSettings;

    fn learner<'a>(&self, _: &NoSettings, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        Ok(Box::new(PopularityLearner::new(fit.train)))
    }
}

/// Learns how many users had each item.
pub struct PopularityLearner<'a> {
    train: &'a Csr,
}

impl<'a> PopularityLearner<'a> {
    /// Learns from the training matrix `[n_users, n_items]`.
    pub fn new(train: &'a Csr) -> Self {
        Self { train }
    }
}

impl Learner for PopularityLearner<'_> {
    fn epoch(&mut self, _: &dyn Progress) -> Result<EpochLoss> {
        Ok(EpochLoss { samples: self.train.nnz() as u64, ..EpochLoss::default() })
    }

    fn is_finished(&self) -> bool {
        true
    }

    fn model(&self) -> Box<dyn Model> {
        Box::new(Popularity::new(self.train))
    }

    fn save_state(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn load_state(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }
}

//! The learner of transitions: it solves the closed form in one epoch.

use std::path::Path;
use std::sync::Arc;

use burnrec_data::Csr;

use super::closed_form::{Sequences, check_memory, transitions};
use super::{Transition, TransitionConfig};
use crate::Result;
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::model::{Family, Model};
use crate::progress::{Progress, Silent};
use crate::scorer::check_order;
use crate::settings::NoSettings;
use crate::trainer::Trainable;

impl Trainable for TransitionConfig {
    type Training = NoSettings;

    fn learner<'a>(&self, _: &NoSettings, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        Ok(Box::new(TransitionLearner::new(fit.train, *self)?))
    }
}

/// Learns the transitions between items from histories.
pub struct TransitionLearner<'a> {
    config: TransitionConfig,
    train: &'a Csr,
    sequences: Sequences,
    transitions: Arc<Vec<f32>>,
    is_solved: bool,
}

impl<'a> TransitionLearner<'a> {
    /// Learns from the training matrix `[n_users, n_items]`, whose rows have an order. Before the first epoch all scores
    /// are 0.
    ///
    /// # Errors
    /// When a setting is out of its range, the rows have no order, or the matrices of this many items do not fit the
    /// memory.
    pub fn new(train: &'a Csr, config: TransitionConfig) -> Result<Self> {
        config.validate()?;
        check_order(train)?;
        check_memory(train.n_cols())?;
        let transitions = Arc::new(vec![0.0; train.n_cols() * train.n_cols()]);
        Ok(Self { config, train, sequences: Sequences::new(train)?, transitions, is_solved: false })
    }

    /// Solves the closed form, if that is not done: later epochs have nothing to add.
    fn solve(&mut self, progress: &dyn Progress) -> Result<()> {
        if !self.is_solved {
            self.transitions = Arc::new(transitions(&self.sequences, &self.config, progress)?);
            self.is_solved = true;
        }
        Ok(())
    }
}

impl Learner for TransitionLearner<'_> {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        self.solve(progress)?;
        Ok(EpochLoss { samples: self.sequences.n_targets() as u64, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        Box::new(Transition::new(self.config, Arc::clone(&self.transitions), self.train))
    }

    /// Writes nothing: the solution has the same bits whenever it is computed.
    fn save_state(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn load_state(&mut self, _: &Path) -> Result<()> {
        self.solve(&Silent)
    }
}

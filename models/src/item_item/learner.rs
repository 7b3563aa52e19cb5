//! The learner of a closed form: one epoch computes the matrix, and another would compute the same.

use std::path::Path;
use std::sync::Arc;

use burnrec_data::Csr;
use burnrec_data::tensors::{self, TensorFile};

use super::{ItemItem, ItemItemModel, ItemMatrix};
use crate::Result;
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::model::{Family, Model};
use crate::progress::Progress;
use crate::settings::NoSettings;
use crate::trainer::Trainable;

/// A family of which the item-item matrix is computed from the training rows at once.
pub trait ClosedForm: ItemItem {
    /// Refuses data for which the computation does not fit the free memory, before anything is allocated.
    ///
    /// # Errors
    /// When it does not fit; the error names the size.
    fn check_memory(&self, train: &Csr) -> Result<()> {
        let _ = train;
        Ok(())
    }

    /// Computes the matrix from the training matrix, `[n_users, n_items]`.
    ///
    /// # Errors
    /// When the equations have no solution, or `progress` says to stop.
    fn solve(&self, train: &Csr, progress: &dyn Progress) -> Result<ItemMatrix>;
}

impl<F: ClosedForm> Trainable for F {
    type Training = NoSettings;

    fn learner<'a>(&self, _: &NoSettings, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        Ok(Box::new(ItemItemLearner::new(fit.train, self.clone())?))
    }
}

/// Computes the item-item matrix of a family. The result does not depend on the number of threads.
pub struct ItemItemLearner<'a, F> {
    config: F,
    train: &'a Csr,
    histories: Arc<Csr>,
    /// The matrix; empty until the first epoch.
    matrix: Arc<ItemMatrix>,
    is_finished: bool,
}

impl<'a, F: ClosedForm> ItemItemLearner<'a, F> {
    /// Learns from the training matrix `[n_users, n_items]`.
    ///
    /// # Errors
    /// When a setting is out of its range, the computation does not fit the free memory, or the ages of the rows count and are
    /// not known.
    pub fn new(train: &'a Csr, config: F) -> Result<Self> {
        config.validate()?;
        config.check_memory(train)?;
        let histories = Arc::new(config.weigh(train)?);
        let matrix = Arc::new(ItemMatrix::empty(train.n_cols()));
        Ok(Self { config, train, histories, matrix, is_finished: false })
    }
}

impl<F: ClosedForm> Learner for ItemItemLearner<'_, F> {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        if !self.is_finished {
            self.matrix = Arc::new(self.config.solve(self.train, progress)?);
            self.is_finished = true;
        }
        Ok(EpochLoss { samples: self.train.nnz() as u64, ..EpochLoss::default() })
    }

    fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn model(&self) -> Box<dyn Model> {
        let (histories, matrix) = (Arc::clone(&self.histories), Arc::clone(&self.matrix));
        let biases = popularity_biases(self.config.popularity(), self.train, &matrix).map(Arc::new);
        Box::new(ItemItemModel::new(self.config.clone(), histories, matrix).with_biases(biases))
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        Ok(tensors::write(&dir.join(STATE), &self.matrix.tensors())?)
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        let file = TensorFile::open(&dir.join(STATE))?;
        self.matrix = Arc::new(ItemMatrix::load(&file, self.train.n_cols())?);
        self.is_finished = true;
        Ok(())
    }
}

/// Returns what [`ItemItem::popularity`] adds to the scores of each item, `[n_items]`; `None` where that is nothing.
fn popularity_biases(popularity: f32, train: &Csr, matrix: &ItemMatrix) -> Option<Vec<f32>> {
    if popularity == 0.0 {
        return None;
    }
    let mut n_users = vec![0.0; train.n_cols()];
    let positives = train.cols().iter().zip(train.values()).filter(|(_, value)| **value > 0.0);
    positives.for_each(|(&item, _)| n_users[item as usize] += 1.0);
    let factor = f64::from(popularity) * matrix.mean_weight() / (train.n_rows() as f64).max(1.0);
    Some(n_users.into_iter().map(|n: f64| (factor * n) as f32).collect())
}

/// The file of a checkpoint that holds the matrix.
const STATE: &str = "item_item.safetensors";

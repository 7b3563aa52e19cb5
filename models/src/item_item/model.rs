//! The model: the item-item matrix with the histories of its users.

use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::vocab_file::csr_tensors;
use burnrec_data::{Csr, ItemIx, UserIx};

use super::ItemMatrix;
use super::matrix::read_matrix;
use crate::Result;
use crate::model::{Family, Model, ModelConfig};
use crate::scorer::{FoldIn, Scorer, Shape, check_histories};
use crate::similar::Likeness;

/// A family whose models are an item-item matrix.
pub trait ItemItem: Family {
    /// Returns histories, `[users, n_items]`, with the values `x_ui` that scores weigh their items by. They are 1 for every value
    /// over 0, and other items are left out, unless a family says otherwise.
    fn weigh(&self, histories: &Csr) -> Csr {
        ones(histories)
    }
}

/// Returns the entries over 0, each with the value 1.
pub fn ones(matrix: &Csr) -> Csr {
    let mut offsets = Vec::with_capacity(matrix.n_rows() + 1);
    let mut cols = Vec::with_capacity(matrix.nnz());
    offsets.push(0);
    for row in 0..matrix.n_rows() {
        let (items, values) = matrix.row(row);
        cols.extend(items.iter().zip(values).filter(|(_, value)| **value > 0.0).map(|(item, _)| *item));
        offsets.push(cols.len());
    }
    let values = vec![1.0; cols.len()];
    Csr::new(matrix.n_cols(), offsets, cols, values)
}

/// An item-item matrix and the histories of users, which are all that it knows of them.
pub struct ItemItemModel<F> {
    config: F,
    /// `[n_users, n_items]`, as [`ItemItem::weigh`] returns them.
    histories: Arc<Csr>,
    matrix: Arc<ItemMatrix>,
}

const HISTORIES: &str = "histories";

impl<F: ItemItem> ItemItemModel<F> {
    /// Makes the model of histories, `[n_users, n_items]`, as [`ItemItem::weigh`] returns them.
    ///
    /// # Panics
    /// When the histories are over other items than the matrix.
    pub fn new(config: F, histories: Arc<Csr>, matrix: Arc<ItemMatrix>) -> Self {
        assert_eq!(histories.n_cols(), matrix.n_items(), "histories over the items of the matrix");
        Self { config, histories, matrix }
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When a setting is out of its range, or the weights are not those of such a model of this shape.
    pub fn load(weights: &TensorFile, config: F, shape: Shape) -> Result<Self> {
        config.validate()?;
        let histories = read_matrix(weights, HISTORIES, [shape.n_users, shape.n_items])?;
        let matrix = ItemMatrix::load(weights, shape.n_items)?;
        Ok(Self::new(config, Arc::new(histories), Arc::new(matrix)))
    }

    /// Returns the item-item matrix.
    pub fn matrix(&self) -> &ItemMatrix {
        &self.matrix
    }
}

impl<F: ItemItem> Scorer for ItemItemModel<F> {
    fn n_users(&self) -> usize {
        self.histories.n_rows()
    }

    fn n_items(&self) -> usize {
        self.matrix.n_items()
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        let mut start = 0;
        for run in users.chunk_by(|a, b| a == b) {
            let pairs = start..start + run.len();
            start = pairs.end;
            let history = self.histories.row(run[0].at());
            self.matrix.score_some(history, &items[pairs.clone()], &mut out[pairs]);
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let histories: Vec<_> = users.iter().map(|user| self.histories.row(user.at())).collect();
        self.matrix.score_all(&histories, out);
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        Some(self)
    }

    fn likeness(&self) -> Option<Likeness<'_>> {
        Some(Likeness::Weights(&self.matrix))
    }
}

impl<F: ItemItem> FoldIn for ItemItemModel<F> {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        let histories = Arc::new(self.config.weigh(histories));
        Ok(Box::new(Self::new(self.config.clone(), histories, Arc::clone(&self.matrix))))
    }
}

impl<F: ItemItem> Model for ItemItemModel<F> {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let mut weights = csr_tensors(HISTORIES, &self.histories);
        weights.extend(self.matrix.tensors());
        weights
    }
}

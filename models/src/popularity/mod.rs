//! The popularity baseline: every user gets the same ranking, by how many users had each item.

use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::{Csr, ItemIx, UserIx};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::device::OpenDevice;
use crate::model::Model;
use crate::model::{Family, ModelConfig, Output};
use crate::scorer::{FoldIn, Scorer, Shape, check_histories};
use crate::user_array::UserArray;
use crate::weights::matrix;

#[cfg(feature = "train")]
mod learner;
#[cfg(feature = "train")]
pub use learner::PopularityLearner;

/// The settings of popularity: there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PopularityConfig {}

impl Family for PopularityConfig {
    const KIND: &'static str = "popularity";

    fn validate(&self) -> Result<()> {
        Ok(())
    }

    fn output(&self) -> Output {
        Output::Raw
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        Some(Vec::new())
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        Ok(Box::new(Popularity::load(weights, shape)?))
    }
}

/// Scores an item by the number of training rows it has.
pub struct Popularity {
    n_users: usize,
    counts: Arc<[f32]>,
}

impl Popularity {
    /// Counts the rows of the training matrix `[n_users, n_items]`.
    pub fn new(train: &Csr) -> Self {
        let mut counts = vec![0.0; train.n_cols()];
        train.cols().iter().for_each(|&item| counts[item as usize] += 1.0);
        Self { n_users: train.n_rows(), counts: counts.into() }
    }

    /// Returns how many rows an item has.
    pub fn count(&self, item: ItemIx) -> f32 {
        self.counts[item.at()]
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When the weights are not those of a popularity model of this shape.
    pub fn load(weights: &TensorFile, shape: Shape) -> Result<Self> {
        let counts = matrix(weights, "item_counts", &[shape.n_items])?;
        Ok(Self { n_users: shape.n_users, counts: counts.into() })
    }
}

impl Scorer for Popularity {
    fn n_users(&self) -> usize {
        self.n_users
    }

    fn n_items(&self) -> usize {
        self.counts.len()
    }

    fn score_pairs(&self, _: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for (out, item) in out.iter_mut().zip(items) {
            *out = self.count(*item);
        }
    }

    fn score_catalog(&self, _: &[UserIx], out: &mut [f32]) {
        out.chunks_exact_mut(self.counts.len()).for_each(|row| row.copy_from_slice(&self.counts));
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        Some(self)
    }
}

impl FoldIn for Popularity {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        Ok(Box::new(Self { n_users: histories.n_rows(), counts: self.counts.clone() }))
    }
}

impl Model for Popularity {
    fn config(&self) -> ModelConfig {
        PopularityConfig {}.into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        vec![("item_counts".to_owned(), Tensor::new(&[self.counts.len()], self.counts.iter().copied()))]
    }
}

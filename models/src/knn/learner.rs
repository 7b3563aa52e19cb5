//! Finding the nearest items: the weighted matrix times its transpose.

use burnrec_data::Csr;

use super::{KnnConfig, Similarity};
use crate::Result;
use crate::item_item::{ClosedForm, ItemItemLearner, ItemMatrix, Itself, NeighboursOf, nearest};
use crate::learner::{FitInput, Learner};
use crate::progress::Progress;
use crate::retrieval::{bm25, bm25_norms, inverse_frequency, tfidf};
use crate::settings::NoSettings;
use crate::trainer::Trainable;

impl Trainable for KnnConfig {
    type Training = NoSettings;

    fn learner<'a>(&self, _: &NoSettings, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        Ok(Box::new(ItemItemLearner::new(fit.train, self.clone())?))
    }
}

impl ClosedForm for KnnConfig {
    fn solve(&self, train: &Csr, progress: &dyn Progress) -> Result<ItemMatrix> {
        let factors = vec![1.0; train.n_cols()];
        let nearest = nearest(&self.weighted(train), &factors, self.k, Itself::Kept, progress)?;
        Ok(ItemMatrix::Sparse(match self.neighbours_of {
            NeighboursOf::History => nearest,
            NeighboursOf::Target => nearest.transpose(),
        }))
    }
}

impl KnnConfig {
    /// Returns the weighted values of the training matrix, `[n_users, n_items]`.
    pub fn weighted(&self, train: &Csr) -> Csr {
        let idf: Vec<f64> = (0..train.n_rows()).map(|user| inverse_frequency(train, user)).collect();
        match self.similarity {
            Similarity::Cosine => normalised(train, |_, value| value.into()),
            Similarity::Tfidf => normalised(train, |user, value| tfidf(value, idf[user])),
            Similarity::Bm25 => {
                let norms = bm25_norms(train, self.b.into());
                let weight = |user: usize, item: u32, value| {
                    bm25(value, self.k1.into(), norms[item as usize].into(), idf[user])
                };
                train.map_values(|user, item, value| number(weight(user, item, value)))
            }
        }
    }
}

/// Returns the values that `weight` makes of a user and a value, in columns of length 1.
fn normalised(train: &Csr, weight: impl Fn(usize, f32) -> f64) -> Csr {
    let mut squares = vec![0.0f64; train.n_cols()];
    for user in 0..train.n_rows() {
        let (items, values) = train.row(user);
        for (&item, &value) in items.iter().zip(values) {
            squares[item as usize] += weight(user, value).powi(2);
        }
    }
    train.map_values(|user, item, value| number(weight(user, value) / squares[item as usize].sqrt()))
}

/// Returns a weight, and 0 for what has none: a column without a value other than 0.
fn number(weight: f64) -> f32 {
    if weight.is_finite() { weight as f32 } else { 0.0 }
}

//! Finding the nearest items: the weighted matrix times its transpose.

use burnrec_data::Csr;

use super::{KnnConfig, Similarity};
use crate::Result;
use crate::item_item::{ClosedForm, ItemMatrix, Itself, NeighboursOf, nearest};
use crate::progress::Progress;
use crate::retrieval::{bm25, bm25_norms, inverse_frequency, tfidf};

impl ClosedForm for KnnConfig {
    fn solve(&self, train: &Csr, progress: &dyn Progress) -> Result<ItemMatrix> {
        let nearest = self.nearest(train, progress)?;
        Ok(ItemMatrix::Sparse(match self.neighbours_of {
            NeighboursOf::History => nearest,
            NeighboursOf::Target => nearest.transpose(),
        }))
    }
}

impl KnnConfig {
    /// Returns in each row the `k` items that are most similar to an item, itself among them, and how similar they are:
    /// `train` is `[n_users, n_items]`, the result `[n_items, n_items]`.
    ///
    /// # Errors
    /// When `progress` says to stop.
    pub fn nearest(&self, train: &Csr, progress: &dyn Progress) -> Result<Csr> {
        let idf: Vec<f64> = (0..train.n_rows()).map(|user| inverse_frequency(train, user)).collect();
        match self.similarity {
            Similarity::Cosine => self.of_cosines(train, |_, value| value.into(), progress),
            Similarity::Tfidf => self.of_cosines(train, |user, value| tfidf(value, idf[user]), progress),
            Similarity::Bm25 => {
                let norms = bm25_norms(train, self.b.into());
                let weight = |user: usize, item: u32, value| {
                    bm25(value, self.k1.into(), norms[item as usize].into(), idf[user])
                };
                let weighted = train.map_values(|user, item, value| number(weight(user, item, value)));
                nearest(&weighted, &vec![1.0; train.n_cols()], self.k, Itself::Kept, progress)
            }
        }
    }

    /// Returns the nearest items by the cosine of the values that `weight` makes of a user and a value.
    ///
    /// Before the products are summed up a column is divided by the power of two below its length, after that by what is left of
    /// its length, from 1 to 2. So no sum overflows, and sums of products of whole numbers are exact up to 2^24.
    fn of_cosines(
        &self,
        train: &Csr,
        weight: impl Fn(usize, f32) -> f64,
        progress: &dyn Progress,
    ) -> Result<Csr> {
        let lengths = lengths(train, &weight);
        let powers: Vec<f64> = lengths.iter().map(|length| length.log2().floor().exp2()).collect();
        let scaled =
            train.map_values(|user, item, value| number(weight(user, value) / powers[item as usize]));
        let rest: Vec<f32> =
            powers.iter().zip(&lengths).map(|(power, length)| number(power / length)).collect();
        let nearest = nearest(&scaled, &rest, self.k, Itself::Kept, progress)?;
        Ok(nearest.map_values(|item, _, value| value * rest[item]))
    }
}

/// Returns the length of each column of the values that `weight` makes of a user and a value.
fn lengths(train: &Csr, weight: impl Fn(usize, f32) -> f64) -> Vec<f64> {
    let mut squares = vec![0.0f64; train.n_cols()];
    for user in 0..train.n_rows() {
        let (items, values) = train.row(user);
        for (&item, &value) in items.iter().zip(values) {
            squares[item as usize] += weight(user, value).powi(2);
        }
    }
    squares.into_iter().map(f64::sqrt).collect()
}

/// Returns a weight, and 0 for what has none: a column without a value other than 0.
fn number(weight: f64) -> f32 {
    if weight.is_finite() { weight as f32 } else { 0.0 }
}

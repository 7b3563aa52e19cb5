//! The weighting of the values before training, by schemes from text retrieval.

use std::borrow::Cow;

use burnrec_data::Csr;

use super::{AlsConfig, Weighting};
use crate::retrieval::{bm25, bm25_norms, inverse_frequency, tfidf};
use crate::{Error, Result};

/// The parameter K1 of BM25.
const K1: f64 = 100.0;

/// The parameter B of BM25.
const B: f64 = 0.8;

/// A weighting with the statistics of the training matrix that it needs, so that new users are weighted as those of
/// training.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    weighting: Weighting,
    /// For BM25 `[n_items]`: `1 - B + B * sum of the item's values / mean of these sums`; else empty.
    item_norms: Vec<f32>,
    /// The mean of the training values, where it is taken from them; else 0.
    mean: f32,
}

impl Weights {
    /// Computes what the weighting of these settings needs from the training matrix, `[n_users, n_items]`, and with biases the
    /// mean of its values.
    pub fn of(config: &AlsConfig, train: &Csr) -> Self {
        let sum: f64 = train.values().iter().map(|&value| f64::from(value)).sum();
        let mean = if config.biases { sum / train.nnz().max(1) as f64 } else { 0.0 };
        Self::new(config.weighting, train).with_mean(mean as f32)
    }

    /// Computes what the weighting needs from the training matrix, `[n_users, n_items]`.
    pub fn new(weighting: Weighting, train: &Csr) -> Self {
        let item_norms = if weighting == Weighting::Bm25 { bm25_norms(train, B) } else { Vec::new() };
        Self { weighting, item_norms, mean: 0.0 }
    }

    /// Makes it from what was saved: `item_norms` is what [`Weights::item_norms`] returned.
    pub fn from_saved(weighting: Weighting, item_norms: Vec<f32>) -> Self {
        Self { weighting, item_norms, mean: 0.0 }
    }

    /// Takes this mean from every value.
    pub fn with_mean(self, mean: f32) -> Self {
        Self { mean, ..self }
    }

    /// Returns what is taken from every value.
    pub fn mean(&self) -> f32 {
        self.mean
    }

    /// Returns what must be saved to weight new users; empty for all weightings but BM25.
    pub fn item_norms(&self) -> &[f32] {
        &self.item_norms
    }

    /// Returns users' rows, `[users, n_items]`, with their values weighted.
    ///
    /// # Errors
    /// When a value is not finite, or is negative and the weighting has no meaning for it.
    pub fn apply<'a>(&self, rows: &'a Csr) -> Result<Cow<'a, Csr>> {
        let least = if self.weighting == Weighting::None { f32::NEG_INFINITY } else { 0.0 };
        let bad = |value: f32| !(value.is_finite() && value >= least);
        for user in 0..rows.n_rows() {
            let (items, values) = rows.row(user);
            if let Some((&item, &found)) = items.iter().zip(values).find(|(_, value)| bad(**value)) {
                let expected =
                    if found.is_finite() { "at least 0 for this weighting" } else { "a finite number" };
                return Err(Error::Value { user, item, found, expected });
            }
        }
        let idf = |user: usize| inverse_frequency(rows, user);
        Ok(match self.weighting {
            Weighting::None if self.mean != 0.0 => {
                Cow::Owned(rows.map_values(|_, _, value| value - self.mean))
            }
            Weighting::None => Cow::Borrowed(rows),
            Weighting::Log => Cow::Owned(rows.map_values(|_, _, value| value.ln_1p())),
            Weighting::Tfidf => Cow::Owned(rows.map_values(|user, _, value| tfidf(value, idf(user)) as f32)),
            Weighting::Bm25 => Cow::Owned(rows.map_values(|user, item, value| {
                bm25(value, K1, self.item_norms[item as usize].into(), idf(user)) as f32
            })),
        })
    }
}

#[cfg(test)]
mod tests {
    use burnrec_data::{ItemIx, UserIx};

    use super::*;

    #[test]
    fn weights_are_those_of_implicit() {
        let users = [0, 0, 0, 1, 1, 2, 3, 3].map(UserIx);
        let items = [0, 1, 3, 1, 2, 1, 0, 4].map(ItemIx);
        let train = Csr::from_rows(4, 5, &users, &items, &[1.0, 5.0, 2.0, 3.0, 4.0, 2.0, 7.0, 1.0]);
        // `bm25_weight` and `tfidf_weight` of implicit 0.7.3 on the same matrix with items as its rows.
        let bm25 = [0.151258, 0.609122, 0.834722, 0.845793, 2.345154, 1.016982, 2.330024, 1.394416];
        let tfidf = [0.223144, 0.498964, 0.315573, 0.884776, 1.021651, 1.295831, 1.351518, 0.510826];
        let log = train.values().iter().map(|value| (1.0 + value).ln()).collect::<Vec<_>>();
        for (weighting, expected) in
            [(Weighting::Bm25, &bm25[..]), (Weighting::Tfidf, &tfidf[..]), (Weighting::Log, &log)]
        {
            let weights = Weights::new(weighting, &train);
            let found = weights.apply(&train).unwrap();
            for (found, expected) in found.values().iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{weighting:?}: {found}, expected {expected}");
            }
            let one = train.select_rows([1].into_iter());
            assert_eq!(
                weights.apply(&one).unwrap().row(0),
                found.row(1),
                "a user weighs alone as among others"
            );
        }
    }
}

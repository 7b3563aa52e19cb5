//! What is done to the values before anything else.

use std::borrow::Cow;

use burnrec_data::Csr;

use super::Weighting;
use crate::{Error, Result};

/// BM25's saturation of a value.
const K1: f64 = 100.0;

/// BM25's share of the item's length.
const B: f64 = 0.8;

/// A weighting with what it has to know of the training matrix, so that new users are weighed as the old ones were.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    weighting: Weighting,
    /// For BM25 `[n_items]`: `1 - B + B * sum of the item's values / mean of these sums`; else empty.
    item_norms: Vec<f32>,
}

impl Weights {
    /// Of the training matrix, `[n_users, n_items]`.
    pub fn new(weighting: Weighting, train: &Csr) -> Self {
        let item_norms = if weighting == Weighting::Bm25 { item_norms(train) } else { Vec::new() };
        Self { weighting, item_norms }
    }

    /// As saved: `item_norms` is what [`Weights::item_norms`] gave.
    pub fn from_saved(weighting: Weighting, item_norms: Vec<f32>) -> Self {
        Self { weighting, item_norms }
    }

    /// What must be saved to weigh new users; empty for most.
    pub fn item_norms(&self) -> &[f32] {
        &self.item_norms
    }

    /// Users' rows with their values weighed.
    ///
    /// # Errors
    /// When a value is not finite, or is negative and the weighting has no meaning for it.
    pub fn apply<'a>(&self, rows: &'a Csr) -> Result<Cow<'a, Csr>> {
        let least = if self.weighting == Weighting::None { f32::NEG_INFINITY } else { 0.0 };
        if let Some(&value) = rows.values().iter().find(|value| !(value.is_finite() && **value >= least)) {
            let expected =
                if value.is_finite() { "values of at least 0 for this weighting" } else { "finite values" };
            return Err(Error::FoldIn { found: format!("value {value}"), expected: expected.into() });
        }
        // The more items a user has, the less each says (implicit.nearest_neighbours, with items as documents).
        let idf = |user: usize| (rows.n_cols() as f64).ln() - (rows.row(user).0.len() as f64).ln_1p();
        Ok(match self.weighting {
            Weighting::None => Cow::Borrowed(rows),
            Weighting::Log => Cow::Owned(rows.map_values(|_, _, value| value.ln_1p())),
            Weighting::Tfidf => {
                Cow::Owned(rows.map_values(|user, _, value| (f64::from(value).sqrt() * idf(user)) as f32))
            }
            Weighting::Bm25 => Cow::Owned(rows.map_values(|user, item, value| {
                let (value, norm) = (f64::from(value), f64::from(self.item_norms[item as usize]));
                (value * (K1 + 1.0) / (K1 * norm + value) * idf(user)) as f32
            })),
        })
    }
}

fn item_norms(train: &Csr) -> Vec<f32> {
    let mut sums = vec![0.0f64; train.n_cols()];
    for (&item, &value) in train.cols().iter().zip(train.values()) {
        sums[item as usize] += f64::from(value);
    }
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    let share = |sum: f64| if mean > 0.0 { sum / mean } else { 1.0 };
    sums.into_iter().map(|sum| (1.0 - B + B * share(sum)) as f32).collect()
}

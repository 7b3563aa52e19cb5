//! The losses that networks are trained by.

use serde::{Deserialize, Serialize};

use crate::output::Output;
use crate::{Error, Result};

/// The loss over a training row: the score `s` of its item, and those `s_j` of the row's drawn negatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Binary cross-entropy: the mean over all samples of `-ln sigmoid(s)` and `-ln sigmoid(-s_j)`.
    Bce,
    /// Bayesian personalised ranking (Rendle et al. 2009): the mean over all pairs of `-ln sigmoid(s - s_j)`.
    Bpr,
    /// Sampled softmax (Jean et al. 2015; uniform draws need no correction): the mean over rows of
    /// `-ln (e^s / (e^s + sum e^s_j))`.
    Softmax,
    /// Squared error on ratings: the mean over rows of `(s - rating)^2`; no negatives are drawn.
    Mse,
}

impl Loss {
    /// Returns what the scores of a model that minimises this loss mean.
    pub fn output(self) -> Output {
        match self {
            Self::Bce => Output::Probability,
            Self::Mse => Output::Rating,
            Self::Bpr | Self::Softmax => Output::Raw,
        }
    }

    /// Returns how many negatives are drawn for each row, where the settings ask for `setting`.
    pub fn negatives(self, setting: usize) -> usize {
        if self == Self::Mse { 0 } else { setting }
    }

    /// Refuses a loss that needs negatives where none are drawn.
    ///
    /// # Errors
    /// When negatives are needed and there are none.
    pub fn validate(self, negatives: usize) -> Result<()> {
        if self != Self::Mse && negatives == 0 {
            return Err(Error::config("negatives", 0, "at least 1, as every loss but \"mse\" needs"));
        }
        Ok(())
    }

    /// Returns the score that all pairs have before a model knows more than the mean of its targets: the log-odds of a
    /// positive among the samples, the mean rating, or 0 where only differences of scores count.
    pub fn mean_score(self, negatives: usize, ratings: &[f32]) -> f32 {
        match self {
            Self::Bce => -(negatives as f32).ln(),
            Self::Bpr | Self::Softmax => 0.0,
            Self::Mse => {
                let sum = ratings.iter().map(|&rating| f64::from(rating)).sum::<f64>();
                (sum / ratings.len() as f64) as f32
            }
        }
    }

    /// Returns the number of terms of the mean over `rows` rows of `per_row` samples.
    pub fn terms(self, rows: usize, per_row: usize) -> usize {
        match self {
            Self::Bce => rows * per_row,
            Self::Bpr => rows * (per_row - 1),
            Self::Softmax | Self::Mse => rows,
        }
    }
}

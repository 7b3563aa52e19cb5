//! RP3beta: a random walk of three steps from a user to items, users and items again, with popular items held down (Paudel et
//! al. 2017, "Updatable, Accurate, Diverse, and Scalable Recommendations for Interactive Applications").
//!
//! ```text
//! W_ij = sum over users u of (1 / n_i)^alpha (1 / n_u)^alpha / n_j^beta,  i /= j
//! ```
//!
//! for an item `i` that `n_i` users have and a user of `n_u` items, of values over 0. A user's score of `j` is the sum of `W_ij` over the
//! items of the history: the walk's first step is the same number for all of them. Of the weights the `k` greatest of each item `i` are
//! kept, as in the paper (`neighbours_of = "history"`), or of each `j` (`"target"`). With `normalised` those of each `i` are then scaled to the sum 1, as in the
//! programs of Dacrema et al. 2021, "A Troubling Analysis of Reproducibility and Progress in Recommender Systems Research".

use serde::{Deserialize, Serialize};

use crate::item_item::{ItemItem, NeighboursOf};
use crate::{Error, Recency, Result};

#[cfg(feature = "train")]
mod learner;

/// The settings of RP3beta.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rp3betaConfig {
    /// The power of the probability of each step.
    pub alpha: f32,
    /// The power of an item's popularity that its weights are divided by.
    pub beta: f32,
    /// How many items each keeps.
    pub k: usize,
    /// Whose neighbours score an item: those of the history's items, or its own.
    pub neighbours_of: NeighboursOf,
    /// Whether the weights that are kept of each item of a history are scaled to the sum 1, as probabilities of a walk.
    pub normalised: bool,
    /// What the popularity of an item adds to its scores ([`ItemItem::popularity`]).
    pub popularity: f32,
    /// How the weight of a history's rows falls with their age, in scores.
    pub recency: Recency,
}

impl Default for Rp3betaConfig {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 0.5,
            k: 100,
            neighbours_of: NeighboursOf::History,
            normalised: false,
            popularity: 0.0,
            recency: Recency::None,
        }
    }
}

impl ItemItem for Rp3betaConfig {
    const NAME: &'static str = "rp3beta";

    fn check_settings(&self) -> Result<()> {
        for (key, value) in [("alpha", self.alpha), ("beta", self.beta), ("popularity", self.popularity)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::config(key, value, "a finite number of at least 0"));
            }
        }
        if self.k == 0 {
            return Err(Error::config("k", 0, "at least 1"));
        }
        Ok(())
    }

    fn recency(&self) -> Recency {
        self.recency
    }

    fn popularity(&self) -> f32 {
        self.popularity
    }
}

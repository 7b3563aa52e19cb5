//! SLIM, sparse linear methods (Ning and Karypis 2011, "SLIM: Sparse Linear Methods for Top-N Recommender Systems"): of each item
//! `j` a regression of its column on those of the `k` items nearest to it, with an elastic net that leaves few weights.
//!
//! ```text
//! min over w >= 0 of  1/2 |x_j - X w|^2 + reg/2 |w|^2 + l1 |w|_1,   w_i = 0 but for the k items of the greatest cosine to j
//! ```
//!
//! with `X` `[n_users, n_items]`, 1 where a user's value is over 0 and else 0 (equation 4 of the paper; the k nearest items are its
//! feature selection, fsSLIM). `w` is column `j` of the item-item matrix. Of X'X only what is not 0 is kept, so that a long
//! catalogue of which few pairs have users in common takes far less memory than EASE. Where all pairs have some, it is EASE with all
//! items for `k`, no `l1` and weights of either sign (`nonnegative = false`).

use serde::{Deserialize, Serialize};

use crate::item_item::ItemItem;
use crate::{Error, Recency, Result};

#[cfg(feature = "train")]
mod learner;

/// The settings of SLIM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlimConfig {
    /// The strength of the squared part of the elastic net.
    pub reg: f32,
    /// The strength of the absolute part: the more, the fewer weights.
    pub l1: f32,
    /// How many items each is regressed on.
    pub k: usize,
    /// Whether no weight is below 0.
    pub nonnegative: bool,
    /// How the weight of a history's rows falls with their age, in scores.
    pub recency: Recency,
}

impl Default for SlimConfig {
    fn default() -> Self {
        Self { reg: 100.0, l1: 1.0, k: 200, nonnegative: true, recency: Recency::None }
    }
}

impl ItemItem for SlimConfig {
    const NAME: &'static str = "slim";

    fn check_settings(&self) -> Result<()> {
        if !(self.reg > 0.0 && self.reg.is_finite()) {
            let expected = "a finite number over 0, without which equal columns have no one solution";
            return Err(Error::config("reg", self.reg, expected));
        }
        if !(self.l1 >= 0.0 && self.l1.is_finite()) {
            return Err(Error::config("l1", self.l1, "a finite number of at least 0"));
        }
        if self.k == 0 {
            return Err(Error::config("k", 0, "at least 1"));
        }
        Ok(())
    }

    fn recency(&self) -> Recency {
        self.recency
    }
}

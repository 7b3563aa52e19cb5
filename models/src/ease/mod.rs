//! EASE, embarrassingly shallow autoencoders (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data"): the item-item
//! matrix `B` of the least squared error with which each user's row is computed from itself, of those whose diagonal is 0.
//!
//! ```text
//! min |X - X B|^2 + reg |B|^2,  diag(B) = 0:     P = (X'X + reg I)^-1     B_ij = -P_ij / P_jj
//! ```
//!
//! with `X` `[n_users, n_items]`, 1 where a user's value is over 0 and else 0 (equation 8 of the paper). `B` is dense.

use serde::{Deserialize, Serialize};

use crate::item_item::ItemItem;
use crate::{Error, Recency, Result};

#[cfg(feature = "train")]
mod learner;

/// The settings of EASE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EaseConfig {
    /// The strength of the regulariser: how many rows of an item alone weigh as much as it.
    pub reg: f32,
    /// How the weight of a history's rows falls with their age, in scores.
    pub recency: Recency,
}

impl Default for EaseConfig {
    fn default() -> Self {
        Self { reg: 500.0, recency: Recency::None }
    }
}

impl ItemItem for EaseConfig {
    const NAME: &'static str = "ease";

    fn check_settings(&self) -> Result<()> {
        if self.reg > 0.0 && self.reg.is_finite() {
            return Ok(());
        }
        Err(Error::config("reg", self.reg, "a finite number over 0, without which X'X may have no inverse"))
    }

    fn recency(&self) -> Recency {
        self.recency
    }
}

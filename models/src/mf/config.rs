//! The settings of matrix factorisation.

use serde::{Deserialize, Serialize};

use crate::nn::loss::Loss;
use crate::{Error, Recency, Result};

/// Settings of matrix factorisation: score = mean + user bias + item bias + dot(user, item).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MfConfig {
    /// Length of the factor vectors.
    pub dim: usize,
    /// The loss that training minimises; it also decides what a score means.
    pub loss: Loss,
    /// Drawn negatives for each positive (none with `loss = "mse"`); also the weight of the unseen items when a user is
    /// folded in.
    pub negatives: usize,
    /// Each sample adds `reg` times the squared norm of its two vectors and biases to the loss; also used to fold
    /// users in.
    pub reg: f32,
    /// For `loss = "mse"`: whether predicted ratings are clipped to the values of training.
    pub clip: bool,
    /// Standard deviation of the initial factors.
    pub init_std: f32,
    /// How the weight of a user's rows falls with their age, in the vector that the user is scored by. Training does not read
    /// it: the users are folded in once their items' vectors are learned.
    pub recency: Recency,
}

impl Default for MfConfig {
    fn default() -> Self {
        Self {
            dim: 64,
            loss: Loss::Bce,
            negatives: 4,
            reg: 0.0,
            clip: true,
            init_std: 0.1,
            recency: Recency::None,
        }
    }
}

impl MfConfig {
    /// Refuses settings that are out of their range.
    ///
    /// # Errors
    /// When one is; it is named.
    pub fn validate(&self) -> Result<()> {
        if self.dim == 0 {
            return Err(Error::config("dim", self.dim, "at least 1"));
        }
        self.loss.validate(self.negatives)?;
        if !(self.reg.is_finite() && self.reg >= 0.0) {
            return Err(Error::config("reg", self.reg, "a number of at least 0"));
        }
        if !(self.init_std.is_finite() && self.init_std > 0.0) {
            return Err(Error::config("init_std", self.init_std, "a number above 0"));
        }
        self.recency.validate()
    }
}

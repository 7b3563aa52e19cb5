//! Matrix factorisation with biases, on Burn.

use serde::{Deserialize, Serialize};

use crate::config::Loss;

/// Settings of matrix factorisation: score = mean + user bias + item bias + dot(user, item).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MfConfig {
    /// Length of the factor vectors.
    pub dim: usize,
    /// What is minimised, and so what a score says.
    pub loss: Loss,
    /// Strength of the squared-norm regulariser on each sample's rows; also used to fold users in.
    pub reg: f32,
    /// Standard deviation of the first factors.
    pub init_std: f32,
}

impl Default for MfConfig {
    fn default() -> Self {
        Self { dim: 64, loss: Loss::Bce, reg: 0.0, init_std: 0.1 }
    }
}

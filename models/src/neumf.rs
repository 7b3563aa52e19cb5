//! Neural matrix factorisation (He et al. 2017), on Burn.

use serde::{Deserialize, Serialize};

/// Settings of NeuMF: a GMF part and an MLP tower, joined by one output layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeumfConfig {
    /// Number of predictive factors: the length of the GMF embeddings and of the tower's last layer.
    pub dim: usize,
    /// Widths of the tower from the concatenated embeddings on; empty for `[4 * dim, 2 * dim, dim]` (He et al. 2017).
    pub layers: Vec<usize>,
    /// Probability to drop a unit of the tower's hidden layers in training.
    pub dropout: f64,
    /// Standard deviation of the first embeddings.
    pub init_std: f32,
}

impl Default for NeumfConfig {
    fn default() -> Self {
        Self { dim: 64, layers: Vec::new(), dropout: 0.0, init_std: 0.01 }
    }
}

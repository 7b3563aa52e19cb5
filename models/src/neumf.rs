//! Neural matrix factorisation (He et al. 2017, "Neural Collaborative Filtering"), on Burn.
//!
//! Two parts with embeddings of their own, joined by one output layer: GMF, the elementwise product of two vectors,
//! and an MLP tower over the concatenation of two others (section 3.4, equation 12).

mod model;
mod module;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use model::NeumfModel;
pub use module::NeumfModule;

/// Settings of NeuMF: a GMF part and an MLP tower, joined by one output layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeumfConfig {
    /// Number of predictive factors: the length of the GMF embeddings and of the tower's last layer.
    pub dim: usize,
    /// Widths of the tower from the concatenated embeddings on; empty for `[4 * dim, 2 * dim, dim]` (He et al. 2017).
    pub layers: Vec<usize>,
    /// Drawn negatives for each positive.
    pub negatives: usize,
    /// Probability to drop a unit of the tower's hidden layers in training.
    pub dropout: f64,
    /// Standard deviation of the first embeddings.
    pub init_std: f32,
}

impl Default for NeumfConfig {
    fn default() -> Self {
        Self { dim: 64, layers: Vec::new(), negatives: 4, dropout: 0.0, init_std: 0.01 }
    }
}

impl NeumfConfig {
    /// The most `layers`.
    pub const MOST_LAYERS: usize = TOWER.len() + 1;

    /// Widths of the tower: of the concatenated embeddings, and then of the output of each dense layer.
    pub fn widths(&self) -> Vec<usize> {
        match self.layers.is_empty() {
            true => vec![4 * self.dim, 2 * self.dim, self.dim],
            false => self.layers.clone(),
        }
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// When one is out of it.
    pub fn validate(&self) -> Result<()> {
        if self.dim == 0 {
            return Err(Error::config("dim", self.dim, "at least 1"));
        }
        if self.negatives == 0 {
            return Err(Error::config("negatives", 0, "at least 1"));
        }
        let widths = self.widths();
        if !(2..=Self::MOST_LAYERS).contains(&widths.len()) || widths.contains(&0) || widths[0] % 2 == 1 {
            let expected = format!(
                "2 to {} widths above 0, the first of them even: a half for the user, a half for the item",
                Self::MOST_LAYERS
            );
            return Err(Error::config("layers", format!("{widths:?}"), expected));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::config("dropout", self.dropout, "a probability below 1"));
        }
        if !(self.init_std.is_finite() && self.init_std > 0.0) {
            return Err(Error::config("init_std", self.init_std, "a number above 0"));
        }
        Ok(())
    }
}

/// Names of the weight and the bias of each dense layer of the tower.
const TOWER: [(&str, &str); 8] = [
    ("tower_0_weight", "tower_0_bias"),
    ("tower_1_weight", "tower_1_bias"),
    ("tower_2_weight", "tower_2_bias"),
    ("tower_3_weight", "tower_3_bias"),
    ("tower_4_weight", "tower_4_bias"),
    ("tower_5_weight", "tower_5_bias"),
    ("tower_6_weight", "tower_6_bias"),
    ("tower_7_weight", "tower_7_bias"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_halve_by_default_and_bad_ones_are_refused() {
        let config = NeumfConfig { dim: 8, ..NeumfConfig::default() };
        assert_eq!(config.widths(), [32, 16, 8]);
        config.validate().expect("the default");
        for layers in [vec![32], vec![31, 8], vec![32, 0], vec![2; 10]] {
            let error = NeumfConfig { layers, ..config.clone() }.validate().expect_err("refused").to_string();
            assert!(error.starts_with("layers: found ["), "{error}");
        }
        assert!(NeumfConfig { dropout: 1.0, ..config }.validate().is_err());
    }
}

//! Settings of the networks of He et al. 2017.

use serde::{Deserialize, Serialize};

use crate::model::ModelConfig;
use crate::nn::loss::Loss;
use crate::{Error, Result};

/// Names of the weight and the bias of each dense layer of the tower.
pub(super) const TOWER: [(&str, &str); 8] = [
    ("tower_0_weight", "tower_0_bias"),
    ("tower_1_weight", "tower_1_bias"),
    ("tower_2_weight", "tower_2_bias"),
    ("tower_3_weight", "tower_3_bias"),
    ("tower_4_weight", "tower_4_bias"),
    ("tower_5_weight", "tower_5_bias"),
    ("tower_6_weight", "tower_6_bias"),
    ("tower_7_weight", "tower_7_bias"),
];

/// Settings of generalised matrix factorisation: score = bias + sum over k of `w[k] * p[k] * q[k]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GmfConfig {
    /// Number of predictive factors: the length of the embeddings.
    pub dim: usize,
    /// The loss that training minimises; it also decides what a score means.
    pub loss: Loss,
    /// Drawn negatives for each positive.
    pub negatives: usize,
    /// Standard deviation of the first embeddings.
    pub init_std: f32,
}

/// Settings of an MLP tower over a user's and an item's embedding, side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Number of predictive factors: the length of the tower's last layer where `layers` are not given.
    pub dim: usize,
    /// Widths of the tower from the concatenated embeddings on; empty for `[4 * dim, 2 * dim, dim]` (He et al. 2017).
    pub layers: Vec<usize>,
    /// The length of the user's embedding, which is a part of the first width; the rest is the item's. Half of it by
    /// default.
    pub user_dim: Option<usize>,
    /// The number of outputs of the tower: 1, the logit, or 2 (one for each class), whose difference is the logit.
    pub classes: usize,
    /// The loss that training minimises; it also decides what a score means.
    pub loss: Loss,
    /// Drawn negatives for each positive.
    pub negatives: usize,
    /// Probability to drop a unit of the tower's hidden layers in training.
    pub dropout: f64,
    /// Standard deviation of the first embeddings.
    pub init_std: f32,
}

/// Settings of NeuMF: a GMF part and an MLP tower, joined by one output layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeumfConfig {
    /// Number of predictive factors: the length of the GMF embeddings and of the tower's last layer.
    pub dim: usize,
    /// Widths of the tower from the concatenated embeddings on; empty for `[4 * dim, 2 * dim, dim]` (He et al. 2017).
    pub layers: Vec<usize>,
    /// The loss that training minimises; it also decides what a score means.
    pub loss: Loss,
    /// Drawn negatives for each positive.
    pub negatives: usize,
    /// Probability to drop a unit of the tower's hidden layers in training.
    pub dropout: f64,
    /// Standard deviation of the first embeddings.
    pub init_std: f32,
}

/// The architecture that the three have in common: NeuMF with one part or the other left out.
#[derive(Clone, Debug, PartialEq)]
pub struct NcfSpec {
    /// The settings that it was made from.
    pub model: ModelConfig,
    /// Length of the GMF part's embeddings.
    pub gmf: Option<usize>,
    /// The MLP part.
    pub tower: Option<TowerWidths>,
    /// The number of outputs: 1, the logit, or 2, whose difference is the logit.
    pub classes: usize,
    /// What is minimised.
    pub loss: Loss,
    /// Drawn negatives for each positive.
    pub negatives: usize,
    /// Probability to drop a unit of the tower's hidden layers in training.
    pub dropout: f64,
    /// Standard deviation of the first embeddings.
    pub init_std: f32,
}

/// The widths of a tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TowerWidths {
    /// The width of the user's embedding.
    pub user: usize,
    /// The width of the concatenated embeddings, and then of the output of each dense layer.
    pub layers: Vec<usize>,
}

impl Default for GmfConfig {
    fn default() -> Self {
        Self { dim: 64, loss: Loss::Bce, negatives: 4, init_std: 0.01 }
    }
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: Vec::new(),
            user_dim: None,
            classes: 1,
            loss: Loss::Bce,
            negatives: 4,
            dropout: 0.0,
            init_std: 0.01,
        }
    }
}

impl Default for NeumfConfig {
    fn default() -> Self {
        Self { dim: 64, layers: Vec::new(), loss: Loss::Bce, negatives: 4, dropout: 0.0, init_std: 0.01 }
    }
}

impl From<&GmfConfig> for NcfSpec {
    fn from(config: &GmfConfig) -> Self {
        let GmfConfig { dim, loss, negatives, init_std } = *config;
        let model = config.clone().into();
        Self { model, gmf: Some(dim), tower: None, classes: 1, loss, negatives, dropout: 0.0, init_std }
    }
}

impl From<&MlpConfig> for NcfSpec {
    fn from(config: &MlpConfig) -> Self {
        let MlpConfig { dim, ref layers, user_dim, classes, loss, negatives, dropout, init_std } = *config;
        let layers = halving(layers, dim);
        let user = user_dim.unwrap_or(layers[0] / 2);
        let model = config.clone().into();
        Self {
            model,
            gmf: None,
            tower: Some(TowerWidths { user, layers }),
            classes,
            loss,
            negatives,
            dropout,
            init_std,
        }
    }
}

impl From<&NeumfConfig> for NcfSpec {
    fn from(config: &NeumfConfig) -> Self {
        let NeumfConfig { dim, ref layers, loss, negatives, dropout, init_std } = *config;
        let layers = halving(layers, dim);
        let tower = Some(TowerWidths { user: layers[0] / 2, layers });
        let model = config.clone().into();
        Self { model, gmf: Some(dim), tower, classes: 1, loss, negatives, dropout, init_std }
    }
}

/// Returns the widths as given, or those of He et al.
fn halving(layers: &[usize], dim: usize) -> Vec<usize> {
    match layers.is_empty() {
        true => vec![4 * dim, 2 * dim, dim],
        false => layers.to_vec(),
    }
}

impl NcfSpec {
    /// The most widths of a tower.
    pub const MOST_LAYERS: usize = TOWER.len() + 1;

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// When one is out of it.
    pub fn validate(&self) -> Result<()> {
        if self.gmf == Some(0) {
            return Err(Error::config("dim", 0, "at least 1"));
        }
        self.loss.validate(self.negatives)?;
        if let Some(TowerWidths { user, layers }) = &self.tower {
            if !(2..=Self::MOST_LAYERS).contains(&layers.len()) || layers.contains(&0) {
                let expected = format!("2 to {} widths above 0", Self::MOST_LAYERS);
                return Err(Error::config("layers", format!("{layers:?}"), expected));
            }
            if *user == 0 || *user >= layers[0] || (self.gmf.is_some() && layers[0] % 2 == 1) {
                let found = format!("{layers:?} with {user} for the user");
                let expected = "a first width with a part for the user and one for the item: by default a half each, so an even one";
                return Err(Error::config("layers", found, expected));
            }
        }
        if !(1..=2).contains(&self.classes) {
            return Err(Error::config("classes", self.classes, "1 or 2"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_halve_by_default_and_bad_ones_are_refused() {
        let config = NeumfConfig { dim: 8, ..NeumfConfig::default() };
        let spec = NcfSpec::from(&config);
        assert_eq!(spec.tower, Some(TowerWidths { user: 16, layers: vec![32, 16, 8] }));
        spec.validate().expect("the default");
        for layers in [vec![32], vec![31, 8], vec![32, 0], vec![2; 10]] {
            let config = NeumfConfig { layers, ..config.clone() };
            let error = NcfSpec::from(&config).validate().expect_err("refused").to_string();
            assert!(error.starts_with("layers: found ["), "{error}");
        }
        assert!(NcfSpec::from(&NeumfConfig { dropout: 1.0, ..config }).validate().is_err());
    }

    #[test]
    fn an_embedding_may_be_longer_on_one_side() {
        let config = MlpConfig {
            layers: vec![300, 256, 128],
            user_dim: Some(200),
            classes: 2,
            ..MlpConfig::default()
        };
        NcfSpec::from(&config).validate().expect("a user of 200 and an item of 100");
        for bad in [
            MlpConfig { user_dim: Some(300), ..config.clone() },
            MlpConfig { user_dim: Some(0), ..config.clone() },
            MlpConfig { classes: 3, ..config },
        ] {
            assert!(NcfSpec::from(&bad).validate().is_err(), "{bad:?}");
        }
    }
}

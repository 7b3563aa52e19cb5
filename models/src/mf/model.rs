//! Matrix factorisation as it is served.

use std::sync::{Arc, OnceLock};

use burnrec_data::tensors::{Tensor, TensorFile};

use super::MfConfig;
use super::negatives::Negatives;
use crate::Result;
use crate::least_squares::{BiasedDots, ItemSide, ScoresByDots, Side};
use crate::model::Model;
use crate::model::ModelConfig;
use crate::nn::pair_score::PairScore;
use crate::nn::params::{Init, Values, saved};
use crate::scorer::{Scorer, Shape};

/// Matrix factorisation with biases, on the host.
pub struct MfModel {
    pub(super) config: MfConfig,
    pub(super) dots: BiasedDots,
    /// The items that stand for the unseen ones where users are folded in, drawn at the first call.
    negatives: OnceLock<Negatives>,
}

impl MfModel {
    pub(super) fn new(config: MfConfig, mean: f32, users: Side, items: Side) -> Self {
        let items = Arc::new(ItemSide::new(items));
        let dots = BiasedDots { dim: config.dim, mean, users, items };
        Self { config, dots, negatives: OnceLock::new() }
    }

    /// Returns the model of other users with the same items.
    pub(super) fn with_users(&self, users: Side) -> Self {
        let dots = BiasedDots { users, ..self.dots.clone() };
        Self { config: self.config.clone(), dots, negatives: OnceLock::new() }
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When the weights are not those of a model of this config and shape.
    pub fn load(weights: &TensorFile, config: MfConfig, shape: Shape) -> Result<Self> {
        config.validate()?;
        let values: &mut Values<'_> = &mut saved(weights);
        let mut get = |name, rows, cols| values(name, [rows, cols], Init::Constant(0.0));
        let mean = get("mean", 1, 1)?[0];
        let mut side = |vectors, biases, rows| -> Result<Side> {
            let vectors = Arc::new(get(vectors, rows, config.dim)?);
            Ok(Side { vectors, biases: Arc::new(get(biases, rows, 1)?) })
        };
        let users = side("user_embedding", "user_bias", shape.n_users)?;
        let items = side("item_embedding", "item_bias", shape.n_items)?;
        Ok(Self::new(config, mean, users, items))
    }

    /// Makes the model of weights as [`Model::weights`] returns them.
    ///
    /// # Panics
    /// When they are those of another kind of model.
    #[cfg(feature = "train")]
    pub(super) fn of_weights(config: MfConfig, weights: &[(String, Tensor)]) -> Self {
        let get = |name: &str| {
            let found = weights.iter().find(|(other, _)| other == name);
            found.and_then(|(_, weight)| weight.values::<f32>()).expect("a weight of matrix factorisation")
        };
        let side = |vectors, biases| Side { vectors: Arc::new(get(vectors)), biases: Arc::new(get(biases)) };
        let (users, items) = (side("user_embedding", "user_bias"), side("item_embedding", "item_bias"));
        Self::new(config, get("mean")[0], users, items)
    }

    /// Returns the items that stand for the unseen ones.
    pub(super) fn negatives(&self) -> &Negatives {
        self.negatives.get_or_init(|| Negatives::new(&self.dots, self.config.reg))
    }
}

impl ScoresByDots for MfModel {
    fn dots(&self) -> &BiasedDots {
        &self.dots
    }
}

impl Model for MfModel {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn pair_score(&self) -> Option<PairScore> {
        Some(self.config.pair_score(self.dots.mean))
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let matrix = |values: &[f32], rows: usize| {
            Tensor::new(&[rows, values.len() / rows.max(1)], values.iter().copied())
        };
        let BiasedDots { mean, users, items, .. } = &self.dots;
        let items = items.side();
        let weights = [
            ("mean", matrix(&[*mean], 1)),
            ("user_embedding", matrix(&users.vectors, self.n_users())),
            ("user_bias", matrix(&users.biases, self.n_users())),
            ("item_embedding", matrix(&items.vectors, self.n_items())),
            ("item_bias", matrix(&items.biases, self.n_items())),
        ];
        weights.map(|(name, values)| (name.to_owned(), values)).into()
    }
}

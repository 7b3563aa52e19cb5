//! Matrix factorisation as it is served.

use std::sync::{Arc, OnceLock};

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::{ItemIx, UserIx};
use rayon::prelude::*;

use super::MfConfig;
use super::negatives::Negatives;
use crate::Result;
use crate::model::Model;
use crate::model::ModelConfig;
use crate::nn::pair_score::PairScore;
use crate::nn::params::{Init, Values, saved};
use crate::scorer::{Factors, FoldIn, Scorer, Shape, Vectors};
use crate::simd::dot;

/// Matrix factorisation with biases, on the host.
pub struct MfModel {
    pub(super) config: MfConfig,
    pub(super) mean: f32,
    pub(super) users: Side,
    pub(super) items: Arc<Side>,
    /// The items that stand for the unseen ones where users are folded in, drawn at the first call.
    negatives: OnceLock<Negatives>,
}

/// The vectors and biases of all users, or of all items.
pub(super) struct Side {
    /// `[rows, dim]`.
    pub(super) vectors: Vec<f32>,
    /// `[rows]`.
    pub(super) biases: Vec<f32>,
}

impl MfModel {
    pub(super) fn new(config: MfConfig, mean: f32, users: Side, items: Arc<Side>) -> Self {
        Self { config, mean, users, items, negatives: OnceLock::new() }
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
        let users = Side {
            vectors: get("user_embedding", shape.n_users, config.dim)?,
            biases: get("user_bias", shape.n_users, 1)?,
        };
        let items = Side {
            vectors: get("item_embedding", shape.n_items, config.dim)?,
            biases: get("item_bias", shape.n_items, 1)?,
        };
        Ok(Self::new(config, mean, users, Arc::new(items)))
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
        let users = Side { vectors: get("user_embedding"), biases: get("user_bias") };
        let items = Side { vectors: get("item_embedding"), biases: get("item_bias") };
        Self::new(config, get("mean")[0], users, Arc::new(items))
    }

    /// Returns the items that stand for the unseen ones.
    pub(super) fn negatives(&self) -> &Negatives {
        self.negatives
            .get_or_init(|| Negatives::new(&self.items, self.mean, self.config.dim, self.config.reg))
    }

    fn score(&self, user: usize, item: usize) -> f32 {
        let dim = self.config.dim;
        let dot = dot(self.users.vector(user, dim), self.items.vector(item, dim));
        self.mean + self.users.biases[user] + self.items.biases[item] + dot
    }
}

impl Side {
    pub(super) fn vector(&self, row: usize, dim: usize) -> &[f32] {
        &self.vectors[row * dim..(row + 1) * dim]
    }
}

impl Scorer for MfModel {
    fn n_users(&self) -> usize {
        self.users.biases.len()
    }

    fn n_items(&self) -> usize {
        self.items.biases.len()
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for ((out, user), item) in out.iter_mut().zip(users).zip(items) {
            *out = self.score(user.at(), item.at());
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        out.par_chunks_exact_mut(self.n_items()).zip(users).for_each(|(row, user)| {
            row.iter_mut().enumerate().for_each(|(item, out)| *out = self.score(user.at(), item));
        });
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        Some(self)
    }

    fn item_vectors(&self) -> Option<Vectors<'_>> {
        Some(Vectors { values: &self.items.vectors, dim: self.config.dim })
    }

    fn user_vectors(&self) -> Option<Vectors<'_>> {
        Some(Vectors { values: &self.users.vectors, dim: self.config.dim })
    }

    fn factors(&self) -> Option<Factors> {
        let dim = self.config.dim;
        let with = |side: &Side, last: &dyn Fn(usize) -> f32| {
            let rows = side.vectors.chunks_exact(dim).enumerate();
            rows.flat_map(|(row, vector)| vector.iter().copied().chain([last(row)])).collect()
        };
        let constants = self.users.biases.iter().map(|bias| self.mean + bias).collect();
        let (users, items) =
            (with(&self.users, &|_| 1.0), with(&self.items, &|item| self.items.biases[item]));
        Some(Factors { users, items, dim: dim + 1, bias: true, constants })
    }
}

impl Model for MfModel {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn pair_score(&self) -> Option<PairScore> {
        Some(self.config.pair_score(self.mean))
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let matrix = |values: &[f32], rows: usize| {
            Tensor::new(&[rows, values.len() / rows.max(1)], values.iter().copied())
        };
        let weights = [
            ("mean", matrix(&[self.mean], 1)),
            ("user_embedding", matrix(&self.users.vectors, self.n_users())),
            ("user_bias", matrix(&self.users.biases, self.n_users())),
            ("item_embedding", matrix(&self.items.vectors, self.n_items())),
            ("item_bias", matrix(&self.items.biases, self.n_items())),
        ];
        weights.map(|(name, values)| (name.to_owned(), values)).into()
    }
}

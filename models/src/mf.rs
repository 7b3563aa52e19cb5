//! Matrix factorisation with biases: trained on Burn ([`MfNetwork`]), served as plain host arrays
//! ([`MfModel`]), because its score is no more than a dot product.

mod fold_in;
mod network;

use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::{ItemIx, UserIx};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::loss::Loss;
use crate::params::{Init, Values, saved};
use crate::simd::dot;
use crate::{Error, FoldIn, Model, ModelConfig, Result, Scorer, Shape, Vectors};

pub use network::MfNetwork;

/// Settings of matrix factorisation: score = mean + user bias + item bias + dot(user, item).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MfConfig {
    /// Length of the factor vectors.
    pub dim: usize,
    /// What is minimised, and so what a score says.
    pub loss: Loss,
    /// Drawn negatives for each positive (none with `loss = "mse"`); also the weight of unseen items when a user is folded in.
    pub negatives: usize,
    /// Each sample adds `reg` times the squared norm of its two vectors and biases to the loss; also used to fold
    /// users in.
    pub reg: f32,
    /// Standard deviation of the first factors.
    pub init_std: f32,
}

impl Default for MfConfig {
    fn default() -> Self {
        Self { dim: 64, loss: Loss::Bce, negatives: 4, reg: 0.0, init_std: 0.1 }
    }
}

impl MfConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// When one is out of it.
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
        Ok(())
    }
}

/// Matrix factorisation with biases, on the host.
pub struct MfModel {
    config: MfConfig,
    mean: f32,
    users: Side,
    items: Arc<Side>,
}

/// The vectors and biases of all users, or of all items.
struct Side {
    /// `[rows, dim]`.
    vectors: Vec<f32>,
    /// `[rows]`.
    biases: Vec<f32>,
}

impl MfModel {
    /// Of saved weights.
    ///
    /// # Errors
    /// When the weights are not those of a model of this config and shape.
    pub fn load(weights: &TensorFile, config: MfConfig, shape: Shape) -> Result<Self> {
        config.validate()?;
        let values: &mut Values<'_> = &mut saved(weights);
        let mut get = |name, rows, cols| values(name, [rows, cols], Init::Constant(0.0));
        Ok(Self {
            mean: get("mean", 1, 1)?[0],
            users: Side {
                vectors: get("user_embedding", shape.n_users, config.dim)?,
                biases: get("user_bias", shape.n_users, 1)?,
            },
            items: Arc::new(Side {
                vectors: get("item_embedding", shape.n_items, config.dim)?,
                biases: get("item_bias", shape.n_items, 1)?,
            }),
            config,
        })
    }

    fn score(&self, user: usize, item: usize) -> f32 {
        let dim = self.config.dim;
        let dot = dot(self.users.vector(user, dim), self.items.vector(item, dim));
        self.mean + self.users.biases[user] + self.items.biases[item] + dot
    }
}

impl Side {
    fn vector(&self, row: usize, dim: usize) -> &[f32] {
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
}

impl Model for MfModel {
    fn config(&self) -> ModelConfig {
        ModelConfig::Mf(self.config.clone())
    }

    fn weights(&self) -> Vec<(&'static str, Tensor)> {
        let matrix = |values: &[f32], rows: usize| {
            Tensor::new(&[rows, values.len() / rows.max(1)], values.iter().copied())
        };
        vec![
            ("mean", matrix(&[self.mean], 1)),
            ("user_embedding", matrix(&self.users.vectors, self.n_users())),
            ("user_bias", matrix(&self.users.biases, self.n_users())),
            ("item_embedding", matrix(&self.items.vectors, self.n_items())),
            ("item_bias", matrix(&self.items.biases, self.n_items())),
        ]
    }
}

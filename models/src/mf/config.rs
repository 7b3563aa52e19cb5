//! The settings of matrix factorisation.

use burn_tensor::Device;
use burnrec_data::tensors::TensorFile;
use serde::{Deserialize, Serialize};

use super::{MfModel, MfNetwork};
use crate::device::OpenDevice;
use crate::family::{Family, ModelConfig, Output};
use crate::nn::loss::Loss;
use crate::nn::network::{Architecture, Network};
use crate::nn::params::Values;
use crate::scorer::{Model, Shape};
use crate::{Error, Result};

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

impl Family for MfConfig {
    const KIND: &'static str = "mf";

    fn validate(&self) -> Result<()> {
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

    fn output(&self) -> Output {
        self.loss.output()
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        Ok(Box::new(MfModel::load(weights, self.clone(), shape)?))
    }
}

impl Architecture for MfConfig {
    fn config(&self) -> ModelConfig {
        self.clone().into()
    }

    fn loss(&self) -> (Loss, usize) {
        (self.loss, self.loss.negatives(self.negatives))
    }

    fn weight_shapes(&self, shape: Shape) -> Vec<(&'static str, [usize; 2])> {
        vec![
            ("user_embedding", [shape.n_users, self.dim]),
            ("user_bias", [shape.n_users, 1]),
            ("item_embedding", [shape.n_items, self.dim]),
            ("item_bias", [shape.n_items, 1]),
        ]
    }

    fn network(
        &self,
        shape: Shape,
        mean: f32,
        values: &mut Values<'_>,
        device: &Device,
    ) -> Result<Box<dyn Network>> {
        Ok(Box::new(MfNetwork::new(self, shape, mean, values, device)?))
    }
}

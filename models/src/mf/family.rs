//! Matrix factorisation as a family of models, and as a network to be trained.

use burn_tensor::Device;
use burnrec_data::tensors::TensorFile;

use super::{MfConfig, MfModel, MfNetwork};
use crate::device::OpenDevice;
use crate::model::{Compute, Family, Model, ModelConfig, Output};
use crate::nn::loss::Loss;
use crate::nn::network::{Architecture, Network};
use crate::nn::on_card::on_card;
use crate::nn::pair_score::{DotProduct, PairScore};
use crate::nn::params::Values;
use crate::scorer::Shape;
use crate::user_array::UserArray;
use crate::{Recency, Result};

impl Family for MfConfig {
    const KIND: &'static str = "mf";

    fn validate(&self) -> Result<()> {
        self.validate()
    }

    fn output(&self) -> Output {
        self.loss.output()
    }

    fn clips(&self) -> bool {
        self.clip
    }

    fn reads_order(&self) -> bool {
        self.recency != Recency::None
    }

    fn scores_on(&self) -> Compute {
        Compute::HostOrNamed
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        Some(vec![UserArray::Rows("user_embedding"), UserArray::Rows("user_bias")])
    }

    fn load(&self, weights: &TensorFile, shape: Shape, device: &OpenDevice) -> Result<Box<dyn Model>> {
        let model = MfModel::load(weights, self.clone(), shape)?;
        let mean = model.dots.mean;
        Ok(on_card(Box::new(model), || self.pair_score(mean), &device.device))
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

    fn pair_score(&self, mean: f32) -> Option<PairScore> {
        Some(self.pair_score(mean))
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

impl MfConfig {
    /// Returns the score in the form that kernels compute; `mean` is its constant part.
    pub(super) fn pair_score(&self, mean: f32) -> PairScore {
        PairScore {
            loss: self.loss,
            constant: mean,
            dot: Some(DotProduct { tables: ["user_embedding", "item_embedding"], dim: self.dim }),
            biases: Some(["user_bias", "item_bias"]),
            tower: None,
            output: None,
            dropout: 0.0,
            reg: self.reg,
        }
    }
}

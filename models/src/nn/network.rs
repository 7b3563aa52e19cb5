//! What a network must do to be trained: the traits between the networks of the families and the learner that updates
//! their weights. "The gradient by x" means the gradient of the loss with respect to x, here and in the other modules.
//!
//! Networks are differentiated by hand and not by autodiff: what depends on the user alone, or on the item alone, is
//! then computed once for all samples of a batch that share it, forward and backward, and the element-wise steps
//! between the matrix products are one pass each ([`super::kernels`]). The tests compare every gradient with autodiff
//! over the plain formula.

use std::fmt;

use burn_tensor::{Device, Tensor};
use burnrec_data::draws::Key;

use super::batch::Batch;
use super::loss::Loss;
use super::pair_score::PairScore;
use super::params::Values;
use crate::Result;
use crate::model::Model;
use crate::model::ModelConfig;
use crate::scorer::Shape;

/// A network: named weights, and a score for each sample of a batch.
pub trait Network: Send {
    /// Scores each sample of a batch, `[samples, 1]`: logits or ratings.
    fn scores(&self, batch: &Batch) -> Tensor<2>;

    /// Returns the gradients of the loss of a batch, one for each weight, in the order of [`Network::weights`].
    fn step(&self, batch: &Batch, loss: &BatchLoss<'_>) -> Step;

    /// Returns the weights by name, always in the same order.
    fn weights(&self) -> Vec<(&'static str, &Tensor<2>)>;

    /// Returns the weights by name, in the order of [`Network::weights`].
    fn weights_mut(&mut self) -> Vec<(&'static str, &mut Tensor<2>)>;

    /// Returns the model with the current weights. Syncs with the device.
    fn model(&self) -> Box<dyn Model>;
}

/// The loss of a batch, which an optimiser step lowers.
pub struct BatchLoss<'a> {
    /// Returns the gradient of the mean loss by the scores, from the scores; both are `[samples, 1]`.
    pub gradient: &'a dyn Fn(Tensor<2>) -> Tensor<2>,
    /// The number of terms that the mean is over.
    pub terms: f32,
    /// The key of the dropout masks of this epoch ([`ReluDropout::key`](super::kernels::ReluDropout::key)).
    pub dropout_key: Key,
    /// The number of the batch in the epoch.
    pub batch: u32,
}

/// What a network computes for one optimiser step.
pub struct Step {
    /// The gradient of the loss, regulariser included, by each weight.
    pub gradients: Vec<Gradient>,
    /// `[1]`: the regulariser summed over the batch's samples, where the network has one.
    pub penalty: Option<Tensor<1>>,
}

/// The gradient by one weight.
pub enum Gradient {
    /// By the whole weight, in its shape.
    Whole(Tensor<2>),
    /// By the rows of a table of users that the batch reads, `[unique users, width]`; that of all other rows is 0.
    Users(Tensor<2>),
    /// By the rows of a table of items that the batch reads, `[unique items, width]`.
    Items(Tensor<2>),
}

/// The settings of a family of networks, as the learner of all networks needs them.
pub trait Architecture: fmt::Debug + Send + Sync {
    /// Returns the settings of the model.
    fn config(&self) -> ModelConfig;

    /// Returns the loss, and how many negatives are drawn for each row.
    fn loss(&self) -> (Loss, usize);

    /// Returns the names and shapes of the weights, in the order of [`Network::weights`].
    fn weight_shapes(&self, shape: Shape) -> Vec<(&'static str, [usize; 2])>;

    /// Returns the sum of the widths of all hidden layers: how many values a sample has between the layers.
    fn hidden_width(&self) -> usize {
        0
    }

    /// Returns its score in the form that kernels train, if it has it; `mean` as in [`Architecture::network`].
    fn pair_score(&self, mean: f32) -> Option<PairScore> {
        let _ = mean;
        None
    }

    /// Makes the network with weights from `values`; `mean` is the constant part of its scores, where it has one.
    ///
    /// # Errors
    /// When a setting is out of its range, or `values` fails.
    fn network(
        &self,
        shape: Shape,
        mean: f32,
        values: &mut Values<'_>,
        device: &Device,
    ) -> Result<Box<dyn Network>>;
}

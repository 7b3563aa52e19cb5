//! What a network on Burn must be able to do to be trained: the seam between the networks here and the learner that
//! updates their weights.
//!
//! Networks are differentiated by hand and not by autodiff: the shared parts of a batch (a user's for all of the
//! user's samples, an item's for all samples it is in) are then computed once forward and once backward, and the
//! element-wise steps between the matrix products are one pass each ([`super::kernels`]). The tests hold every
//! gradient against autodiff over the plain formula.

use std::fmt;

use burn_tensor::{Device, Tensor};

use super::batch::Batch;
use super::loss::Loss;
use super::params::Values;
use crate::Result;
use crate::family::ModelConfig;
use crate::scorer::{Model, Shape};

/// Named weights that score rows of users against several items each.
pub trait Network: Send {
    /// The score of each sample of a batch, `[samples, 1]`: logits or ratings.
    fn scores(&self, batch: &Batch) -> Tensor<2>;

    /// The slopes of an objective over a batch, one for each weight, in the order of [`Network::weights`].
    fn step(&self, batch: &Batch, objective: &Objective<'_>) -> Step;

    /// The weights by name, always in the same order.
    fn weights(&self) -> Vec<(&'static str, &Tensor<2>)>;

    /// The weights by name, in the order of [`Network::weights`].
    fn weights_mut(&mut self) -> Vec<(&'static str, &mut Tensor<2>)>;

    /// The model with the weights as they are. Syncs with the device.
    fn model(&self) -> Box<dyn Model>;
}

/// What is minimised over a batch.
pub struct Objective<'a> {
    /// From the scores `[samples, 1]` to the slope of the mean loss by each of them.
    pub slopes: &'a dyn Fn(Tensor<2>) -> Tensor<2>,
    /// How many terms the mean is over.
    pub terms: f32,
    /// Says which units are dropped in this step.
    pub dropout_seed: u64,
}

/// What a step is made of.
pub struct Step {
    /// One for each weight.
    pub gradients: Vec<Gradient>,
    /// `[1]`: the regulariser summed over the batch's samples, where the network has one.
    pub penalty: Option<Tensor<1>>,
}

/// The slopes by a weight.
pub enum Gradient {
    /// Of the whole weight, in its shape.
    Whole(Tensor<2>),
    /// `[distinct users, width]`: of the rows of a table of users that the batch meets; the others have none.
    Users(Tensor<2>),
    /// `[distinct items, width]`: the same of a table of items.
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

    /// Returns the widths of all hidden layers together: what a sample holds between them.
    fn hidden_width(&self) -> usize {
        0
    }

    /// Makes the network with weights from `values`; `mean` is the constant part of its scores, where it has one.
    ///
    /// # Errors
    /// When a setting is out of its range, or as `values` has them.
    fn network(
        &self,
        shape: Shape,
        mean: f32,
        values: &mut Values<'_>,
        device: &Device,
    ) -> Result<Box<dyn Network>>;
}

//! What a Burn module must be able to do to be trained: the seam between the modules here and the learner that
//! updates their weights.

use burn::module::Param;
use burn::tensor::{Device, Int, Tensor};

use crate::mf::MfModule;
use crate::neumf::NeumfModule;
use crate::params::{Values, drawn};
use crate::{Model, ModelConfig, Result, Shape};

/// A Burn module with named weights that scores rows of users against several items each.
pub trait Network: Send {
    /// Scores each of `users` (`[rows]`) against its own row of `items` (`[rows, per_row]`). Dropout is at work
    /// where the weights carry autodiff.
    fn forward(&self, users: Tensor<1, Int>, items: Tensor<2, Int>) -> Forward;

    /// The weights by name, always in the same order.
    fn params(&self) -> Vec<(&'static str, &Param<Tensor<2>>)>;

    /// The weights by name, in the order of [`Network::params`].
    fn params_mut(&mut self) -> Vec<(&'static str, &mut Param<Tensor<2>>)>;

    /// The model with the weights as they are. Syncs with the device.
    fn model(&self) -> Box<dyn Model>;
}

/// What comes out of a network.
pub struct Forward {
    /// `[rows, per_row]`: logits or ratings.
    pub scores: Tensor<2>,
    /// `[1]`: the regulariser, summed over all `rows * per_row` samples, where the network has one.
    pub penalty: Option<Tensor<1>>,
}

/// The network of a config, with weights drawn from `seed`; `None` for models that do not learn on Burn. `mean` is
/// the constant part of MF's scores.
///
/// # Errors
/// When a setting is out of its range.
pub fn network(
    config: &ModelConfig,
    shape: Shape,
    mean: f32,
    seed: u64,
    device: &Device,
) -> Result<Option<Box<dyn Network>>> {
    let values: &mut Values<'_> = &mut drawn(seed);
    Ok(match config {
        ModelConfig::Mf(config) => Some(Box::new(MfModule::new(config, shape, mean, values, device)?)),
        ModelConfig::Neumf(config) => Some(Box::new(NeumfModule::new(config, shape, values, device)?)),
        ModelConfig::Popularity(_) | ModelConfig::Als(_) => None,
    })
}

//! Opening a model of any kind from its settings and weights.

use burnrec_data::tensors::TensorFile;

use crate::als::AlsModel;
use crate::device::OpenDevice;
use crate::mf::MfModel;
use crate::ncf::NcfModel;
use crate::popularity::Popularity;
use crate::{Model, ModelConfig, Result, Shape};

/// The model of these settings and weights; those that score on Burn do so on `device`.
///
/// # Errors
/// When a setting is out of its range, or the weights are not those of a model of these settings and this shape.
pub fn load(
    config: &ModelConfig,
    weights: &TensorFile,
    shape: Shape,
    device: &OpenDevice,
) -> Result<Box<dyn Model>> {
    Ok(match config {
        ModelConfig::Popularity(_) => Box::new(Popularity::load(weights, shape)?),
        ModelConfig::Als(als) => Box::new(AlsModel::load(weights, als.clone(), shape)?),
        ModelConfig::Mf(config) => Box::new(MfModel::load(weights, config.clone(), shape)?),
        ModelConfig::Gmf(_) | ModelConfig::Mlp(_) | ModelConfig::Neumf(_) => {
            Box::new(NcfModel::load(weights, config, shape, &device.device)?)
        }
    })
}

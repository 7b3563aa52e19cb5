//! What a learner of tensors saves to go on from: its epoch, its weights, and the optimiser's step and states.

use std::path::Path;

use burn_tensor::{Device, Tensor, TensorData};
use burnrec_data::Error as DataError;
use burnrec_data::tensors::{self, Tensor as HostTensor, TensorFile};

use super::optimizer::OptimizerState;
use super::params::on_host;
use crate::Result;
use crate::weights::matrix;

const STATE: &str = "learner.safetensors";

/// What was saved.
pub struct Loaded {
    /// The epochs done.
    pub epoch: u32,
    /// In the order of those that the learner has.
    pub weights: Vec<Tensor<2>>,
    /// The optimiser, with its states.
    pub optimizer: OptimizerState,
}

/// Writes the state of a learner into `dir`. `identity` is what a learner that goes on must have in common with it, beside the
/// shapes of its weights. Syncs with the device.
///
/// # Errors
/// When the file cannot be written.
pub fn save(
    dir: &Path,
    identity: &[(&'static str, u64)],
    epoch: u32,
    steps: u64,
    weights: Vec<(&'static str, &Tensor<2>)>,
    optimizer_states: Vec<(String, HostTensor)>,
) -> Result<()> {
    let number = |(name, value): (&str, u64)| (name.to_owned(), HostTensor::new(&[1], [value]));
    let numbers = identity.iter().copied().chain([("epoch", u64::from(epoch)), ("steps", steps)]);
    let mut arrays: Vec<(String, HostTensor)> = numbers.map(number).collect();
    for (name, weight) in weights {
        arrays.push((name.to_owned(), HostTensor::new(&weight.dims(), on_host(weight))));
    }
    arrays.extend(optimizer_states);
    Ok(tensors::write(&dir.join(STATE), &arrays)?)
}

/// Reads what [`save`] wrote, for a learner of this identity with these weights and this optimiser.
///
/// # Errors
/// When the file cannot be read or is of another learner.
pub fn load(
    dir: &Path,
    identity: &[(&'static str, u64)],
    weights: Vec<(&'static str, &Tensor<2>)>,
    optimizer: &OptimizerState,
    device: &Device,
) -> Result<Loaded> {
    let file = TensorFile::open(&dir.join(STATE))?;
    let number = |name: &str| -> Result<u64> {
        let values = file.column::<u64>(name)?;
        let bad = || DataError::malformed(file.path(), format!("{name:?} without a value"), "one value");
        Ok(*values.first().ok_or_else(bad)?)
    };
    for &(name, expected) in identity {
        let found = number(name)?;
        if found != expected {
            let expected = format!("{name} {expected}, as this run has");
            return Err(DataError::malformed(file.path(), format!("{name} {found}"), expected).into());
        }
    }
    let (epoch, steps) = (number("epoch")? as u32, number("steps")?);
    let read = |name: &str, shape: [usize; 2]| -> Result<Tensor<2>> {
        Ok(Tensor::from_data(TensorData::new(matrix(&file, name, &shape)?, shape), device))
    };
    let optimizer = optimizer.resumed(steps, weights.clone(), &read)?;
    let read = |(name, weight): (&'static str, &Tensor<2>)| read(name, weight.dims());
    Ok(Loaded { epoch, weights: weights.into_iter().map(read).collect::<Result<Vec<_>>>()?, optimizer })
}

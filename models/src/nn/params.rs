//! Weights on the host: where the first values of a network come from, and reading saved ones with their shape
//! checked.
//!
//! A network has one constructor. It asks for the values of each weight by name, and gets them either drawn or read, so
//! that a new model and a loaded one are built by the same lines. Values are drawn on the host, from a stream of random
//! numbers of their own for each name, so that training starts from the same values on every device.

use std::f64::consts::TAU;

use burn_tensor::{Device, Tensor, TensorData};
use burnrec_data::rng::stream;
use burnrec_data::tensors::TensorFile;
use rand::RngExt;
use rand_pcg::Pcg64;

use crate::Result;
use crate::weights::matrix;

/// How the first values of a weight are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All of them this value.
    Constant(f32),
    /// Normally distributed around 0.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// Uniform on `-limit..limit`.
    Uniform {
        /// The bound.
        limit: f32,
    },
}

/// A source of weights: returns the values, row-major, of the weight of this name and shape.
pub type Values<'a> = dyn FnMut(&'static str, [usize; 2], Init) -> Result<Vec<f32>> + 'a;

/// Draws the values of each weight from `seed` and its name.
pub fn drawn(seed: u64) -> impl FnMut(&'static str, [usize; 2], Init) -> Result<Vec<f32>> {
    move |name, [rows, cols], init| {
        let mut rng = stream(seed, name, 0);
        let values = 0..rows * cols;
        Ok(match init {
            Init::Constant(value) => values.map(|_| value).collect(),
            Init::Normal { std } => values.map(|_| std * normal(&mut rng)).collect(),
            Init::Uniform { limit } => values.map(|_| limit * (2.0 * rng.random::<f32>() - 1.0)).collect(),
        })
    }
}

/// Reads the values of each weight from a file.
pub fn saved(weights: &TensorFile) -> impl FnMut(&'static str, [usize; 2], Init) -> Result<Vec<f32>> + '_ {
    |name, shape, _| matrix(weights, name, &shape)
}

/// Makes the tensor of a weight from its values.
///
/// # Errors
/// When `values` fails.
pub fn weight(
    values: &mut Values<'_>,
    name: &'static str,
    shape: [usize; 2],
    init: Init,
    device: &Device,
) -> Result<Tensor<2>> {
    Ok(Tensor::from_data(TensorData::new(values(name, shape, init)?, shape), device))
}

/// Returns a tensor's values, row-major, on the host. Syncs with the device.
pub fn on_host<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_into_vec().expect("every tensor of this crate is made of f32")
}

/// Draws from the standard normal distribution (Box and Muller 1958).
fn normal(rng: &mut Pcg64) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (TAU * rng.random::<f64>()).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_and_name_and_have_their_spread() {
        let draw = |seed, name| drawn(seed)(name, [100, 200], Init::Normal { std: 0.1 }).expect("drawn");
        let values = draw(1, "a");
        assert_eq!(values, draw(1, "a"));
        assert_ne!(values, draw(2, "a"));
        assert_ne!(values, draw(1, "b"));
        let mean = values.iter().sum::<f32>() / 2e4;
        let std = (values.iter().map(|value| value * value).sum::<f32>() / 2e4).sqrt();
        assert!(mean.abs() < 0.003 && (std - 0.1).abs() < 0.003, "mean {mean}, standard deviation {std}");
    }
}

//! Optimisers over named weights, with a state that can be saved and resumed.
//!
//! An embedding table gets gradients for the rows that a batch touches; those of the other rows are 0. A dense step
//! updates every row of a table nevertheless, as in the papers. A lazy step updates the touched rows alone, so that its
//! cost does not grow with the table: Adam's moments of the other rows stay as they are until a batch touches these
//! rows again (as in TensorFlow's LazyAdam and PyTorch's SparseAdam).

mod device;
mod host;

use std::collections::BTreeMap;

use crate::nn::batch::{Batch, Lookup};
use crate::nn::device::is_host;
use crate::nn::network::Gradient;
use crate::nn::params::on_host;
use burn_tensor::Tensor;
use burnrec_data::tensors::Tensor as HostTensor;

use crate::Result;
use crate::nn::training::NnTraining;
use crate::nn::training::Optimizer;

pub const BETA_1: f32 = 0.9;
pub const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// An optimiser with what it keeps from step to step: Adam (Kingma and Ba 2015, algorithm 1), AdaGrad (Duchi et al.
/// 2011, diagonal) or plain SGD, all with decoupled weight decay.
pub struct OptimizerState {
    config: NnTraining,
    /// Whether the tables of users, and those of items, are updated lazily.
    lazy: [bool; 2],
    steps: u64,
    /// For each weight, in its shape: Adam's first and second moment, AdaGrad's sum of squares, nothing for SGD.
    state: BTreeMap<&'static str, Vec<Tensor<2>>>,
}

/// The factors of one step: `weight = decay * weight - step_size * direction`, where the direction is the gradient for
/// SGD, `gradient / (sqrt(sum of squares) + epsilon)` for AdaGrad and `m / (sqrt(v) + epsilon)` for Adam, whose bias
/// corrections are in `step_size` and `epsilon`.
#[derive(Clone, Copy)]
pub struct StepSizes {
    optimizer: Optimizer,
    /// The factor that weight decay multiplies a weight by: 1 minus the learning rate times the decay.
    decay: f32,
    /// The learning rate, for Adam times `sqrt(1 - beta_2^t) / (1 - beta_1^t)`.
    step_size: f32,
    /// Keeps the divisor above 0; for Adam times `sqrt(1 - beta_2^t)`.
    epsilon: f32,
}

/// The rows of a weight that have a gradient in this step.
#[derive(Clone, Copy)]
pub enum TouchedRows<'a> {
    /// All rows: the gradient has the shape of the weight.
    All,
    /// The rows of a table that a batch reads: the gradient is `[unique, width]`.
    OfBatch {
        /// Which rows these are.
        lookup: &'a Lookup,
        /// Whether the other rows stay as they are.
        lazy: bool,
    },
}

impl OptimizerState {
    /// Makes the optimiser before its first step. `lazy` says for the tables of users and for those of items whether
    /// they are updated lazily.
    pub fn new(config: &NnTraining, lazy: [bool; 2]) -> Self {
        // Without moments and without decay, a dense step leaves untouched rows as they are as well.
        let untouched_stay = config.optimizer != Optimizer::Adam && config.weight_decay == 0.0;
        Self {
            config: config.clone(),
            lazy: lazy.map(|lazy| lazy || untouched_stay),
            steps: 0,
            state: BTreeMap::new(),
        }
    }

    /// Takes one optimiser step: updates every weight by its gradient. `epochs` is how far training has come, fractions
    /// of an epoch included. `batch` is that of gradients by rows of tables, where there are such.
    pub fn step(
        &mut self,
        weights: Vec<(&'static str, &mut Tensor<2>)>,
        mut gradients: Vec<Gradient>,
        batch: Option<&Batch>,
        epochs: f64,
    ) {
        self.steps += 1;
        let sizes = self.step_sizes(epochs);
        if let Some(most) = self.config.clip_norm {
            gradients = clipped(gradients, most);
        }
        let [lazy_users, lazy_items] = self.lazy;
        let batch = || batch.expect("gradients by rows of tables are of a batch");
        for ((name, weight), gradient) in weights.into_iter().zip(gradients) {
            let (grad, touched) = match gradient {
                Gradient::Whole(grad) => (grad, TouchedRows::All),
                Gradient::Users(grad) => {
                    (grad, TouchedRows::OfBatch { lookup: &batch().users, lazy: lazy_users })
                }
                Gradient::Items(grad) => {
                    (grad, TouchedRows::OfBatch { lookup: &batch().items, lazy: lazy_items })
                }
            };
            let device = weight.device();
            let n_states = self.config.optimizer.n_states();
            let state = self
                .state
                .remove(name)
                .unwrap_or_else(|| vec![Tensor::zeros(weight.dims(), &device); n_states]);
            // The weight is moved out, so that no other tensor shares its memory and it can be updated in place.
            let value = std::mem::replace(weight, Tensor::zeros([1, 1], &device));
            let (value, state) = match is_host(&device) {
                true => host::updated(value, state, &grad, touched, sizes),
                false => device::updated(value, state, grad, touched, sizes),
            };
            *weight = value;
            self.state.insert(name, state);
        }
    }

    fn step_sizes(&self, epochs: f64) -> StepSizes {
        let NnTraining { optimizer, weight_decay, .. } = self.config;
        let rate =
            self.config.learning_rate * self.config.schedule.map_or(1.0, |schedule| schedule.factor(epochs));
        let [correction_1, correction_2] = match optimizer {
            Optimizer::Adam => [BETA_1, BETA_2].map(|beta| 1.0 - f64::from(beta).powf(self.steps as f64)),
            Optimizer::Adagrad | Optimizer::Sgd => [1.0; 2],
        };
        StepSizes {
            optimizer,
            decay: (1.0 - rate * f64::from(weight_decay)) as f32,
            step_size: (rate * correction_2.sqrt() / correction_1) as f32,
            epsilon: (f64::from(EPSILON) * correction_2.sqrt()) as f32,
        }
    }

    /// Counts the steps of an epoch that were taken elsewhere, with these batches, and returns for each what
    /// [`StepSizes`] says: decay, step size and epsilon.
    #[cfg(feature = "cube")]
    pub fn count_epoch(&mut self, epoch: u32, n_batches: usize) -> Vec<[f32; 3]> {
        let sizes = |number: usize| {
            self.steps += 1;
            let sizes = self.step_sizes(f64::from(epoch - 1) + number as f64 / n_batches as f64);
            [sizes.decay, sizes.step_size, sizes.epsilon]
        };
        (0..n_batches).map(sizes).collect()
    }

    /// Returns whether the tables of users, and those of items, are updated lazily.
    #[cfg(feature = "cube")]
    pub fn lazy(&self) -> [bool; 2] {
        self.lazy
    }

    /// Returns the state of one weight, empty before the first step.
    #[cfg(feature = "cube")]
    pub fn state_of(&self, name: &str) -> &[Tensor<2>] {
        self.state.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns how many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns the states of each weight: their number, the name of the weight, and the values.
    pub fn state(&self) -> impl Iterator<Item = (usize, &'static str, &Tensor<2>)> {
        self.state.iter().flat_map(|(&name, states)| {
            states.iter().enumerate().map(move |(number, state)| (number, name, state))
        })
    }

    /// Returns the same by their names in a file. Syncs with the device.
    pub fn states_on_host(&self) -> Vec<(String, HostTensor)> {
        let on_host = |(number, name, state): (usize, &str, &Tensor<2>)| {
            (state_name(number, name), HostTensor::new(&state.dims(), on_host(state)))
        };
        self.state().map(on_host).collect()
    }

    /// Returns the same optimiser as it was after `steps` steps, with the state tensors that `read` returns by name.
    ///
    /// # Errors
    /// When `read` fails.
    pub fn resumed(
        &self,
        steps: u64,
        weights: Vec<(&'static str, &Tensor<2>)>,
        read: &dyn Fn(&str, [usize; 2]) -> Result<Tensor<2>>,
    ) -> Result<Self> {
        let mut state = BTreeMap::new();
        for (name, weight) in weights.into_iter().filter(|_| steps > 0) {
            let states = 0..self.config.optimizer.n_states();
            let states = states.map(|number| read(&state_name(number, name), weight.dims()));
            state.insert(name, states.collect::<Result<Vec<_>>>()?);
        }
        Ok(Self { config: self.config.clone(), lazy: self.lazy, steps, state })
    }
}

/// Returns the name of an optimiser's state of a weight in a file, by the state's number.
pub fn state_name(number: usize, weight: &str) -> String {
    format!("optimizer_{number}.{weight}")
}

/// Scales all gradients down together where their norm is above `most` (Pascanu et al. 2013, algorithm 1).
fn clipped(gradients: Vec<Gradient>, most: f32) -> Vec<Gradient> {
    let squares = gradients.iter().map(|gradient| {
        let (Gradient::Whole(grad) | Gradient::Users(grad) | Gradient::Items(grad)) = gradient;
        grad.clone().square().sum() // [1]
    });
    let norm = squares.reduce(|sum, square| sum + square).map(Tensor::sqrt);
    let Some(norm) = norm else { return gradients };
    let scale = (norm.add_scalar(f32::MIN_POSITIVE).recip().mul_scalar(most)).clamp_max(1.0).reshape([1, 1]);
    let scaled = |grad: Tensor<2>| grad * scale.clone();
    gradients
        .into_iter()
        .map(|gradient| match gradient {
            Gradient::Whole(grad) => Gradient::Whole(scaled(grad)),
            Gradient::Users(grad) => Gradient::Users(scaled(grad)),
            Gradient::Items(grad) => Gradient::Items(scaled(grad)),
        })
        .collect()
}

#[cfg(test)]
mod tests;

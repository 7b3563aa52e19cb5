//! Optimisers over named weights, with a state that can be saved and resumed.
//!
//! Tables of embeddings get slopes for the rows that a batch meets alone. A dense update moves every row of a table, as
//! the papers have it; a lazy one the rows met alone, so that its cost does not grow with the table: Adam's means of
//! the other rows stand still until they are met again (as in TensorFlow's LazyAdam and PyTorch's SparseAdam).

mod device;
mod host;

use std::collections::BTreeMap;

use crate::nn::batch::{Batch, Side};
use crate::nn::device::is_host;
use crate::nn::network::Gradient;
use burn_tensor::Tensor;

use crate::Result;
use crate::nn::training::NnTraining;
use crate::nn::training::Optimizer;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Adam (Kingma and Ba 2015, algorithm 1), AdaGrad (Duchi et al. 2011, diagonal) or plain SGD, all with decoupled
/// weight decay.
pub struct Optim {
    config: NnTraining,
    lazy: [bool; 2],
    steps: u64,
    state: BTreeMap<&'static str, Vec<Tensor<2>>>,
}

/// The numbers of one step.
#[derive(Clone, Copy)]
pub struct Rates {
    optimizer: Optimizer,
    /// What is left of a weight after its decay.
    keep: f32,
    /// The length of the step, with both of Adam's corrections for its means' start at 0.
    length: f32,
    /// Keeps the divisor above 0, corrected like the length.
    epsilon: f32,
}

/// Where a weight has slopes.
#[derive(Clone, Copy)]
pub enum Met<'a> {
    /// Everywhere.
    Whole,
    /// In the rows that a batch meets; `lazy`: the others stay as they are.
    Rows {
        /// The rows.
        side: &'a Side,
        /// Whether the others stay as they are.
        lazy: bool,
    },
}

impl Optim {
    /// Before the first step. `lazy` says for the tables of users and those of items whether they are updated lazily.
    pub fn new(config: &NnTraining, lazy: [bool; 2]) -> Self {
        // Without means of slopes and without decay a row that is not met does not move anyway.
        let still = config.optimizer != Optimizer::Adam && config.weight_decay == 0.0;
        Self {
            config: config.clone(),
            lazy: lazy.map(|lazy| lazy || still),
            steps: 0,
            state: BTreeMap::new(),
        }
    }

    /// Moves every weight by one step against its gradient, after `epochs` (whole and parts) of training.
    pub fn step(
        &mut self,
        weights: Vec<(&'static str, &mut Tensor<2>)>,
        mut gradients: Vec<Gradient>,
        batch: &Batch,
        epochs: f64,
    ) {
        self.steps += 1;
        let rates = self.rates(epochs);
        if let Some(most) = self.config.clip_norm {
            gradients = clipped(gradients, most);
        }
        for ((name, weight), gradient) in weights.into_iter().zip(gradients) {
            let (slopes, met) = match gradient {
                Gradient::Whole(slopes) => (slopes, Met::Whole),
                Gradient::Users(slopes) => (slopes, Met::Rows { side: &batch.users, lazy: self.lazy[0] }),
                Gradient::Items(slopes) => (slopes, Met::Rows { side: &batch.items, lazy: self.lazy[1] }),
            };
            let device = weight.device();
            let n_states = self.config.optimizer.n_states();
            let state = self
                .state
                .remove(name)
                .unwrap_or_else(|| vec![Tensor::zeros(weight.dims(), &device); n_states]);
            // Taken out, so that nobody else holds it and it can be written over.
            let value = std::mem::replace(weight, Tensor::zeros([1, 1], &device));
            let (value, state) = match is_host(&device) {
                true => host::moved(value, state, &slopes, met, rates),
                false => device::moved(value, state, slopes, met, rates),
            };
            *weight = value;
            self.state.insert(name, state);
        }
    }

    fn rates(&self, epochs: f64) -> Rates {
        let NnTraining { optimizer, weight_decay, .. } = self.config;
        let rate =
            self.config.learning_rate * self.config.schedule.map_or(1.0, |schedule| schedule.factor(epochs));
        let [correction_1, correction_2] = match optimizer {
            Optimizer::Adam => [BETA_1, BETA_2].map(|beta| 1.0 - f64::from(beta).powf(self.steps as f64)),
            Optimizer::Adagrad | Optimizer::Sgd => [1.0; 2],
        };
        Rates {
            optimizer,
            keep: (1.0 - rate * f64::from(weight_decay)) as f32,
            length: (rate * correction_2.sqrt() / correction_1) as f32,
            epsilon: (f64::from(EPSILON) * correction_2.sqrt()) as f32,
        }
    }

    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The state of each weight, by names for a file.
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor<2>)> {
        let named = |name| move |(number, state)| (format!("optimizer_{number}.{name}"), state);
        self.state.iter().flat_map(move |(name, states)| states.iter().enumerate().map(named(name)))
    }

    /// The same optimiser after `steps` steps, with the state that `read` has for each weight.
    ///
    /// # Errors
    /// As `read` has them.
    pub fn resumed(
        &self,
        steps: u64,
        weights: Vec<(&'static str, &Tensor<2>)>,
        read: &dyn Fn(&str, [usize; 2]) -> Result<Tensor<2>>,
    ) -> Result<Self> {
        let mut state = BTreeMap::new();
        for (name, weight) in weights.into_iter().filter(|_| steps > 0) {
            let states = 0..self.config.optimizer.n_states();
            let states = states.map(|number| read(&format!("optimizer_{number}.{name}"), weight.dims()));
            state.insert(name, states.collect::<Result<Vec<_>>>()?);
        }
        Ok(Self { config: self.config.clone(), lazy: self.lazy, steps, state })
    }
}

/// Scales all gradients down together where their norm is above `most` (Pascanu et al. 2013, algorithm 1).
fn clipped(gradients: Vec<Gradient>, most: f32) -> Vec<Gradient> {
    let squares = gradients.iter().map(|gradient| {
        let (Gradient::Whole(slopes) | Gradient::Users(slopes) | Gradient::Items(slopes)) = gradient;
        slopes.clone().square().sum() // [1]
    });
    let norm = squares.reduce(|sum, square| sum + square).map(Tensor::sqrt);
    let Some(norm) = norm else { return gradients };
    let scale = (norm.add_scalar(f32::MIN_POSITIVE).recip().mul_scalar(most)).clamp_max(1.0).reshape([1, 1]);
    let scaled = |slopes: Tensor<2>| slopes * scale.clone();
    gradients
        .into_iter()
        .map(|gradient| match gradient {
            Gradient::Whole(slopes) => Gradient::Whole(scaled(slopes)),
            Gradient::Users(slopes) => Gradient::Users(scaled(slopes)),
            Gradient::Items(slopes) => Gradient::Items(scaled(slopes)),
        })
        .collect()
}

#[cfg(test)]
mod tests;

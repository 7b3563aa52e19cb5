//! Epochs of training by the kernels, and the way of weights and optimiser states between the device and the names and
//! shapes of the network.

use std::time::{Duration, Instant};

use burn_dispatch::DispatchDevice;
use burn_tensor::{Device, Tensor, TensorData};
use cubecl::client::Graph;
use cubecl::prelude::Client;

use super::buffer::{Buffer, failed};
use super::buffers::Values;
use super::jobs::Sizes;
use super::plan::{Plan, refusal};
use super::step::{KernelTimes, Step, Traffic, bitmap_words};
use crate::device::OpenDevice;
use crate::nn::batches::Batches;
use crate::nn::network::Network;
use crate::nn::optimizer::OptimizerState;
use crate::nn::pair_score::PairScore;
use crate::nn::params::on_host;
use crate::nn::training::NnTraining;
use crate::progress::Progress;
use crate::scorer::Shape;
use crate::{Error, Result};

/// How often the loss is read from the device, for the progress and to stop a model that diverges.
const READ_EVERY: Duration = Duration::from_millis(500);

/// Returns the client of a device that runs kernels, if it does.
pub fn client(device: &Device) -> Option<Client> {
    match device.as_dispatch() {
        DispatchDevice::Cube(device) => Some(device.client()),
        _ => None,
    }
}

/// For each weight its name and, row-major, its optimiser states.
pub type StatesByName = Vec<(&'static str, Vec<Vec<f32>>)>;

/// Weights on their card, in the order of a plan's layout.
#[derive(Clone)]
pub struct CardWeights(pub(super) Buffer);

/// Trains a network by the kernels.
pub struct Fused {
    step: Step,
    /// The launches of a step as the device replays them, once a first step has compiled its kernels.
    graph: Option<Graph>,
    n_states: usize,
}

impl Fused {
    /// Puts a network and its optimiser's state on their device.
    ///
    /// # Errors
    /// The reason why the kernels cannot train it, where they cannot.
    pub fn new(
        device: &OpenDevice,
        score: &PairScore,
        shape: Shape,
        training: &NnTraining,
        optimizer: &OptimizerState,
        batches: &Batches,
        network: &dyn Network,
    ) -> std::result::Result<Self, String> {
        let client = client(&device.device).ok_or_else(|| "the device does not run them".to_owned())?;
        let per_row = 1 + batches.negatives();
        if let Some(refusal) = refusal(score, shape, per_row) {
            return Err(refusal);
        }
        let sizes = Sizes { shape, rows: batches.entries()[0], per_row, lazy: optimizer.lazy() };
        let plan = Plan::new(score, sizes);
        let largest = client.properties().memory.max_page_size;
        let bytes = 4 * plan.largest_buffer(sizes) as u64;
        if bytes > largest {
            return Err(format!("a buffer of {bytes} bytes, where the device has {largest} at most"));
        }
        let n_states = training.optimizer.n_states();
        let words = bitmap_words(sizes, largest as usize);
        let bytes = plan.bytes(sizes, batches.rows(), n_states, words);
        if let Some(has) = device.card_memory.filter(|has| bytes > *has) {
            return Err(format!("they would hold {bytes} bytes, where the card has {has}"));
        }
        let values = values_of(&plan, n_states, network, optimizer);
        Ok(Self {
            step: Step::new(client, plan, sizes, score, training, batches, &values),
            graph: None,
            n_states,
        })
    }

    /// Trains an epoch, and returns its loss summed over all terms.
    ///
    /// # Errors
    /// When the loss is not finite, or `progress` says to stop.
    pub fn epoch(
        &mut self,
        epoch: u32,
        batches: &Batches,
        sizes: &[[f32; 3]],
        progress: &dyn Progress,
    ) -> Result<f64> {
        self.step.begin_epoch(batches, epoch, sizes);
        let (n_batches, n_rows) = (batches.count(), batches.rows() as u64);
        let rows_of = |batches: usize| (batches * self.step.rows()).min(n_rows as usize) as u64;
        let samples_of_row = batches.samples() / n_rows;
        let mut read = Instant::now();
        let (mut reported, mut total_loss) = (0, 0.0);
        for number in 1..=n_batches {
            progress.check()?;
            self.graph = match self.graph.take() {
                Some(graph) => {
                    // SAFETY: the buffers of the capture live as long as `self.step`.
                    unsafe { graph.replay() }.map_err(|error| failed(&error))?;
                    Some(graph)
                }
                None => self.step.captured()?,
            };
            if number == n_batches || read.elapsed() >= READ_EVERY {
                let losses = self.step.losses()?;
                let total: f64 = losses[..number].iter().map(|&loss| f64::from(loss)).sum();
                if !total.is_finite() {
                    return Err(Error::Diverged { epoch, loss: total });
                }
                let rows = rows_of(number);
                progress.note(&format!("loss {:.4}", total / (rows as f64 * self.step.terms_of_row())));
                progress.advance((rows - reported) * samples_of_row);
                reported = rows;
                read = Instant::now();
                total_loss = total;
            }
        }
        Ok(total_loss)
    }

    /// Returns a copy of the weights, made on the device.
    pub fn copied_weights(&self) -> CardWeights {
        CardWeights(self.step.copied_weights())
    }

    /// Returns what passed between host and device since the learner was made.
    pub fn traffic(&self) -> Traffic {
        self.step.traffic.get()
    }

    /// Measures each kernel from now on; steps are slower then.
    pub fn measure_kernels(&mut self) {
        self.step.measure_kernels();
        self.graph = None;
    }

    /// Returns the device times of each kernel's launches since they are measured.
    pub fn kernel_times(&self) -> KernelTimes {
        self.step.kernel_times()
    }

    /// Reads the weights back into a network. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn write_weights(&self, network: &mut dyn Network) -> Result<()> {
        let weights = self.step.values(0)?.weights;
        for (name, weight) in network.weights_mut() {
            let (shape, device) = (weight.dims(), weight.device());
            let values = self.step.plan().layout.get(name, &weights);
            *weight = Tensor::from_data(TensorData::new(values, shape), &device);
        }
        Ok(())
    }

    /// Reads the optimiser's states back: for each weight its name and, row-major, its states. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn states(&self, network: &dyn Network) -> Result<StatesByName> {
        let states = self.step.values(self.n_states)?.states;
        let of = |name| states.iter().map(|state| self.step.plan().layout.get(name, state)).collect();
        Ok(network.weights().into_iter().map(|(name, _)| (name, of(name))).collect())
    }

    /// Takes over the weights of a network and the states of its optimiser.
    pub fn read(&mut self, network: &dyn Network, optimizer: &OptimizerState) {
        let values = values_of(self.step.plan(), self.n_states, network, optimizer);
        self.step.replace(&values);
        // The graph replays over the old buffers.
        self.graph = None;
    }
}

/// Weights and states in the order of the plan.
fn values_of(plan: &Plan, n_states: usize, network: &dyn Network, optimizer: &OptimizerState) -> Values {
    let mut values =
        Values { weights: vec![0.0; plan.layout.len], states: vec![vec![0.0; plan.layout.len]; n_states] };
    for (name, weight) in network.weights() {
        plan.layout.put(name, &on_host(weight), &mut values.weights);
        for (state, all) in optimizer.state_of(name).iter().zip(&mut values.states) {
            plan.layout.put(name, &on_host(state), all);
        }
    }
    values
}

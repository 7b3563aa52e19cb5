//! The learner of all networks: it draws batches with negatives, computes the loss and its gradients, and updates the
//! weights by the optimiser.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use burn_tensor::{Device, Tensor};
use burnrec_data::tensors::Tensor as HostTensor;
use burnrec_data::{Csr, Error as DataError};

use super::batches::{Batches, Drawn};
use super::device::{OpenDevice, is_host};
#[cfg(feature = "cube")]
use super::gpu::{Fused, KernelTimes, Traffic};
use super::loss::Loss;
use super::network::{Architecture, BatchLoss, Network, Step};
use super::on_card::on_card;
#[cfg(feature = "cube")]
use super::on_card::with_card_weights;
use super::optimizer::OptimizerState;
#[cfg(feature = "cube")]
use super::optimizer::state_name;
use super::pair_score::PairScore;
use super::params::{Values, drawn, on_host};
use super::training::NnTraining;
use super::{learner_state, loss_gradients, memory};
use crate::learner::{EpochLoss, Learner};
use crate::model::Model;
use crate::progress::Progress;
use crate::scorer::Shape;
use crate::{Error, Result};

/// How many times in an epoch the loss is read back from the device.
const READS_PER_EPOCH: usize = 20;

/// The values of weights by name, row-major.
pub type InitialWeights = BTreeMap<String, Vec<f32>>;

/// Trains a network of any family on a device.
pub struct NnLearner {
    network: Box<dyn Network>,
    /// The form that kernels take, where the network has it.
    score: Option<PairScore>,
    batches: Batches,
    loss: Loss,
    optimizer: OptimizerState,
    /// The kernels that train the network, on a device that runs them. The network has their weights after each epoch,
    /// and the optimiser counts their steps; its states stay with the kernels until they are saved.
    #[cfg(feature = "cube")]
    fused: std::result::Result<Fused, String>,
    device: Device,
    seed: u64,
    epoch: u32,
}

impl NnLearner {
    /// Learns from the training matrix `[n_users, n_items]`, with initial weights, order and negatives drawn from `seed`.
    ///
    /// # Errors
    /// When a setting is out of its range, there is nothing to learn from, or training does not fit the memory of the
    /// device.
    pub fn new(
        train: &Csr,
        architecture: &dyn Architecture,
        training: &NnTraining,
        seed: u64,
        device: &OpenDevice,
    ) -> Result<Self> {
        Self::with_values(train, architecture, training, seed, &mut drawn(seed), device)
    }

    /// Does the same as [`NnLearner::new`], but starts from these weights, by name and row-major; the others are drawn.
    ///
    /// # Errors
    /// As [`NnLearner::new`], and when a weight is of another size.
    pub fn with_weights(
        train: &Csr,
        architecture: &dyn Architecture,
        training: &NnTraining,
        seed: u64,
        mut weights: InitialWeights,
        device: &OpenDevice,
    ) -> Result<Self> {
        let mut draw = drawn(seed);
        let mut values = |name, [rows, cols]: [usize; 2], init| match weights.remove(name) {
            None => draw(name, [rows, cols], init),
            Some(values) if values.len() == rows * cols => Ok(values),
            Some(values) => {
                let found = format!("{} values for {name:?}", values.len());
                Err(DataError::setting("initial weights", found, format!("{rows} x {cols}")).into())
            }
        };
        Self::with_values(train, architecture, training, seed, &mut values, device)
    }

    fn with_values(
        train: &Csr,
        architecture: &dyn Architecture,
        training: &NnTraining,
        seed: u64,
        values: &mut Values<'_>,
        device: &OpenDevice,
    ) -> Result<Self> {
        let (loss, negatives) = architecture.loss();
        let batches = Batches::new(train, negatives, training.batch_size, !is_host(&device.device), seed)?;
        let shape = Shape { n_users: train.n_rows(), n_items: train.n_cols() };
        memory::check(architecture, shape, training, batches.entries(), device)?;
        let mean = loss.mean_score(negatives, train.values());
        let network = architecture.network(shape, mean, values, &device.device)?;
        let [users, items] = batches.entries();
        let lazy = [(shape.n_users, users), (shape.n_items, items)];
        let lazy = lazy.map(|(table, entries)| training.embedding_update.is_lazy(table, entries));
        let optimizer = OptimizerState::new(training, lazy);
        let score = architecture.pair_score(mean);
        #[cfg(feature = "cube")]
        let fused = match &score {
            Some(score) => Fused::new(device, score, shape, training, &optimizer, &batches, &*network),
            None => Err("this kind of network has none".to_owned()),
        };
        Ok(Self {
            network,
            score,
            batches,
            loss,
            optimizer,
            #[cfg(feature = "cube")]
            fused,
            device: device.device.clone(),
            seed,
            epoch: 0,
        })
    }

    /// Takes one optimiser step, and returns the loss `[1]`, summed over the batch's terms and still on the device,
    /// with the number of terms.
    fn step(&mut self, drawn: Drawn, epoch: u32, number: usize) -> (Tensor<1>, usize) {
        let Drawn { batch, ratings } = drawn;
        let batch = batch.to_device(&self.device);
        let terms = self.loss.terms(batch.rows(), batch.per_row);
        let loss = Cell::new(None);
        let gradient = |scores: Tensor<2>| {
            let (sum, gradient) = loss_gradients::with_gradient(self.loss, scores, batch.per_row, &ratings);
            loss.set(Some(sum));
            gradient
        };
        // Each batch of each epoch has masks of its own, so that a resumed run drops the same units.
        let dropout_key = self.batches.dropout_key(epoch);
        let batch_number = number as u32;
        let batch_loss =
            BatchLoss { gradient: &gradient, terms: terms as f32, dropout_key, batch: batch_number };
        let Step { gradients, penalty } = self.network.step(&batch, &batch_loss);
        let epochs = f64::from(epoch - 1) + number as f64 / self.batches.count() as f64;
        self.optimizer.step(self.network.weights_mut(), gradients, Some(&batch), epochs);
        let loss = loss.take().expect("a network asks for the gradient by its scores");
        (penalty.into_iter().fold(loss, |loss, penalty| loss + penalty), terms)
    }

    /// Trains an epoch with Burn's operations, on any device, and returns its loss summed over all terms.
    fn portable_epoch(&mut self, epoch: u32, progress: &dyn Progress) -> Result<f64> {
        let n_batches = self.batches.count();
        let read_every = n_batches.div_ceil(READS_PER_EPOCH);
        let mut total = 0.0;
        let (mut unread, mut unread_terms) = (None::<Tensor<1>>, 0);
        // The batches are drawn on a thread of their own; dropping `drawn` after an error ends it.
        let (batches, device) = (self.batches.clone(), self.device.clone());
        let learn = || {
            std::thread::scope(|scope| {
                let drawn = batches.draw_on(scope, epoch);
                for (number, drawn) in drawn.into_iter().enumerate() {
                    progress.check()?;
                    let batch_samples = drawn.batch.samples() as u64;
                    let (loss, n) = self.step(drawn, epoch, number);
                    unread_terms += n;
                    unread = Some(unread.into_iter().fold(loss, |sum, loss| sum + loss));
                    if (number + 1).is_multiple_of(read_every) || number + 1 == n_batches {
                        // Sync: the loss since the last reading is read back.
                        let loss = unread.take().map_or(0.0, |sum| f64::from(on_host(&sum)[0]));
                        if !loss.is_finite() {
                            return Err(Error::Diverged { epoch, loss });
                        }
                        progress.note(&format!("loss {:.4}", loss / unread_terms as f64));
                        total += loss;
                        unread_terms = 0;
                    }
                    progress.advance(batch_samples);
                }
                Ok(())
            })
        };
        // On the host the loop runs on a thread of the pool, so that no kernel has to wake up the pool before it
        // begins.
        if is_host(&device) {
            rayon::scope(|_| learn())?
        } else {
            learn()?
        };
        Ok(total)
    }

    /// Trains an epoch by the kernels, or else with Burn's operations, and returns its loss summed over all terms.
    fn trained_epoch(&mut self, epoch: u32, progress: &dyn Progress) -> Result<f64> {
        #[cfg(feature = "cube")]
        if let Ok(fused) = &mut self.fused {
            let sizes = self.optimizer.count_epoch(epoch, self.batches.count());
            let total = fused.epoch(epoch, &self.batches, &sizes, progress)?;
            fused.write_weights(&mut *self.network)?;
            return Ok(total);
        }
        self.portable_epoch(epoch, progress)
    }
}

impl Learner for NnLearner {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        let epoch = self.epoch + 1;
        let samples = self.batches.samples();
        progress.begin(&format!("samples of epoch {epoch}"), samples);
        let total = self.trained_epoch(epoch, progress)?;
        progress.end();
        self.epoch = epoch;
        let terms = self.loss.terms(self.batches.rows(), samples as usize / self.batches.rows());
        Ok(EpochLoss { total: Some(total / terms as f64), samples, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        let model = self.network.model();
        let Some(score) = &self.score else { return model };
        #[cfg(feature = "cube")]
        if let Ok(fused) = &self.fused {
            return with_card_weights(model, score.clone(), &self.device, fused.copied_weights());
        }
        on_card(model, || score.clone(), &self.device)
    }

    #[cfg(feature = "cube")]
    fn computed_by(&self) -> Option<String> {
        let by = |way: std::result::Result<Traffic, &str>| match way {
            Ok(_) => "own kernels".to_owned(),
            Err(why) => format!("Burn's operations, not own kernels: {why}"),
        };
        (!is_host(&self.device)).then(|| by(self.traffic()))
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        let states = self.optimizer_states()?;
        learner_state::save(
            dir,
            &self.identity(),
            self.epoch,
            self.optimizer.steps(),
            self.network.weights(),
            states,
        )
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        // All is read before anything changes, so that a bad file leaves the learner as it was.
        let weights = self.network.weights();
        let loaded = learner_state::load(dir, &self.identity(), weights, &self.optimizer, &self.device)?;
        for ((_, weight), read) in self.network.weights_mut().into_iter().zip(loaded.weights) {
            *weight = read;
        }
        self.optimizer = loaded.optimizer;
        #[cfg(feature = "cube")]
        if let Ok(fused) = &mut self.fused {
            fused.read(&*self.network, &self.optimizer);
        }
        self.epoch = loaded.epoch;
        Ok(())
    }
}

#[cfg(feature = "cube")]
impl NnLearner {
    /// Returns what passed between host and device, where kernels train the network, else the reason why they do not.
    ///
    /// # Errors
    /// The reason.
    pub fn traffic(&self) -> std::result::Result<Traffic, &str> {
        self.fused.as_ref().map(Fused::traffic).map_err(String::as_str)
    }

    /// Measures each kernel from now on, where kernels train the network; steps are slower then.
    pub fn measure_kernels(&mut self) {
        if let Ok(fused) = &mut self.fused {
            fused.measure_kernels();
        }
    }

    /// Returns the device times of each kernel's launches since they are measured.
    pub fn kernel_times(&self) -> KernelTimes {
        self.fused.as_ref().map(Fused::kernel_times).unwrap_or_default()
    }

    /// Trains with Burn's operations, also where kernels could.
    pub fn without_kernels(mut self) -> Self {
        self.fused = Err("they were not asked for".to_owned());
        self
    }
}

impl NnLearner {
    /// Returns the optimiser's states by their names in a file.
    fn optimizer_states(&self) -> Result<Vec<(String, HostTensor)>> {
        #[cfg(feature = "cube")]
        if let Ok(fused) = &self.fused {
            let shapes = self.network.weights().into_iter().map(|(_, weight)| weight.dims());
            let of_weight = |((name, states), shape): ((&str, Vec<Vec<f32>>), [usize; 2])| {
                let states = states.into_iter().enumerate();
                let tensor = |(number, values)| (state_name(number, name), HostTensor::new(&shape, values));
                states.map(tensor).collect::<Vec<_>>()
            };
            let states = fused.states(&*self.network)?;
            return Ok(states.into_iter().zip(shapes).flat_map(of_weight).collect());
        }
        Ok(self.optimizer.states_on_host())
    }

    /// Returns what a saved state must have in common with this learner, beside the shapes of its weights.
    fn identity(&self) -> [(&'static str, u64); 3] {
        [("seed", self.seed), ("rows", self.batches.rows() as u64), ("batches", self.batches.count() as u64)]
    }
}

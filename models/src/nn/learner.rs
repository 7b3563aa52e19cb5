//! The learner of all networks: it draws batches with negatives, computes the loss and its gradients, and updates the
//! weights by the optimiser.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use burn_tensor::{Device, Tensor, TensorData};
use burnrec_data::rng::stream;
use burnrec_data::tensors::{self, Tensor as HostTensor, TensorFile};
use burnrec_data::{Csr, Error as DataError};
use rand::Rng;

use super::batches::{Batches, Drawn};
use super::device::{OpenDevice, is_host};
use super::loss::Loss;
use super::network::{Architecture, Network, Objective, Step};
use super::optimizer::OptimizerState;
use super::params::{Values, drawn, on_host};
use super::training::NnTraining;
use super::{loss_gradients, memory};
use crate::learner::{EpochLoss, Learner};
use crate::model::Model;
use crate::progress::Progress;
use crate::scorer::Shape;
use crate::weights::matrix;
use crate::{Error, Result};

/// How many times in an epoch the loss is read back from the device.
const READS_PER_EPOCH: usize = 20;

const STATE: &str = "learner.safetensors";

/// The values of weights by name, row-major.
pub type FirstWeights = BTreeMap<String, Vec<f32>>;

/// Trains a network of any family on a device.
pub struct NnLearner {
    network: Box<dyn Network>,
    batches: Batches,
    loss: Loss,
    optimizer: OptimizerState,
    device: Device,
    seed: u64,
    epoch: u32,
}

impl NnLearner {
    /// Learns from the training matrix `[n_users, n_items]`, with first weights, order and negatives drawn from `seed`.
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
        mut weights: FirstWeights,
        device: &OpenDevice,
    ) -> Result<Self> {
        let mut draw = drawn(seed);
        let mut values = |name, [rows, cols]: [usize; 2], init| match weights.remove(name) {
            None => draw(name, [rows, cols], init),
            Some(values) if values.len() == rows * cols => Ok(values),
            Some(values) => {
                let found = format!("{} values for {name:?}", values.len());
                Err(DataError::setting("first weights", found, format!("{rows} x {cols}")).into())
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
        let device = device.device.clone();
        let mean = loss.mean_score(negatives, train.values());
        let network = architecture.network(shape, mean, values, &device)?;
        let [users, items] = batches.entries();
        let lazy = [(shape.n_users, users), (shape.n_items, items)];
        let lazy = lazy.map(|(table, entries)| training.embedding_update.is_lazy(table, entries));
        Ok(Self {
            network,
            batches,
            loss,
            optimizer: OptimizerState::new(training, lazy),
            device,
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
        // A seed for every step, so that a resumed run drops the same units.
        let dropout_seed = stream(self.seed, "dropout", u64::from(epoch) << 32 | number as u64).next_u64();
        if !is_host(&self.device) {
            self.device.seed(dropout_seed);
        }
        let loss = Cell::new(None);
        let gradient = |scores: Tensor<2>| {
            let (sum, gradient) = loss_gradients::with_gradient(self.loss, scores, batch.per_row, &ratings);
            loss.set(Some(sum));
            gradient
        };
        let objective = Objective { gradient: &gradient, terms: terms as f32, dropout_seed };
        let Step { gradients, penalty } = self.network.step(&batch, &objective);
        let epochs = f64::from(epoch - 1) + number as f64 / self.batches.count() as f64;
        self.optimizer.step(self.network.weights_mut(), gradients, &batch, epochs);
        let loss = loss.take().expect("a network asks for the gradient by its scores");
        (penalty.into_iter().fold(loss, |loss, penalty| loss + penalty), terms)
    }
}

impl Learner for NnLearner {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        let epoch = self.epoch + 1;
        let order = self.batches.order(epoch);
        let n_batches = self.batches.count();
        let read_every = n_batches.div_ceil(READS_PER_EPOCH);
        let (mut total, mut terms, mut samples) = (0.0, 0, 0u64);
        let (mut unread, mut unread_terms) = (None::<Tensor<1>>, 0);
        progress.begin(&format!("samples of epoch {epoch}"), self.batches.samples());
        // The batches are drawn on a thread of their own; dropping `drawn` after an error ends it.
        let (batches, device) = (self.batches.clone(), self.device.clone());
        let learn = || {
            std::thread::scope(|scope| {
                let drawn = batches.draw_on(scope, &order, epoch);
                for (number, drawn) in drawn.into_iter().enumerate() {
                    progress.check()?;
                    let batch_samples = drawn.batch.samples() as u64;
                    samples += batch_samples;
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
                        terms += std::mem::take(&mut unread_terms);
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
        progress.end();
        self.epoch = epoch;
        Ok(EpochLoss { total: Some(total / terms as f64), samples, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        self.network.model()
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        let number = |value| HostTensor::new(&[1], [value]);
        let mut arrays: Vec<(String, HostTensor)> =
            self.identity().map(|(name, value)| (name.to_owned(), number(value))).into();
        arrays.push(("epoch".into(), number(u64::from(self.epoch))));
        arrays.push(("steps".into(), number(self.optimizer.steps())));
        // Sync: weights and the optimiser's state are read back.
        for (name, weight) in self.network.weights() {
            arrays.push((name.to_owned(), HostTensor::new(&weight.dims(), on_host(weight))));
        }
        for (name, state) in self.optimizer.state() {
            arrays.push((name, HostTensor::new(&state.dims(), on_host(state))));
        }
        Ok(tensors::write(&dir.join(STATE), &arrays)?)
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        let file = TensorFile::open(&dir.join(STATE))?;
        let number = |name: &str| -> Result<u64> {
            let values = file.column::<u64>(name)?;
            let bad = || DataError::malformed(file.path(), format!("{name:?} without a value"), "one value");
            Ok(*values.first().ok_or_else(bad)?)
        };
        for (name, expected) in self.identity() {
            let found = number(name)?;
            if found != expected {
                let expected = format!("{name} {expected}, as this run has");
                return Err(DataError::malformed(file.path(), format!("{name} {found}"), expected).into());
            }
        }
        let (epoch, steps) = (number("epoch")?, number("steps")?);
        let read = |name: &str, shape: [usize; 2]| -> Result<Tensor<2>> {
            Ok(Tensor::from_data(TensorData::new(matrix(&file, name, &shape)?, shape), &self.device))
        };
        // All is read before anything changes, so that a bad file leaves the learner as it was.
        let optimizer = self.optimizer.resumed(steps, self.network.weights(), &read)?;
        let read = |(name, weight): (&'static str, &Tensor<2>)| read(name, weight.dims());
        let weights = self.network.weights().into_iter().map(read).collect::<Result<Vec<_>>>()?;
        for ((_, weight), read) in self.network.weights_mut().into_iter().zip(weights) {
            *weight = read;
        }
        self.optimizer = optimizer;
        self.epoch = epoch as u32;
        Ok(())
    }
}

impl NnLearner {
    /// Returns what a saved state must have in common with this learner, beside the shapes of its weights.
    fn identity(&self) -> [(&'static str, u64); 3] {
        [("seed", self.seed), ("rows", self.batches.rows() as u64), ("batches", self.batches.count() as u64)]
    }
}

//! How a model on Burn learns: batches of rows with drawn negatives, a loss, an optimiser over named weights.

mod batches;
mod loss;
mod optim;

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burnrec_data::rng::stream;
use burnrec_data::tensors::{self, Tensor as HostTensor, TensorFile};
use burnrec_data::{Csr, Error as DataError};
use burnrec_models::config::Loss;
use burnrec_models::device::OpenDevice;
use burnrec_models::network::{Network, network};
use burnrec_models::params::{matrix, on_host};
use burnrec_models::{Error as ModelError, Model, ModelConfig, Shape};
use rand::Rng;

use crate::{BurnConfig, EpochLoss, Error, Learner, Progress, Result};
use batches::{Batch, Batches};
use optim::{Optim, trainable};

/// How many times in an epoch the loss is read back from the device.
const READS_PER_EPOCH: usize = 20;

const STATE: &str = "learner.safetensors";

/// Trains MF or NeuMF on a device.
pub struct BurnLearner {
    network: Box<dyn Network>,
    batches: Batches,
    loss: Loss,
    optim: Optim,
    device: Device,
    dropout: bool,
    seed: u64,
    epoch: u32,
}

impl BurnLearner {
    /// Over the training matrix `[n_users, n_items]`, with first weights, order and negatives drawn from `seed`.
    ///
    /// # Errors
    /// When a setting is out of its range, the model does not learn on Burn, or there is nothing to learn from.
    pub fn new(
        train: &Csr,
        config: &ModelConfig,
        burn: &BurnConfig,
        seed: u64,
        device: &OpenDevice,
    ) -> Result<Self> {
        let (loss, negatives, dropout) = match config {
            ModelConfig::Mf(mf) => match mf.loss {
                Loss::Bce => (Loss::Bce, mf.negatives, 0.0),
                Loss::Mse => (Loss::Mse, 0, 0.0),
            },
            ModelConfig::Neumf(neumf) => (Loss::Bce, neumf.negatives, neumf.dropout),
            ModelConfig::Popularity(_) | ModelConfig::Als(_) => return Err(not_on_burn(config)),
        };
        let batches = Batches::new(train, loss, negatives, burn.batch_size, seed)?;
        let mean = match loss {
            // The log-odds of a positive among the samples.
            Loss::Bce => -(negatives as f32).ln(),
            Loss::Mse => {
                (train.values().iter().map(|&value| f64::from(value)).sum::<f64>() / train.nnz() as f64)
                    as f32
            }
        };
        let shape = Shape { n_users: train.n_rows(), n_items: train.n_cols() };
        let device = device.device.clone().autodiff();
        let network = network(config, shape, mean, seed, &device)?.ok_or_else(|| not_on_burn(config))?;
        let optim = Optim::new(burn);
        Ok(Self { network, batches, loss, optim, device, dropout: dropout > 0.0, seed, epoch: 0 })
    }

    /// One step of the optimiser; gives the loss `[1]`, summed over the batch's samples, still on the device.
    fn step(&mut self, batch: Batch) -> Tensor<1> {
        let (rows, per_row) = (batch.users.len(), batch.per_row);
        let n_samples = (rows * per_row) as f32;
        let users: Tensor<1, Int> = Tensor::from_data(TensorData::new(batch.users, [rows]), &self.device);
        let items: Tensor<2, Int> =
            Tensor::from_data(TensorData::new(batch.items, [rows, per_row]), &self.device);
        let targets: Tensor<2> =
            Tensor::from_data(TensorData::new(batch.targets, [rows, per_row]), &self.device);
        let forward = self.network.forward(users, items);
        let mut total = loss::summed(self.loss, forward.scores, targets); // [1]
        if let Some(penalty) = forward.penalty {
            total = total + penalty;
        }
        let mut gradients = total.clone().div_scalar(n_samples).backward();
        self.optim.step(self.network.params_mut(), &mut gradients);
        total.inner()
    }
}

fn not_on_burn(config: &ModelConfig) -> Error {
    ModelError::config("model", format!("{:?}", config.name()), "a model that learns on Burn: mf or neumf")
        .into()
}

impl Learner for BurnLearner {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        let epoch = self.epoch + 1;
        let order = self.batches.order(epoch);
        let n_batches = self.batches.count();
        let read_every = n_batches.div_ceil(READS_PER_EPOCH);
        let (mut total, mut samples) = (0.0, 0u64);
        let (mut unread, mut unread_samples) = (None::<Tensor<1>>, 0);
        progress.begin(&format!("samples of epoch {epoch}"), self.batches.samples());
        // The batches are drawn on a thread of their own; dropping `drawn` after an error ends it.
        let batches = self.batches.clone();
        std::thread::scope(|scope| {
            let drawn = batches.draw_on(scope, &order, epoch);
            for (number, batch) in drawn.into_iter().enumerate() {
                if self.dropout {
                    // A seed for every step, so that a resumed run drops the same units.
                    let place = (u64::from(epoch) << 32) | number as u64;
                    self.device.seed(stream(self.seed, "dropout", place).next_u64());
                }
                progress.check()?;
                let batch_samples = batch.items.len() as u64;
                unread_samples += batch_samples;
                let loss = self.step(batch);
                unread = Some(match unread.take() {
                    Some(sum) => sum + loss,
                    None => loss,
                });
                if (number + 1).is_multiple_of(read_every) || number + 1 == n_batches {
                    // Sync: the loss since the last reading is read back.
                    let loss = unread.take().map_or(0.0, |sum| f64::from(on_host(&sum)[0]));
                    if !loss.is_finite() {
                        return Err(Error::Diverged { epoch, loss });
                    }
                    progress.note(&format!("loss {:.4}", loss / unread_samples as f64));
                    total += loss;
                    samples += std::mem::take(&mut unread_samples);
                }
                progress.advance(batch_samples);
            }
            Ok(())
        })?;
        progress.end();
        self.epoch = epoch;
        Ok(EpochLoss { total: Some(total / samples as f64), samples, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        self.network.model()
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        let number = |value| HostTensor::new(&[1], [value]);
        let mut arrays: Vec<(String, HostTensor)> =
            self.identity().map(|(name, value)| (name.to_owned(), number(value))).into();
        arrays.push(("epoch".into(), number(u64::from(self.epoch))));
        arrays.push(("steps".into(), number(self.optim.steps())));
        // Sync: weights and moments are read back.
        for (name, param) in self.network.params() {
            arrays.push((name.to_owned(), HostTensor::new(&param.dims(), on_host(&param.val()))));
        }
        for (name, moment) in self.optim.moments() {
            arrays.push((name, HostTensor::new(&moment.dims(), on_host(moment))));
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
        let device = self.device.clone().inner();
        let read = |name: &str, shape: [usize; 2]| -> Result<Tensor<2>> {
            Ok(Tensor::from_data(TensorData::new(matrix(&file, name, &shape)?, shape), &device))
        };
        // All is read before anything changes, so that a bad file leaves the learner as it was.
        let optim = self.optim.resumed(steps, self.network.params(), &read)?;
        let weights = self
            .network
            .params()
            .into_iter()
            .map(|(name, param)| read(name, param.dims()))
            .collect::<Result<Vec<_>>>()?;
        for ((_, param), weight) in self.network.params_mut().into_iter().zip(weights) {
            *param = trainable(param.id, weight);
        }
        self.optim = optim;
        self.epoch = epoch as u32;
        Ok(())
    }
}

impl BurnLearner {
    /// What a saved state must have in common with this learner, beside the shapes of its weights.
    fn identity(&self) -> [(&'static str, u64); 3] {
        [("seed", self.seed), ("rows", self.batches.rows() as u64), ("batches", self.batches.count() as u64)]
    }
}

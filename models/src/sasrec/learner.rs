//! Training SASRec: the gradients of each batch, and the optimiser that all networks have.

use std::path::Path;
use std::sync::Arc;

use burn_tensor::{Device, Tensor};
use burnrec_data::Csr;
use burnrec_data::draws::{Key, Permutation};
use rayon::prelude::*;

use super::batches::{Batch, Draws, Sequences};
use super::host::{self, Candidates, Dropout, Encoder, PIECE_ROWS, Packed, Piece};
use super::portable;
use super::weights::{Gradients, Param, Values};
use super::{Sasrec, SasrecConfig, SequenceLoss};
use crate::device::{OpenDevice, is_host};
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::model::{Compute, Family, Model};
use crate::nn::NnTraining;
use crate::nn::kernels::{Mask, as_slice, host, host_tensor};
use crate::nn::learner_state;
use crate::nn::memory::{self, Needed};
use crate::nn::network::Gradient;
use crate::nn::optimizer::OptimizerState;
use crate::nn::params::{drawn, on_host, weight};
use crate::progress::Progress;
use crate::scorer::check_order;
use crate::trainer::Trainable;
use crate::{Error, Result};

impl Trainable for SasrecConfig {
    type Training = NnTraining;

    fn validate_training(training: &NnTraining) -> Result<()> {
        training.validate()
    }

    fn trains_on(&self) -> Compute {
        Compute::Device
    }

    fn learner<'a>(&self, training: &NnTraining, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        Ok(Box::new(SasrecLearner::new(fit.train, self, training, fit.seed, fit.device)?))
    }
}

/// Trains SASRec on a device.
pub struct SasrecLearner<'a> {
    config: SasrecConfig,
    train: &'a Csr,
    sequences: Sequences,
    /// In the order of [`Param::ALL`].
    weights: Vec<Tensor<2>>,
    optimizer: OptimizerState,
    device: Device,
    seed: u64,
    epoch: u32,
}

impl<'a> SasrecLearner<'a> {
    /// Learns from the training matrix `[n_users, n_items]`, whose rows have an order, with initial weights, batches,
    /// negatives and dropout drawn from `seed`. `batch_size` of `training` counts the rows of a batch's sequences.
    ///
    /// # Errors
    /// When a setting is out of its range, or there is nothing to learn from.
    pub fn new(
        train: &'a Csr,
        config: &SasrecConfig,
        training: &NnTraining,
        seed: u64,
        device: &OpenDevice,
    ) -> Result<Self> {
        config.validate()?;
        training.validate()?;
        check_order(train)?;
        let sequences = Sequences::new(train, config.length, training.batch_size, seed)?;
        check_memory(config, train.n_cols(), training, device)?;
        let device = device.device.clone();
        let mut draw = drawn(seed);
        let mut first = |of: Param| {
            weight(&mut draw, of.name(), of.shape(config, train.n_cols()), of.init(config), &device)
        };
        let weights = Param::ALL.into_iter().map(&mut first).collect::<Result<Vec<_>>>()?;
        let optimizer = OptimizerState::new(training, [false; 2]);
        Ok(Self { config: config.clone(), train, sequences, weights, optimizer, device, seed, epoch: 0 })
    }

    /// Returns the weights by name.
    fn named(&self) -> Vec<(&'static str, &Tensor<2>)> {
        Param::ALL.into_iter().map(Param::name).zip(&self.weights).collect()
    }

    /// Draws what a batch of an epoch needs.
    fn draws(&self, epoch: u32, batch: u32) -> Draws {
        let SasrecConfig { dropout, layers, loss, negatives, .. } = self.config;
        let key = self.sequences.key("sequences.dropout", epoch);
        let mask = |place| Mask::new(dropout, key, batch, place as u32);
        let masks = (0..host::dropout_places(layers)).map(mask).collect();
        let n_items = self.train.n_cols() as u32;
        let candidates = match loss {
            SequenceLoss::Softmax => None,
            SequenceLoss::SampledSoftmax => {
                let [a, b] = self.sequences.key("sequences.negatives", epoch);
                let key: Key = [a, b.wrapping_add(batch)];
                let drawn = Permutation::new(n_items, key);
                Some((0..n_items.min(negatives as u32)).map(|place| drawn.at(place)).collect())
            }
        };
        Draws { masks, candidates }
    }

    /// Takes one optimiser step, and returns the loss summed over the rows of a batch.
    fn step(&mut self, batch: &Batch, epoch: u32, number: u32, epochs: f64) -> f64 {
        let draws = self.draws(epoch, number);
        let (loss, gradients): (f64, Vec<Tensor<2>>) = match is_host(&self.device) {
            true => {
                let (loss, gradients) = host_gradients(&self.config, &self.weights, batch, &draws);
                let widths = self.weights.iter().map(|weight| weight.dims()[1]);
                (loss, gradients.into_iter().zip(widths).map(|(by, width)| host_tensor(by, width)).collect())
            }
            false => portable::gradients(&self.config, &self.weights, batch, &draws),
        };
        let gradients = gradients.into_iter().map(Gradient::Whole).collect();
        let weights = Param::ALL.into_iter().map(Param::name).zip(&mut self.weights).collect();
        self.optimizer.step(weights, gradients, None, epochs);
        loss
    }
}

/// Refuses to train what does not fit the memory of the device.
fn check_memory(
    config: &SasrecConfig,
    n_items: usize,
    training: &NnTraining,
    device: &OpenDevice,
) -> Result<()> {
    let shapes = Param::ALL.map(|weight| (weight.name(), weight.shape(config, n_items)));
    let size = |shape: [usize; 2]| (shape[0] as u64).saturating_mul(shape[1] as u64);
    let n_weights = shapes.iter().fold(0u64, |sum, (_, shape)| sum.saturating_add(size(*shape)));
    let bytes = |n: u64| n.saturating_mul(size_of::<f32>() as u64);
    // What is kept of a row in each layer, with what each of its heads makes of a sequence, and a block of scores.
    let of_row = config.layers * (10 * config.dim + 2 * config.heads * config.length);
    let (rows, sums) = match is_host(&device.device) {
        true => (rayon::current_num_threads() * PIECE_ROWS, n_groups() as u64),
        false => (training.batch_size, 1),
    };
    let needed = Needed {
        weights: bytes(n_weights),
        optimizer: bytes(n_weights.saturating_mul(training.optimizer.n_states() as u64)),
        kept: bytes(n_weights.saturating_mul(2)),
        batch: bytes(
            (rows as u64).saturating_mul(of_row as u64).saturating_add(sums.saturating_mul(n_weights)),
        ),
    };
    memory::check_needed(&shapes, needed, training, device)
}

/// Returns to how many groups of pieces a batch is shared out on the host: two for each thread.
fn n_groups() -> usize {
    match rayon::current_num_threads() {
        1 => 1,
        threads => 2 * threads,
    }
}

/// Returns the loss summed over the rows of a batch, and the gradients of its mean by all weights, in their order, computed on
/// the host. The batch is shared out to groups of pieces, whose sums are added in order: the bits depend on the number of
/// threads alone.
pub(super) fn host_gradients(
    config: &SasrecConfig,
    weights: &[Tensor<2>],
    batch: &Batch,
    draws: &Draws,
) -> (f64, Vec<Vec<f32>>) {
    let tensors: Vec<_> =
        weights.iter().map(|weight| host(weight).expect("the weights are on the host")).collect();
    let values = Values::new(config, |at| as_slice(&tensors[at]));
    let encoder = Encoder::new(config, values);
    let items = values.all(Param::ItemEmbedding);
    let (dim, n_items) = (config.dim, items.len() / config.dim);
    let candidates = match &draws.candidates {
        None => Candidates::all(items),
        Some(drawn) => Candidates::of(drawn.clone(), items, dim),
    };
    let n_drawn = if draws.candidates.is_some() { candidates.n_values() } else { 0 };
    let scale = 1.0 / batch.items.len() as f32;
    let of_group = |pieces: &Vec<Piece<'_>>| {
        let mut by = Gradients::zeros(config, n_items);
        let mut by_candidates = vec![0.0; n_drawn];
        let piece = |piece| host::gradients(encoder, piece, &candidates, scale, &mut by, &mut by_candidates);
        let loss: f64 = pieces.iter().map(piece).sum();
        candidates.scatter(&by_candidates, by.all(Param::ItemEmbedding), dim);
        (loss, by.arrays)
    };
    let groups: Vec<_> = groups(batch, draws).par_iter().map(of_group).collect();
    let mut groups = groups.into_iter();
    let first = groups.next().expect("a batch has a sequence");
    groups.fold(first, |(sum, mut by), (loss, more)| {
        by.par_iter_mut().zip(more).for_each(|(by, more)| host::add(by, &more));
        (sum + loss, by)
    })
}

/// Cuts a batch into pieces, and shares them out to groups of about the same number of rows.
fn groups<'a>(batch: &'a Batch, draws: &'a Draws) -> Vec<Vec<Piece<'a>>> {
    let n_groups = n_groups();
    let mut groups: Vec<Vec<Piece<'a>>> = (0..n_groups).map(|_| Vec::new()).collect();
    let mut first_row = 0;
    for sequences in host::pieces(batch.lengths.iter().copied()) {
        let lengths = &batch.lengths[sequences];
        let rows = first_row..first_row + lengths.iter().sum::<usize>();
        let group = first_row * n_groups / batch.items.len();
        let dropout = Dropout { first_row, masks: draws.masks.as_deref() };
        first_row = rows.end;
        let packed = Packed { items: &batch.items[rows.clone()], lengths };
        let piece = Piece { packed, targets: &batch.targets[rows], dropout };
        groups[group].push(piece);
    }
    groups.retain(|pieces| !pieces.is_empty());
    groups
}

impl Learner for SasrecLearner<'_> {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        let epoch = self.epoch + 1;
        let n_rows = self.sequences.n_rows();
        progress.begin(&format!("samples of epoch {epoch}"), n_rows as u64);
        let (mut total, mut done) = (0.0, 0);
        for (number, sequences) in (0..).zip(self.sequences.batches(epoch)) {
            progress.check()?;
            let batch = self.sequences.batch(&sequences);
            let epochs = f64::from(self.epoch) + done as f64 / n_rows as f64;
            let loss = self.step(&batch, epoch, number, epochs);
            if !loss.is_finite() {
                return Err(Error::Diverged { epoch, loss });
            }
            let rows = batch.items.len();
            (total, done) = (total + loss, done + rows);
            progress.note(&format!("loss {:.4}", loss / rows as f64));
            progress.advance(rows as u64);
        }
        progress.end();
        self.epoch = epoch;
        let total = Some(total / n_rows as f64);
        Ok(EpochLoss { total, samples: n_rows as u64, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        // Sync: the weights are read back.
        let weights = self.weights.iter().map(on_host).collect();
        Box::new(Sasrec::new(self.config.clone(), Arc::new(weights), self.train))
    }

    fn computed_by(&self) -> Option<String> {
        (!is_host(&self.device)).then(|| "Burn's operations".to_owned())
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        let states = self.optimizer.states_on_host();
        learner_state::save(dir, &self.identity(), self.epoch, self.optimizer.steps(), self.named(), states)
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        let loaded = learner_state::load(dir, &self.identity(), self.named(), &self.optimizer, &self.device)?;
        (self.epoch, self.weights, self.optimizer) = (loaded.epoch, loaded.weights, loaded.optimizer);
        Ok(())
    }
}

impl SasrecLearner<'_> {
    /// Returns what a saved state must have in common with this learner, beside the shapes of its weights.
    fn identity(&self) -> [(&'static str, u64); 2] {
        [("seed", self.seed), ("rows", self.sequences.n_rows() as u64)]
    }
}

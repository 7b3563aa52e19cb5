//! One optimiser step as a row of launches over buffers that stay on the device: nothing is uploaded in it, and nothing
//! read back.

use cubecl::client::Graph;
use std::cell::Cell;

use cubecl::prelude::*;
use cubecl::server::{Handle, ServerError};

use super::grid::row_of;
use super::jobs::{Jobs, Sizes};
use super::plan::Plan;
use super::shared::{bound, epoch, state};
use crate::nn::batches::Batches;
use crate::nn::kernels::threshold_and_scale;
use crate::nn::pair_score::PairScore;
use crate::nn::training::{NnTraining, Optimizer};
use crate::{Error, Result};

/// A buffer with the number of its values, of four bytes each.
#[derive(Clone)]
pub struct Buffer {
    handle: Handle,
    pub len: usize,
}

impl Buffer {
    /// Makes a buffer of these words, and at least of one vector.
    fn of(client: &Client, words: &[u32]) -> Self {
        Self::of_bytes(client, u32::as_bytes(words))
    }

    fn of_values(client: &Client, values: &[f32]) -> Self {
        Self::of_bytes(client, f32::as_bytes(values))
    }

    fn of_bytes(client: &Client, bytes: &[u8]) -> Self {
        let mut vector = [0; 16];
        let bytes = match vector.get_mut(..bytes.len()) {
            Some(start) => {
                start.copy_from_slice(bytes);
                &vector
            }
            None => bytes,
        };
        Self { handle: client.create_from_slice(bytes), len: bytes.len() / 4 }
    }

    fn zeros(client: &Client, len: usize) -> Self {
        Self::of(client, &vec![0; len])
    }

    /// Makes a buffer that is written before it is read.
    fn empty(client: &Client, len: usize) -> Self {
        let len = len.max(4);
        Self { handle: client.empty(len * 4), len }
    }

    /// Replaces all of its words, after what was launched before. The device may copy more than it is given, so that
    /// padding is written too.
    fn write(&self, client: &Client, mut words: Vec<u32>) {
        words.resize(self.len, 0);
        client.write(&self.handle, cubecl::bytes::Bytes::from_bytes_vec(u32::as_bytes(&words).to_vec()));
    }

    /// Reads it back. Syncs with the device.
    fn words(&self, client: &Client) -> Vec<u32> {
        u32::from_bytes(&client.read_one_unchecked(self.handle.clone()))[..self.len].to_vec()
    }

    fn values(&self, client: &Client) -> Vec<f32> {
        self.words(client).into_iter().map(f32::from_bits).collect()
    }

    /// The buffer as an argument of single values.
    pub fn arg(&self) -> BufferArg {
        // SAFETY: the handle has `len` values of four bytes.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.len) }
    }

    /// The buffer as an argument of vectors.
    pub fn arg4(&self) -> BufferArg {
        // SAFETY: the handle has at least `len / 4` vectors.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.len / 4) }
    }
}

/// Everything a step reads and writes; the shapes are those of the kernels.
pub struct Buffers {
    pub rows: Buffer,
    pub values: Buffer,
    pub offsets: Buffer,
    pub seen: Buffer,
    pub bitmap: Buffer,
    pub epoch: Buffer,
    pub state: Buffer,
    pub bounds: Buffer,
    pub users: Buffer,
    pub items: Buffer,
    pub ratings: Buffer,
    pub counts: Buffer,
    /// The touched rows of users, then of items; their numbers; and those of each block of rows.
    pub lists: Buffer,
    pub lens: Buffer,
    pub blocks: Buffer,
    pub weights: Buffer,
    /// The optimiser's states, each as the weights; both are there for every optimiser, short where they are not used.
    pub first: Buffer,
    pub second: Buffer,
    pub gradients: Buffer,
    pub accumulators: Buffer,
    /// The products of the embeddings with the first layer, users first.
    pub sides: Buffer,
    /// For each hidden layer its output, and the gradient by its sums.
    pub hidden: Vec<[Buffer; 2]>,
    /// Stands for the hidden layers of a network without any.
    pub no_hidden: [Buffer; 2],
    /// The gradient by the scores.
    pub grads: Buffer,
    pub copies: Buffer,
    pub pieces: Buffer,
    pub sizes: Buffer,
    pub losses: Buffer,
    pub squares: Buffer,
    pub norm: Buffer,
    pub jobs: JobBuffers,
}

/// The jobs of the plan, on the device.
pub struct JobBuffers {
    pub sides: Option<Buffer>,
    pub forward: Vec<Buffer>,
    pub backward: Vec<Buffer>,
    pub layer_columns: Vec<Buffer>,
    pub first_columns: Option<Buffer>,
    pub embeddings: Option<Buffer>,
    pub reduce: Buffer,
    pub update: Buffer,
}

/// The most bytes of the bitmap of what each user has seen; where it is larger, the items of a user are searched.
const MOST_BITMAP: usize = 1 << 30;

/// Returns the words of a user's bits in the bitmap, or 0 where there is none: no negatives are drawn, or it is too large
/// for a buffer of so many bytes.
pub fn bitmap_words(sizes: Sizes, largest_buffer: usize) -> usize {
    let [n_users, n_items] = sizes.n();
    let words = n_items.div_ceil(32);
    let bytes = n_users.saturating_mul(words).saturating_mul(4);
    if sizes.per_row > 1 && bytes <= MOST_BITMAP.min(largest_buffer) { words } else { 0 }
}

/// Weights and optimiser states in the order of the [`Layout`](super::layout::Layout).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// The weights.
    pub weights: Vec<f32>,
    /// The optimiser's states, as many as it has.
    pub states: Vec<Vec<f32>>,
}

/// The error of a device that failed.
pub fn failed(error: &ServerError) -> Error {
    Error::Device { asked: "gpu".into(), why: error.to_string() }
}

/// What passed between host and device, counted where it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Steps whose kernels were launched one by one; the others were replayed.
    pub steps: usize,
    /// The launches of these steps.
    pub launches: usize,
    /// On how many occasions buffers were written or read: before an epoch its draws, in it the losses at most every half
    /// second, after it the weights.
    pub transfers: usize,
}

/// The steps of a training run on one device.
pub struct Step {
    pub(super) client: Client,
    pub(super) plan: Plan,
    pub(super) sizes: Sizes,
    pub(super) buffers: Buffers,
    pub(super) optimizer: Optimizer,
    pub(super) clip_norm: Option<f32>,
    pub(super) constant: f32,
    pub(super) reg: f32,
    /// As [`threshold_and_scale`].
    pub(super) dropout: Option<(u32, f32)>,
    pub(super) n_rows: usize,
    pub(super) traffic: Cell<Traffic>,
    /// The half of the counts that the first batch of the next epoch uses.
    next_half: u32,
    /// The words of a user's bits in the bitmap; 0 where there is none.
    pub(super) words: usize,
}

impl Step {
    /// Puts the training rows and these values on the device.
    pub fn new(
        client: Client,
        plan: Plan,
        sizes: Sizes,
        score: &PairScore,
        training: &NnTraining,
        batches: &Batches,
        values: &Values,
    ) -> Self {
        let data = batches.as_words();
        let n = sizes.n();
        let samples = sizes.rows * sizes.per_row;
        let words = bitmap_words(sizes, client.properties().memory.max_page_size as usize);
        let zeros = |len| Buffer::zeros(&client, len);
        let empty = |len| Buffer::empty(&client, len);
        let state_of = |number: usize| match values.states.get(number) {
            Some(values) => Buffer::of_values(&client, values),
            None => zeros(0),
        };
        let upload = |jobs: &Jobs| Buffer::of(&client, &jobs.words);
        let width = plan.hidden.first().map_or(0, |width| width[0]);
        let buffers = Buffers {
            rows: Buffer::of(&client, &data.rows),
            values: Buffer::of_values(&client, &data.values),
            offsets: Buffer::of(&client, &data.offsets),
            seen: Buffer::of(&client, data.seen),
            bitmap: zeros(n[0] * words),
            epoch: zeros(epoch::LEN),
            state: zeros(state::LEN),
            bounds: zeros(bound::LEN),
            users: zeros(sizes.rows),
            items: zeros(samples),
            ratings: zeros(sizes.rows),
            // The counts of padding are read, and not used.
            counts: zeros(2 * (n[0] + n[1]) + 4),
            lists: zeros(if sizes.lists() { n[0] + n[1] } else { 0 }),
            lens: zeros(2),
            blocks: zeros(2 * sizes.blocks()),
            weights: Buffer::of_values(&client, &values.weights),
            first: state_of(0),
            second: state_of(1),
            gradients: zeros(plan.layout.len),
            accumulators: zeros(plan.accumulators.len),
            sides: empty((n[0] + n[1]) * width),
            hidden: plan.hidden.iter().map(|[width, _]| [0; 2].map(|_| empty(samples * width))).collect(),
            no_hidden: [zeros(0), zeros(0)],
            grads: empty(samples),
            copies: zeros(2 * plan.layout.output_rows),
            pieces: empty(plan.pieces),
            sizes: zeros(3 * batches.count()),
            losses: zeros(batches.count()),
            squares: empty(row_of(plan.update.cubes[0]).iter().product::<u32>() as usize),
            norm: zeros(1),
            jobs: JobBuffers {
                sides: plan.sides.as_ref().map(upload),
                forward: plan.forward.iter().map(upload).collect(),
                backward: plan.backward.iter().map(upload).collect(),
                layer_columns: plan.layer_columns.iter().map(upload).collect(),
                first_columns: plan.first_columns.as_ref().map(upload),
                embeddings: plan.embeddings.as_ref().map(upload),
                reduce: upload(&plan.reduce),
                update: upload(&plan.update),
            },
        };
        let step = Self {
            plan,
            sizes,
            buffers,
            optimizer: training.optimizer,
            clip_norm: training.clip_norm,
            constant: score.constant,
            reg: score.reg,
            dropout: threshold_and_scale(score.dropout),
            n_rows: batches.rows(),
            next_half: 0,
            traffic: Cell::default(),
            words,
            client,
        };
        if words > 0 {
            step.fill_bitmap();
        }
        step
    }

    /// Prepares an epoch: its draws, and for each batch decay, step size and epsilon of the optimiser.
    pub fn begin_epoch(&mut self, batches: &Batches, epoch: u32, sizes: &[[f32; 3]]) {
        self.count(|traffic| traffic.transfers += 1);
        let order = batches.order(epoch);
        let mut words = vec![0; epoch::LEN];
        words[epoch::NEGATIVES..][..2].copy_from_slice(&batches.negatives_key(epoch));
        words[epoch::DROPOUT..][..2].copy_from_slice(&batches.dropout_key(epoch));
        words[epoch::BITS..][..2].copy_from_slice(&order.bits);
        words[epoch::ROUNDS..][..order.keys.len()].copy_from_slice(&order.keys);
        self.buffers.epoch.write(&self.client, words);
        let values = sizes.as_flattened().iter().map(|size| size.to_bits()).collect();
        self.buffers.sizes.write(&self.client, values);
        // The first batch is next. The halves of the counts go on in turn, as one of them is not zero.
        let mut cells = vec![0; state::LEN];
        cells[state::NEXT_HALF] = self.next_half;
        self.buffers.state.write(&self.client, cells);
        self.next_half = (self.next_half + sizes.len() as u32) % 2;
    }

    /// Returns the losses of the epoch's batches that are done, each summed over its terms. Syncs with the device.
    pub fn losses(&self) -> Vec<f32> {
        self.count(|traffic| traffic.transfers += 1);
        self.buffers.losses.values(&self.client)
    }

    /// Reads the weights and so many of the optimiser's states back. Syncs with the device.
    pub fn values(&self, n_states: usize) -> Values {
        self.count(|traffic| traffic.transfers += 1);
        let Buffers { weights, first, second, .. } = &self.buffers;
        let states = [first, second].into_iter().take(n_states);
        let len = self.plan.layout.len;
        let read = |buffer: &Buffer| buffer.values(&self.client)[..len].to_vec();
        Values { weights: read(weights), states: states.map(read).collect() }
    }

    /// Replaces weights and optimiser states.
    pub fn replace(&mut self, values: &Values) {
        self.buffers.weights = Buffer::of_values(&self.client, &values.weights);
        let mut states = values.states.iter().map(|state| Buffer::of_values(&self.client, state));
        if let Some(first) = states.next() {
            self.buffers.first = first;
        }
        if let Some(second) = states.next() {
            self.buffers.second = second;
        }
    }

    /// Takes the first step of a run, which compiles the kernels, and captures its launches to be replayed where the device
    /// can: `None` where it cannot, and steps are launched one by one.
    ///
    /// # Errors
    /// When the device fails.
    pub fn captured(&self) -> Result<Option<Graph>> {
        let failed = |error: ServerError| failed(&error);
        if self.client.graph_prepare().is_err() {
            self.launch();
            return Ok(None);
        }
        self.launch();
        cubecl::future::block_on(self.client.sync()).map_err(failed)?;
        self.client.start_capture().map_err(failed)?;
        self.launch();
        self.client.stop_capture().map(Some).map_err(failed)
    }

    /// Counts what passes between host and device.
    pub(super) fn count(&self, add: impl FnOnce(&mut Traffic)) {
        let mut traffic = self.traffic.get();
        add(&mut traffic);
        self.traffic.set(traffic);
    }

    /// Returns the training rows of a batch.
    pub fn rows(&self) -> usize {
        self.sizes.rows
    }

    /// Returns the terms of the loss in a training row.
    pub fn terms_of_row(&self) -> f64 {
        self.plan.parts.loss.terms(1, self.sizes.per_row) as f64
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

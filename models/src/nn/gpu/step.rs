//! One optimiser step as a row of launches over buffers that stay on the device: nothing is uploaded in it, and nothing
//! read back.

use cubecl::client::Graph;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use cubecl::prelude::*;
use cubecl::server::ServerError;

use super::buffer::{Buffer, failed};
use super::buffers::{Buffers, Values};
use super::grid::in_a_row;
use super::jobs::{Sizes, UNITS};
use super::kernels::copy;
use super::kernels::shared::{epoch, state};
use super::plan::Plan;
use crate::Result;
use crate::nn::batches::Batches;
use crate::nn::kernels::threshold_and_scale;
use crate::nn::pair_score::PairScore;
use crate::nn::training::{NnTraining, Optimizer};

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

/// The device times of each kernel's launches, by what it does.
pub type KernelTimes = BTreeMap<&'static str, Vec<Duration>>;

/// The steps of a training run on one device, or, with short buffers for what training alone needs, its forward pass.
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
    pub(super) times: Option<RefCell<KernelTimes>>,
    /// The half of the counts that the first batch of the next epoch uses.
    pub(super) next_half: u32,
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
        let words = bitmap_words(sizes, client.properties().memory.max_page_size as usize);
        let buffers = Buffers::of_training(&client, &plan, sizes, batches, values, words);
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
            times: None,
            words,
            client,
        };
        if words > 0 {
            step.fill_bitmap();
        }
        step
    }

    /// Scores pairs of users and items alone, by weights on the device.
    pub fn of_scores(client: Client, plan: Plan, sizes: Sizes, score: &PairScore, weights: Buffer) -> Self {
        Self {
            buffers: Buffers::of_scores(&client, &plan, sizes, weights),
            plan,
            sizes,
            optimizer: Optimizer::Sgd,
            clip_norm: None,
            constant: score.constant,
            reg: 0.0,
            dropout: None,
            n_rows: 0,
            next_half: 0,
            traffic: Cell::default(),
            times: None,
            words: 0,
            client,
        }
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
    ///
    /// # Errors
    /// When the device fails.
    pub fn losses(&self) -> Result<Vec<f32>> {
        self.count(|traffic| traffic.transfers += 1);
        self.buffers.losses.values(&self.client)
    }

    /// Reads the weights and so many of the optimiser's states back. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn values(&self, n_states: usize) -> Result<Values> {
        self.count(|traffic| traffic.transfers += 1);
        let Buffers { weights, first, second, .. } = &self.buffers;
        let states = [first, second].into_iter().take(n_states);
        let len = self.plan.layout.len;
        let read = |buffer: &Buffer| buffer.first_values(&self.client, len);
        Ok(Values { weights: read(weights)?, states: states.map(read).collect::<Result<_>>()? })
    }

    /// Returns a copy of the weights, made on the device.
    pub fn copied_weights(&self) -> Buffer {
        let from = &self.buffers.weights;
        let to = Buffer::empty(&self.client, from.len);
        let n = from.len / 4;
        // SAFETY: both buffers have so many vectors.
        unsafe {
            copy::copy::launch_unchecked(
                &self.client,
                in_a_row(n.div_ceil(UNITS)),
                CubeDim::new_1d(UNITS as u32),
                from.arg4(),
                to.arg4(),
                n as u32,
            );
        }
        to
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
        if self.times.is_some() || self.client.graph_prepare().is_err() {
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

    /// Launches a kernel, which is counted, and measured where kernels are.
    pub(super) fn kernel(&self, name: &'static str, launch: impl FnOnce()) {
        self.count(|traffic| traffic.launches += 1);
        let Some(times) = &self.times else { return launch() };
        let window = self.client.profile_start();
        launch();
        let measured = window.and_then(|window| self.client.profile_end(window));
        let ticks = measured.ok().and_then(|measured| cubecl::future::block_on(measured.resolve()));
        if let Some(ticks) = ticks {
            times.borrow_mut().entry(name).or_default().push(ticks.duration());
        }
    }

    /// Measures each kernel from now on. Steps are launched one by one then.
    pub fn measure_kernels(&mut self) {
        self.times = Some(RefCell::default());
    }

    /// Returns the kernels' device times of each launch since they are measured.
    pub fn kernel_times(&self) -> KernelTimes {
        self.times.as_ref().map(|times| times.borrow().clone()).unwrap_or_default()
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

//! Scores of a network on a graphics card, in large blocks.

use std::sync::{Mutex, PoisonError};

use burn_tensor::Device;
use burnrec_data::{ItemIx, UserIx};
use cubecl::prelude::*;

use super::buffer::Buffer;
use super::fused::{CardWeights, client};
use super::grid::in_a_row;
use super::jobs::{Sizes, UNITS};
use super::kernel_launches::start;
use super::kernels::pair_scores;
use super::kernels::pair_scores::PAIRS;
use super::kernels::shared::state;
use super::plan::{Plan, refusal};
use super::step::Step;
use crate::Result;
use crate::nn::pair_score::PairScore;
use crate::scorer::Shape;

/// The most pairs that go through the layers at once.
const MOST_PAIRS: usize = 1 << 20;
/// The most scores that are kept for one selection, unless the catalogue alone is larger.
const MOST_SCORES: usize = 1 << 23;
/// The most users of a block, as each is a cube of one row of a grid.
pub(super) const MOST_ROWS: usize = 1 << 15;

/// A network ready to score on its card.
pub struct Catalog(pub(super) Mutex<Block>);

/// What is on the card, for a block of users at a time.
pub struct Block {
    pub(super) step: Step,
    pub(super) n_items: usize,
    /// The pairs that go through the layers at once.
    pub(super) n_pairs: usize,
    /// The users of a block.
    pub(super) n_rows: usize,
    /// Their rows.
    rows: Buffer,
    /// Users and items of pairs of the catalogue.
    pairs: [Buffer; 2],
    /// Their scores, `[n_rows, n_items]`, or those of some pairs.
    pub(super) scores: Buffer,
}

impl Catalog {
    /// Makes what scores on a card, if the device is one and the kernels take the score, by the weights that are there, else
    /// by those that `weight` returns for a name, row-major.
    pub fn new(
        device: &Device,
        score: &PairScore,
        shape: Shape,
        there: Option<CardWeights>,
        weight: &dyn Fn(&str) -> Option<Vec<f32>>,
    ) -> Option<Self> {
        let client = client(device)?;
        if shape.n_users == 0 || shape.n_items == 0 || refusal(score, shape, 1).is_some() {
            return None;
        }
        let largest = client.properties().memory.max_page_size as usize / 4;
        let all = shape.n_users.checked_mul(shape.n_items)?;
        let plan_of = |rows| Plan::new(score, Sizes { shape, rows, per_row: 1, lazy: [false; 2] });
        let widest = plan_of(1).largest_sample();
        let n_pairs = MOST_PAIRS.min(all).min(largest / widest.max(1));
        let n_rows = (MOST_SCORES / shape.n_items).clamp(1, shape.n_users.min(MOST_ROWS));
        let plan = plan_of(n_pairs);
        let fits = n_pairs > 0
            && plan.layout.len.max(plan.len_of_sides(shape)).max(n_rows * shape.n_items) <= largest;
        if !fits || n_rows * shape.n_items > u32::MAX as usize {
            return None;
        }
        let weights = match there {
            Some(CardWeights(weights)) => weights,
            None => {
                let mut weights = vec![0.0; plan.layout.len];
                for name in plan.layout.names() {
                    plan.layout.put(name, &weight(name)?, &mut weights);
                }
                Buffer::of_values(&client, &weights)
            }
        };
        let rows = Buffer::empty(&client, n_rows);
        let scores = Buffer::empty(&client, (n_rows * shape.n_items).max(n_pairs));
        let sizes = Sizes { shape, rows: n_pairs, per_row: 1, lazy: [false; 2] };
        let step = Step::of_scores(client, plan, sizes, score, weights);
        step.tables_by_first_layer();
        let pairs = [step.buffers.users.clone(), step.buffers.items.clone()];
        let n_items = shape.n_items;
        Some(Self(Mutex::new(Block { step, n_items, n_pairs, n_rows, rows, pairs, scores })))
    }

    /// How many pairs a call of [`Catalog::score_pairs`] or [`Catalog::score_catalog`] should have at least, where there are
    /// so many.
    pub const PAIRS_AT_ONCE: usize = MOST_PAIRS;

    /// As [`Scorer::score_pairs`](crate::scorer::Scorer::score_pairs).
    pub fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        let mut block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n = block.n_pairs;
        for ((out, users), items) in out.chunks_mut(n).zip(users.chunks(n)).zip(items.chunks(n)) {
            block.score_these(users, items, 0);
            out.copy_from_slice(&block.scores(out.len()));
        }
    }

    /// As [`Scorer::score_catalog`](crate::scorer::Scorer::score_catalog).
    pub fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let mut block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let per_block = block.n_rows * block.n_items;
        let n_rows = block.n_rows;
        for (users, out) in users.chunks(n_rows).zip(out.chunks_mut(per_block)) {
            block.score_all(users);
            out.copy_from_slice(&block.scores(out.len()));
        }
    }
}

/// What was read back. A scorer has no errors: a card that is lost ends the call.
pub fn read<T>(read: Result<T>) -> T {
    read.unwrap_or_else(|error| panic!("{error}"))
}

impl Block {
    /// Reads the first scores back.
    pub fn scores(&self, n: usize) -> Vec<f32> {
        read(self.scores.first_values(&self.step.client, n))
    }

    /// Scores at most `n_pairs` pairs, and writes the scores from `first` on.
    pub fn score_these(&mut self, users: &[UserIx], items: &[ItemIx], first: usize) {
        let Step { client, buffers, .. } = &mut self.step;
        buffers.users = Buffer::of(client, &users.iter().map(|user| user.0).collect::<Vec<_>>());
        buffers.items = Buffer::of(client, &items.iter().map(|item| item.0).collect::<Vec<_>>());
        self.score(first, users.len());
    }

    /// Scores all items for each of some users, at most as many as a block has.
    pub fn score_all(&mut self, users: &[UserIx]) {
        [self.step.buffers.users, self.step.buffers.items] = self.pairs.clone();
        let Step { client, buffers, .. } = &self.step;
        self.rows.write(client, users.iter().map(|user| user.0).collect());
        let all = users.len() * self.n_items;
        for first in (0..all).step_by(self.n_pairs) {
            let n = self.n_pairs.min(all - first);
            // SAFETY: of this kernel as of the one below: the buffers have as many values as are read and written.
            unsafe {
                pair_scores::all_pairs::launch_unchecked(
                    client,
                    in_a_row(n.div_ceil(UNITS)),
                    CubeDim::new_1d(UNITS as u32),
                    self.rows.arg(),
                    buffers.users.arg(),
                    buffers.items.arg(),
                    first as u32,
                    n as u32,
                    self.n_items as u32,
                );
            }
            self.score(first, n);
        }
    }

    /// Scores the first `n` pairs of the buffers, and writes the scores from `first` on.
    fn score(&self, first: usize, n: usize) {
        let Step { client, plan, buffers, .. } = &self.step;
        let mut cells = vec![0; state::LEN];
        cells[state::ROWS] = n as u32;
        buffers.state.write(client, cells);
        self.step.forward();
        let layout = &plan.layout;
        let [h, _] = buffers.hidden.last().unwrap_or(&buffers.no_hidden);
        let last = plan.hidden.last().map_or(0, |width| width[0]);
        let [dot_weight, tower_weight, bias] = plan.output_starts();
        unsafe {
            pair_scores::pair_scores::launch_unchecked(
                client,
                in_a_row(n.div_ceil(PAIRS)),
                CubeDim::new_1d(UNITS as u32),
                h.arg4(),
                buffers.weights.arg(),
                buffers.weights.arg4(),
                buffers.users.arg(),
                buffers.items.arg(),
                self.scores.arg(),
                (start(layout.dot, 0) / 4) as u32,
                (start(layout.dot, 1) / 4) as u32,
                (plan.dim / 4) as u32,
                dot_weight as u32,
                start(layout.biases, 0) as u32,
                start(layout.biases, 1) as u32,
                self.step.constant,
                tower_weight as u32,
                bias as u32,
                layout.output_rows as u32,
                (last / 4) as u32,
                first as u32,
                n as u32,
                plan.parts,
            );
        }
    }
}

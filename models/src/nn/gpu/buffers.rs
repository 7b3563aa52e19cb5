//! The buffers of a step on the device.

use cubecl::prelude::Client;

use super::buffer::Buffer;
use super::grid::row_of;
use super::jobs::{Jobs, Sizes};
use super::kernels::shared::{bound, epoch, state};
use super::pieces::ColumnProducts;
use super::plan::{Plan, Products};
use crate::nn::batches::Batches;

/// Weights and optimiser states in the order of the [`Layout`](super::layout::Layout).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// The weights.
    pub weights: Vec<f32>,
    /// The optimiser's states, as many as it has.
    pub states: Vec<Vec<f32>>,
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
    /// For each hidden layer its output, and the gradient by its sums, as far as they are stored ([`Plan::stored`]).
    pub hidden: Vec<[Buffer; 2]>,
    /// For each sample which values of the first hidden layer are above 0, where that is not stored.
    pub kept: Buffer,
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

impl Buffers {
    /// Makes the buffers of a training run, with its rows, weights and optimiser states; `words` as [`bitmap_words`].
    ///
    /// [`bitmap_words`]: super::step::bitmap_words
    pub(super) fn of_training(
        client: &Client,
        plan: &Plan,
        sizes: Sizes,
        batches: &Batches,
        values: &Values,
        words: usize,
    ) -> Self {
        let data = batches.as_words();
        let n = sizes.n();
        let samples = sizes.rows * sizes.per_row;
        let zeros = |len| Buffer::zeros(client, len);
        let empty = |len| Buffer::empty(client, len);
        let state_of = |number: usize| match values.states.get(number) {
            Some(values) => Buffer::of_values(client, values),
            None => zeros(0),
        };
        let upload = |jobs: &Jobs| Buffer::of(client, &jobs.words);
        let products = |products: &Products| upload(&products.jobs);
        let columns = |products: &ColumnProducts| upload(&products.jobs);
        Self {
            rows: Buffer::of(client, &data.rows),
            values: Buffer::of_values(client, &data.values),
            offsets: Buffer::of(client, &data.offsets),
            seen: Buffer::of(client, data.seen),
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
            weights: Buffer::of_values(client, &values.weights),
            first: state_of(0),
            second: state_of(1),
            gradients: zeros(plan.layout.len),
            accumulators: zeros(plan.accumulators.len),
            sides: empty(plan.len_of_sides(sizes.shape)),
            hidden: plan.stored().map(|widths| widths.map(|width| empty(samples * width))).collect(),
            kept: empty(samples * plan.words_of_first()),
            no_hidden: [zeros(0), zeros(0)],
            grads: empty(samples),
            copies: zeros(2 * plan.layout.output_rows),
            pieces: empty(plan.pieces),
            sizes: zeros(3 * batches.count()),
            losses: zeros(batches.count()),
            squares: empty(row_of(plan.update.cubes[0]).iter().product::<u32>() as usize),
            norm: zeros(1),
            jobs: JobBuffers {
                sides: plan.sides.as_ref().map(products),
                forward: plan.forward.iter().map(products).collect(),
                backward: plan.backward.iter().map(products).collect(),
                layer_columns: plan.layer_columns.iter().map(columns).collect(),
                first_columns: plan.first_columns.as_ref().map(columns),
                embeddings: plan.embeddings.as_ref().map(products),
                reduce: upload(&plan.reduce),
                update: upload(&plan.update),
            },
        }
    }

    /// Makes the buffers of a forward pass; what training alone needs is short.
    pub(super) fn of_scores(client: &Client, plan: &Plan, sizes: Sizes, weights: Buffer) -> Self {
        let n = sizes.rows * sizes.per_row;
        let none = || Buffer::zeros(client, 0);
        let products = |products: &Products| Buffer::of(client, &products.jobs.words);
        Self {
            rows: none(),
            values: none(),
            offsets: none(),
            seen: none(),
            bitmap: none(),
            epoch: none(),
            state: Buffer::zeros(client, state::LEN),
            bounds: Buffer::zeros(client, bound::LEN),
            users: Buffer::empty(client, sizes.rows),
            items: Buffer::empty(client, n),
            ratings: none(),
            counts: none(),
            lists: none(),
            lens: none(),
            blocks: none(),
            weights,
            first: none(),
            second: none(),
            gradients: none(),
            accumulators: none(),
            sides: Buffer::empty(client, plan.len_of_sides(sizes.shape)),
            // The outputs alone; no gradients.
            hidden: plan.stored().map(|[output, _]| [Buffer::empty(client, n * output), none()]).collect(),
            kept: Buffer::empty(client, n * plan.words_of_first()),
            no_hidden: [none(), none()],
            grads: none(),
            copies: none(),
            pieces: none(),
            sizes: none(),
            losses: none(),
            squares: none(),
            norm: none(),
            jobs: JobBuffers {
                sides: plan.sides.as_ref().map(products),
                forward: plan.forward.iter().map(products).collect(),
                backward: Vec::new(),
                layer_columns: Vec::new(),
                first_columns: None,
                embeddings: None,
                reduce: none(),
                update: none(),
            },
        }
    }
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

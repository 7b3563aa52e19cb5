//! The gradients of a batch by Burn's tensor operations, on any device: what [`super::host`] computes, layer by layer for the
//! whole batch. Attention alone pads its sequences to the longest of the batch.

use burn_tensor::activation::{relu, softmax};
use burn_tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::SasrecConfig;
use super::batches::{Batch, Draws};
use super::host::EPSILON;
use super::weights::Param;
use crate::nn::batch::{Lookup, index};
use crate::nn::kernels::Mask;
use crate::nn::params::on_host;

/// About how many scores are computed at a time.
const SCORES: usize = 1 << 24;

/// What is added to the scores that no row may read.
const NEVER: f32 = -1e30;

/// Returns the loss summed over the rows of a batch, and the gradients of its mean by all weights, in their order.
pub fn gradients(
    config: &SasrecConfig,
    weights: &[Tensor<2>],
    batch: &Batch,
    draws: &Draws,
) -> (f64, Vec<Tensor<2>>) {
    let device = weights[0].device();
    let zeros = |weight: &Tensor<2>| Tensor::zeros(weight.dims(), &device);
    let grads = weights.iter().map(zeros).collect();
    let mut network =
        Portable { config, weights, grads, padding: Padding::new(batch, config.heads, &device) };
    let loss = network.step(batch, draws);
    (loss, network.grads)
}

struct Portable<'a> {
    config: &'a SasrecConfig,
    weights: &'a [Tensor<2>],
    grads: Vec<Tensor<2>>,
    padding: Padding,
}

/// What the backward pass needs of a layer's forward pass.
struct LayerStates {
    norm: Norm,
    qkv: [Tensor<4>; 3],
    probabilities: Tensor<4>,
    hidden_norm: Norm,
    hidden: Tensor<2>,
}

impl Portable<'_> {
    fn step(&mut self, batch: &Batch, draws: &Draws) -> f64 {
        let (dim, layers) = (self.config.dim, self.config.layers);
        let n = batch.items.len();
        let device = self.weights[0].device();
        let masks: Option<Vec<Tensor<2>>> = draws
            .masks
            .as_ref()
            .map(|masks| masks.iter().map(|&mask| factors(mask, n, dim, &device)).collect());
        let drop = |x: Tensor<2>, place: usize| match &masks {
            Some(masks) => x * masks[place].clone(),
            None => x,
        };
        let items = lookup(&batch.items, self.of(Param::ItemEmbedding).dims()[0], &device);
        let places: Vec<u32> = batch
            .lengths
            .iter()
            .flat_map(|&rows| (self.config.length - rows) as u32..self.config.length as u32)
            .collect();
        let places = lookup(&places, self.config.length, &device);
        let factor = (dim as f32).sqrt();
        let rows = |weight: Param, lookup: &Lookup| {
            let unique = self.of(weight).select(0, lookup.device_unique());
            unique.select(0, lookup.device_inverse())
        };
        let x =
            rows(Param::ItemEmbedding, &items).mul_scalar(factor) + rows(Param::PositionEmbedding, &places);
        let mut x = drop(x, 0);
        let mut states = Vec::new();
        for layer in 0..layers {
            let norm = Norm::of(x.clone());
            let normed = norm
                .output(self.layer(Param::AttentionScale, layer), self.layer(Param::AttentionShift, layer));
            let qkv = normed.matmul(self.layer(Param::AttentionWeight, layer))
                + self.layer(Param::AttentionBias, layer);
            let qkv =
                [0, 1, 2].map(|k| self.padding.heads(qkv.clone().slice([0..n, k * dim..(k + 1) * dim])));
            let probabilities = self.padding.probabilities(&qkv, self.scale());
            let out = self.padding.rows(probabilities.clone().matmul(qkv[2].clone()));
            x = x + drop(out, 1 + 2 * layer);

            let hidden_norm = Norm::of(x.clone());
            let normed = hidden_norm
                .output(self.layer(Param::HiddenScale, layer), self.layer(Param::HiddenShift, layer));
            let hidden = relu(
                normed.matmul(self.layer(Param::HiddenWeight, layer)) + self.layer(Param::HiddenBias, layer),
            );
            let out = hidden.clone().matmul(self.layer(Param::OutputWeight, layer))
                + self.layer(Param::OutputBias, layer);
            x = x + drop(out, 2 + 2 * layer);
            states.push(LayerStates { norm, qkv, probabilities, hidden_norm, hidden });
        }
        let norm = Norm::of(x);
        let finals = [Param::FinalScale, Param::FinalShift];
        let state = norm.output(self.of(finals[0]), self.of(finals[1]));
        let (loss, by_state) = self.loss(state, batch, draws);
        let mut grad = self.norm(&norm, by_state, finals, 0);
        for (layer, state) in states.into_iter().enumerate().rev() {
            let by_out = drop(grad.clone(), 2 + 2 * layer);
            let by_hidden =
                self.dense([Param::OutputWeight, Param::OutputBias], layer, state.hidden.clone(), by_out);
            let by_hidden = by_hidden * state.hidden.greater_elem(0.0).float();
            let norms = [Param::HiddenScale, Param::HiddenShift];
            let normed = state.hidden_norm.output(self.layer(norms[0], layer), self.layer(norms[1], layer));
            let by_normed = self.dense([Param::HiddenWeight, Param::HiddenBias], layer, normed, by_hidden);
            grad = grad + self.norm(&state.hidden_norm, by_normed, norms, layer);

            let by_out = self.padding.heads(drop(grad.clone(), 1 + 2 * layer));
            let by_qkv = self.by_qkv(by_out, &state.qkv, state.probabilities);
            let norms = [Param::AttentionScale, Param::AttentionShift];
            let normed = state.norm.output(self.layer(norms[0], layer), self.layer(norms[1], layer));
            let by_normed = self.dense([Param::AttentionWeight, Param::AttentionBias], layer, normed, by_qkv);
            grad = grad + self.norm(&state.norm, by_normed, norms, layer);
        }
        let grad = drop(grad, 0);
        self.add_rows(Param::PositionEmbedding, &places, grad.clone());
        self.add_rows(Param::ItemEmbedding, &items, grad.mul_scalar(factor));
        loss
    }

    fn of(&self, weight: Param) -> Tensor<2> {
        self.weights[weight as usize].clone()
    }

    /// Returns the part of a weight that is a layer's.
    fn layer(&self, weight: Param, layer: usize) -> Tensor<2> {
        let all = self.of(weight);
        let [rows, cols] = all.dims();
        all.slice([weight.of_layer(rows, self.config.layers, layer), 0..cols])
    }

    /// Returns the factor of dot products of queries and keys.
    fn scale(&self) -> f32 {
        1.0 / ((self.config.dim / self.config.heads) as f32).sqrt()
    }

    /// Sets the part of a gradient that is a layer's.
    fn set(&mut self, weight: Param, layer: usize, grad: Tensor<2>) {
        let all = &mut self.grads[weight as usize];
        let [rows, cols] = all.dims();
        *all = all.clone().slice_assign([weight.of_layer(rows, self.config.layers, layer), 0..cols], grad);
    }

    /// Adds the gradient by the rows of a table that a batch reads, from that by each entry.
    fn add_rows(&mut self, weight: Param, lookup: &Lookup, by_entries: Tensor<2>) {
        let unique = lookup.device_unique().reshape([lookup.n_unique(), 1]);
        let sums = lookup.device_segment_sums(by_entries);
        let all = &mut self.grads[weight as usize];
        *all = all.clone() + put(all, unique, sums);
    }

    /// Sets the gradients by a dense layer's weight and bias, and returns that by its input.
    fn dense(
        &mut self,
        [weight, bias]: [Param; 2],
        layer: usize,
        x: Tensor<2>,
        grad: Tensor<2>,
    ) -> Tensor<2> {
        self.set(weight, layer, x.transpose().matmul(grad.clone()));
        self.set(bias, layer, grad.clone().sum_dim(0));
        grad.matmul(self.layer(weight, layer).transpose())
    }

    /// Sets the gradients by a norm's scale and shift, and returns that by its input.
    fn norm(&mut self, norm: &Norm, grad: Tensor<2>, [scale, shift]: [Param; 2], layer: usize) -> Tensor<2> {
        self.set(scale, layer, (grad.clone() * norm.normalised.clone()).sum_dim(0));
        self.set(shift, layer, grad.clone().sum_dim(0));
        let grad = grad * self.layer(scale, layer);
        let along = (grad.clone() * norm.normalised.clone()).mean_dim(1);
        let mean = grad.clone().mean_dim(1);
        (grad - mean - norm.normalised.clone() * along) * norm.factors.clone()
    }

    /// Returns the gradient by queries, keys and values side by side from that by the output of attention.
    fn by_qkv(&self, by_out: Tensor<4>, [q, k, v]: &[Tensor<4>; 3], probabilities: Tensor<4>) -> Tensor<2> {
        let by_probabilities = by_out.clone().matmul(v.clone().swap_dims(2, 3));
        let mean = (by_probabilities.clone() * probabilities.clone()).sum_dim(3);
        let by_scores = ((by_probabilities - mean) * probabilities.clone()).mul_scalar(self.scale());
        let by_q = by_scores.clone().matmul(k.clone());
        let by_k = by_scores.swap_dims(2, 3).matmul(q.clone());
        let by_v = probabilities.swap_dims(2, 3).matmul(by_out);
        Tensor::cat([by_q, by_k, by_v].map(|by| self.padding.rows(by)).into(), 1)
    }

    /// Returns the loss summed over all rows, and the gradient of its mean by their states `[rows, dim]`; adds that by the
    /// embeddings of candidates and targets.
    fn loss(&mut self, states: Tensor<2>, batch: &Batch, draws: &Draws) -> (f64, Tensor<2>) {
        let [n, dim] = states.dims();
        let device = states.device();
        let items = self.of(Param::ItemEmbedding);
        let n_items = items.dims()[0];
        // With drawn candidates a row has one more, its own target, where that is not drawn.
        let (candidates, embedding) = match &draws.candidates {
            None => (None, items.clone()),
            Some(drawn) => {
                let rows = index(drawn, &device);
                (Some(rows.clone()), items.clone().select(0, rows))
            }
        };
        let n_candidates = embedding.dims()[0];
        let mut place_of = match &draws.candidates {
            None => (0..n_items as u32).collect(),
            Some(_) => vec![n_candidates as u32; n_items],
        };
        if let Some(drawn) = &draws.candidates {
            (0..).zip(drawn).for_each(|(place, &item)| place_of[item as usize] = place);
        }
        let places: Vec<u32> = batch.targets.iter().map(|&item| place_of[item as usize]).collect();
        let width = n_candidates + usize::from(candidates.is_some());
        let columns = Tensor::<1, Int>::arange(0..width as i64, &device).reshape([1, width]);
        let targets = lookup(&batch.targets, n_items, &device);
        let (mut loss, mut by_states, mut by_own) =
            (Tensor::<1>::zeros([1], &device), Vec::new(), Vec::new());
        let mut by_embedding = Tensor::<2>::zeros([n_candidates, dim], &device);
        let rows_at_once = (SCORES / width).max(1);
        for first in (0..n).step_by(rows_at_once) {
            let rows = first..n.min(first + rows_at_once);
            let states = states.clone().slice([rows.clone(), 0..dim]);
            let own = items.clone().select(0, index(&batch.targets[rows.clone()], &device));
            let mut scores = states.clone().matmul(embedding.clone().transpose());
            if candidates.is_some() {
                let never: Vec<f32> = places[rows.clone()]
                    .iter()
                    .map(|&place| if place == n_candidates as u32 { 0.0 } else { NEVER })
                    .collect();
                let never = Tensor::<2>::from_data(TensorData::new(never, [rows.len(), 1]), &device);
                scores = Tensor::cat(vec![scores, (states.clone() * own.clone()).sum_dim(1) + never], 1);
            }
            let at = index(&places[rows.clone()], &device).reshape([rows.len(), 1]);
            let is_target =
                columns.clone().expand([rows.len(), width]).equal(at.expand([rows.len(), width])).float();
            let probabilities = softmax(scores.clone(), 1);
            let most = scores.clone().max_dim(1);
            let log_sum = (scores.clone() - most.clone()).exp().sum_dim(1).log() + most;
            loss = loss + log_sum.sum() - (scores * is_target.clone()).sum();
            let by_scores = (probabilities - is_target).div_scalar(n as f32);
            let by_candidates = by_scores.clone().slice([0..rows.len(), 0..n_candidates]);
            let mut by_states_here = by_candidates.clone().matmul(embedding.clone());
            by_embedding = by_embedding + by_candidates.transpose().matmul(states.clone());
            if candidates.is_some() {
                let by_target = by_scores.slice([0..rows.len(), n_candidates..width]);
                by_states_here = by_states_here + own * by_target.clone();
                by_own.push(states * by_target);
            }
            by_states.push(by_states_here);
        }
        let all = &mut self.grads[Param::ItemEmbedding as usize];
        match candidates {
            None => *all = by_embedding,
            Some(rows) => {
                *all = put(all, rows.reshape([n_candidates, 1]), by_embedding);
                self.add_rows(Param::ItemEmbedding, &targets, Tensor::cat(by_own, 0));
            }
        }
        // Sync: the loss is read back.
        (f64::from(on_host(&loss)[0]), Tensor::cat(by_states, 0))
    }
}

/// Rows with mean 0 and standard deviation 1, and what they were multiplied by, `[rows, 1]`.
struct Norm {
    normalised: Tensor<2>,
    factors: Tensor<2>,
}

impl Norm {
    fn of(x: Tensor<2>) -> Self {
        let centred = x.clone() - x.mean_dim(1);
        let factors = centred.clone().square().mean_dim(1).add_scalar(EPSILON).sqrt().recip();
        Self { normalised: centred * factors.clone(), factors }
    }

    fn output(&self, scale: Tensor<2>, shift: Tensor<2>) -> Tensor<2> {
        self.normalised.clone() * scale + shift
    }
}

/// Where rows of packed sequences stand when each sequence is padded to the longest at its end.
struct Padding {
    sequences: usize,
    longest: usize,
    heads: usize,
    /// `[sequences * longest]`: the row at each place, the number of rows where there is none.
    rows: Tensor<1, Int>,
    /// `[rows]`: the place of each row.
    places: Tensor<1, Int>,
    /// `[longest, longest]`: 0 where a row may read a key, else [`NEVER`].
    causal: Tensor<2>,
}

impl Padding {
    fn new(batch: &Batch, heads: usize, device: &Device) -> Self {
        let (sequences, n) = (batch.lengths.len(), batch.items.len());
        let longest = batch.lengths.iter().copied().max().unwrap_or(0);
        let (mut rows, mut places) = (vec![n as u32; sequences * longest], Vec::with_capacity(n));
        for (sequence, &length) in batch.lengths.iter().enumerate() {
            for (at, row) in rows.iter_mut().enumerate().skip(sequence * longest).take(length) {
                *row = places.len() as u32;
                places.push(at as u32);
            }
        }
        let causal = (0..longest * longest).map(|at| if at % longest > at / longest { NEVER } else { 0.0 });
        let causal = TensorData::new(causal.collect::<Vec<f32>>(), [longest, longest]);
        let (rows, places) = (index(&rows, device), index(&places, device));
        Self { sequences, longest, heads, rows, places, causal: Tensor::from_data(causal, device) }
    }

    /// Pads rows `[rows, dim]`, and parts them by head: `[sequences, heads, longest, dim / heads]`.
    fn heads(&self, x: Tensor<2>) -> Tensor<4> {
        let [_, dim] = x.dims();
        let zero = Tensor::zeros([1, dim], &x.device());
        let padded = Tensor::cat(vec![x, zero], 0).select(0, self.rows.clone());
        padded.reshape([self.sequences, self.longest, self.heads, dim / self.heads]).swap_dims(1, 2)
    }

    /// Returns the rows without padding, `[rows, dim]`.
    fn rows(&self, x: Tensor<4>) -> Tensor<2> {
        let [_, _, _, width] = x.dims();
        let flat = x.swap_dims(1, 2).reshape([self.sequences * self.longest, self.heads * width]);
        flat.select(0, self.places.clone())
    }

    /// Returns what each row makes of each key, `[sequences, heads, longest, longest]`.
    fn probabilities(&self, [queries, keys, _]: &[Tensor<4>; 3], scale: f32) -> Tensor<4> {
        let scores = queries.clone().matmul(keys.clone().swap_dims(2, 3)).mul_scalar(scale);
        softmax(scores + self.causal.clone().unsqueeze::<4>(), 3)
    }
}

/// Returns the factors of a dropout mask, `[rows, dim]`.
fn factors(mask: Mask, rows: usize, dim: usize, device: &Device) -> Tensor<2> {
    let factors: Vec<f32> = (0..(rows * dim) as u32).map(|unit| mask.factor(unit)).collect();
    Tensor::from_data(TensorData::new(factors, [rows, dim]), device)
}

/// Returns the lookup of these rows in a table, ready for a device.
fn lookup(rows: &[u32], n_table: usize, device: &Device) -> Lookup {
    let mut lookup = Lookup::new(rows, n_table).with_reduction();
    lookup.upload(device);
    lookup
}

/// Returns a table of the shape of `like` with some rows, `[rows, 1]`, and 0 elsewhere.
fn put(like: &Tensor<2>, rows: Tensor<2, Int>, values: Tensor<2>) -> Tensor<2> {
    Tensor::zeros(like.dims(), &like.device()).scatter_nd(rows, values, IndexingUpdateOp::Assign)
}

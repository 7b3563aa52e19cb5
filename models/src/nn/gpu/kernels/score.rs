//! Scores, loss and the gradient by the scores, and back through the output layer.
//!
//! `score = constant + user bias + item bias + sum over k of w[k] user[k] item[k] + sum over k of v[k] h[k] + output
//! bias`, each part where the network has it; the twin of [`pair_dots`](crate::nn::kernels::pair_dots),
//! [`output_backward`](crate::nn::kernels::output_backward) and [`with_gradient`](crate::nn::loss_gradients).
//!
//! Launch: cubes of 256 units, at most [`MOST_CUBES`], each of which takes chunks of whole training rows in turn. Eight
//! units score a sample; then a unit takes a sample or a row for the loss; then a unit takes four columns of `h`. Reads
//! `h` twice, from cache the second time: 4 bytes a value of `h`.

use cubecl::prelude::*;

use super::shared::{V4, bound, cube_max, cube_sum, state};
use crate::nn::loss::Loss;

/// The most cubes, so that their sums are few.
pub const MOST_CUBES: usize = 1024;

/// Values that each cube sums before those of the columns of `h`: the loss, and the gradient by the score.
pub const SUMS: usize = 4;

/// The parts of a network as they are compiled into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parts {
    /// What is minimised.
    pub loss: Loss,
    /// Samples in a training row.
    pub per_row: usize,
    /// Whether there is a dot product.
    pub dot: bool,
    /// Whether its products are weighted.
    pub weighted: bool,
    /// Whether there are biases of users and items.
    pub biases: bool,
    /// Whether there is a tower.
    pub tower: bool,
    /// Whether its only hidden layer is the first.
    pub first_is_last: bool,
    /// Whether the output layer has two classes, whose difference is the score.
    pub two_classes: bool,
    /// Whether vectors and biases of the dot product are regularised.
    pub reg: bool,
}

impl Parts {
    /// The training rows in a chunk: some 160 samples, but at least one row.
    pub fn rows_of_chunk(self) -> usize {
        (160 / self.per_row).max(1)
    }

    /// The most samples in a training row, so that a chunk fits in shared memory.
    pub const MOST_PER_ROW: usize = 1024;
}

/// Writes the gradient of the mean loss by the scores to `grads` `[samples]`, and where the first hidden layer is the last,
/// that by its sums to `d` `[samples, 4 last4]`, from its output `h`; and each cube its sums to `sums` `[cubes, SUMS + 4 last4]`:
/// loss, gradient by the output's bias, and gradient by the tower's part of the output's weights. The output's weights
/// are copied to `copies`, for the update.
///
/// `weights` and `weights4` are the buffer of all weights. The offsets of vectors are in vectors, those of biases in
/// values; those of output weights are of the last class, and the other class is `class_length` values before.
#[cube(launch_unchecked)]
pub fn score(
    h: &[V4],
    weights: &[f32],
    weights4: &[V4],
    users: &[u32],
    items: &[u32],
    ratings: &[f32],
    states: &[u32],
    grads: &mut [f32],
    d: &mut [V4],
    sums: &mut [f32],
    copies: &mut [f32],
    bounds: &[Atomic<u32>],
    user_vectors: u32,
    item_vectors: u32,
    dim4: u32,
    dot_weight: u32,
    user_biases: u32,
    item_biases: u32,
    constant: f32,
    output_weight: u32,
    output_bias: u32,
    output_start: u32,
    output_len: u32,
    class_length: u32,
    last4: u32,
    kept: f32,
    reg: f32,
    rounds: u32,
    #[comptime] parts: Parts,
) {
    let per_row = comptime!(parts.per_row);
    let rows_of_chunk = comptime!(parts.rows_of_chunk());
    let chunk_samples = comptime!(parts.rows_of_chunk() * parts.per_row);
    let mut sh_parts = Shared::<[f32]>::new_slice(chunk_samples * 8);
    let mut sh_grads = Shared::<[f32]>::new_slice(chunk_samples);
    let mut sh_columns = Shared::<[V4]>::new_slice(256usize);
    let mut sh_sums = Shared::<[f32]>::new_slice(256usize);
    let t = UNIT_POS as usize;
    let c = t % 8;
    let group = t / 8;
    let rows = states[state::ROWS] as usize;
    let dim4 = dim4 as usize;
    let last4 = last4 as usize;
    let output_weight = output_weight as usize;
    let class_length = class_length as usize;
    let n_terms = match comptime!(parts.loss) {
        Loss::Bce => rows * per_row,
        Loss::Bpr => rows * comptime!(parts.per_row - 1),
        Loss::Softmax => rows,
        Loss::Mse => rows,
    };
    let mean = 1.0f32 / f32::cast_from(n_terms as u32);
    // The columns of `h` that a unit sums over the samples of a chunk, and which of these.
    let mut slices = 1usize;
    let mut column = t;
    let mut slice = 0usize;
    if comptime!(parts.tower) {
        slices = 256usize / last4;
        column = t % last4;
        slice = t / last4;
    }

    if comptime!(parts.weighted) {
        if CUBE_POS_X == 0 {
            let mut k = t;
            while k < output_len as usize {
                copies[k] = weights[output_start as usize + k];
                k += 256usize;
            }
        }
    }

    let mut loss = 0.0f32;
    let mut grad_sum = 0.0f32;
    let mut by_weight = V4::new(0.0f32);
    let mut most_grad = 0.0f32;
    let mut most_user = 0.0f32;
    let mut most_item = 0.0f32;
    let mut most_hidden = 0.0f32;
    for round in 0..rounds as usize {
        let first_row = (round * CUBE_COUNT_X as usize + CUBE_POS_X as usize) * rows_of_chunk;
        let first = first_row * per_row;
        // The samples of this chunk that the batch has.
        let mut here = 0usize;
        if first_row < rows {
            here = min(rows_of_chunk, rows - first_row) * per_row;
        }
        sync_cube();
        for pass in 0..comptime!((parts.rows_of_chunk() * parts.per_row).div_ceil(32)) {
            let s = pass * 32 + group;
            if s < here {
                let sample = first + s;
                let user = users[sample / per_row] as usize;
                let item = items[sample] as usize;
                let mut part = 0.0f32;
                if comptime!(parts.dot) {
                    let mut k = c;
                    while k < dim4 {
                        let p = weights4[user_vectors as usize + user * dim4 + k];
                        let q = weights4[item_vectors as usize + item * dim4 + k];
                        let mut product = p * q;
                        #[unroll]
                        for e in 0..4usize {
                            most_user = max(most_user, p.extract(e).abs());
                            most_item = max(most_item, q.extract(e).abs());
                        }
                        if comptime!(parts.reg) {
                            let squares = p * p + q * q;
                            loss += reg * four(squares);
                        }
                        if comptime!(parts.weighted) {
                            product *= class_weight(
                                weights4,
                                dot_weight as usize / 4 + k,
                                class_length,
                                parts.two_classes,
                            );
                        }
                        part += four(product);
                        k += 8usize;
                    }
                }
                if comptime!(parts.tower) {
                    let mut k = c;
                    while k < last4 {
                        let weight =
                            class_weight(weights4, output_weight / 4 + k, class_length, parts.two_classes);
                        part += four(h[sample * last4 + k] * weight);
                        k += 8usize;
                    }
                }
                sh_parts[s * 8 + c] = part;
            }
        }
        sync_cube();
        for pass in 0..comptime!((parts.rows_of_chunk() * parts.per_row).div_ceil(256)) {
            let s = pass * 256 + t;
            if s < here {
                let sample = first + s;
                let mut x = constant;
                #[unroll]
                for e in 0..8usize {
                    x += sh_parts[s * 8 + e];
                }
                if comptime!(parts.biases) {
                    let p = weights[user_biases as usize + users[sample / per_row] as usize];
                    let q = weights[item_biases as usize + items[sample] as usize];
                    x += p + q;
                    if comptime!(parts.reg) {
                        loss += reg * (p * p + q * q);
                    }
                }
                if comptime!(parts.weighted || parts.tower) {
                    x += weights[output_bias as usize];
                    if comptime!(parts.two_classes) {
                        x -= weights[output_bias as usize - 4];
                    }
                }
                sh_grads[s] = x;
            }
        }
        sync_cube();
        // The scores of the chunk become the gradients by them: a unit a row, as a row's samples may depend on each other.
        let mut row = t;
        while row < rows_of_chunk {
            if row * per_row < here {
                loss += row_loss(&mut sh_grads, row * per_row, ratings, first_row + row, mean, parts);
            }
            row += 256usize;
        }
        sync_cube();
        for pass in 0..comptime!((parts.rows_of_chunk() * parts.per_row).div_ceil(256)) {
            let s = pass * 256 + t;
            if s < here {
                let grad = sh_grads[s];
                grads[first + s] = grad;
                grad_sum += grad;
                most_grad = max(most_grad, grad.abs());
            }
        }
        if comptime!(parts.tower) {
            if slice < slices {
                let weight =
                    class_weight(weights4, output_weight / 4 + column, class_length, parts.two_classes);
                let mut s = slice;
                while s < here {
                    let grad = sh_grads[s];
                    let output = h[(first + s) * last4 + column];
                    by_weight += output * V4::new(grad);
                    if comptime!(parts.first_is_last) {
                        let mut by_sum = V4::new(0.0f32);
                        #[unroll]
                        for e in 0..4usize {
                            let v =
                                select(output.extract(e) > 0.0f32, grad * weight.extract(e) * kept, 0.0f32);
                            by_sum.insert(e, v);
                            most_hidden = max(most_hidden, v.abs());
                        }
                        d[(first + s) * last4 + column] = by_sum;
                    }
                    s += slices;
                }
            }
        }
    }

    let start = CUBE_POS_X as usize * (SUMS + 4 * last4);
    let loss = cube_sum(&mut sh_sums, loss);
    let grad_sum = cube_sum(&mut sh_sums, grad_sum);
    let most_grad = cube_max(&mut sh_sums, most_grad, 256usize);
    if t == 0 {
        sums[start] = loss;
        sums[start + 1] = grad_sum;
        bounds[bound::SCORE].fetch_max(u32::reinterpret(most_grad));
    }
    if comptime!(parts.dot) {
        let most_user = cube_max(&mut sh_sums, most_user, 256usize);
        let most_item = cube_max(&mut sh_sums, most_item, 256usize);
        if t == 0 {
            bounds[bound::USER].fetch_max(u32::reinterpret(most_user));
            bounds[bound::ITEM].fetch_max(u32::reinterpret(most_item));
        }
    }
    if comptime!(parts.tower) {
        if comptime!(parts.first_is_last) {
            let most_hidden = cube_max(&mut sh_sums, most_hidden, 256usize);
            if t == 0 {
                bounds[bound::HIDDEN].fetch_max(u32::reinterpret(most_hidden));
            }
        }
        sync_cube();
        sh_columns[t] = by_weight;
        sync_cube();
        if t < last4 {
            for other in 1..slices {
                by_weight += sh_columns[t + other * last4];
            }
            #[unroll]
            for e in 0..4usize {
                sums[start + SUMS + t * 4 + e] = by_weight.extract(e);
            }
        }
    }
}

/// The sum of four values.
#[cube]
pub fn four(x: V4) -> f32 {
    x.extract(0usize) + x.extract(1usize) + x.extract(2usize) + x.extract(3usize)
}

/// Four weights of the output layer; of two classes, those of the second less those of the first.
#[cube]
pub fn class_weight(weights4: &[V4], at: usize, class_length: usize, #[comptime] two_classes: bool) -> V4 {
    let mut weight = weights4[at];
    if two_classes {
        weight -= weights4[at - class_length / 4];
    }
    weight
}

/// Replaces the scores of a training row by the gradients by them, and returns the row's loss. `mean` is 1 over the
/// number of terms of the loss.
#[cube]
fn row_loss(
    scores: &mut Shared<[f32]>,
    start: usize,
    ratings: &[f32],
    row: usize,
    mean: f32,
    #[comptime] parts: Parts,
) -> f32 {
    let per_row = comptime!(parts.per_row);
    let first = scores[start];
    let mut loss = 0.0f32;
    match comptime!(parts.loss) {
        Loss::Mse => {
            let error = first - ratings[row];
            loss = error * error;
            scores[start] = 2.0f32 * mean * error;
        }
        Loss::Bce => {
            loss = softplus(-first);
            scores[start] = -mean * sigmoid(-first);
            for k in 1..per_row {
                let x = scores[start + k];
                loss += softplus(x);
                scores[start + k] = mean * sigmoid(x);
            }
        }
        Loss::Bpr => {
            let mut by_first = 0.0f32;
            for k in 1..per_row {
                let x = scores[start + k] - first;
                loss += softplus(x);
                let grad = mean * sigmoid(x);
                scores[start + k] = grad;
                by_first -= grad;
            }
            scores[start] = by_first;
        }
        Loss::Softmax => {
            let mut most = first;
            for k in 1..per_row {
                most = max(most, scores[start + k]);
            }
            let mut all = 0.0f32;
            for k in 0..per_row {
                all += (scores[start + k] - most).exp();
            }
            loss = all.ln() + most - first;
            for k in 0..per_row {
                scores[start + k] = mean * (scores[start + k] - most).exp() / all;
            }
            scores[start] -= mean;
        }
    }
    loss
}

/// `ln(1 + e^x)`.
#[cube]
fn softplus(x: f32) -> f32 {
    max(x, 0.0f32) + (1.0f32 + (-x.abs()).exp()).ln()
}

/// `1 / (1 + e^-x)`.
#[cube]
fn sigmoid(x: f32) -> f32 {
    let e = (-x.abs()).exp();
    select(x >= 0.0f32, 1.0f32 / (1.0f32 + e), e / (1.0f32 + e))
}

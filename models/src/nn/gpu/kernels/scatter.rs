//! Adds the gradients of the samples into the accumulators of their table rows, in fixed point: the twin of
//! [`segment_sums`](crate::nn::kernels::segment_sums).
//!
//! Launch: cubes of 256 units, at most [`MOST_CUBES`]; y is 0 for the first hidden layer, 1 for the dot product and 2
//! for the biases. A unit takes four columns of a training row, sums the user's part over the row's samples in registers,
//! and adds once for the user and once for each sample's item: `rows (1 + per_row)` atomic additions a column.

use cubecl::prelude::*;

use super::fixed;
use super::shared::{V4, bound, state};

/// The most cubes of a y, so that their sums are few.
pub const MOST_CUBES: usize = 1024;

/// The most samples of a training row that a unit works on at once.
const BLOCK: usize = 8;

/// The y of the launch.
pub mod kind {
    /// Gradients by the sums of the first hidden layer.
    pub const HIDDEN: u32 = 0;
    /// Gradients by the vectors of the dot product.
    pub const DOT: u32 = 1;
    /// Gradients by the biases.
    pub const BIAS: u32 = 2;
}

/// Adds to the accumulators, and with `dot` and a weighted product writes the gradient by its weights, summed over the
/// rows of each cube, to `sums` from `sums_start` on, `[cubes, dim]`.
///
/// The gradients of the vectors are without the weights, which the update multiplies. Offsets are in values; `d`
/// `[samples, width]` is the gradient by the sums of the first layer, `grads` `[samples]` that by the scores.
#[cube(launch_unchecked)]
pub fn scatter(
    d: &[f32],
    grads: &[f32],
    weights: &[f32],
    users: &[u32],
    items: &[u32],
    counts: &[u32],
    states: &[u32],
    bounds: &[u32],
    accumulators: &[Atomic<i32>],
    sums: &mut [f32],
    n_users: u32,
    n_items: u32,
    width: u32,
    dim: u32,
    user_vectors: u32,
    item_vectors: u32,
    user_hidden: u32,
    item_hidden: u32,
    user_dots: u32,
    item_dots: u32,
    user_biases: u32,
    item_biases: u32,
    first_kind: u32,
    sums_start: u32,
    rounds: u32,
    #[comptime] per_row: usize,
    #[comptime] weighted: bool,
) {
    let block_samples = comptime!(per_row.min(BLOCK));
    let blocks = comptime!(per_row.div_ceil(per_row.min(BLOCK)));
    let t = UNIT_POS;
    let kind = first_kind + CUBE_POS_Y;
    let rows = states[state::ROWS];
    let count_start = states[state::HALF] * (n_users + n_items);
    let per = f32::cast_from(comptime!(per_row as u32));
    let most_score = f32::reinterpret(bounds[bound::SCORE]);
    if kind == kind::BIAS {
        for round in 0..rounds {
            let row = (round * CUBE_COUNT_X + CUBE_POS_X) * 256u32 + t;
            if row < rows {
                let user = users[row as usize];
                let mut total = 0.0f32;
                for m in 0..per_row {
                    let sample = row as usize * per_row + m;
                    let item = items[sample];
                    let grad = grads[sample];
                    total += grad;
                    let count = counts[(count_start + n_users + item) as usize];
                    let scale = fixed::scale(fixed::exponent(most_score, count));
                    accumulators[(item_biases + item) as usize].fetch_add(fixed::fixed(grad, scale));
                }
                let scale =
                    fixed::scale(fixed::exponent(per * most_score, counts[(count_start + user) as usize]));
                accumulators[(user_biases + user) as usize].fetch_add(fixed::fixed(total, scale));
            }
        }
    } else {
        let columns = select(kind == kind::HIDDEN, width, dim);
        let mut user_bound = f32::reinterpret(bounds[bound::HIDDEN]);
        let mut item_bound = user_bound;
        let mut user_start = user_hidden;
        let mut item_start = item_hidden;
        if kind == kind::DOT {
            user_bound = most_score * f32::reinterpret(bounds[bound::ITEM]);
            item_bound = most_score * f32::reinterpret(bounds[bound::USER]);
            user_start = user_dots;
            item_start = item_dots;
        }
        user_bound *= per;
        // Units side by side take every `lanes`-th column of a row, the rest of the cube further rows; long rows take
        // turns.
        let lanes = min((columns + 3u32) / 4u32, 256u32);
        let rows_at_once = 256u32 / lanes;
        let lane = t % lanes;
        let slot = t / lanes;
        let turns = (columns + 4u32 * lanes - 1u32) / (4u32 * lanes);
        for turn in 0..turns {
            let column = turn * lanes * 4u32 + lane;
            let mut by_weight = V4::new(0.0f32);
            for round in 0..rounds {
                let row = (round * CUBE_COUNT_X + CUBE_POS_X) * rows_at_once + slot;
                if row < rows && slot < rows_at_once {
                    let user = users[row as usize];
                    let user_count = counts[(count_start + user) as usize];
                    let mut own = V4::new(0.0f32);
                    if kind == kind::DOT {
                        own = four(weights, user_vectors + user * columns, column, lanes, columns);
                    }
                    let mut total = V4::new(0.0f32);
                    for block in 0..blocks {
                        let mut item = Array::<u32>::new(block_samples);
                        let mut scale = Array::<f32>::new(block_samples);
                        let mut by_item = Array::<V4>::new(block_samples);
                        // All that a block reads is on its way before the first addition.
                        #[unroll]
                        for m in 0..block_samples {
                            let sample = row as usize * per_row + min(block * block_samples + m, per_row - 1);
                            item[m] = items[sample];
                            if kind == kind::DOT {
                                by_item[m] = V4::new(grads[sample]);
                            } else {
                                by_item[m] = four(d, sample as u32 * columns, column, lanes, columns);
                            }
                        }
                        #[unroll]
                        for m in 0..block_samples {
                            let count = counts[(count_start + n_users + item[m]) as usize];
                            scale[m] = fixed::scale(fixed::exponent(item_bound, count));
                        }
                        #[unroll]
                        for m in 0..block_samples {
                            if block * block_samples + m < per_row {
                                if kind == kind::DOT {
                                    let start = item_vectors + item[m] * columns;
                                    let vector = four(weights, start, column, lanes, columns);
                                    total = fma(by_item[m], vector, total);
                                    by_item[m] *= own;
                                } else {
                                    total += by_item[m];
                                }
                            }
                        }
                        #[unroll]
                        for m in 0..block_samples {
                            if block * block_samples + m < per_row {
                                let start = item_start + item[m] * columns;
                                add(accumulators, by_item[m], scale[m], start, column, lanes, columns);
                            }
                        }
                    }
                    let scale = fixed::scale(fixed::exponent(user_bound, user_count));
                    add(accumulators, total, scale, user_start + user * columns, column, lanes, columns);
                    by_weight = fma(own, total, by_weight);
                }
            }
            if weighted {
                // In the order of the slots, so that the sum is the same in every run.
                let mut shared = Shared::<[V4]>::new_slice(256usize);
                sync_cube();
                shared[t as usize] = by_weight;
                sync_cube();
                if kind == kind::DOT && t < lanes {
                    for other in 1..rows_at_once {
                        by_weight += shared[(t + other * lanes) as usize];
                    }
                    #[unroll]
                    for e in 0..4usize {
                        let column = column + e as u32 * lanes;
                        if column < columns {
                            sums[(sums_start + CUBE_POS_X * columns + column) as usize] =
                                by_weight.extract(e);
                        }
                    }
                }
            }
        }
    }
}

/// Every `lanes`-th of four values of a row that begins at `start`, from `column` on; 0 behind its end.
#[cube]
fn four(values: &[f32], start: u32, column: u32, lanes: u32, columns: u32) -> V4 {
    let mut four = V4::new(0.0f32);
    #[unroll]
    for e in 0..4usize {
        let column = column + e as u32 * lanes;
        if column < columns {
            four.insert(e, values[(start + column) as usize]);
        }
    }
    four
}

/// Adds four values to the accumulators of a row, placed as those of [`four`].
#[cube]
fn add(
    accumulators: &[Atomic<i32>],
    values: V4,
    scale: f32,
    start: u32,
    column: u32,
    lanes: u32,
    columns: u32,
) {
    #[unroll]
    for e in 0..4usize {
        let column = column + e as u32 * lanes;
        if column < columns {
            accumulators[(start + column) as usize].fetch_add(fixed::fixed(values.extract(e), scale));
        }
    }
}

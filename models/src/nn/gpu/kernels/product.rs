//! Matrix products with many rows: the layers forward and back, and the products of whole tables with the first layer.
//!
//! `out[r, n] = sum over k of a[r, k] b[k, n]`, where `b` is a weight, read as it stands or transposed. One launch does
//! several products of the same form, the jobs: the cubes of a job are those of one z.
//!
//! Launch: a cube computes `tile_rows x 64` outputs, in a grid of (column tiles, row tiles, jobs); it has a unit for each 8 x
//! 8 of them, in registers, from slices of 16 along `k` in shared memory (12 KB for 128 rows). A slice is on its way from
//! memory while the one before is multiplied. FLOPs: 2 a multiplication; reads `a` once for each 64 columns.

use cubecl::prelude::*;

use super::operand::{Operand, place, value};
use super::shared::{I4, NONE, U4, V4, bound, cube_max, listed, relu_dropout, rows_of_job, state};
use super::tile::{across, multiply_row, positive, row_of_unit, words_of};

/// The columns of the output that a cube computes.
pub const TILE_COLUMNS: usize = 64;
/// The most rows of the output that a cube computes.
pub const MOST_TILE_ROWS: usize = 128;

/// Returns how many rows of the output a cube computes, and its units, where so many cubes would compute
/// [`MOST_TILE_ROWS`]: half as many where these would leave a card idle.
pub fn tile_rows(cubes: usize) -> usize {
    if cubes < 512 { MOST_TILE_ROWS / 2 } else { MOST_TILE_ROWS }
}

/// Returns the words that say of a row of so many values which are above 0.
pub const fn words_of_row(width: usize) -> usize {
    width.div_ceil(128) * 4
}

/// The words of a job.
pub mod job {
    /// The number of rows, or of samples a training row where [`PER_ROW`] says so.
    pub const ROWS: usize = 0;
    /// 1 where [`ROWS`] is to be multiplied by the training rows of the batch.
    pub const PER_ROW: usize = 1;
    /// Vectors in a row of `a`: a quarter of the length of the sums.
    pub const K4: usize = 2;
    /// Columns of the output, a multiple of 4.
    pub const N: usize = 3;
    /// Where `a` begins, in vectors.
    pub const A: usize = 4;
    /// Where `b` begins, in values.
    pub const B: usize = 5;
    /// Values in a stored row of `b`.
    pub const B_ROW: usize = 6;
    /// Where the bias begins in the buffer of `b`, or none.
    pub const BIAS: usize = 7;
    /// Where the output begins, in values; its rows have `N`.
    pub const OUT: usize = 8;
    /// Where the counts of the rows of `a` begin, in one half.
    pub const COUNT: usize = 9;
    /// For `a` in fixed point: its bound is so many times that of [`bound::HIDDEN`](super::bound::HIDDEN).
    pub const FACTOR: usize = 10;
    /// Columns of the output without padding.
    pub const WIDTH: usize = 11;
    /// Where the list of the rows begins, of which there are then as many as its length, or none.
    pub const LIST: usize = 12;
    /// The side of the list.
    pub const SIDE: usize = 13;
    /// The number of words.
    pub const LEN: usize = 14;
}

/// What becomes of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// It stays, or gets its bias where there is one.
    Bias,
    /// A hidden layer: bias, ReLU and dropout.
    Relu,
    /// The gradient by a hidden layer's output becomes that by its sums: 0 where the output, in `mask`, is 0.
    ReluBackward,
    /// The same for the first hidden layer, of which `kept` says what is above 0; the largest magnitude is kept in the
    /// bounds.
    FirstReluBackward,
}

/// Computes the jobs. `a` is `[rows, 4 K4]`, read as `operand` says, where `a` and `fixed_a` are the same buffer; `b4` is
/// the buffer of all weights, at the job's place `[4 K4, N]` or, with `transposed`, `[N, 4 K4]`; `mask` is like the
/// output. Where `a` is the first hidden layer, `kept` gets which of its values are above 0. The rows of a job with a list
/// are those in `lists`, of [`super::compact`]; rows of the output that are not listed stay.
#[cube(launch_unchecked)]
pub fn product(
    a: &[V4],
    fixed_a: &[I4],
    sides: &[V4],
    b4: &[V4],
    mask: &[V4],
    users: &[u32],
    items: &[u32],
    grads: &[f32],
    counts: &[u32],
    states: &[u32],
    lists: &[u32],
    lens: &[u32],
    jobs: &[u32],
    out: &mut [V4],
    kept: &mut [u32],
    bounds: &[Atomic<u32>],
    n_counts: u32,
    item_side: u32,
    first_width: u32,
    output4: u32,
    class4: u32,
    per_row: u32,
    below: u32,
    scale: f32,
    #[comptime] layer: usize,
    #[comptime] operand: Operand,
    #[comptime] transposed: bool,
    #[comptime] finish: Finish,
    #[comptime] two_classes: bool,
    #[comptime] dropout: bool,
    #[comptime] tile_rows: usize,
) {
    let row_of_a = comptime!(tile_rows / 4 + 1);
    let loads_of_b = comptime!(256 / tile_rows);
    let mut sh_a = Shared::<[V4]>::new_slice(comptime!(16 * (tile_rows / 4 + 1)));
    let mut sh_b = Shared::<[V4]>::new_slice(256usize);
    let t = UNIT_POS as usize;
    let c = t % 8;
    let group = t / 8;
    let job = CUBE_POS_Z as usize * job::LEN;
    let list = jobs[job + job::LIST];
    let side = jobs[job + job::SIDE];
    let rows =
        rows_of_job(jobs[job + job::ROWS], jobs[job + job::PER_ROW], list, side, states, lens) as usize;
    let n = jobs[job + job::N] as usize;
    let k4 = jobs[job + job::K4] as usize;
    let first = CUBE_POS_Y as usize * tile_rows;
    let column = CUBE_POS_X as usize * TILE_COLUMNS;
    let mut most = 0.0f32;
    if first < rows && column < n {
        let b_start = jobs[job + job::B] as usize;
        let b_row = jobs[job + job::B_ROW] as usize;
        let mut hidden = 0.0f32;
        if comptime!(operand == Operand::FixedPoint) {
            hidden = f32::reinterpret(bounds[bound::HIDDEN].load()) * f32::cast_from(jobs[job + job::FACTOR]);
        }
        // A unit loads a vector of four neighbouring rows.
        let mut places = Array::<U4>::new(4usize);
        #[unroll]
        for e in 0..4usize {
            let position = min(first + (t / 4) * 4 + e, rows - 1);
            places[e] = place(
                listed(lists, list, position as u32),
                jobs[job + job::A],
                k4 as u32,
                first_width,
                users,
                items,
                grads,
                counts,
                item_side,
                states[state::HALF] * n_counts + jobs[job + job::COUNT],
                hidden,
                per_row,
                operand,
            );
        }
        // What the outputs need of the first hidden layer and of the bias is on its way from the beginning.
        let mut words = Array::<u32>::new(8usize);
        #[unroll]
        for m in 0..8usize {
            words[m] = 0u32;
            if comptime!(finish == Finish::FirstReluBackward) {
                let row = min(first + row_of_unit(group, m, tile_rows), rows - 1);
                words[m] = kept[(row * words_of(n / 4) + column / 128) * 4 + c % 4];
            }
        }
        let bias = jobs[job + job::BIAS];
        let mut biases = Array::<V4>::new(2usize);
        #[unroll]
        for half in 0..2usize {
            biases[half] = V4::new(0.0f32);
            if comptime!(matches!(finish, Finish::Bias | Finish::Relu)) {
                if bias != NONE {
                    biases[half] = b4[bias as usize / 4 + min(column / 4 + half * 8 + c, n / 4 - 1)];
                }
            }
        }
        let mut acc = Array::<V4>::new(16usize);
        #[unroll]
        for x in 0..16usize {
            acc[x] = V4::new(0.0f32);
        }
        let mut next_a = Array::<V4>::new(4usize);
        let mut next_b = Array::<V4>::new(4usize);
        let mut bits = Array::<u32>::new(4usize);
        #[unroll]
        for e in 0..4usize {
            bits[e] = 0u32;
        }
        let slices = (k4 + 3) / 4;
        for slice in 0..slices + 1 {
            if slice > 0 {
                sync_cube();
                #[unroll]
                for e in 0..4usize {
                    sh_a[((t % 4) * 4 + e) * row_of_a + t / 4] = across(&next_a, e);
                }
                if transposed {
                    if t < 64 {
                        #[unroll]
                        for e in 0..4usize {
                            sh_b[((t % 4) * 4 + e) * 16 + t / 4] = across(&next_b, e);
                        }
                    }
                } else {
                    #[unroll]
                    for load in 0..loads_of_b {
                        sh_b[t + load * tile_rows] = next_b[load];
                    }
                }
                sync_cube();
            }
            if slice < slices {
                let k = slice * 4 + t % 4;
                #[unroll]
                for e in 0..4usize {
                    let mut next = V4::new(0.0f32);
                    if k < k4 {
                        next = value(
                            a,
                            fixed_a,
                            sides,
                            b4,
                            states,
                            places[e],
                            k as u32,
                            output4,
                            class4,
                            below,
                            scale,
                            operand,
                            two_classes,
                            dropout,
                        );
                    }
                    next_a[e] = next;
                    if comptime!(operand == Operand::First) {
                        bits[e] |= positive(next) << ((slice % 8) as u32 * 4u32);
                    }
                }
                if comptime!(operand == Operand::First) {
                    if column == 0 && (slice % 8 == 7 || slice + 1 == slices) {
                        #[unroll]
                        for e in 0..4usize {
                            let position = first + (t / 4) * 4 + e;
                            if position < rows {
                                kept[(position * words_of(k4) + slice / 8) * 4 + t % 4] = bits[e];
                            }
                            bits[e] = 0u32;
                        }
                    }
                }
                if transposed {
                    if t < 64 {
                        #[unroll]
                        for e in 0..4usize {
                            let row = min(column + (t / 4) * 4 + e, n - 1);
                            next_b[e] = b4[(b_start + row * b_row) / 4 + min(k, k4 - 1)];
                        }
                    }
                } else {
                    #[unroll]
                    for load in 0..loads_of_b {
                        let k = min(slice * 16 + t / 16 + load * (tile_rows / 16), k4 * 4 - 1);
                        let col = min(column / 4 + t % 16, n / 4 - 1);
                        next_b[load] = b4[(b_start + k * b_row) / 4 + col];
                    }
                }
            }
            if slice > 0 {
                for quarter in 0..4usize {
                    #[unroll]
                    for e in 0..4usize {
                        let k = quarter * 4 + e;
                        let start_a = k * row_of_a + group;
                        multiply_row(&sh_a, &sh_b, &mut acc, start_a, k * 16 + c, comptime!(tile_rows / 8));
                    }
                }
            }
        }
        let out_start = jobs[job + job::OUT] as usize / 4;
        let width = jobs[job + job::WIDTH];
        let mut seed0 = 0u32;
        let mut seed1 = 0u32;
        if comptime!(finish == Finish::Relu && dropout) {
            seed0 = states[state::SEEDS + 2 * layer];
            seed1 = states[state::SEEDS + 2 * layer + 1];
        }
        #[unroll]
        for side in 0..2usize {
            // What the outputs need is read before the first of them is written, as a device has to assume that a write
            // changes what is read after it.
            let mut out_rows = Array::<u32>::new(4usize);
            let mut bits = Array::<u32>::new(4usize);
            #[unroll]
            for m in 0..4usize {
                let position = first + row_of_unit(group, side * 4 + m, tile_rows);
                let row = listed(lists, list, min(position, rows - 1) as u32);
                out_rows[m] = row;
                bits[m] = 0u32;
                if comptime!(finish == Finish::FirstReluBackward) {
                    let word = words[side * 4 + m];
                    let shift = (((column / 4 + c) / 4) % 8) as u32 * 4u32;
                    bits[m] = ((word >> shift) & 15u32) | (((word >> (shift + 8u32)) & 15u32) << 4u32);
                }
                if comptime!(finish == Finish::ReluBackward) {
                    #[unroll]
                    for half in 0..2usize {
                        let col4 = min(column / 4 + half * 8 + c, n / 4 - 1);
                        let output = mask[row as usize * n / 4 + col4];
                        bits[m] |= positive(output) << comptime!(4 * half as u32);
                    }
                }
            }
            #[unroll]
            for m in 0..4usize {
                let position = first + row_of_unit(group, side * 4 + m, tile_rows);
                #[unroll]
                for half in 0..2usize {
                    let col = column + half * 32 + c * 4;
                    if position < rows && col < n {
                        let mut sum = acc[(side * 4 + m) * 2 + half] + biases[half];
                        if comptime!(finish == Finish::Relu) {
                            let index = out_rows[m] * width + col as u32;
                            sum = relu_dropout(sum, index, seed0, seed1, below, scale, dropout);
                        }
                        if comptime!(matches!(finish, Finish::ReluBackward | Finish::FirstReluBackward)) {
                            #[unroll]
                            for e in 0..4usize {
                                let bit = comptime!(1u32 << (half * 4 + e) as u32);
                                let by_sum = select(bits[m] & bit != 0u32, sum.extract(e) * scale, 0.0f32);
                                sum.insert(e, by_sum);
                                most = max(most, by_sum.abs());
                            }
                        }
                        out[out_start + out_rows[m] as usize * n / 4 + col / 4] = sum;
                    }
                }
            }
        }
    }
    if comptime!(finish == Finish::FirstReluBackward) {
        let mut shared = Shared::<[f32]>::new_slice(tile_rows);
        let most = cube_max(&mut shared, most, tile_rows);
        if t == 0 {
            bounds[bound::HIDDEN].fetch_max(u32::reinterpret(most));
        }
    }
}

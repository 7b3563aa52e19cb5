//! Matrix products with many rows: the layers forward and back, and the products of whole tables with the first layer.
//!
//! `out[r, n] = sum over k of a[r, k] b[k, n]`, where `b` is a weight, read as it stands or transposed. One launch does
//! several products of the same form, the jobs: the cubes of a job are those of one z.
//!
//! Launch: cubes of 256 units in a grid of (row tiles, column tiles, jobs). A cube computes `32 ROWS_OF_UNIT x 64`
//! outputs, a unit [`ROWS_OF_UNIT`] rows and 8 columns of them in registers, from slices of 16 along `k` in shared memory
//! (20 KB at 8 rows a unit). FLOPs: 2 a multiplication; reads `a` once for each 64 columns.

use cubecl::prelude::*;

use super::fixed;
use super::shared::{I4, NONE, V4, bound, cube_max, dropout_factor, listed, rows_of_job, state};

/// How many rows of the output a unit computes.
pub const ROWS_OF_UNIT: usize = 4;
/// The rows of the output that a cube computes.
pub const TILE_ROWS: usize = 32 * ROWS_OF_UNIT;
/// The columns of the output that a cube computes.
pub const TILE_COLUMNS: usize = 64;

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
    /// The same for the first hidden layer, whose largest magnitude is kept in the bounds.
    FirstReluBackward,
}

/// Computes the jobs. `a` is `[rows, 4 K4]`, or the accumulators `fixed_a` where `in_fixed_point`; `b` and `b4` are the
/// same buffer, of `[4 K4, N]` or, with `transposed`, of `[N, 4 K4]`; `mask` is like the output. The rows of a job with a
/// list are those in `lists`, of [`super::compact`]; rows of the output that are not listed stay.
#[cube(launch_unchecked)]
pub fn product(
    a: &[V4],
    fixed_a: &[I4],
    b: &[f32],
    b4: &[V4],
    mask: &[f32],
    counts: &[u32],
    states: &[u32],
    lists: &[u32],
    lens: &[u32],
    jobs: &[u32],
    out: &mut [f32],
    bounds: &[Atomic<u32>],
    n_counts: u32,
    below: u32,
    scale: f32,
    #[comptime] layer: usize,
    #[comptime] in_fixed_point: bool,
    #[comptime] transposed: bool,
    #[comptime] finish: Finish,
    #[comptime] dropout: bool,
) {
    let mut sh_a = Shared::<[V4]>::new_slice(TILE_ROWS * 5);
    let mut sh_b = Shared::<[V4]>::new_slice(TILE_COLUMNS * 5);
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
    let first = CUBE_POS_X as usize * TILE_ROWS;
    let column = CUBE_POS_Y as usize * TILE_COLUMNS;
    let mut most = 0.0f32;
    if first < rows && column < n {
        let a_start = jobs[job + job::A] as usize;
        let b_start = jobs[job + job::B] as usize;
        let b_row = jobs[job + job::B_ROW] as usize;
        let count_start = (states[state::HALF] * n_counts + jobs[job + job::COUNT]) as usize;
        let mut hidden = 0.0f32;
        if in_fixed_point {
            hidden = f32::reinterpret(bounds[bound::HIDDEN].load()) * f32::cast_from(jobs[job + job::FACTOR]);
        }
        let mut acc = Array::<f32>::new(ROWS_OF_UNIT * 8);
        #[unroll]
        for x in 0..ROWS_OF_UNIT * 8 {
            acc[x] = 0.0f32;
        }
        for slice in 0..(k4 + 3) / 4 {
            sync_cube();
            #[unroll]
            for load in 0..comptime!(TILE_ROWS * 4 / 256) {
                let x = t + load * 256;
                let k = slice * 4 + x % 4;
                let row = listed(lists, list, min(first + x / 4, rows - 1) as u32) as usize;
                let mut value = V4::new(0.0f32);
                if k < k4 {
                    if in_fixed_point {
                        let unit = fixed::unit(fixed::exponent(hidden, counts[count_start + row]));
                        value = V4::cast_from(fixed_a[a_start + row * k4 + k]) * V4::new(unit);
                    } else {
                        value = a[a_start + row * k4 + k];
                    }
                }
                sh_a[(x / 4) * 5 + x % 4] = value;
            }
            if transposed {
                let k = slice * 4 + t % 4;
                let mut value = V4::new(0.0f32);
                if k < k4 && column + t / 4 < n {
                    value = b4[(b_start + (column + t / 4) * b_row) / 4 + k];
                }
                sh_b[(t / 4) * 5 + t % 4] = value;
            } else {
                let k = slice * 4 + t / 64;
                let mut value = V4::new(0.0f32);
                if k < k4 && column + t % 64 < n {
                    #[unroll]
                    for e in 0..4usize {
                        value.insert(e, b[b_start + (k * 4 + e) * b_row + column + t % 64]);
                    }
                }
                sh_b[(t % 64) * 5 + t / 64] = value;
            }
            sync_cube();
            multiply(&sh_a, &sh_b, &mut acc, group, c);
        }
        let bias = jobs[job + job::BIAS];
        let out_start = jobs[job + job::OUT] as usize;
        let width = jobs[job + job::WIDTH];
        #[unroll]
        for m in 0..ROWS_OF_UNIT {
            let position = first + group + 32 * m;
            if position < rows {
                let row = listed(lists, list, position as u32) as usize;
                #[unroll]
                for j in 0..8usize {
                    let col = column + c + 8 * j;
                    if col < n {
                        let mut v = acc[m * 8 + j];
                        if comptime!(matches!(finish, Finish::Bias | Finish::Relu)) {
                            if bias != NONE {
                                v += b[bias as usize + col];
                            }
                        }
                        if comptime!(finish == Finish::Relu) {
                            v = max(v, 0.0f32);
                            if dropout {
                                v *= dropout_factor(
                                    row as u32 * width + col as u32,
                                    states[state::SEEDS + 2 * layer],
                                    states[state::SEEDS + 2 * layer + 1],
                                    below,
                                    scale,
                                );
                            }
                        }
                        if comptime!(matches!(finish, Finish::ReluBackward | Finish::FirstReluBackward)) {
                            v = select(mask[row * n + col] > 0.0f32, v * scale, 0.0f32);
                            most = max(most, v.abs());
                        }
                        out[out_start + row * n + col] = v;
                    }
                }
            }
        }
    }
    if comptime!(finish == Finish::FirstReluBackward) {
        let mut shared = Shared::<[f32]>::new_slice(256usize);
        let most = cube_max(&mut shared, most);
        if t == 0 {
            bounds[bound::HIDDEN].fetch_max(u32::reinterpret(most));
        }
    }
}

/// Adds the products of a slice: a unit has the rows `group + 32 m` and the columns `c + 8 j` of the tile.
#[cube]
fn multiply(sh_a: &Shared<[V4]>, sh_b: &Shared<[V4]>, acc: &mut Array<f32>, group: usize, c: usize) {
    #[unroll]
    for k in 0..4usize {
        let mut b = Array::<V4>::new(8usize);
        #[unroll]
        for j in 0..8usize {
            b[j] = sh_b[(c + 8 * j) * 5 + k];
        }
        #[unroll]
        for m in 0..ROWS_OF_UNIT {
            let a = sh_a[(group + m * 32) * 5 + k];
            #[unroll]
            for j in 0..8usize {
                let bj = b[j];
                let mut v = acc[m * 8 + j];
                v = fma(a.extract(0usize), bj.extract(0usize), v);
                v = fma(a.extract(1usize), bj.extract(1usize), v);
                v = fma(a.extract(2usize), bj.extract(2usize), v);
                v = fma(a.extract(3usize), bj.extract(3usize), v);
                acc[m * 8 + j] = v;
            }
        }
    }
}

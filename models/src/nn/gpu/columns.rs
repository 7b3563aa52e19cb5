//! Products along many rows: `a^T b` for `a` `[rows, m]` and `b` `[rows, n]`, the gradients of the layers' weights, with
//! the column sums of `b`, the gradients of their biases.
//!
//! The rows are cut into pieces by their number alone; each cube sums a piece, and [`super::reduce`] sums the pieces.
//!
//! Launch: cubes of 128 units in a grid of (pieces, tiles of 64 x 128 outputs, jobs); a unit computes 8 x 8 outputs in
//! registers, from slices of 16 rows in shared memory (12 KB). FLOPs: 2 a multiplication; reads `a` once for each 128
//! columns of `b`, and `b` once for each 64 columns of `a`.

use cubecl::prelude::*;

use super::fixed;
use super::shared::{I4, V4, bound, listed, rows_of_job, state};

/// The words of a job.
pub mod job {
    /// The number of rows, or of samples a training row where [`PER_ROW`] says so.
    pub const ROWS: usize = 0;
    /// 1 where [`ROWS`] is to be multiplied by the training rows of the batch.
    pub const PER_ROW: usize = 1;
    /// Vectors in a row of `a`.
    pub const A4: usize = 2;
    /// Vectors in a row of `b`.
    pub const B4: usize = 3;
    /// Where `a` begins, in vectors.
    pub const A: usize = 4;
    /// Where `b` begins, in vectors.
    pub const B: usize = 5;
    /// Where the output begins, in vectors: for each piece `[4 A4, B4]`, then the `[B4]` column sums of `b`.
    pub const OUT: usize = 6;
    /// Rows in a piece, a multiple of 16.
    pub const PIECE: usize = 7;
    /// The number of pieces.
    pub const PIECES: usize = 8;
    /// Where the counts of the rows of `b` begin, in one half.
    pub const COUNT: usize = 9;
    /// For `b` in fixed point: its bound is so many times that of [`bound::HIDDEN`](super::bound::HIDDEN).
    pub const FACTOR: usize = 10;
    /// Where the list of the rows begins, of which there are then as many as its length, or none.
    pub const LIST: usize = 11;
    /// The side of the list.
    pub const SIDE: usize = 12;
    /// The number of words.
    pub const LEN: usize = 13;
}

/// Returns how many rows a piece has: for up to about 512 pieces of 32 to 4096 rows.
pub fn rows_of_piece(rows: usize) -> usize {
    rows.div_ceil(512).next_multiple_of(32).clamp(32, 4096)
}

/// Computes the jobs; `b` is in fixed point, `fixed_b`, where `in_fixed_point`.
#[cube(launch_unchecked)]
pub fn columns(
    a: &[V4],
    b: &[V4],
    fixed_b: &[I4],
    counts: &[u32],
    states: &[u32],
    bounds: &[u32],
    lists: &[u32],
    lens: &[u32],
    jobs: &[u32],
    out: &mut [V4],
    n_counts: u32,
    #[comptime] in_fixed_point: bool,
) {
    let mut sh_a = Shared::<[V4]>::new_slice(256usize);
    let mut sh_b = Shared::<[V4]>::new_slice(512usize);
    let t = UNIT_POS as usize;
    let row_group = t / 16;
    let column_group = t % 16;
    let job = CUBE_POS_Z as usize * job::LEN;
    let list = jobs[job + job::LIST];
    let side = jobs[job + job::SIDE];
    let rows =
        rows_of_job(jobs[job + job::ROWS], jobs[job + job::PER_ROW], list, side, states, lens) as usize;
    let a4 = jobs[job + job::A4] as usize;
    let b4 = jobs[job + job::B4] as usize;
    let piece = jobs[job + job::PIECE] as usize;
    let tiles_b = (b4 + 31) / 32;
    let tile_a = CUBE_POS_Y as usize / tiles_b;
    let tile_b = CUBE_POS_Y as usize % tiles_b;
    let first = CUBE_POS_X as usize * piece;
    if CUBE_POS_X < jobs[job + job::PIECES] && tile_a * 16 < a4 {
        let a_start = jobs[job + job::A] as usize;
        let b_start = jobs[job + job::B] as usize;
        let count_start = (states[state::HALF] * n_counts + jobs[job + job::COUNT]) as usize;
        let mut hidden = 0.0f32;
        if in_fixed_point {
            hidden = f32::reinterpret(bounds[bound::HIDDEN]) * f32::cast_from(jobs[job + job::FACTOR]);
        }
        let mut acc = Array::<V4>::new(16usize);
        #[unroll]
        for x in 0..16usize {
            acc[x] = V4::new(0.0f32);
        }
        let mut column_sums = V4::new(0.0f32);
        // The rows of the piece that are there.
        let mut here = 0usize;
        if first < rows {
            here = min(piece, rows - first);
        }
        for slice in 0..(here + 15) / 16 {
            sync_cube();
            #[unroll]
            for load in 0..2usize {
                let position = first + slice * 16 + t / 16 + load * 8;
                let column = tile_a * 16 + t % 16;
                let mut value = V4::new(0.0f32);
                if position < rows && column < a4 {
                    let row = listed(lists, list, position as u32) as usize;
                    value = a[a_start + row * a4 + column];
                }
                sh_a[t + load * 128] = value;
            }
            #[unroll]
            for load in 0..4usize {
                let position = first + slice * 16 + t / 32 + load * 4;
                let column = tile_b * 32 + t % 32;
                let mut value = V4::new(0.0f32);
                if position < rows && column < b4 {
                    let row = listed(lists, list, position as u32) as usize;
                    if in_fixed_point {
                        let unit = fixed::unit(fixed::exponent(hidden, counts[count_start + row]));
                        value = V4::cast_from(fixed_b[b_start + row * b4 + column]) * V4::new(unit);
                    } else {
                        value = b[b_start + row * b4 + column];
                    }
                }
                column_sums += value;
                sh_b[t + load * 128] = value;
            }
            sync_cube();
            #[unroll]
            for s in 0..16usize {
                let b0 = sh_b[s * 32 + column_group];
                let b1 = sh_b[s * 32 + column_group + 16];
                #[unroll]
                for half in 0..2usize {
                    let x = sh_a[s * 16 + row_group + half * 8];
                    #[unroll]
                    for e in 0..4usize {
                        let v = V4::new(x.extract(e));
                        acc[(half * 4 + e) * 2] = fma(v, b0, acc[(half * 4 + e) * 2]);
                        acc[(half * 4 + e) * 2 + 1] = fma(v, b1, acc[(half * 4 + e) * 2 + 1]);
                    }
                }
            }
        }
        let start = jobs[job + job::OUT] as usize + CUBE_POS_X as usize * (a4 * 4 + 1) * b4;
        #[unroll]
        for half in 0..2usize {
            #[unroll]
            for e in 0..4usize {
                let row = tile_a * 64 + (row_group + half * 8) * 4 + e;
                if row < a4 * 4 {
                    let column = tile_b * 32 + column_group;
                    if column < b4 {
                        out[start + row * b4 + column] = acc[(half * 4 + e) * 2];
                    }
                    if column + 16 < b4 {
                        out[start + row * b4 + column + 16] = acc[(half * 4 + e) * 2 + 1];
                    }
                }
            }
        }
        if tile_a == 0 {
            sync_cube();
            sh_b[t] = column_sums;
            sync_cube();
            let column = tile_b * 32 + t;
            if t < 32 && column < b4 {
                let mut total = column_sums;
                #[unroll]
                for other in 1..4usize {
                    total += sh_b[t + other * 32];
                }
                out[start + a4 * 4 * b4 + column] = total;
            }
        }
    }
}

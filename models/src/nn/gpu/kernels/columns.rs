//! Products along many rows: `a^T b` for `a` `[rows, m]` and `b` `[rows, n]`, the gradients of the layers' weights, with
//! the column sums of `b`, the gradients of their biases.
//!
//! The rows are cut into pieces by their number alone; each cube sums a piece, and [`super::reduce`] sums the pieces.
//!
//! Launch: a cube computes `tile x 64` outputs of a piece, in a grid of (tiles, pieces, jobs); it has a unit for each 8 x 8
//! of them, in registers, from slices of 16 rows in shared memory (12 KB for a tile of 128). FLOPs: 2 a multiplication;
//! reads `a` once for each 64 columns of `b`, and `b` once for each `tile` columns of `a`.

use cubecl::prelude::*;

use super::operand::{Operand, place, value};
use super::shared::{I4, U4, V4, bound, listed, rows_of_job, state};
use super::tile::multiply_row;

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

/// The columns of `b` that a cube works on.
pub const TILE_B: usize = 64;
/// The most columns of `a` that a cube works on.
pub const MOST_TILE_A: usize = 128;

/// Returns how many columns of `a` a cube works on, and its units, where `a` has at most so many and all tiles of
/// [`MOST_TILE_A`] are so many: half as many where the rest would be idle.
pub fn tile(widest: usize, cubes: usize) -> usize {
    if widest <= MOST_TILE_A / 2 || cubes < 512 { MOST_TILE_A / 2 } else { MOST_TILE_A }
}

/// Returns how many tiles the products of `a` columns by `b` columns have, of so many of `a`.
pub fn tiles(a: usize, b: usize, tile: usize) -> usize {
    a.div_ceil(tile) * b.div_ceil(TILE_B)
}

/// Returns how many rows a piece has, at least 64: for up to about 1024 cubes with so many tiles.
pub fn rows_of_piece(rows: usize, tiles: usize) -> usize {
    (rows * tiles).div_ceil(1024).next_multiple_of(32).max(64)
}

/// Computes the jobs. `a` is read as `operand_a` says, and `b`, which is the same buffer as `fixed_b`, as `operand_b`.
#[cube(launch_unchecked)]
pub fn columns(
    a: &[V4],
    b: &[V4],
    fixed_b: &[I4],
    sides: &[V4],
    weights4: &[V4],
    users: &[u32],
    items: &[u32],
    grads: &[f32],
    counts: &[u32],
    states: &[u32],
    bounds: &[u32],
    lists: &[u32],
    lens: &[u32],
    jobs: &[u32],
    out: &mut [V4],
    n_counts: u32,
    item_side: u32,
    first_width: u32,
    output4: u32,
    class4: u32,
    per_row: u32,
    below: u32,
    scale: f32,
    #[comptime] operand_a: Operand,
    #[comptime] operand_b: Operand,
    #[comptime] two_classes: bool,
    #[comptime] dropout: bool,
    #[comptime] tile: usize,
) {
    let row_of_a = comptime!(tile / 4);
    let loads_of_b = comptime!(256 / tile);
    // Units that load the same row of a slice.
    let lanes = comptime!(tile / 16);
    let mut sh_a = Shared::<[V4]>::new_slice(comptime!(4 * tile));
    let mut sh_b = Shared::<[V4]>::new_slice(256usize);
    let t = UNIT_POS as usize;
    let row_group = t / 8;
    let column_group = t % 8;
    let lane = t % lanes;
    let row_of_slice = t / lanes;
    let job = CUBE_POS_Z as usize * job::LEN;
    let list = jobs[job + job::LIST];
    let side = jobs[job + job::SIDE];
    let rows = rows_of_job(jobs[job + job::ROWS], jobs[job + job::PER_ROW], list, side, states, lens);
    let a4 = jobs[job + job::A4] as usize;
    let b4 = jobs[job + job::B4] as usize;
    let piece = jobs[job + job::PIECE];
    let tiles_b = (b4 + 15) / 16;
    let tile_a = CUBE_POS_X as usize / tiles_b;
    let tile_b = CUBE_POS_X as usize % tiles_b;
    let first = CUBE_POS_Y * piece;
    if CUBE_POS_Y < jobs[job + job::PIECES] && tile_a * row_of_a < a4 {
        let count_start = states[state::HALF] * n_counts + jobs[job + job::COUNT];
        let mut hidden = 0.0f32;
        if comptime!(operand_b == Operand::FixedPoint) {
            hidden = f32::reinterpret(bounds[bound::HIDDEN]) * f32::cast_from(jobs[job + job::FACTOR]);
        }
        let mut acc = Array::<V4>::new(16usize);
        #[unroll]
        for x in 0..16usize {
            acc[x] = V4::new(0.0f32);
        }
        let mut column_sums = Array::<V4>::new(loads_of_b);
        #[unroll]
        for load in 0..loads_of_b {
            column_sums[load] = V4::new(0.0f32);
        }
        // The rows of the piece that are there.
        let mut here = 0u32;
        if first < rows {
            here = min(piece, rows - first);
        }
        let mut place_a = U4::new(0u32);
        let mut place_b = U4::new(0u32);
        let mut next_a = Array::<V4>::new(4usize);
        let mut next_b = Array::<V4>::new(loads_of_b);
        let slices = (here + 15u32) / 16u32;
        // A slice is on its way from memory while the one before is multiplied, and before it where its rows stand.
        let mut steps = 0u32;
        if slices > 0u32 {
            steps = slices + 2u32;
        }
        for step in 0..steps {
            if step > 1u32 {
                sync_cube();
                #[unroll]
                for load in 0..4usize {
                    sh_a[row_of_slice * row_of_a + lane + load * lanes] = next_a[load];
                }
                #[unroll]
                for load in 0..loads_of_b {
                    sh_b[row_of_slice * 16 + lane + load * lanes] = next_b[load];
                    column_sums[load] += next_b[load];
                }
                sync_cube();
            }
            if step > 0u32 && step <= slices {
                #[unroll]
                for load in 0..4usize {
                    next_a[load] = value(
                        a,
                        fixed_b,
                        sides,
                        weights4,
                        states,
                        place_a,
                        min(tile_a * row_of_a + lane + load * lanes, a4 - 1) as u32,
                        output4,
                        class4,
                        below,
                        scale,
                        operand_a,
                        two_classes,
                        dropout,
                    );
                }
                let is_there = here > (step - 1u32) * 16u32 + row_of_slice as u32;
                #[unroll]
                for load in 0..loads_of_b {
                    let next = value(
                        b,
                        fixed_b,
                        sides,
                        weights4,
                        states,
                        place_b,
                        min(tile_b * 16 + lane + load * lanes, b4 - 1) as u32,
                        output4,
                        class4,
                        below,
                        scale,
                        operand_b,
                        two_classes,
                        dropout,
                    );
                    next_b[load] = select(is_there, next, V4::new(0.0f32));
                }
            }
            if step < slices {
                let position = min(first + step * 16u32 + row_of_slice as u32, rows - 1u32);
                let row = listed(lists, list, position);
                place_a = place(
                    row,
                    jobs[job + job::A],
                    a4 as u32,
                    first_width,
                    users,
                    items,
                    grads,
                    counts,
                    item_side,
                    count_start,
                    hidden,
                    per_row,
                    operand_a,
                );
                place_b = place(
                    row,
                    jobs[job + job::B],
                    b4 as u32,
                    first_width,
                    users,
                    items,
                    grads,
                    counts,
                    item_side,
                    count_start,
                    hidden,
                    per_row,
                    operand_b,
                );
            }
            if step > 1u32 {
                for part in 0..2usize {
                    #[unroll]
                    for x in 0..8usize {
                        let row = part * 8 + x;
                        let start_a = row * row_of_a + row_group;
                        let start_b = row * 16 + column_group;
                        multiply_row(&sh_a, &sh_b, &mut acc, start_a, start_b, comptime!(tile / 8));
                    }
                }
            }
        }
        let start = jobs[job + job::OUT] as usize + CUBE_POS_Y as usize * (a4 * 4 + 1) * b4;
        #[unroll]
        for half in 0..2usize {
            #[unroll]
            for e in 0..4usize {
                let row = tile_a * tile + (row_group + half * (tile / 8)) * 4 + e;
                if row < a4 * 4 {
                    let column = tile_b * 16 + column_group;
                    if column < b4 {
                        out[start + row * b4 + column] = acc[(half * 4 + e) * 2];
                    }
                    if column + 8 < b4 {
                        out[start + row * b4 + column + 8] = acc[(half * 4 + e) * 2 + 1];
                    }
                }
            }
        }
        if tile_a == 0 {
            sync_cube();
            #[unroll]
            for load in 0..loads_of_b {
                sh_b[row_of_slice * 16 + lane + load * lanes] = column_sums[load];
            }
            sync_cube();
            let column = tile_b * 16 + t;
            if t < 16 && column < b4 {
                let mut total = sh_b[t];
                #[unroll]
                for row in 1..16usize {
                    total += sh_b[row * 16 + t];
                }
                out[start + a4 * 4 * b4 + column] = total;
            }
        }
    }
}

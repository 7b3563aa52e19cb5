//! Sums the pieces of all weight gradients and of the loss, each in a fixed order.
//!
//! Launch: cubes of 256 units, 8 columns by 32 slices of the pieces; the cubes of all jobs in a row. Reads 4 bytes a
//! piece and column.

use cubecl::prelude::*;

use super::shared::{NONE, job_of_cube, state};

/// Columns that a cube sums.
pub const COLUMNS: usize = 8;

/// The words of a job.
pub mod job {
    /// The first cube of the job.
    pub const CUBE: usize = 0;
    /// The number of columns.
    pub const LEN_OF_SUM: usize = 1;
    /// The number of pieces.
    pub const PIECES: usize = 2;
    /// Where the pieces begin.
    pub const START: usize = 3;
    /// From a piece to the next.
    pub const STRIDE: usize = 4;
    /// Where the sums go in the gradients, or none where they go to the losses.
    pub const OUT: usize = 5;
    /// Where the negative sums go, the gradients of the first of two classes, or none.
    pub const NEGATIVE: usize = 6;
    /// The number of words.
    pub const LEN: usize = 7;
}

/// Writes the sums of `pieces` to `gradients`, and that of the loss to `losses` at the number of the batch.
#[cube(launch_unchecked)]
pub fn reduce(
    pieces: &[f32],
    states: &[u32],
    jobs: &[u32],
    gradients: &mut [f32],
    losses: &mut [f32],
    n_jobs: u32,
) {
    let mut shared = Shared::<[f32]>::new_slice(256usize);
    let t = UNIT_POS as usize;
    let cube = CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X;
    let job = job_of_cube(jobs, n_jobs, cube, job::LEN);
    let column = (cube - jobs[job + job::CUBE]) as usize * COLUMNS + t % COLUMNS;
    let n_columns = jobs[job + job::LEN_OF_SUM] as usize;
    let n_pieces = jobs[job + job::PIECES] as usize;
    let start = jobs[job + job::START] as usize;
    let stride = jobs[job + job::STRIDE] as usize;
    let mut total = 0.0f32;
    if column < n_columns {
        let mut piece = t / COLUMNS;
        while piece < n_pieces {
            total += pieces[start + piece * stride + column];
            piece += 32usize;
        }
    }
    shared[t] = total;
    sync_cube();
    if t < COLUMNS && column < n_columns {
        for slice in 1..32usize {
            total += shared[t + slice * COLUMNS];
        }
        let out = jobs[job + job::OUT];
        let negative = jobs[job + job::NEGATIVE];
        if out == NONE {
            losses[states[state::BATCH] as usize] = total;
        } else {
            gradients[out as usize + column] = total;
            if negative != NONE {
                gradients[negative as usize + column] = -total;
            }
        }
    }
}

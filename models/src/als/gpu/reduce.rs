//! Sums the pieces of Gram matrices and of long rows, each in a fixed order.
//!
//! Launch: a grid of (`len4 / 8`, jobs) cubes of 256 units: 8 columns of vectors by 32 slices of the pieces. FLOPs: one a
//! value of a piece; reads 4 bytes a value of a piece.

use cubecl::prelude::*;

use crate::nn::gpu::kernels::shared::V4;

/// The columns that a cube sums.
pub const COLUMNS: usize = 8;

/// Writes to `sums` `[slots, len4]`, at each job's slot, the sum of its pieces. `pieces` is `[pieces, len4]`; a job is
/// `[first piece, pieces, slot]`.
#[cube(launch_unchecked)]
pub fn reduce(pieces: &[V4], jobs: &[u32], sums: &mut [V4], len4: u32) {
    let mut shared = Shared::<[V4]>::new_slice(256usize);
    let t = UNIT_POS as usize;
    let len = len4 as usize;
    let job = CUBE_POS_Y as usize * 3;
    let column = CUBE_POS_X as usize * COLUMNS + t % COLUMNS;
    let first = jobs[job] as usize;
    let n = jobs[job + 1] as usize;
    let mut total = V4::new(0.0f32);
    if column < len {
        let mut piece = t / COLUMNS;
        while piece < n {
            total += pieces[(first + piece) * len + column];
            piece += 32usize;
        }
    }
    shared[t] = total;
    sync_cube();
    if t < COLUMNS && column < len {
        for slice in 1..32usize {
            total += shared[t + slice * COLUMNS];
        }
        sums[jobs[job + 2] as usize * len + column] = total;
    }
}

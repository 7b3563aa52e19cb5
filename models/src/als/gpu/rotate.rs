//! The product of rows with a square matrix: factors into the basis of the eigenvectors, and back.
//!
//! Launch: cubes of 256 units in a row, one for each 64 rows; a unit computes 4 rows by 2 vectors of columns in registers,
//! from slices of 16 along the sums in shared memory (12 KB). FLOPs: `2 ld^2` a row; reads and writes each row once, and
//! the matrix once a cube.

use cubecl::prelude::*;

use crate::nn::gpu::kernels::shared::V4;

/// The rows that a cube computes.
pub const ROWS: usize = 64;

/// Writes `rows` `[n, 4 ld4]` times `matrix` `[4 ld4, 4 ld4]` to `out`, of the shape of `rows`; `ld4` is at most 32.
#[cube(launch_unchecked)]
pub fn rotate(rows: &[V4], matrix: &[V4], out: &mut [V4], n: u32, #[comptime] ld4: usize) {
    let mut sh_rows = Shared::<[V4]>::new_slice(ROWS * 5);
    let mut sh_matrix = Shared::<[V4]>::new_slice(512usize);
    let t = UNIT_POS as usize;
    let column = t % 16;
    let group = t / 16;
    let first = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize * ROWS;
    let n = n as usize;
    let mut acc = Array::<V4>::new(8usize);
    #[unroll]
    for x in 0..8usize {
        acc[x] = V4::new(0.0f32);
    }
    for slice in 0..comptime!(ld4.div_ceil(4)) {
        sync_cube();
        let row = first + t / 4;
        let k = slice * 4 + t % 4;
        let mut value = V4::new(0.0f32);
        if row < n && k < ld4 {
            value = rows[row * ld4 + k];
        }
        sh_rows[(t / 4) * 5 + t % 4] = value;
        #[unroll]
        for load in 0..2usize {
            let x = t + load * 256;
            let k = slice * 16 + x / 32;
            let mut value = V4::new(0.0f32);
            if k < ld4 * 4 && x % 32 < ld4 {
                value = matrix[k * ld4 + x % 32];
            }
            sh_matrix[x] = value;
        }
        sync_cube();
        #[unroll]
        for k in 0..4usize {
            #[unroll]
            for m in 0..4usize {
                let x = sh_rows[(group + 16 * m) * 5 + k];
                #[unroll]
                for e in 0..4usize {
                    let v = V4::new(x.extract(e));
                    acc[2 * m] = fma(v, sh_matrix[(k * 4 + e) * 32 + column], acc[2 * m]);
                    if comptime!(ld4 > 16) {
                        acc[2 * m + 1] = fma(v, sh_matrix[(k * 4 + e) * 32 + column + 16], acc[2 * m + 1]);
                    }
                }
            }
        }
    }
    #[unroll]
    for m in 0..4usize {
        let row = first + group + 16 * m;
        if row < n && column < ld4 {
            out[row * ld4 + column] = acc[2 * m];
        }
        if row < n && column + 16 < ld4 {
            out[row * ld4 + column + 16] = acc[2 * m + 1];
        }
    }
}

//! Solves a symmetric positive definite system whose matrix is in the registers of its units, as
//! [`normal`](super::normal) leaves it: Cholesky's method without square roots, `A = L D L^T`.
//!
//! Each step of the forward pass passes one column through shared memory (10 KB in all), with one barrier; the backward
//! pass takes four columns at a time, with two. FLOPs: `width^3` and `2 width^2`. Nothing is read from device memory.

use cubecl::prelude::*;

use crate::nn::gpu::kernels::shared::V4;

use super::check::is_finite;
use crate::least_squares::kernels::LEAST_PIVOT;

/// Returns, in each unit `t` of a task, the vector `t` of the solution. Sets `lost[0]` to 1 where f32 does not hold it and the
/// task `counts`, as the host's solver does by the same bound.
/// `slot` is the task's place in the cube, `a` the unit's blocks, `b` the right-hand side in units `t < side`, and `sizes` in
/// units on the diagonal the size of what its elements were summed from, where that is larger than they are.
#[cube]
pub fn solve(
    a: &mut Array<V4>,
    b: &mut Array<V4>,
    sizes: &Array<f32>,
    lost: &[Atomic<u32>],
    counts: bool,
    slot: usize,
    t: usize,
    #[comptime] ld4: usize,
    #[comptime] width4: usize,
) -> V4 {
    let side = comptime!(width4.min(16));
    let blocks = comptime!(width4 / side);
    let per_cube = comptime!(256 / (side * side));
    let mut columns = Shared::<[V4]>::new_slice(2 * per_cube * width4);
    let mut pivots = Shared::<[f32]>::new_slice(2 * per_cube);
    let mut targets = Shared::<[f32]>::new_slice(2 * per_cube);
    let mut diagonal = Shared::<[f32]>::new_slice(per_cube * width4 * 4);
    let mut inverses = Shared::<[f32]>::new_slice(per_cube * width4 * 4);
    let mut left = Shared::<[V4]>::new_slice(per_cube * width4);
    let mut found = Shared::<[V4]>::new_slice(per_cube * width4);
    let ti = t / side;
    let tj = t % side;
    if ti == tj {
        #[unroll]
        for m in 0..blocks {
            #[unroll]
            for e in 0..4usize {
                let k = (m * side + ti) * 4 + e;
                diagonal[slot * width4 * 4 + k] =
                    max(a[(m * 4 + e) * blocks + m].extract(e), sizes[m * 4 + e]);
            }
        }
    }
    #[unroll]
    for m in 0..blocks {
        for r in 0..comptime!(side.min(ld4 - m * side)) {
            #[unroll]
            for e in 0..4usize {
                let k = (m * side + r) * 4 + e;
                // Two columns in turn: one is written while the one before may still be read.
                let half = comptime!(e % 2) * per_cube + slot;
                if tj == r {
                    #[unroll]
                    for mi in 0..blocks {
                        let mut column = V4::new(0.0f32);
                        #[unroll]
                        for l in 0..4usize {
                            let i = (mi * side + ti) * 4 + l;
                            let value = a[(mi * 4 + l) * blocks + m].extract(e);
                            column.insert(l, select(i > k, value, 0.0f32));
                            if i == k {
                                pivots[half] = value;
                            }
                        }
                        columns[half * width4 + mi * side + ti] = column;
                    }
                    if ti == 0 {
                        targets[half] = b[m].extract(e);
                    }
                }
                sync_cube();
                let pivot = pivots[half];
                let held = is_finite(pivot) && pivot > LEAST_PIVOT * diagonal[slot * width4 * 4 + k];
                let inverse = select(held, 1.0f32 / pivot, 0.0f32);
                if t == 0 && counts && !held {
                    lost[0].fetch_max(1u32);
                }
                if t == 0 {
                    inverses[slot * width4 * 4 + k] = inverse;
                }
                let mut c = Array::<V4>::new(blocks);
                #[unroll]
                for mj in 0..blocks {
                    c[mj] = columns[half * width4 + mj * side + tj];
                }
                #[unroll]
                for mi in 0..blocks {
                    let factors = columns[half * width4 + mi * side + ti] * V4::new(-inverse);
                    #[unroll]
                    for l in 0..4usize {
                        let v = V4::new(factors.extract(l));
                        #[unroll]
                        for mj in 0..blocks {
                            let at = (mi * 4 + l) * blocks + mj;
                            a[at] = fma(v, c[mj], a[at]);
                        }
                    }
                }
                if ti == 0 {
                    let v = V4::new(-inverse * targets[half]);
                    #[unroll]
                    for mj in 0..blocks {
                        b[mj] = fma(v, c[mj], b[mj]);
                    }
                }
            }
        }
    }
    if ti == 0 {
        #[unroll]
        for mj in 0..blocks {
            left[slot * width4 + mj * side + tj] = b[mj];
        }
    }
    sync_cube();
    #[unroll]
    for back in 0..blocks {
        let m = comptime!(blocks - 1 - back);
        let count = comptime!(side.min(ld4 - m * side));
        for step in 0..count {
            let r = count - 1 - step;
            let block = m * side + r;
            if ti == r && tj == r {
                let mut x = left[slot * width4 + block];
                #[unroll]
                for up in 0..4usize {
                    let e = comptime!(3 - up);
                    let mut value = x.extract(e);
                    #[unroll]
                    for l in e + 1..4usize {
                        value -= a[(m * 4 + l) * blocks + m].extract(e) * x.extract(l);
                    }
                    x.insert(e, value * inverses[slot * width4 * 4 + block * 4 + e]);
                }
                found[slot * width4 + block] = x;
            }
            sync_cube();
            if ti == r {
                let x = found[slot * width4 + block];
                #[unroll]
                for mj in 0..m + 1 {
                    let column = mj * side + tj;
                    if column < block {
                        let mut rest = left[slot * width4 + column];
                        #[unroll]
                        for l in 0..4usize {
                            rest -= a[(m * 4 + l) * blocks + mj] * V4::new(x.extract(l));
                        }
                        left[slot * width4 + column] = rest;
                    }
                }
            }
            sync_cube();
        }
    }
    let mut x = V4::new(0.0f32);
    if t < ld4 {
        x = found[slot * width4 + t];
    }
    x
}

//! The exact solution of a row among vectors without negative elements.
//!
//! Coordinate descent on the normal equations (Franc, Hlaváč and Navara 2005): each element in turn becomes the best one
//! of at least 0 with the others fixed, from the row as it was, until none changes.

use super::normal::{Scratch, Shared};
use crate::simd::Simd;

/// Steps below this part of the right side end the descent.
const TOLERANCE: f32 = 1e-7;

/// Rounds after which even a nearly singular row is left as it is.
const MAX_ROUNDS: usize = 1000;

/// Solves the row whose entries `scratch` has weighed, from `x` on.
#[inline(always)]
pub fn solve<S: Simd>(
    simd: S,
    shared: &Shared,
    fixed: &[f32],
    cols: &[u32],
    reg: f32,
    scratch: &mut Scratch,
    x: &mut [f32],
) {
    let (dim, ld) = (shared.dim, shared.ld);
    shared.equations(simd, fixed, cols, reg, scratch);
    let (a, left) = (&mut scratch.matrix, &mut scratch.vectors[..ld]);
    for i in 0..ld {
        for j in 0..i {
            a[i * ld + j] = a[j * ld + i];
        }
    }
    let least = TOLERANCE * left.iter().fold(0.0f32, |most, b| most.max(b.abs()));
    for (k, x) in x.iter_mut().enumerate() {
        *x = x.max(0.0);
        take(left, *x, &a[k * ld..(k + 1) * ld]);
    }
    for _ in 0..MAX_ROUNDS {
        let mut most = 0.0f32;
        for k in 0..dim {
            let curvature = a[k * ld + k];
            if curvature <= 0.0 {
                continue;
            }
            let better = (x[k] + left[k] / curvature).max(0.0);
            let step = better - x[k];
            if step != 0.0 {
                x[k] = better;
                take(left, step, &a[k * ld..(k + 1) * ld]);
                most = most.max(step.abs() * curvature);
            }
        }
        if most <= least {
            break;
        }
    }
}

/// Subtracts `step * row` from `left`.
#[inline(always)]
fn take(left: &mut [f32], step: f32, row: &[f32]) {
    left.iter_mut().zip(row).for_each(|(left, a)| *left -= step * a);
}

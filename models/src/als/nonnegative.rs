//! Solves a row exactly under the constraint that no element is negative.
//!
//! Coordinate descent on the normal equations (Franc, Hlaváč and Navara 2005): each element in turn is set to its best
//! value of at least 0 with the others fixed, starting from the row's current factors, until none changes.

use super::normal::{Scratch, Shared};
use crate::simd::Simd;

/// The descent ends when no step changes a residual by more than this fraction of the largest element of b.
const TOLERANCE: f32 = 1e-7;

/// The most rounds over all elements; only nearly singular rows need as many.
const MAX_ROUNDS: usize = 1000;

/// Solves the row whose entry weights are in `scratch`, starting from `x`.
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
    // The residual `b - A x`: b at first, and then less what each element of x contributes.
    let (a, residual) = (&mut scratch.matrix, &mut scratch.vectors[..ld]);
    for i in 0..ld {
        for j in 0..i {
            a[i * ld + j] = a[j * ld + i];
        }
    }
    let least = TOLERANCE * residual.iter().fold(0.0f32, |most, b| most.max(b.abs()));
    for (k, x) in x.iter_mut().enumerate() {
        *x = x.max(0.0);
        subtract(residual, *x, &a[k * ld..(k + 1) * ld]);
    }
    for _ in 0..MAX_ROUNDS {
        let mut most = 0.0f32;
        for k in 0..dim {
            let curvature = a[k * ld + k];
            if curvature <= 0.0 {
                continue;
            }
            let better = (x[k] + residual[k] / curvature).max(0.0);
            let step = better - x[k];
            if step != 0.0 {
                x[k] = better;
                subtract(residual, step, &a[k * ld..(k + 1) * ld]);
                most = most.max(step.abs() * curvature);
            }
        }
        if most <= least {
            break;
        }
    }
}

/// Subtracts `step * row` from `residual`.
#[inline(always)]
fn subtract(residual: &mut [f32], step: f32, row: &[f32]) {
    residual.iter_mut().zip(row).for_each(|(residual, a)| *residual -= step * a);
}

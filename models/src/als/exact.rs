//! Solves the normal equations of a row exactly, by Cholesky factorisation.

use super::kernels::{factorise, solve_factorised};
use super::normal::{Scratch, Shared};
use crate::simd::Simd;

/// Solves the row whose entry weights are in `scratch`, and writes it to `x`.
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
    let ld = shared.ld;
    scratch.vectors.grow(3 * ld);
    shared.equations(simd, fixed, cols, reg, scratch);
    let (b, rest) = scratch.vectors.split_at_mut(ld);
    let (inverses, half) = rest.split_at_mut(ld);
    factorise(simd, &mut scratch.matrix, ld, inverses);
    solve_factorised(simd, &scratch.matrix, ld, inverses, b, half);
    x.copy_from_slice(&b[..shared.dim]);
}

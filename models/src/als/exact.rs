//! Solves the normal equations of a row exactly, by Cholesky factorisation; in f64 where f32 does not hold it.

use super::normal::{Row, Scratch, Shared};
use super::precise;
use crate::least_squares::kernels::{factorise, solve_factorised};
use crate::simd::Simd;

/// Solves the row whose entry weights are in `scratch`, and writes it to `x`.
#[inline(always)]
pub fn solve<S: Simd>(
    simd: S,
    shared: &Shared,
    fixed: &[f32],
    row: Row<'_>,
    scratch: &mut Scratch,
    x: &mut [f32],
) {
    let ld = shared.ld;
    scratch.vectors.grow(3 * ld);
    shared.equations(simd, fixed, row.cols, row.reg, scratch);
    let (b, rest) = scratch.vectors.split_at_mut(ld);
    let (inverses, half) = rest.split_at_mut(ld);
    inverses.iter_mut().enumerate().take(ld).for_each(|(k, scale)| *scale = shared.base[k * ld + k]);
    if !factorise(simd, &mut scratch.matrix, ld, inverses) {
        precise::solve(shared, fixed, row, scratch, x);
        return;
    }
    solve_factorised(simd, &scratch.matrix, ld, inverses, b, half);
    x.copy_from_slice(&b[..shared.dim]);
}

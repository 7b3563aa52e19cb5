//! The exact solution of a row: its normal equations, by Cholesky's factorisation.

use super::kernels::{add_weighted, combine, factorise, gather, solve_factorised};
use super::row::{RowSolver, Scratch};
use crate::simd::Simd;

/// Gathered rows that go into the normal equations together: with `dim` 64 they fill half of a first-level cache.
const PANEL: usize = 96;

/// Solves the row whose entries `scratch` has weighed.
#[inline(always)]
pub fn solve<S: Simd>(
    simd: S,
    solver: &RowSolver,
    fixed: &[f32],
    cols: &[u32],
    reg: f32,
    scratch: &mut Scratch,
    x: &mut [f32],
) {
    let ld = solver.ld;
    scratch.vectors.grow(3 * ld);
    equations(simd, solver, fixed, cols, reg, scratch);
    let (b, rest) = scratch.vectors.split_at_mut(ld);
    let (inverses, half) = rest.split_at_mut(ld);
    factorise(simd, &mut scratch.matrix, ld, inverses);
    solve_factorised(simd, &scratch.matrix, ld, inverses, b, half);
    x.copy_from_slice(&b[..solver.dim]);
}

/// Makes `scratch.matrix` the row's A (tiles on and above the diagonal) and the first of `scratch.vectors` its b.
#[inline(always)]
pub fn equations<S: Simd>(
    simd: S,
    solver: &RowSolver,
    fixed: &[f32],
    cols: &[u32],
    reg: f32,
    scratch: &mut Scratch,
) {
    let (dim, ld) = (solver.dim, solver.ld);
    scratch.rows.grow(PANEL * ld);
    scratch.matrix.grow(ld * ld);
    scratch.matrix[..ld * ld].copy_from_slice(&solver.base);
    for k in 0..ld {
        // The padding's diagonal is 1, so that it has a factorisation and leaves the rest alone.
        scratch.matrix[k * ld + k] += if k < dim { reg } else { 1.0 };
    }
    scratch.vectors.grow(ld);
    let b = &mut scratch.vectors[..ld];
    b.fill(0.0);
    for (panel, cols) in cols.chunks(PANEL).enumerate() {
        let entries = panel * PANEL..panel * PANEL + cols.len();
        gather(simd, fixed, dim, 0..dim, cols, ld, &mut scratch.rows);
        combine(simd, &scratch.rows, ld, &scratch.pull[entries.clone()], b);
        add_weighted(simd, &scratch.rows, ld, &scratch.add[entries], &mut scratch.matrix);
    }
}

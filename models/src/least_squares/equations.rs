//! A row's entries in its normal equations.

use super::kernels::{add_weighted, combine, gather};
use super::lines::Lines;
use crate::simd::Simd;

/// The number of gathered rows that are added to the normal equations together: with `dim` 64 they fill half of a
/// first-level cache.
pub const PANEL: usize = 96;

/// Adds `sum over k of add[k] v_k v_k^T` to the tiles of `matrix`, `[ld, ld]`, on and above the diagonal and
/// `sum over k of pull[k] v_k` to `b`, `[ld]`, for the rows `v_k = fixed[cols[k]]` of `fixed`, `[_, dim]`. `rows` is scratch.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "each buffer is borrowed from another part of a scratch")]
pub fn add_entries<S: Simd>(
    simd: S,
    (fixed, dim): (&[f32], usize),
    cols: &[u32],
    (add, pull): (&[f32], &[f32]),
    ld: usize,
    rows: &mut Lines,
    matrix: &mut [f32],
    b: &mut [f32],
) {
    rows.grow(PANEL * ld);
    for (panel, cols) in cols.chunks(PANEL).enumerate() {
        let entries = panel * PANEL..panel * PANEL + cols.len();
        gather(simd, fixed, dim, 0..dim, cols, ld, rows);
        combine(simd, rows, ld, &pull[entries.clone()], b);
        add_weighted(simd, rows, ld, &add[entries], matrix);
    }
}

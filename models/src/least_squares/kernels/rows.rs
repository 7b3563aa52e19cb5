//! Loops over the gathered factor rows of one user or item, eight rows at a time.

use std::ops::Range;

use crate::least_squares::lines::LINE;
use crate::simd::Simd;

/// The number of rows processed together: their partial dot products fill eight registers and are summed in one tree.
pub const GROUP: usize = 8;

/// How many rows ahead of those being read are prefetched.
const AHEAD: usize = 16;

/// Copies `columns` of the rows `cols` of `from`, `[_, dim]`, to padded rows of `to`, and fills `to` with zeros up to a
/// whole group of rows.
#[inline(always)]
pub fn gather<S: Simd>(
    simd: S,
    from: &[f32],
    dim: usize,
    columns: Range<usize>,
    cols: &[u32],
    ld: usize,
    to: &mut [f32],
) {
    for (k, (to, &col)) in to.chunks_exact_mut(ld).zip(cols).enumerate() {
        if let Some(&next) = cols.get(k + AHEAD) {
            for at in columns.clone().step_by(LINE) {
                simd.prefetch(from.as_ptr().wrapping_add(next as usize * dim + at));
            }
        }
        let row = &from[col as usize * dim..(col as usize + 1) * dim][columns.clone()];
        to[..row.len()].copy_from_slice(row);
        to[row.len()..].fill(0.0);
    }
    to[cols.len() * ld..cols.len().next_multiple_of(GROUP) * ld].fill(0.0);
}

/// Computes `out[k] = rows[k] . x` for each `k` of `out`; `rows` holds whole groups of rows of `ld` values.
#[inline(always)]
pub fn scores<S: Simd>(simd: S, rows: &[f32], ld: usize, x: &[f32], out: &mut [f32]) {
    assert!(x.len() >= ld && ld.is_multiple_of(LINE) && rows.len() >= out.len().next_multiple_of(GROUP) * ld);
    for (group, out) in out.chunks_mut(GROUP).enumerate() {
        // SAFETY: a whole group of rows is there, and `x` is one row long, as asserted.
        let dots = unsafe { dots(simd, rows.as_ptr().add(group * GROUP * ld), ld, x.as_ptr()) };
        out.copy_from_slice(&dots[..out.len()]);
    }
}

/// The entries of a row: the rows `cols`, at least one, of a padded matrix `from`, `[_, ld]`.
///
/// `add` and `pull` are whole groups long, with zeros beyond the last entry.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    /// The matrix.
    pub from: &'a [f32],
    /// The length of its rows with their padding.
    pub ld: usize,
    /// The row of `from` that each entry refers to.
    pub cols: &'a [u32],
    /// The weight `a_ui` of each entry's outer product in the matrix A of the normal equations.
    pub add: &'a [f32],
    /// The weight `b_ui` of each entry's row in the right side b.
    pub pull: &'a [f32],
}

/// Adds to `out` the entries' part of the residual, `sum over k of (pull[k] - add[k] * (v_k . x)) v_k`, or with
/// `RESIDUAL` false their part of the product A x, `sum over k of add[k] (v_k . x) v_k`, for the rows `v_k` of the
/// entries.
#[inline(always)]
pub fn observe<S: Simd, const RESIDUAL: bool>(simd: S, entries: Entries<'_>, x: &[f32], out: &mut [f32]) {
    let Entries { ld, cols, add, pull, .. } = entries;
    assert!(x.len() >= ld && out.len() >= ld && ld.is_multiple_of(LINE) && !cols.is_empty());
    assert!(add.len() == cols.len().next_multiple_of(GROUP) && pull.len() == add.len());
    // SAFETY: one row of `x` and `out` is there, as asserted.
    unsafe {
        match ld / S::LANES {
            1 => pass::<S, RESIDUAL, 1>(simd, entries, x, out),
            2 => pass::<S, RESIDUAL, 2>(simd, entries, x, out),
            3 => pass::<S, RESIDUAL, 3>(simd, entries, x, out),
            4 => pass::<S, RESIDUAL, 4>(simd, entries, x, out),
            _ => long_pass::<S, RESIDUAL>(simd, entries, x, out),
        }
    }
}

impl Entries<'_> {
    /// Returns pointers to the rows of a group; beyond the last entry, to the row of the last entry again.
    #[inline(always)]
    fn group(&self, first: usize) -> [*const f32; GROUP] {
        let row = |col: u32| {
            let start = col as usize * self.ld;
            self.from[start..start + self.ld].as_ptr()
        };
        match self.cols.get(first..first + GROUP) {
            Some(cols) => std::array::from_fn(|k| row(cols[k])),
            None => std::array::from_fn(|k| row(self.cols[(first + k).min(self.cols.len() - 1)])),
        }
    }

    /// Prefetches the rows of a later group, as the first pass over them would otherwise wait for memory.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, first: usize) {
        for &col in self.cols.get(first + AHEAD..first + AHEAD + GROUP).unwrap_or(&[]) {
            for at in (0..self.ld).step_by(LINE) {
                simd.prefetch(self.from.as_ptr().wrapping_add(col as usize * self.ld + at));
            }
        }
    }

    /// Returns the factor of each row of a group in the sum of [`observe`], from the dot products with `x`.
    #[inline(always)]
    fn factors<const RESIDUAL: bool>(&self, first: usize, dots: [f32; GROUP]) -> [f32; GROUP] {
        let (add, pull) = (&self.add[first..first + GROUP], &self.pull[first..first + GROUP]);
        std::array::from_fn(|k| if RESIDUAL { pull[k] - add[k] * dots[k] } else { add[k] * dots[k] })
    }
}

/// Does the work of [`observe`] for rows of `N` vectors, with `x` and `out` in registers.
///
/// # Safety
/// A row of `entries` has `N` vectors, and `x` and `out` have at least as many.
#[inline(always)]
unsafe fn pass<S: Simd, const RESIDUAL: bool, const N: usize>(
    simd: S,
    entries: Entries<'_>,
    x: &[f32],
    out: &mut [f32],
) {
    // SAFETY: the caller guarantees the lengths of `x` and `out`; every row of a group is a whole row.
    unsafe {
        let x: [S::V; N] = std::array::from_fn(|n| simd.load(x.as_ptr().add(n * S::LANES)));
        let mut total: [S::V; N] = std::array::from_fn(|n| simd.load(out.as_ptr().add(n * S::LANES)));
        for first in (0..entries.add.len()).step_by(GROUP) {
            if RESIDUAL {
                entries.prefetch(simd, first);
            }
            let rows = entries.group(first);
            let mut sums = [simd.splat(0.0); GROUP];
            for (sum, row) in sums.iter_mut().zip(rows) {
                for (n, &x) in x.iter().enumerate() {
                    *sum = simd.fma(simd.load(row.add(n * S::LANES)), x, *sum);
                }
            }
            let factors = entries.factors::<RESIDUAL>(first, simd.sums(sums));
            for (factor, row) in factors.into_iter().zip(rows) {
                let factor = simd.splat(factor);
                for (n, total) in total.iter_mut().enumerate() {
                    *total = simd.fma(factor, simd.load(row.add(n * S::LANES)), *total);
                }
            }
        }
        for (n, &total) in total.iter().enumerate() {
            simd.store(out.as_mut_ptr().add(n * S::LANES), total);
        }
    }
}

/// Does the work of [`observe`] for rows of any length.
///
/// # Safety
/// `x` and `out` have at least the length of one row.
#[inline(always)]
unsafe fn long_pass<S: Simd, const RESIDUAL: bool>(
    simd: S,
    entries: Entries<'_>,
    x: &[f32],
    out: &mut [f32],
) {
    for first in (0..entries.add.len()).step_by(GROUP) {
        if RESIDUAL {
            entries.prefetch(simd, first);
        }
        let rows = entries.group(first);
        let mut sums = [simd.splat(0.0); GROUP];
        // SAFETY: the caller guarantees the lengths of `x` and `out`; every row of a group is a whole row, and `LANES`
        // divides its length.
        unsafe {
            for at in (0..entries.ld).step_by(S::LANES) {
                let x = simd.load(x.as_ptr().add(at));
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = simd.fma(simd.load(row.add(at)), x, *sum);
                }
            }
            let factors =
                entries.factors::<RESIDUAL>(first, simd.sums(sums)).map(|factor| simd.splat(factor));
            for at in (0..entries.ld).step_by(S::LANES) {
                let to = out.as_mut_ptr().add(at);
                let mut total = simd.load(to);
                for (&factor, row) in factors.iter().zip(rows) {
                    total = simd.fma(factor, simd.load(row.add(at)), total);
                }
                simd.store(to, total);
            }
        }
    }
}

/// Returns the dot products of eight rows with `x`.
///
/// # Safety
/// Eight rows of `ld` values can be read at `rows`, one at `x`.
#[inline(always)]
unsafe fn dots<S: Simd>(simd: S, rows: *const f32, ld: usize, x: *const f32) -> [f32; GROUP] {
    let mut sums = [simd.splat(0.0); GROUP];
    for at in (0..ld).step_by(S::LANES) {
        // SAFETY: `at` is below `ld`, a multiple of `LANES`.
        unsafe {
            let x = simd.load(x.add(at));
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = simd.fma(simd.load(rows.add(k * ld + at)), x, *sum);
            }
        }
    }
    simd.sums(sums)
}

/// Adds `sum over k of factors[k] rows[k]` to `out`.
#[inline(always)]
pub fn combine<S: Simd>(simd: S, rows: &[f32], ld: usize, factors: &[f32], out: &mut [f32]) {
    assert!(out.len() >= ld && ld.is_multiple_of(LINE) && rows.len() >= factors.len() * ld);
    let mut at = 0;
    // SAFETY: `at` and the lanes after it stay below `ld`, and the rows are there, as asserted.
    unsafe {
        while at + 4 * S::LANES <= ld {
            columns::<S, 4>(simd, rows.as_ptr().add(at), ld, factors, out.as_mut_ptr().add(at));
            at += 4 * S::LANES;
        }
        while at < ld {
            columns::<S, 1>(simd, rows.as_ptr().add(at), ld, factors, out.as_mut_ptr().add(at));
            at += S::LANES;
        }
    }
}

/// Does the work of [`combine`] for `N` vectors of columns, which stay in registers.
///
/// # Safety
/// `N` vectors can be read at each of the rows from `rows` on, `ld` apart, and written at `out`.
#[inline(always)]
unsafe fn columns<S: Simd, const N: usize>(
    simd: S,
    rows: *const f32,
    ld: usize,
    factors: &[f32],
    out: *mut f32,
) {
    let mut sums = [simd.splat(0.0); N];
    // SAFETY: the caller guarantees that the vectors can be read and written.
    unsafe {
        for (n, sum) in sums.iter_mut().enumerate() {
            *sum = simd.load(out.add(n * S::LANES));
        }
        for (k, &factor) in factors.iter().enumerate() {
            let factor = simd.splat(factor);
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = simd.fma(factor, simd.load(rows.add(k * ld + n * S::LANES)), *sum);
            }
        }
        for (n, &sum) in sums.iter().enumerate() {
            simd.store(out.add(n * S::LANES), sum);
        }
    }
}

//! Loops over the gathered factor rows of one user or item, eight rows at a time.

use std::ops::Range;

use crate::als::lines::LINE;
use crate::als::simd::Simd;

/// How many rows go together: their partial dot products fill eight registers, and are summed in one tree.
pub const GROUP: usize = 8;

/// Rows ahead of the one being copied that are asked for from memory.
const AHEAD: usize = 12;

/// Copies `columns` of the rows `cols` of `from`, `[_, dim]`, to padded rows of `to`, and zeros up to a whole group of
/// rows.
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

/// `out[k] = rows[k] . x` for as many rows of `ld` as `out` has; rows up to a whole group must be there.
#[inline(always)]
pub fn scores<S: Simd>(simd: S, rows: &[f32], ld: usize, x: &[f32], out: &mut [f32]) {
    assert!(x.len() >= ld && ld.is_multiple_of(LINE) && rows.len() >= out.len().next_multiple_of(GROUP) * ld);
    for (group, out) in out.chunks_mut(GROUP).enumerate() {
        // SAFETY: a whole group of rows is there, and `x` is one row long, as asserted.
        let dots = unsafe { dots(simd, rows.as_ptr().add(group * GROUP * ld), ld, x.as_ptr()) };
        out.copy_from_slice(&dots[..out.len()]);
    }
}

/// `out += sum over k of (pull[k] - add[k] * (rows[k] . x)) rows[k]`, or with `RESIDUAL` false
/// `out += sum over k of add[k] (rows[k] . x) rows[k]`.
///
/// `add` and `pull` are whole groups long (zeros where there is no row), `rows` has as many padded rows.
#[inline(always)]
pub fn observe<S: Simd, const RESIDUAL: bool>(
    simd: S,
    rows: &[f32],
    ld: usize,
    add: &[f32],
    pull: &[f32],
    x: &[f32],
    out: &mut [f32],
) {
    assert!(x.len() >= ld && out.len() >= ld && ld.is_multiple_of(LINE));
    assert!(add.len().is_multiple_of(GROUP) && pull.len() >= add.len() && rows.len() >= add.len() * ld);
    for group in 0..add.len() / GROUP {
        let first = group * GROUP;
        // SAFETY: the group's rows, and one row of `x` and `out`, are there, as asserted.
        unsafe {
            let rows = rows.as_ptr().add(first * ld);
            let mut factors = dots(simd, rows, ld, x.as_ptr());
            for (k, factor) in factors.iter_mut().enumerate() {
                let weighed = add[first + k] * *factor;
                *factor = if RESIDUAL { pull[first + k] - weighed } else { weighed };
            }
            let factors = factors.map(|factor| simd.splat(factor));
            for at in (0..ld).step_by(S::LANES) {
                let to = out.as_mut_ptr().add(at);
                let mut sum = simd.load(to);
                for (k, &factor) in factors.iter().enumerate() {
                    sum = simd.fma(factor, simd.load(rows.add(k * ld + at)), sum);
                }
                simd.store(to, sum);
            }
        }
    }
}

/// The dot products of eight rows with `x`.
///
/// # Safety
/// Eight rows of `ld` numbers can be read at `rows`, one at `x`.
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

/// `out += sum over k of factors[k] rows[k]`.
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

/// `combine` for `N` vectors of columns, which stay in registers.
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
    // SAFETY: the caller's.
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

//! The symmetric update `A += sum of w_k v_k v_k^T`, where exact solving spends its time.

use crate::least_squares::lines::LINE;
use crate::simd::Simd;

/// Adds `sum over k of weights[k] rows[k] rows[k]^T` to `a`, `[ld, ld]`, in tiles on and above the diagonal; elements
/// below the diagonal tiles are not written.
#[inline(always)]
pub fn add_weighted<S: Simd>(simd: S, rows: &[f32], ld: usize, weights: &[f32], a: &mut [f32]) {
    assert!(ld.is_multiple_of(LINE) && rows.len() >= weights.len() * ld && a.len() >= ld * ld);
    // SAFETY: all rows and the whole of `a` are there, as asserted.
    unsafe { update_from(simd, rows.as_ptr(), ld, weights, a.as_mut_ptr(), 0) }
}

/// Does the work of [`add_weighted`] for the rows and columns of `a` from `start` on, a multiple of [`LINE`].
///
/// # Safety
/// `weights.len()` rows of `ld` values can be read at `rows`, and `a` is `[ld, ld]`; the rows may be rows of `a`
/// above `start`.
#[inline(always)]
pub unsafe fn update_from<S: Simd>(
    simd: S,
    rows: *const f32,
    ld: usize,
    weights: &[f32],
    a: *mut f32,
    start: usize,
) {
    // A tile is as tall as fits the registers, and one vector wide, so that little is done twice at the diagonal.
    // SAFETY: the caller guarantees the lengths; tiles end at `ld`, a multiple of their height and width.
    unsafe {
        if S::LANES == 16 {
            tiles::<S, 16>(simd, rows, ld, weights, a, start);
        } else {
            tiles::<S, 8>(simd, rows, ld, weights, a, start);
        }
    }
}

/// Does the work of [`update_from`] in tiles of `HEIGHT` rows and one vector of columns.
///
/// # Safety
/// As [`update_from`]; `HEIGHT` and `LANES` divide `ld` and `start`.
#[inline(always)]
unsafe fn tiles<S: Simd, const HEIGHT: usize>(
    simd: S,
    rows: *const f32,
    ld: usize,
    weights: &[f32],
    a: *mut f32,
    start: usize,
) {
    for top in (start..ld).step_by(HEIGHT) {
        for left in (top..ld).step_by(S::LANES) {
            // SAFETY: the tile and the columns it takes of each row end at `ld`.
            unsafe {
                let tile = a.add(top * ld + left);
                let mut sums: [S::V; HEIGHT] = std::array::from_fn(|_| simd.splat(0.0));
                for (k, &weight) in weights.iter().enumerate() {
                    let row = rows.add(k * ld);
                    let right = simd.mul(simd.load(row.add(left)), simd.splat(weight));
                    for (m, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.fma(simd.splat(*row.add(top + m)), right, *sum);
                    }
                }
                let one = simd.splat(1.0);
                for (m, &sum) in sums.iter().enumerate() {
                    let to = tile.add(m * ld);
                    simd.store(to, simd.fma(sum, one, simd.load(to)));
                }
            }
        }
    }
}

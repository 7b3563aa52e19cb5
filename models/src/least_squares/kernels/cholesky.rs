//! Solves a symmetric positive definite system by Cholesky factorisation.

use super::rows::GROUP;
use super::update::update_from;
use crate::least_squares::lines::LINE;
use crate::simd::Simd;

/// Pivots below this fraction of what they are computed from have lost so many digits to rounding errors that solutions are
/// off by some per cent in their directions, which is below 0.1 % of the objective.
pub const LEAST_PIVOT: f32 = 3e-5;

/// Factorises `a`, `[ld, ld]` and symmetric (the tiles on and above the diagonal are read), in place: `a = U^T U`, `U`
/// in the upper triangle. `inverses` comes with the size of what each element of the diagonal was summed from, where that
/// is larger than the element, and gets the inverses of U's diagonal. Returns whether f32 holds the result: where it does
/// not, `a` and `inverses` are left unfinished.
#[inline(always)]
#[must_use]
pub fn factorise<S: Simd>(simd: S, a: &mut [f32], ld: usize, inverses: &mut [f32]) -> bool {
    assert!(ld.is_multiple_of(LINE) && a.len() >= ld * ld && inverses.len() >= ld);
    for (k, scale) in inverses[..ld].iter_mut().enumerate() {
        *scale = scale.max(a[k * ld + k]);
    }
    let a = a.as_mut_ptr();
    for block in (0..ld).step_by(LINE) {
        // SAFETY: rows and columns stay below `ld`; `a` is `[ld, ld]`, as asserted.
        unsafe {
            for (k, inverse) in inverses.iter_mut().enumerate().skip(block).take(LINE) {
                let pivot = *a.add(k * ld + k);
                let held = pivot > LEAST_PIVOT * *inverse;
                if !held {
                    return false;
                }
                *inverse = 1.0 / pivot.sqrt();
                let row = a.add(k * ld);
                let inverse = simd.splat(*inverse);
                for at in (block..ld).step_by(S::LANES) {
                    simd.store(row.add(at), simd.mul(simd.load(row.add(at)), inverse));
                }
                for i in k + 1..block + LINE {
                    let below = a.add(i * ld);
                    let factor = simd.splat(-*row.add(i));
                    for at in (block..ld).step_by(S::LANES) {
                        let left = simd.fma(factor, simd.load(row.add(at)), simd.load(below.add(at)));
                        simd.store(below.add(at), left);
                    }
                }
            }
            update_from(simd, a.add(block * ld), ld, &[-1.0; LINE], a, block + LINE);
        }
    }
    true
}

/// Solves `U^T U x = b` for a result of [`factorise`]: `b` becomes x; `half`, of equal length, is scratch.
#[inline(always)]
pub fn solve_factorised<S: Simd>(
    simd: S,
    u: &[f32],
    ld: usize,
    inverses: &[f32],
    b: &mut [f32],
    half: &mut [f32],
) {
    solve_lower(simd, u, ld, inverses, b, half);
    solve_upper(simd, u, ld, inverses, half, b);
}

/// Solves `U^T h = b` for a result of [`factorise`]: `half` becomes h, and `b` is overwritten.
#[inline(always)]
pub fn solve_lower<S: Simd>(
    simd: S,
    u: &[f32],
    ld: usize,
    inverses: &[f32],
    b: &mut [f32],
    half: &mut [f32],
) {
    assert!(ld.is_multiple_of(LINE) && u.len() >= ld * ld);
    assert!(inverses.len() >= ld && b.len() >= ld && half.len() >= ld);
    // SAFETY: rows and columns stay below `ld`, as asserted.
    unsafe {
        for k in 0..ld {
            half[k] = b[k] * inverses[k];
            let factor = simd.splat(-half[k]);
            for at in (k / S::LANES * S::LANES..ld).step_by(S::LANES) {
                let to = b.as_mut_ptr().add(at);
                simd.store(to, simd.fma(factor, simd.load(u.as_ptr().add(k * ld + at)), simd.load(to)));
            }
        }
    }
}

/// Solves `U x = h` for a result of [`factorise`]: `x` becomes the solution.
#[inline(always)]
pub fn solve_upper<S: Simd>(simd: S, u: &[f32], ld: usize, inverses: &[f32], half: &[f32], x: &mut [f32]) {
    assert!(ld.is_multiple_of(LINE) && u.len() >= ld * ld);
    assert!(inverses.len() >= ld && x.len() >= ld && half.len() >= ld);
    x[..ld].fill(0.0);
    // SAFETY: rows and columns stay below `ld`, as asserted.
    unsafe {
        for block in (0..ld).step_by(GROUP).rev() {
            // The elements of x below the block are known, those of the block are still 0.
            let mut sums = [simd.splat(0.0); GROUP];
            for at in (block / S::LANES * S::LANES..ld).step_by(S::LANES) {
                let known = simd.load(x.as_ptr().add(at));
                for (m, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.fma(simd.load(u.as_ptr().add((block + m) * ld + at)), known, *sum);
                }
            }
            let sums = simd.sums(sums);
            for m in (0..GROUP).rev() {
                let k = block + m;
                let mut left = half[k] - sums[m];
                for n in m + 1..GROUP {
                    left -= u[k * ld + block + n] * x[block + n];
                }
                x[k] = left * inverses[k];
            }
        }
    }
}

//! Solves a row exactly in f64, where rounding errors of f32 are not small beside what determines its solution: a row of
//! fewer entries than `dim`, say, whose regulariser is small beside its factors.

use super::cells::{unobserved_is_all, weight_and_target};
use super::config::Feedback;
use super::normal::{Precise, Row, Scratch, Shared};
use super::precise_gram::add_outer;

/// Pivots below this fraction of what they are computed from are zero but for rounding errors.
const TINY: f64 = 1e-14;

/// The least regulariser, as a fraction of the largest element of the diagonal. Where nothing else holds a row in some
/// direction, its solution is the shortest.
const LEAST_REG: f64 = 1e-12;

/// Solves the row, and writes it to `x`.
#[inline(always)]
pub fn solve(shared: &Shared, fixed: &[f32], row: Row<'_>, scratch: &mut Scratch, x: &mut [f32]) {
    equations(shared, fixed, row, scratch);
    let Precise { matrix, scale, b, .. } = &mut scratch.precise;
    let diagonal = || (0..shared.dim).map(|k| k * shared.dim + k);
    let least = LEAST_REG * diagonal().fold(0.0f64, |largest, k| largest.max(matrix[k]));
    let missing = (least - f64::from(row.reg)).max(0.0);
    diagonal().for_each(|k| matrix[k] += missing);
    solve_system(matrix, scale, b);
    x.iter_mut().zip(&*b).for_each(|(x, &b)| *x = b as f32);
}

/// Makes `scratch.precise` the row's A and b.
#[inline(always)]
pub fn equations(shared: &Shared, fixed: &[f32], row: Row<'_>, scratch: &mut Scratch) {
    let Row { cols, values, by, reg } = row;
    let (config, dim) = (&shared.config, shared.dim);
    let Precise { matrix, scale, b, row } = &mut scratch.precise;
    let w0 = f64::from(config.unobserved_weight);
    matrix.clear();
    if config.feedback == Feedback::Implicit {
        matrix.extend(shared.precise_gram(fixed).iter().map(|gram| w0 * gram));
    } else {
        matrix.resize(dim * dim, 0.0);
    }
    scale.clear();
    scale.extend((0..dim).map(|k| matrix[k * dim + k]));
    b.clear();
    b.resize(dim, 0.0);
    let unobserved = if unobserved_is_all(config) { 0.0 } else { w0 };
    for (at, (&col, &value)) in cols.iter().zip(values).enumerate() {
        row.clear();
        row.extend(fixed[col as usize * dim..][..dim].iter().map(|&x| f64::from(x)));
        let (weight, target) = weight_and_target(config, value);
        let weight = f64::from(weight) * by.map_or(1.0, |by| f64::from(by[at]));
        add_outer(matrix, weight - unobserved, row);
        let pull = weight * f64::from(target);
        b.iter_mut().zip(&*row).for_each(|(b, x)| *b += pull * x);
    }
    for (k, scale) in scale.iter_mut().enumerate() {
        let diagonal = &mut matrix[k * dim + k];
        *diagonal += f64::from(reg);
        *scale = scale.max(*diagonal);
    }
}

/// Solves `A x = b` by Cholesky factorisation: `b` becomes x. A, `[b.len(), b.len()]`, is read on and above the diagonal
/// and overwritten; x is 0 where A is singular.
#[inline(always)]
pub fn solve_system(a: &mut [f64], scale: &[f64], b: &mut [f64]) {
    let n = b.len();
    for k in 0..n {
        let (above, below) = a.split_at_mut((k + 1) * n);
        let row = &mut above[k * n..];
        let pivot = row[k];
        // A pivot that is not a number is kept, and so the solution is none either.
        let inverse = if pivot <= TINY * scale[k] { 0.0 } else { 1.0 / pivot.sqrt() };
        row[k..].iter_mut().for_each(|x| *x *= inverse);
        row[k] = inverse;
        b[k] *= inverse;
        for (i, below) in (k + 1..n).zip(below.chunks_exact_mut(n)) {
            let factor = row[i];
            below[i..].iter_mut().zip(&row[i..]).for_each(|(to, x)| *to -= factor * x);
            b[i] -= factor * b[k];
        }
    }
    for k in (0..n).rev() {
        let row = &a[k * n..(k + 1) * n];
        let known: f64 = row[k + 1..].iter().zip(&b[k + 1..]).map(|(a, x)| a * x).sum();
        b[k] = (b[k] - known) * row[k];
    }
}

//! Solves a row exactly under the constraint that no element is negative, in f64.
//!
//! Coordinate descent on the normal equations (Franc, Hlaváč and Navara 2005): each element in turn is set to its best
//! value of at least 0 with the others fixed, starting from the row's current factors, until none changes. A row that is
//! still changing after many rounds, because its matrix is nearly singular, is ended by the active set method (Lawson and
//! Hanson 1974).

use super::normal::{Precise, Row, Scratch, Shared};
use super::precise::{equations, solve_system};

/// The descent ends when no step lowers the row's objective by more than this fraction of its value at 0, and the active
/// set method when no gradient is over this fraction of the largest element of b.
const TOLERANCE: f64 = 1e-12;

/// The most rounds over all elements.
const MAX_ROUNDS: usize = 100;

/// Solves the row, starting from `x`.
#[inline(always)]
pub fn solve(shared: &Shared, fixed: &[f32], row: Row<'_>, scratch: &mut Scratch, x: &mut [f32]) {
    let dim = shared.dim;
    equations(shared, fixed, row, scratch);
    let Precise { matrix: a, scale, b, .. } = &mut scratch.precise;
    for i in 0..dim {
        for j in 0..i {
            a[i * dim + j] = a[j * dim + i];
        }
    }
    let mut solution: Vec<f64> = x.iter().map(|&x| f64::from(x.max(0.0))).collect();
    if !descend(a, b, &mut solution) {
        free_and_fix(a, scale, b, &mut solution);
    }
    x.iter_mut().zip(&solution).for_each(|(x, &solution)| *x = solution as f32);
}

/// Returns `b - A x`.
#[inline(always)]
fn residual(a: &[f64], b: &[f64], x: &[f64]) -> Vec<f64> {
    let mut residual = b.to_vec();
    for (row, &x) in a.chunks_exact(b.len()).zip(x) {
        subtract(&mut residual, x, row);
    }
    residual
}

/// Subtracts `step * row` from `residual`.
#[inline(always)]
fn subtract(residual: &mut [f64], step: f64, row: &[f64]) {
    residual.iter_mut().zip(row).for_each(|(residual, a)| *residual -= step * a);
}

/// Descends along one coordinate after the other; returns whether that has come to its end.
#[inline(always)]
fn descend(a: &[f64], b: &[f64], x: &mut [f64]) -> bool {
    let n = b.len();
    let mut left = residual(a, b, x);
    for _ in 0..MAX_ROUNDS {
        let (mut most, mut all) = (0.0f64, 0.0);
        for k in 0..n {
            let curvature = a[k * n + k];
            if curvature <= 0.0 {
                continue;
            }
            let better = (x[k] + left[k] / curvature).max(0.0);
            let step = better - x[k];
            all += better * b[k];
            if step != 0.0 {
                x[k] = better;
                subtract(&mut left, step, &a[k * n..(k + 1) * n]);
                most = most.max(step * step * curvature);
            }
        }
        // At the minimum, b . x is what the row's objective is below its value at 0.
        if most <= TOLERANCE * all.abs() {
            return true;
        }
    }
    false
}

/// Solves for the elements that are free, and fixes at 0 those that would become negative and frees those that would grow,
/// until there are none.
#[inline(always)]
fn free_and_fix(a: &[f64], scale: &[f64], b: &[f64], x: &mut [f64]) {
    let n = b.len();
    let mut free: Vec<bool> = x.iter().map(|&x| x > 0.0).collect();
    let least = TOLERANCE * b.iter().fold(0.0f64, |most, b| most.max(b.abs()));
    // Each turn lowers the objective, so that no set of free elements comes twice but by rounding errors.
    for _ in 0..3 * n {
        loop {
            let on: Vec<usize> = (0..n).filter(|&k| free[k]).collect();
            let mut part: Vec<f64> = on.iter().flat_map(|&i| on.iter().map(move |&j| a[i * n + j])).collect();
            let scale: Vec<f64> = on.iter().map(|&k| scale[k]).collect();
            let mut best: Vec<f64> = on.iter().map(|&k| b[k]).collect();
            solve_system(&mut part, &scale, &mut best);
            let crossings = on.iter().zip(&best).filter(|&(_, &best)| best <= 0.0);
            let lengths = crossings.map(|(&k, &best)| if x[k] > 0.0 { x[k] / (x[k] - best) } else { 0.0 });
            let length = lengths.fold(1.0f64, f64::min);
            for (&k, &best) in on.iter().zip(&best) {
                x[k] += length * (best - x[k]);
                if best <= 0.0 && x[k] <= f64::EPSILON * (x[k] - best).abs() {
                    (x[k], free[k]) = (0.0, false);
                }
            }
            if best.iter().all(|&best| best > 0.0) {
                break;
            }
        }
        let left = residual(a, b, x);
        let growing = (0..n).filter(|&k| !free[k] && left[k] > least);
        match growing.max_by(|&i, &j| left[i].total_cmp(&left[j])) {
            Some(k) => free[k] = true,
            None => break,
        }
    }
}

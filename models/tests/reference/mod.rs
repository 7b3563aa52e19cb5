//! ALS by the book, in f64 throughout: dense normal equations and elimination with pivots.

#![allow(dead_code, reason = "each test file uses a part")]

use burnrec_data::Csr;
use burnrec_models::als::{AlsConfig, Convention, Feedback};

/// Factors of users `[n_users, dim]` and items `[n_items, dim]`.
pub type Factors = [Vec<f64>; 2];

/// Widens what a learner has.
pub fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// The weight of a cell, its target, and whether it counts in the regulariser.
fn cell(config: &AlsConfig, value: f32) -> (f64, f64, bool) {
    let (value, alpha) = (f64::from(value), f64::from(config.alpha));
    let target = f64::from(u8::from(value > 0.0));
    match (config.feedback, config.convention) {
        (Feedback::Explicit, _) => (1.0, value, true),
        (_, Convention::Rendle) => (1.0, 1.0, true),
        (_, Convention::Implicit) => (alpha * value.abs(), target, value > 0.0),
        (_, Convention::Spark) => (1.0 + alpha * value.abs(), target, value > 0.0),
    }
}

fn w0(config: &AlsConfig) -> f64 {
    if config.feedback == Feedback::Explicit { 0.0 } else { f64::from(config.unobserved_weight) }
}

/// The weight of the squared score of an observed cell in the sum over unobserved ones.
fn also_unobserved(config: &AlsConfig) -> f64 {
    if config.convention == Convention::Rendle { w0(config) } else { 0.0 }
}

fn row_reg(config: &AlsConfig, row: &[f32], n_fixed: usize) -> f64 {
    f64::from(config.row_reg(row.iter().filter(|&&value| cell(config, value).2).count(), n_fixed))
}

/// Sets each row of `rows` to the best one for the fixed factors; with `nonnegative`, to the best without a negative
/// element.
pub fn half_sweep(config: &AlsConfig, rows: &Csr, fixed: &[f64], out: &mut [f64]) {
    weighted_half_sweep(config, rows, &|_, _| 1.0, fixed, out);
}

/// Does the same with the weight of each observed cell multiplied by `by(row, place in the row)`.
pub fn weighted_half_sweep(
    config: &AlsConfig,
    rows: &Csr,
    by: &dyn Fn(usize, usize) -> f64,
    fixed: &[f64],
    out: &mut [f64],
) {
    each_row(config, rows, by, fixed, out, |a, b, x| match config.nonnegative {
        true => descend(&a, &b, x),
        false => x.copy_from_slice(&solved(a, b)),
    });
}

/// Improves each row of `rows` block after block, each set to the best one with the others fixed.
pub fn block_sweep(config: &AlsConfig, rows: &Csr, fixed: &[f64], out: &mut [f64]) {
    let dim = config.dim;
    each_row(config, rows, &|_, _| 1.0, fixed, out, |a, b, x| {
        for start in (0..dim).step_by(config.block_size) {
            let block = start..dim.min(start + config.block_size);
            let line = |k: usize| &a[k * dim..][..dim];
            let left = |k: usize| b[k] - line(k).iter().zip(&*x).map(|(a, x)| a * x).sum::<f64>();
            let part: Vec<f64> = block.clone().flat_map(|k| line(k)[block.clone()].to_vec()).collect();
            let step = solved(part, block.clone().map(left).collect());
            x[block].iter_mut().zip(step).for_each(|(x, step)| *x += step);
        }
    });
}

/// Calls `solve` with the normal equations of each row, and with the row.
fn each_row(
    config: &AlsConfig,
    rows: &Csr,
    by: &dyn Fn(usize, usize) -> f64,
    fixed: &[f64],
    out: &mut [f64],
    solve: impl Fn(Vec<f64>, Vec<f64>, &mut [f64]),
) {
    let dim = config.dim;
    let n_fixed = fixed.len() / dim;
    let mut gram = vec![0.0; dim * dim];
    fixed.chunks_exact(dim).for_each(|q| add(&mut gram, w0(config), q));
    for (row, x) in out.chunks_exact_mut(dim).enumerate() {
        let (cols, values) = rows.row(row);
        if cols.is_empty() {
            x.fill(0.0);
            continue;
        }
        let (mut a, mut b) = (gram.clone(), vec![0.0; dim]);
        for (at, (&col, &value)) in cols.iter().zip(values).enumerate() {
            let q = &fixed[col as usize * dim..][..dim];
            let (weight, target, _) = cell(config, value);
            let weight = weight * by(row, at);
            add(&mut a, weight + also_unobserved(config) - w0(config), q);
            b.iter_mut().zip(q).for_each(|(b, q)| *b += weight * target * q);
        }
        let reg = row_reg(config, values, n_fixed);
        (0..dim).for_each(|k| a[k * dim + k] += reg);
        solve(a, b, x);
    }
}

fn add(a: &mut [f64], weight: f64, q: &[f64]) {
    for (a, &x) in a.chunks_exact_mut(q.len()).zip(q) {
        a.iter_mut().zip(q).for_each(|(a, y)| *a += weight * x * y);
    }
}

/// Gaussian elimination; where no pivot is left, the matrix is singular and the solution 0 there.
pub fn solved(mut a: Vec<f64>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    let least = 1e-13 * a.iter().fold(0.0f64, |most, a| most.max(a.abs()));
    let mut order: Vec<usize> = (0..n).collect();
    let mut rank = n;
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i * n + i].total_cmp(&a[j * n + j])).expect("a row is left");
        // The whole row and column change places, so that the matrix stays symmetric.
        (0..n).for_each(|j| a.swap(k * n + j, pivot * n + j));
        (0..n).for_each(|i| a.swap(i * n + k, i * n + pivot));
        b.swap(k, pivot);
        order.swap(k, pivot);
        if a[k * n + k] <= least {
            rank = k;
            break;
        }
        for i in k + 1..n {
            let factor = a[i * n + k] / a[k * n + k];
            (k..n).for_each(|j| a[i * n + j] -= factor * a[k * n + j]);
            b[i] -= factor * b[k];
        }
    }
    let mut x = vec![0.0; n];
    for k in (0..rank).rev() {
        let sum: f64 = (k + 1..rank).map(|j| a[k * n + j] * x[order[j]]).sum();
        x[order[k]] = (b[k] - sum) / a[k * n + k];
    }
    x
}

/// Projected coordinate descent, for long.
fn descend(a: &[f64], b: &[f64], x: &mut [f64]) {
    let n = b.len();
    x.iter_mut().for_each(|x| *x = x.max(0.0));
    for _ in 0..500 {
        let mut most = 0.0f64;
        for k in 0..n {
            let gradient: f64 = b[k] - a[k * n..][..n].iter().zip(&*x).map(|(a, x)| a * x).sum::<f64>();
            if a[k * n + k] > 0.0 {
                let better = (x[k] + gradient / a[k * n + k]).max(0.0);
                most = most.max((better - x[k]).powi(2) * a[k * n + k]);
                x[k] = better;
            }
        }
        if most < 1e-16 {
            break;
        }
    }
}

/// The objective, every cell visited.
pub fn objective(config: &AlsConfig, train: &Csr, [users, items]: &Factors) -> f64 {
    let dim = config.dim;
    let squared = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>();
    let mut total = 0.0;
    for (user, p) in users.chunks_exact(dim).enumerate() {
        let (cols, values) = train.row(user);
        for (item, q) in items.chunks_exact(dim).enumerate() {
            let score: f64 = p.iter().zip(q).map(|(p, q)| p * q).sum();
            total += match cols.binary_search(&(item as u32)) {
                Err(_) => w0(config) * score * score,
                Ok(at) => {
                    let (weight, target, _) = cell(config, values[at]);
                    weight * (target - score).powi(2) + also_unobserved(config) * score * score
                }
            };
        }
        total += row_reg(config, values, items.len() / dim) * squared(p);
    }
    let transposed = train.transpose();
    for (item, q) in items.chunks_exact(dim).enumerate() {
        total += row_reg(config, transposed.row(item).1, train.n_rows()) * squared(q);
    }
    total
}

//! The prior of a side's rows, drawn given the rows.

use rand::{Rng, RngExt};

use super::dense;
use super::source::Source;
use crate::least_squares::gram;
use crate::simd::Isa;

/// The normal prior of the rows of a side.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// `[width]`
    pub mean: Vec<f64>,
    /// `[width, width]`, symmetric.
    pub precision: Vec<f64>,
    /// `[width, width]`: `U`, upper triangular, with `precision = U^T U`.
    pub root: Vec<f64>,
}

/// How many rows the prior mean of the mean counts for (Salakhutdinov and Mnih 2008, section 3.1).
const MEAN_ROWS: f64 = 2.0;

impl Prior {
    /// Draws mean and precision from their Normal-Wishart distribution (Salakhutdinov and Mnih 2008, equation 14) given rows
    /// `[_, width]`, less their shifts, and effects `[_, width]`, whose precision is `strength` times that of the rows.
    pub fn draw(rows: &[f32], (effects, strength): (&[f32], f32), width: usize, source: Source) -> Self {
        let (isa, n, n_effects) = (Isa::best(), rows.len() / width, effects.len() / width);
        let rng = &mut source.rng(0);
        let weight = MEAN_ROWS + n as f64;
        let mut sum = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        // The scatter of the rows around their mean and of that around 0 together.
        let mut scatter = gram(isa, rows, width);
        let of_effects = gram(isa, effects, width);
        for (at, (scatter, of_effects)) in scatter.iter_mut().zip(&of_effects).enumerate() {
            let (i, j) = (at / width, at % width);
            *scatter += f64::from(strength) * of_effects - sum[i] * sum[j] / weight;
            *scatter += if i == j { 1.0 } else { 0.0 };
        }
        let degrees = (width + n + n_effects) as f64;
        let precision = wishart(&mut scatter, width, degrees, rng);
        let mut root = precision.clone();
        let held = dense::factor(&mut root, width);
        let mut mean: Vec<f64> = (0..width).map(|_| standard(rng) / weight.sqrt()).collect();
        dense::solve_upper(&root, width, &mut mean);
        mean.iter_mut().zip(&sum).for_each(|(mean, sum)| *mean += sum / weight);
        if !held {
            mean.fill(f64::NAN);
        }
        Self { mean, precision, root }
    }
}

/// Draws from the Wishart distribution of `degrees` and the inverse of `scatter`, `[n, n]`, which is overwritten (Bartlett
/// 1933): with `scatter = U^T U`, a draw is `T T^T` with `T = U^-1 A`.
fn wishart(scatter: &mut [f64], n: usize, degrees: f64, rng: &mut impl Rng) -> Vec<f64> {
    if !dense::factor(scatter, n) {
        return vec![f64::NAN; n * n];
    }
    // The rows of `columns` are the columns of T.
    let mut columns = vec![0.0; n * n];
    for (j, column) in columns.chunks_exact_mut(n).enumerate() {
        column[j] = (2.0 * gamma((degrees - j as f64) / 2.0, rng)).sqrt();
        column[j + 1..].iter_mut().for_each(|x| *x = standard(rng));
        dense::solve_upper(scatter, n, column);
    }
    let mut precision = vec![0.0; n * n];
    for column in columns.chunks_exact(n) {
        for (row, x) in precision.chunks_exact_mut(n).zip(column) {
            row.iter_mut().zip(column).for_each(|(p, y)| *p += x * y);
        }
    }
    precision
}

/// Draws from the gamma distribution of this shape and rate 1 (Marsaglia and Tsang 2000).
pub fn gamma(shape: f64, rng: &mut impl Rng) -> f64 {
    if shape < 1.0 {
        let power = (1.0 - rng.random::<f64>()).powf(1.0 / shape);
        return gamma(shape + 1.0, rng) * power;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = standard(rng);
        let v = (1.0 + c * x).powi(3);
        let accepted = v > 0.0 && (1.0 - rng.random::<f64>()).ln() < 0.5 * x * x + d - d * v + d * v.ln();
        if accepted {
            return d * v;
        }
    }
}

/// Draws from the standard normal distribution (Box and Muller 1958).
fn standard(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

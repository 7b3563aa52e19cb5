//! The Gram matrix of factors in f64 throughout, which all rows that are solved in f64 share.

use rayon::prelude::*;

/// The rows of the fixed side that one thread sums.
const PART: usize = 4096;

/// Returns `F^T F`, `[dim, dim]` on and above the diagonal, of factors `[rows, dim]`; products and sums are in f64.
pub fn gram(factors: &[f32], dim: usize) -> Vec<f64> {
    let mut sum = vec![0.0; dim * dim];
    let mut row = vec![0.0; dim];
    for factors in factors.chunks_exact(dim) {
        row.iter_mut().zip(factors).for_each(|(to, &x)| *to = f64::from(x));
        add_outer(&mut sum, 1.0, &row);
    }
    sum
}

/// Returns the same, with all threads; the result does not depend on their number.
pub fn gram_by_parts(factors: &[f32], dim: usize) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = factors.par_chunks(PART * dim).map(|rows| gram(rows, dim)).collect();
    let mut sum = vec![0.0; dim * dim];
    for part in parts {
        sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
    }
    sum
}

/// Adds `weight row row^T` on and above the diagonal.
#[inline(always)]
pub fn add_outer(matrix: &mut [f64], weight: f64, row: &[f64]) {
    let dim = row.len();
    for (i, &x) in row.iter().enumerate() {
        let factor = weight * x;
        let to = &mut matrix[i * dim + i..(i + 1) * dim];
        to.iter_mut().zip(&row[i..]).for_each(|(to, x)| *to += factor * x);
    }
}

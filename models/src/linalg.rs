//! Dense symmetric systems in f64: Cholesky's factorisation by blocks, and the solutions for many right sides.
//!
//! The work is in products of blocks, each computed by one thread. How matrices are cut into blocks does not depend on the
//! number of threads, so that the result does not either.

use std::ops::Range;

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

/// Rows and columns of a block.
const BLOCK: usize = 128;

/// The factorisation `A = L L^T` of a symmetric positive definite matrix `A`, with `L` lower triangular.
pub struct Cholesky {
    n: usize,
    /// `[n, n]`, row-major: `L` in the blocks of the diagonal and below; what is above is not read.
    factor: Vec<f64>,
    /// The inverse of each block of `L` on the diagonal, `[width, width]` row-major.
    inverses: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Factors `matrix`, `[n, n]` row-major, of which the lower triangle is read; `None` where it is not positive definite.
    /// Block columns come from left to right (Golub and Van Loan 2013, "Matrix Computations", section 4.2.5).
    ///
    /// # Panics
    /// When `matrix` has not `n * n` values.
    pub fn factor(mut matrix: Vec<f64>, n: usize) -> Option<Self> {
        assert_eq!(matrix.len(), n * n, "a square matrix");
        let mut inverses = Vec::with_capacity(n.div_ceil(BLOCK));
        for cols in blocks(n) {
            let (above, below) = matrix.split_at_mut(cols.end * n);
            let diagonal = &mut above[cols.start * n..];
            let left = diagonal.to_vec();
            subtract(diagonal, n, &cols, 0..cols.start, Right { values: &left, strides: [1, n] });
            let inverse = factor_block(diagonal, n, &cols)?;
            let diagonal = &above[cols.start * n..];
            below.par_chunks_mut(BLOCK * n).for_each(|rows| forward(rows, n, &cols, diagonal, &inverse));
            inverses.push(inverse);
        }
        Some(Self { n, factor: matrix, inverses })
    }

    /// Replaces each row `r` of `rows`, `[any, n]` row-major, by the solution `x` of `x A = r`.
    ///
    /// # Panics
    /// When `rows` does not hold whole rows.
    pub fn solve_rows(&self, rows: &mut [f64]) {
        let n = self.n;
        assert!(rows.is_empty() || rows.len().is_multiple_of(n), "whole rows");
        rows.par_chunks_mut((BLOCK * n).max(1)).for_each(|rows| {
            for (cols, inverse) in blocks(n).zip(&self.inverses) {
                forward(rows, n, &cols, &self.factor[cols.start * n..], inverse);
            }
            for (cols, inverse) in blocks(n).zip(&self.inverses).rev() {
                if cols.end < n {
                    let below = &self.factor[cols.end * n + cols.start..];
                    subtract(rows, n, &cols, cols.end..n, Right { values: below, strides: [n, 1] });
                }
                let strides = [cols.len(), 1];
                multiply(rows, n, &cols, Right { values: inverse, strides });
            }
        });
    }
}

/// Returns the ranges of the blocks of `0..n`.
fn blocks(n: usize) -> impl DoubleEndedIterator<Item = Range<usize>> + ExactSizeIterator {
    (0..n.div_ceil(BLOCK)).map(move |block| block * BLOCK..((block + 1) * BLOCK).min(n))
}

/// Solves columns `cols` of `y L^T = r` for each row of `rows`, whose columns before are solved. `diagonal` are the rows
/// `cols` of `L`, and `inverse` is the inverse of its block on the diagonal.
fn forward(rows: &mut [f64], n: usize, cols: &Range<usize>, diagonal: &[f64], inverse: &[f64]) {
    subtract(rows, n, cols, 0..cols.start, Right { values: diagonal, strides: [1, n] });
    multiply(rows, n, cols, Right { values: inverse, strides: [1, cols.len()] });
}

/// The right side of a product, with the distances between its rows and between its columns.
struct Right<'a> {
    values: &'a [f64],
    strides: [usize; 2],
}

impl Right<'_> {
    /// Refuses strides that lead out of the values of a matrix `[rows, cols]`.
    fn check(&self, rows: usize, cols: usize) {
        let last = (rows - 1) * self.strides[0] + (cols - 1) * self.strides[1];
        assert!(last < self.values.len(), "a matrix within its values");
    }
}

/// Subtracts from columns `cols` of `rows`, `[any, n]` row-major, the product of columns `with` and `right`,
/// `[with, cols]`.
fn subtract(rows: &mut [f64], n: usize, cols: &Range<usize>, with: Range<usize>, right: Right<'_>) {
    if with.is_empty() {
        return;
    }
    let (m, width, k) = (rows.len() / n, cols.len(), with.len());
    right.check(k, width);
    assert!(cols.end <= n && with.end <= n, "columns of the rows");
    assert!(with.end <= cols.start || cols.end <= with.start, "no column is read and written");
    let [row, col] = right.strides.map(|stride| stride as isize);
    let (stride, at) = (n as isize, rows.as_mut_ptr());
    // SAFETY: both ranges of columns are within the `m` rows of `n`, they do not overlap, and `right` is within its values.
    unsafe {
        let (to, from, right) = (at.add(cols.start), at.add(with.start), right.values.as_ptr());
        let one = Parallelism::None;
        gemm(
            m, width, k, to, 1, stride, true, from, 1, stride, right, col, row, 1.0, -1.0, false, false,
            false, one,
        );
    }
}

/// Multiplies columns `cols` of `rows`, `[any, n]` row-major, by `right`, `[cols, cols]`.
fn multiply(rows: &mut [f64], n: usize, cols: &Range<usize>, right: Right<'_>) {
    let (m, width) = (rows.len() / n, cols.len());
    right.check(width, width);
    let left: Vec<f64> = rows.chunks_exact(n).flat_map(|row| &row[cols.clone()]).copied().collect();
    let [row, col] = right.strides.map(|stride| stride as isize);
    let (ld, stride) = (width as isize, n as isize);
    // SAFETY: the columns are within the `m` rows of `n`, `left` has `m` rows of `width`, and `right` is within its values.
    unsafe {
        let (to, left, right) = (rows.as_mut_ptr().add(cols.start), left.as_ptr(), right.values.as_ptr());
        let one = Parallelism::None;
        gemm(
            m, width, width, to, 1, stride, false, left, 1, ld, right, col, row, 0.0, 1.0, false, false,
            false, one,
        );
    }
}

/// Factors the block of columns `cols` of `rows`, `[cols, n]` row-major, in place; returns the inverse of its factor, or
/// `None` where it is not positive definite.
fn factor_block(rows: &mut [f64], n: usize, cols: &Range<usize>) -> Option<Vec<f64>> {
    let (width, at) = (cols.len(), |i: usize, j: usize| i * n + cols.start + j);
    for j in 0..width {
        for i in j..width {
            let dot: f64 = (0..j).map(|t| rows[at(i, t)] * rows[at(j, t)]).sum();
            let rest = rows[at(i, j)] - dot;
            rows[at(i, j)] = match i == j {
                true if rest > 0.0 => rest.sqrt(),
                true => return None,
                false => rest / rows[at(j, j)],
            };
        }
    }
    let mut inverse = vec![0.0; width * width];
    for j in 0..width {
        inverse[j * width + j] = 1.0 / rows[at(j, j)];
        for i in j + 1..width {
            let dot: f64 = (j..i).map(|t| rows[at(i, t)] * inverse[t * width + j]).sum();
            inverse[i * width + j] = -dot / rows[at(i, i)];
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use burnrec_data::rng::stream;
    use rand::RngExt;

    use super::*;

    /// Returns a symmetric positive definite matrix, `[n, n]`, and 3 right sides.
    fn system(n: usize) -> (Vec<f64>, Vec<f64>) {
        let mut rng = stream(5, "linalg.test", n as u64);
        let mut draw = |count: usize| (0..count).map(|_| rng.random::<f64>() - 0.5).collect::<Vec<f64>>();
        let (half, right) = (draw(n * n), draw(3 * n));
        let dot = |i: usize, j: usize| (0..n).map(|t| half[i * n + t] * half[j * n + t]).sum::<f64>();
        let cell = |at: usize| dot(at / n, at % n) + if at / n == at % n { 0.1 } else { 0.0 };
        ((0..n * n).map(cell).collect(), right)
    }

    #[test]
    fn solutions_solve_the_system_within_and_across_blocks() {
        for n in [1, 2, 127, 128, 129, 300] {
            let (matrix, right) = system(n);
            let mut rows = right.clone();
            // The upper triangle is not read.
            let mut lower = matrix.clone();
            (0..n).for_each(|i| (i + 1..n).for_each(|j| lower[i * n + j] = f64::NAN));
            Cholesky::factor(lower, n).expect("positive definite").solve_rows(&mut rows);
            for (x, r) in rows.chunks_exact(n).zip(right.chunks_exact(n)) {
                for j in 0..n {
                    let found: f64 = (0..n).map(|i| x[i] * matrix[i * n + j]).sum();
                    assert!((found - r[j]).abs() < 1e-9, "{n}: {found} is {}", r[j]);
                }
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (matrix, right) = system(400);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let mut rows = right.clone();
            pool.install(|| Cholesky::factor(matrix.clone(), 400).expect("definite").solve_rows(&mut rows));
            rows.iter().map(|value| value.to_bits()).collect::<Vec<u64>>()
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_none() {
        let (mut matrix, _) = system(200);
        matrix[150 * 200 + 150] = -1.0;
        assert!(Cholesky::factor(matrix, 200).is_none());
        assert!(Cholesky::factor(Vec::new(), 0).is_some());
    }
}

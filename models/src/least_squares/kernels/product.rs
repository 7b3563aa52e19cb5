//! Many dot products at once: every row of one matrix with every row of another.

use crate::least_squares::lines::{LINE, Lines};
use crate::simd::Simd;

/// Columns of a panel.
const WIDTH: usize = 2 * LINE;

/// The rows of a matrix, transposed so that a vector holds the same element of many rows: panels of 32 rows, each
/// `[dim, 32]`.
#[derive(Clone)]
pub struct Panels {
    lines: Lines,
    rows: usize,
    dim: usize,
}

impl Panels {
    /// Lays out a matrix `[rows, dim]`, row-major.
    pub fn new(matrix: &[f32], dim: usize) -> Self {
        let rows = matrix.len() / dim;
        let mut lines = Lines::zeros(rows.div_ceil(WIDTH) * WIDTH * dim);
        for (panel, rows) in lines.chunks_exact_mut(WIDTH * dim).zip(matrix.chunks(WIDTH * dim)) {
            for (column, row) in rows.chunks_exact(dim).enumerate() {
                for (d, &value) in row.iter().enumerate() {
                    panel[d * WIDTH + column] = value;
                }
            }
        }
        Self { lines, rows, dim }
    }

    /// Returns the number of rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// Computes `out[m][n] = left[m] . matrix[n]` for a few left rows of `dim` values; `out` is
/// `[left.len(), panels.rows()]`.
#[inline(always)]
pub fn product_row_block<S: Simd>(simd: S, left: &[&[f32]], panels: &Panels, out: &mut [f32]) {
    let (rows, dim) = (panels.rows, panels.dim);
    assert!(out.len() == left.len() * rows && left.iter().all(|row| row.len() == dim));
    // The outer loop runs over panels, so that each panel is read from the second-level cache once.
    for (p, panel) in panels.lines.chunks_exact(WIDTH * dim).enumerate() {
        let columns = p * WIDTH..rows.min((p + 1) * WIDTH);
        let mut m = 0;
        while m < left.len() {
            let step = if S::LANES == 16 && left.len() - m >= 12 {
                12
            } else if left.len() - m >= 4 {
                4
            } else {
                1
            };
            let out = &mut out[m * rows..(m + step) * rows];
            // SAFETY: `step` left rows of `dim` values and a panel of `dim` times `WIDTH` are there.
            unsafe {
                match step {
                    12 => tile::<S, 12>(simd, &left[m..], panel, dim, rows, columns.clone(), out),
                    4 => tile::<S, 4>(simd, &left[m..], panel, dim, rows, columns.clone(), out),
                    _ => tile::<S, 1>(simd, &left[m..], panel, dim, rows, columns.clone(), out),
                }
            }
            m += step;
        }
    }
}

/// Multiplies `HEIGHT` left rows with one panel, two vectors of its columns at a time.
///
/// # Safety
/// `left` has `HEIGHT` rows of `dim` values, `panel` is `[dim, WIDTH]`.
#[inline(always)]
unsafe fn tile<S: Simd, const HEIGHT: usize>(
    simd: S,
    left: &[&[f32]],
    panel: &[f32],
    dim: usize,
    rows: usize,
    columns: std::ops::Range<usize>,
    out: &mut [f32],
) {
    let left: [*const f32; HEIGHT] = std::array::from_fn(|m| left[m].as_ptr());
    for at in (0..WIDTH).step_by(2 * S::LANES) {
        let mut sums = [[simd.splat(0.0); 2]; HEIGHT];
        for d in 0..dim {
            // SAFETY: `d` is below `dim`, and two vectors from `at` on end at `WIDTH`.
            unsafe {
                let from = panel.as_ptr().add(d * WIDTH + at);
                let (a, b) = (simd.load(from), simd.load(from.add(S::LANES)));
                for (sum, row) in sums.iter_mut().zip(left) {
                    let factor = simd.splat(*row.add(d));
                    sum[0] = simd.fma(factor, a, sum[0]);
                    sum[1] = simd.fma(factor, b, sum[1]);
                }
            }
        }
        for (m, sum) in sums.iter().enumerate() {
            let out = &mut out[m * rows..(m + 1) * rows];
            let start = columns.start + at;
            if start + 2 * S::LANES <= columns.end {
                // SAFETY: both vectors end before the row does.
                unsafe {
                    simd.store(out.as_mut_ptr().add(start), sum[0]);
                    simd.store(out.as_mut_ptr().add(start + S::LANES), sum[1]);
                }
            } else if start < columns.end {
                let mut last = [0.0; WIDTH];
                // SAFETY: two vectors fit a panel's width.
                unsafe {
                    simd.store(last.as_mut_ptr(), sum[0]);
                    simd.store(last.as_mut_ptr().add(S::LANES), sum[1]);
                }
                out[start..columns.end].copy_from_slice(&last[..columns.end - start]);
            }
        }
    }
}

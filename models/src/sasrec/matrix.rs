//! Products of matrices that are parts of larger arrays, each computed by the calling thread.

use std::ops::Range;

use gemm::{Parallelism, gemm};

/// A part of an array as a matrix, or as the transpose of one.
#[derive(Clone, Copy)]
pub struct View<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> View<'a> {
    /// Makes the matrix of all values, row-major.
    pub fn new(values: &'a [f32], cols: usize) -> Self {
        Self { values, shape: [values.len() / cols, cols], strides: [cols, 1] }
    }

    /// Returns some of the rows and columns.
    pub fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let [n_rows, n_cols] = self.shape;
        assert!(rows.end <= n_rows && cols.end <= n_cols, "a part of the matrix");
        let start = (rows.start * self.strides[0] + cols.start * self.strides[1]).min(self.values.len());
        Self { values: &self.values[start..], shape: [rows.len(), cols.len()], strides: self.strides }
    }

    /// Returns the transpose.
    pub fn transposed(self) -> Self {
        let ([rows, cols], [row, col]) = (self.shape, self.strides);
        Self { shape: [cols, rows], strides: [col, row], ..self }
    }
}

/// A part of an array to write, row-major.
pub struct ViewMut<'a> {
    values: &'a mut [f32],
    shape: [usize; 2],
    stride: usize,
}

impl<'a> ViewMut<'a> {
    /// Makes the matrix of all values, row-major.
    pub fn new(values: &'a mut [f32], cols: usize) -> Self {
        let rows = values.len() / cols;
        Self { values, shape: [rows, cols], stride: cols }
    }

    /// Returns some of the rows and columns.
    pub fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let [n_rows, n_cols] = self.shape;
        assert!(rows.end <= n_rows && cols.end <= n_cols, "a part of the matrix");
        let start = (rows.start * self.stride + cols.start).min(self.values.len());
        Self { values: &mut self.values[start..], shape: [rows.len(), cols.len()], stride: self.stride }
    }

    /// Writes `scale a b`.
    pub fn set(self, a: View<'_>, b: View<'_>, scale: f32) {
        self.product(a, b, scale, false);
    }

    /// Adds `scale a b`.
    pub fn add(self, a: View<'_>, b: View<'_>, scale: f32) {
        self.product(a, b, scale, true);
    }

    fn product(self, a: View<'_>, b: View<'_>, scale: f32, adds: bool) {
        let ([m, n], k) = (self.shape, a.shape[1]);
        assert!(a.shape == [m, k] && b.shape == [k, n], "the matrices fit each other");
        if m == 0 || n == 0 || k == 0 {
            debug_assert!(adds || m * n == 0, "an empty sum is written");
            return;
        }
        let fits = |len: usize, shape: [usize; 2], strides: [usize; 2]| {
            (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1] < len
        };
        assert!(
            fits(self.values.len(), [m, n], [self.stride, 1])
                && fits(a.values.len(), a.shape, a.strides)
                && fits(b.values.len(), b.shape, b.strides),
            "matrices within their values"
        );
        let signed = |strides: [usize; 2]| strides.map(|stride| stride as isize);
        let ([a_row, a_col], [b_row, b_col]) = (signed(a.strides), signed(b.strides));
        let (out, left, right) = (self.values.as_mut_ptr(), a.values.as_ptr(), b.values.as_ptr());
        let keep = f32::from(u8::from(adds));
        // SAFETY: all three matrices are within their values, as is asserted above, and `out` is borrowed for writing.
        unsafe {
            gemm(
                m,
                n,
                k,
                out,
                1,
                self.stride as isize,
                adds,
                left,
                a_col,
                a_row,
                right,
                b_col,
                b_row,
                keep,
                scale,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

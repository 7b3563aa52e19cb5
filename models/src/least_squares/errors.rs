//! How far scores of factors with biases are from the values.

use std::ops::Range;

use burnrec_data::Csr;
use rayon::prelude::*;

use super::kernels::{gather, scores};
use super::lines::{LINE, Lines, padded};
use crate::simd::{Isa, Kernel, Simd};

/// The number of rows that one parallel task sums up. The tasks' sums are added in order, so that the result does not depend
/// on the number of threads.
const ROWS: usize = 256;

/// Returns the sum of the squared errors of `b_u + b_i + p_u . q_i` for the entries of `train`, `[n_users, n_items]`, in f64.
/// `users` and `items` are `[_, width]`, with the bias as the last element.
pub fn squared_errors(train: &Csr, users: &[f32], items: &[f32], width: usize) -> f64 {
    let isa = Isa::best();
    let part = |rows| {
        let mut sum = 0.0;
        let each = |error: f32| sum += f64::from(error).powi(2);
        isa.run(Errors { train, rows, users, items, width, each });
        sum
    };
    parts(train).map(part).collect::<Vec<f64>>().iter().sum()
}

/// Returns the errors themselves, `[nnz]`: each value less `b_u + b_i + p_u . q_i`.
pub fn residuals(train: &Csr, users: &[f32], items: &[f32], width: usize) -> Vec<f32> {
    let isa = Isa::best();
    let part = |rows| {
        let mut out = Vec::new();
        isa.run(Errors { train, rows, users, items, width, each: |error| out.push(error) });
        out
    };
    parts(train).map(part).collect::<Vec<Vec<f32>>>().concat()
}

/// Cuts users into parallel tasks.
fn parts(train: &Csr) -> impl IndexedParallelIterator<Item = Range<usize>> {
    let n_rows = train.n_rows();
    (0..n_rows.div_ceil(ROWS)).into_par_iter().map(move |task| task * ROWS..n_rows.min((task + 1) * ROWS))
}

/// The errors of some users, as a kernel to dispatch.
struct Errors<'a, F> {
    train: &'a Csr,
    rows: Range<usize>,
    users: &'a [f32],
    items: &'a [f32],
    width: usize,
    /// Is called with the error of each entry.
    each: F,
}

impl<F: FnMut(f32)> Kernel for Errors<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (width, ld) = (self.width, padded(self.width));
        let (mut rows, mut x, mut dots) = (Lines::default(), Lines::zeros(ld), Vec::new());
        for user in self.rows {
            let (cols, values) = self.train.row(user);
            x[..width].copy_from_slice(&self.users[user * width..(user + 1) * width]);
            let bias = std::mem::replace(&mut x[width - 1], 1.0);
            rows.grow(cols.len().next_multiple_of(LINE) * ld);
            gather(simd, self.items, width, 0..width, cols, ld, &mut rows);
            dots.resize(cols.len(), 0.0);
            scores(simd, &rows, ld, &x, &mut dots);
            for (value, score) in values.iter().zip(&dots) {
                (self.each)(value - bias - score);
            }
        }
    }
}

//! How far scores of factors with biases are from the values.

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
    let task = |task: usize| {
        let rows = task * ROWS..train.n_rows().min((task + 1) * ROWS);
        isa.run(Part { train, rows, users, items, width })
    };
    let parts: Vec<f64> = (0..train.n_rows().div_ceil(ROWS)).into_par_iter().map(task).collect();
    parts.iter().sum()
}

/// The sum over some users, as a kernel to dispatch.
struct Part<'a> {
    train: &'a Csr,
    rows: std::ops::Range<usize>,
    users: &'a [f32],
    items: &'a [f32],
    width: usize,
}

impl Kernel for Part<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let (width, ld, mut sum) = (self.width, padded(self.width), 0.0);
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
                sum += f64::from(value - bias - score).powi(2);
            }
        }
        sum
    }
}

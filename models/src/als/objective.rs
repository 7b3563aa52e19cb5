//! The ALS objective, which training minimises, split into its parts.

use burnrec_data::Csr;
use rayon::prelude::*;

use super::cells::{counts, unobserved_is_all, weight_and_target};
use super::config::{AlsConfig, Feedback};
use crate::least_squares::gram;
use crate::least_squares::kernels::{gather, scores};
use crate::least_squares::lines::{LINE, Lines, padded};
use crate::simd::{Isa, Kernel, Simd};

/// The parts of the objective; its value is their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Objective {
    /// Squared errors of the observed cells.
    pub observed: f64,
    /// Squared scores of the cells that count as unobserved.
    pub unobserved: f64,
    /// Squared norms of the factors.
    pub regulariser: f64,
}

impl Objective {
    /// Evaluates the objective of factors `users`, `[n_users, width]`, and `items`, `[n_items, width]`, on the weighted
    /// training matrix, summed in f64.
    ///
    /// The unobserved cells are never visited: `sum over all cells of s^2` is the sum of the products of the elements
    /// of the two Gram matrices.
    pub fn new(config: &AlsConfig, train: &Csr, users: &[f32], items: &[f32]) -> Self {
        let (isa, dim) = (Isa::best(), config.width());
        let mut parts: Vec<Observed> = Vec::new();
        (0..train.n_rows().div_ceil(ROWS))
            .into_par_iter()
            .map(|task| {
                let rows = task * ROWS..train.n_rows().min((task + 1) * ROWS);
                isa.run(ObjectivePart { config, train, rows, users, items })
            })
            .collect_into_vec(&mut parts);
        let mut sum = Observed::default();
        for part in &parts {
            sum.errors += part.errors;
            sum.squares += part.squares;
            sum.regulariser += part.regulariser;
        }
        let mut unobserved = 0.0;
        if config.feedback == Feedback::Implicit {
            let all: f64 = gram(isa, users, dim).iter().zip(gram(isa, items, dim)).map(|(u, i)| u * i).sum();
            let over = if unobserved_is_all(config) { all } else { all - sum.squares };
            unobserved = f64::from(config.unobserved_weight) * over;
        }
        let mut n_counted = vec![0usize; train.n_cols()];
        for (&item, &value) in train.cols().iter().zip(train.values()) {
            n_counted[item as usize] += usize::from(counts(config, value));
        }
        let of_items: f64 = items
            .chunks_exact(dim)
            .zip(&n_counted)
            .map(|(item, &count)| f64::from(config.row_reg(count, train.n_rows())) * squared(item))
            .sum();
        Self { observed: sum.errors, unobserved, regulariser: sum.regulariser + of_items }
    }

    /// Returns the value of the objective.
    pub fn total(&self) -> f64 {
        self.observed + self.unobserved + self.regulariser
    }
}

/// The number of users that one parallel task sums up. The tasks' sums are added in order, so that the result does not
/// depend on the number of threads.
const ROWS: usize = 256;

/// The sums over some users: weighted squared errors and squared scores of their observed cells, and the regulariser of
/// their factors.
#[derive(Clone, Copy, Default)]
struct Observed {
    errors: f64,
    squares: f64,
    regulariser: f64,
}

/// The sums over some users, as a kernel to dispatch.
struct ObjectivePart<'a> {
    config: &'a AlsConfig,
    train: &'a Csr,
    rows: std::ops::Range<usize>,
    users: &'a [f32],
    items: &'a [f32],
}

impl Kernel for ObjectivePart<'_> {
    type Output = Observed;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Observed {
        let (config, dim, ld) = (self.config, self.config.width(), padded(self.config.width()));
        let mut sum = Observed::default();
        let (mut rows, mut x, mut dots) = (Lines::default(), Lines::zeros(ld), Vec::new());
        for user in self.rows {
            let (cols, values) = self.train.row(user);
            let factors = &self.users[user * dim..(user + 1) * dim];
            x[..dim].copy_from_slice(factors);
            // The last element of an item's vector is then its bias, and the user's bias is added.
            let bias = if config.biases { std::mem::replace(&mut x[dim - 1], 1.0) } else { 0.0 };
            rows.grow(cols.len().next_multiple_of(LINE) * ld);
            gather(simd, self.items, dim, 0..dim, cols, ld, &mut rows);
            dots.resize(cols.len(), 0.0);
            scores(simd, &rows, ld, &x, &mut dots);
            let mut count = 0;
            for (&value, &score) in values.iter().zip(&dots) {
                let (weight, target) = weight_and_target(config, value);
                let score = score + bias;
                sum.errors += f64::from(weight) * (f64::from(target) - f64::from(score)).powi(2);
                sum.squares += f64::from(score).powi(2);
                count += usize::from(counts(config, value));
            }
            sum.regulariser += f64::from(config.row_reg(count, self.train.n_cols())) * squared(factors);
        }
        sum
    }
}

fn squared(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x).powi(2)).sum()
}

//! The value of what training minimises, by parts.

use burnrec_data::Csr;
use rayon::prelude::*;

use super::kernels::{gather, scores};
use super::lines::{LINE, Lines, padded};
use super::{AlsConfig, Feedback, Scratch, gram, row};
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
    /// Of factors `users`, `[n_users, dim]`, and `items`, `[n_items, dim]`, on the weighed training matrix, summed in f64.
    ///
    /// The unobserved cells are never visited: `sum over all cells of s^2` is the sum of the products of the elements of
    /// the two Gram matrices.
    pub fn new(config: &AlsConfig, train: &Csr, users: &[f32], items: &[f32]) -> Self {
        let (isa, dim) = (Isa::best(), config.dim);
        let mut parts: Vec<Observed> = Vec::new();
        (0..train.n_rows().div_ceil(ROWS))
            .into_par_iter()
            .map(|task| {
                let rows = task * ROWS..train.n_rows().min((task + 1) * ROWS);
                isa.run(Part { config, train, rows, users, items })
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
            let over = if row::all_cells_count(config) { all } else { all - sum.squares };
            unobserved = f64::from(config.unobserved_weight) * over;
        }
        let mut counts = vec![0usize; train.n_cols()];
        for (&item, &value) in train.cols().iter().zip(train.values()) {
            counts[item as usize] += usize::from(row::counts(config, value));
        }
        let of_items: f64 = items
            .chunks_exact(dim)
            .zip(&counts)
            .map(|(item, &count)| f64::from(config.row_reg(count, train.n_rows())) * squared(item))
            .sum();
        Self { observed: sum.errors, unobserved, regulariser: sum.regulariser + of_items }
    }

    /// The objective.
    pub fn total(&self) -> f64 {
        self.observed + self.unobserved + self.regulariser
    }
}

/// Users summed in one task; part sums are added in order, so that threads do not matter.
const ROWS: usize = 256;

/// What is summed over users.
#[derive(Clone, Copy, Default)]
struct Observed {
    errors: f64,
    squares: f64,
    regulariser: f64,
}

/// Some users on their way to the instructions.
struct Part<'a> {
    config: &'a AlsConfig,
    train: &'a Csr,
    rows: std::ops::Range<usize>,
    users: &'a [f32],
    items: &'a [f32],
}

impl Kernel for Part<'_> {
    type Output = Observed;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Observed {
        let (config, dim, ld) = (self.config, self.config.dim, padded(self.config.dim));
        let mut sum = Observed::default();
        let (mut scratch, mut x, mut dots) = (Scratch::default(), Lines::zeros(ld), Vec::new());
        for user in self.rows {
            let (cols, values) = self.train.row(user);
            let factors = &self.users[user * dim..(user + 1) * dim];
            x[..dim].copy_from_slice(factors);
            scratch.rows.grow(cols.len().next_multiple_of(LINE) * ld);
            gather(simd, self.items, dim, 0..dim, cols, ld, &mut scratch.rows);
            dots.resize(cols.len(), 0.0);
            scores(simd, &scratch.rows, ld, &x, &mut dots);
            let mut count = 0;
            for (&value, &score) in values.iter().zip(&dots) {
                let (weight, target) = row::weight_and_target(config, value);
                sum.errors += f64::from(weight) * (f64::from(target) - f64::from(score)).powi(2);
                sum.squares += f64::from(score).powi(2);
                count += usize::from(row::counts(config, value));
            }
            sum.regulariser += f64::from(config.row_reg(count, self.train.n_cols())) * squared(factors);
        }
        sum
    }
}

fn squared(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x).powi(2)).sum()
}

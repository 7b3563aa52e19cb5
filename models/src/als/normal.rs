//! The normal equations `A x = b` of a row, which every solver starts from, and the memory to solve them in.

use std::sync::OnceLock;

use super::cells::{counts, unobserved_is_all, weight_and_target};
use super::config::{AlsConfig, Feedback};
use super::precise_gram;
use crate::least_squares::add_entries;
use crate::least_squares::lines::{Lines, padded};
use crate::simd::Simd;

/// The part of the normal equations that all rows of a side share: they have the same fixed factors.
pub struct Shared {
    /// The settings.
    pub config: AlsConfig,
    /// Length of the factor vectors.
    pub dim: usize,
    /// `dim` padded: the length of a row of a padded matrix.
    pub ld: usize,
    /// The number of rows of the side that is fixed.
    pub n_fixed: usize,
    /// `[ld, ld]`: `unobserved_weight` times the Gram matrix of the fixed factors, or zeros for explicit feedback.
    pub base: Lines,
    /// The Gram matrix of the fixed factors in f64, computed for the first row that needs it.
    precise_gram: OnceLock<Vec<f64>>,
}

/// A row to solve.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// The rows of the fixed side that its entries refer to.
    pub cols: &'a [u32],
    /// Their values.
    pub values: &'a [f32],
    /// What the weight of each is multiplied by; `None` is 1.
    pub by: Option<&'a [f32]>,
    /// Its regulariser.
    pub reg: f32,
}

/// Memory for solving rows, to be used again from row to row.
#[derive(Default)]
pub struct Scratch {
    /// Gathered factors.
    pub(super) rows: Lines,
    /// For each entry its `a_ui` of [`super`]: the weight of the outer product of its factors in A.
    pub(super) add: Vec<f32>,
    /// For each entry its `b_ui`: the weight of its factors in b.
    pub(super) pull: Vec<f32>,
    /// `[ld, ld]`
    pub(super) matrix: Lines,
    /// Vectors of `ld` values, for whatever a solver needs.
    pub(super) vectors: Lines,
    /// The score of each entry.
    pub(super) predicted: Vec<f32>,
    /// A value for each entry, for whatever a solver needs.
    pub(super) factors: Vec<f32>,
    /// The values of the entries less the biases of the fixed side.
    pub(super) values: Vec<f32>,
    /// For rows that f32 does not hold.
    pub(super) precise: Precise,
}

/// Memory for solving a row in f64.
#[derive(Default)]
pub struct Precise {
    /// `[dim, dim]`: A, on and above the diagonal.
    pub matrix: Vec<f64>,
    /// `[dim]`: the size of what each element of the diagonal is summed from.
    pub scale: Vec<f64>,
    /// `[dim]`
    pub b: Vec<f64>,
    /// The factors of an entry.
    pub(super) row: Vec<f64>,
}

impl Shared {
    /// Makes the shared part for `n_fixed` fixed rows with this Gram matrix, `[dim, dim]`.
    pub fn new(config: &AlsConfig, n_fixed: usize, gram: &[f64]) -> Self {
        let (dim, ld) = (config.dim, padded(config.dim));
        let mut base = Lines::zeros(ld * ld);
        if config.feedback == Feedback::Implicit {
            for (to, from) in base.chunks_exact_mut(ld).zip(gram.chunks_exact(dim)) {
                for (to, &from) in to.iter_mut().zip(from) {
                    *to = (f64::from(config.unobserved_weight) * from) as f32;
                }
            }
        }
        Self { config: config.clone(), dim, ld, n_fixed, base, precise_gram: OnceLock::new() }
    }

    /// Computes what all rows that are solved in f64 share, with all threads.
    pub fn prepare_precise(&mut self, fixed: &[f32]) {
        self.precise_gram = OnceLock::from(precise_gram::gram_by_parts(fixed, self.dim));
    }

    /// Takes the Gram matrix of the fixed factors in f64, `[dim, dim]`, which is read on and above the diagonal.
    pub fn with_precise_gram(self, gram: Vec<f64>) -> Self {
        Self { precise_gram: OnceLock::from(gram), ..self }
    }

    /// Returns the Gram matrix of the fixed factors in f64, `[dim, dim]` on and above the diagonal. One thread computes it
    /// where it is not there, and others wait: work that it shared with them could be a row that waits too.
    pub fn precise_gram(&self, fixed: &[f32]) -> &[f64] {
        self.precise_gram.get_or_init(|| precise_gram::gram(fixed, self.dim))
    }

    /// Writes `add` and `pull` of every entry, whose weight is multiplied by that of `by`, and returns the row's regulariser.
    #[inline(always)]
    pub fn weigh(&self, values: &[f32], by: Option<&[f32]>, add: &mut Vec<f32>, pull: &mut Vec<f32>) -> f32 {
        let config = &self.config;
        let unobserved = if unobserved_is_all(config) { 0.0 } else { config.unobserved_weight };
        add.resize(values.len(), 0.0);
        pull.resize(values.len(), 0.0);
        let mut count = 0u32;
        for ((add, pull), &value) in add.iter_mut().zip(pull.iter_mut()).zip(values) {
            let (weight, target) = weight_and_target(config, value);
            *add = weight - unobserved;
            *pull = weight * target;
            count += u32::from(counts(config, value));
        }
        if let Some(by) = by {
            for ((add, pull), by) in add.iter_mut().zip(pull.iter_mut()).zip(by) {
                *add = (*add + unobserved) * by - unobserved;
                *pull *= by;
            }
        }
        let count = count as usize;
        config.row_reg(count, self.n_fixed)
    }

    /// Makes `scratch.matrix` the row's A (tiles on and above the diagonal) and the first of `scratch.vectors` its b.
    #[inline(always)]
    pub fn equations<S: Simd>(&self, simd: S, fixed: &[f32], cols: &[u32], reg: f32, scratch: &mut Scratch) {
        let (dim, ld) = (self.dim, self.ld);
        scratch.matrix.grow(ld * ld);
        scratch.matrix[..ld * ld].copy_from_slice(&self.base);
        for k in 0..ld {
            // The diagonal of the padding is 1, so that the matrix can be factorised and the padding does not affect
            // the solution.
            scratch.matrix[k * ld + k] += if k < dim { reg } else { 1.0 };
        }
        scratch.vectors.grow(ld);
        let Scratch { rows, add, pull, matrix, vectors, .. } = scratch;
        let b = &mut vectors[..ld];
        b.fill(0.0);
        add_entries(simd, (fixed, dim), cols, (&add[..], &pull[..]), ld, rows, matrix, b);
    }
}

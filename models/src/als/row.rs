//! The solution of one row with all other rows standing still, and of all rows of a side.

use std::sync::Mutex;

use burnrec_data::Csr;
use rayon::prelude::*;

use super::cg::Rotated;
use super::lines::{Lines, padded};
use super::{AlsConfig, Convention, Feedback, Solver, cg, exact, gram, nonnegative, subspace};
use crate::simd::{Isa, Kernel, Simd};

/// Solves rows of one side (users, say) for the factors of the other, which stand still. Solving is a pure function of
/// the row, in training as for new users.
pub struct RowSolver {
    pub(super) config: AlsConfig,
    pub(super) isa: Isa,
    pub(super) dim: usize,
    /// `dim` padded.
    pub(super) ld: usize,
    /// Rows of the side that stands still.
    pub(super) n_fixed: usize,
    /// `[ld, ld]`: `unobserved_weight` times the Gram matrix, or zeros for explicit feedback.
    pub(super) base: Lines,
    method: Method,
}

enum Method {
    Exact,
    Cg(Rotated),
    Subspace,
    Nonnegative,
}

/// Memory for solving rows, to be used again from row to row.
#[derive(Default)]
pub struct Scratch {
    /// Gathered factors.
    pub(super) rows: Lines,
    /// `a` of each entry (see the module's page).
    pub(super) add: Vec<f32>,
    /// `b` of each entry.
    pub(super) pull: Vec<f32>,
    /// `[ld, ld]`
    pub(super) matrix: Lines,
    /// A few vectors of `ld`.
    pub(super) vectors: Lines,
    /// The score of each entry.
    pub(super) predicted: Vec<f32>,
    /// A factor for each entry.
    pub(super) factors: Vec<f32>,
}

impl RowSolver {
    /// For the factors that stand still, `[n_fixed, dim]`, with the solver of the settings.
    pub fn new(config: &AlsConfig, fixed: &[f32]) -> Self {
        Self::with_isa(config, fixed, Isa::best())
    }

    /// As [`RowSolver::new`], exactly whatever the solver of the settings.
    pub fn exact(config: &AlsConfig, fixed: &[f32]) -> Self {
        Self::new(&AlsConfig { solver: Solver::Cholesky, ..config.clone() }, fixed)
    }

    /// As [`RowSolver::new`], with the instructions of `isa`.
    pub fn with_isa(config: &AlsConfig, fixed: &[f32], isa: Isa) -> Self {
        let (dim, ld) = (config.dim, padded(config.dim));
        let gram = gram(isa, fixed, dim);
        let mut base = Lines::zeros(ld * ld);
        if config.feedback == Feedback::Implicit {
            for (to, from) in base.chunks_exact_mut(ld).zip(gram.chunks_exact(dim)) {
                for (to, &from) in to.iter_mut().zip(from) {
                    *to = (f64::from(config.unobserved_weight) * from) as f32;
                }
            }
        }
        let method = match config.solver {
            _ if config.nonnegative => Method::Nonnegative,
            Solver::Cholesky => Method::Exact,
            Solver::Cg => Method::Cg(Rotated::new(isa, fixed, &gram, dim)),
            Solver::Subspace => Method::Subspace,
        };
        Self { config: config.clone(), isa, dim, ld, n_fixed: fixed.len() / dim, base, method }
    }

    /// Solves one row: `x`, `[dim]`, becomes the row that fits `values` at `cols` of `fixed`, the factors that the solver
    /// was made for. Where the solver goes on from a row as it was, that is what `x` held. A row without entries is 0.
    pub fn solve(&self, fixed: &[f32], cols: &[u32], values: &[f32], scratch: &mut Scratch, x: &mut [f32]) {
        self.isa.run(Solve { solver: self, fixed, cols, values, scratch, x });
    }

    /// Solves all rows of a matrix `[rows, n_fixed]` into `out`, `[rows, dim]`; the result does not depend on the
    /// number of threads.
    /// `done` hears of finished entries.
    pub fn solve_all(&self, fixed: &[f32], rows: &Csr, out: &mut [f32], done: &(dyn Fn(u64) + Sync)) {
        assert_eq!(out.len(), rows.n_rows() * self.dim, "one vector per row");
        let tasks = cut(rows, self.dim, out);
        // One scratch a thread for the whole sweep: threads of the pool are numbered, any other thread is the only one.
        let scratch: Vec<Mutex<Scratch>> =
            (0..rayon::current_num_threads()).map(|_| Mutex::default()).collect();
        tasks.into_par_iter().for_each(|(first, out)| {
            let thread = rayon::current_thread_index().unwrap_or(0);
            let mut scratch = scratch[thread].lock().expect("no row panics");
            for (row, x) in out.chunks_exact_mut(self.dim).enumerate() {
                let (cols, values) = rows.row(first + row);
                self.solve(fixed, cols, values, &mut scratch, x);
            }
            let last = first + out.len() / self.dim;
            done((rows.offsets()[last] - rows.offsets()[first]) as u64);
        });
    }

    /// What `add` and `pull` of every entry are, and the row's regulariser.
    #[inline(always)]
    fn weigh(&self, values: &[f32], add: &mut Vec<f32>, pull: &mut Vec<f32>) -> f32 {
        let config = &self.config;
        let unobserved = if all_cells_count(config) { 0.0 } else { config.unobserved_weight };
        add.resize(values.len(), 0.0);
        pull.resize(values.len(), 0.0);
        let mut count = 0u32;
        for ((add, pull), &value) in add.iter_mut().zip(pull.iter_mut()).zip(values) {
            let (weight, target) = weight_and_target(config, value);
            *add = weight - unobserved;
            *pull = weight * target;
            count += u32::from(counts(config, value));
        }
        let count = count as usize;
        config.row_reg(count, self.n_fixed)
    }
}

/// What an observed cell weighs, and what its score should be.
#[inline(always)]
pub(super) fn weight_and_target(config: &AlsConfig, value: f32) -> (f32, f32) {
    let taken = if value > 0.0 { 1.0 } else { 0.0 };
    match (config.feedback, config.convention) {
        (Feedback::Explicit, _) => (1.0, value),
        (Feedback::Implicit, Convention::Rendle) => (1.0, 1.0),
        (Feedback::Implicit, Convention::Implicit) => (config.alpha * value.abs(), taken),
        (Feedback::Implicit, Convention::Spark) => (1.0 + config.alpha * value.abs(), taken),
    }
}

/// Whether an entry counts for the regulariser's scaling.
#[inline(always)]
pub(super) fn counts(config: &AlsConfig, value: f32) -> bool {
    config.feedback == Feedback::Explicit || config.convention == Convention::Rendle || value > 0.0
}

/// Whether nothing is taken off an observed cell for its square being summed with the unobserved ones.
#[inline(always)]
pub(super) fn all_cells_count(config: &AlsConfig) -> bool {
    config.feedback == Feedback::Explicit || config.convention == Convention::Rendle
}

/// Cuts the rows into runs of about equal work, each with its part of `out`.
fn cut<'a>(rows: &Csr, dim: usize, mut out: &'a mut [f32]) -> Vec<(usize, &'a mut [f32])> {
    // A row costs its entries and a constant part of about as much as `dim` entries.
    let work = |row: usize| rows.offsets()[row] + row * dim;
    let share = work(rows.n_rows()) / (rayon::current_num_threads() * 32) + 1;
    let (mut tasks, mut first) = (Vec::new(), 0);
    for row in 1..=rows.n_rows() {
        if work(row) - work(first) >= share || row == rows.n_rows() {
            let (head, tail) = std::mem::take(&mut out).split_at_mut((row - first) * dim);
            tasks.push((first, head));
            (out, first) = (tail, row);
        }
    }
    tasks
}

/// One row on its way to the instructions.
struct Solve<'a> {
    solver: &'a RowSolver,
    fixed: &'a [f32],
    cols: &'a [u32],
    values: &'a [f32],
    scratch: &'a mut Scratch,
    x: &'a mut [f32],
}

impl Kernel for Solve<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { solver, fixed, cols, values, scratch, x } = self;
        if cols.is_empty() {
            x.fill(0.0);
            return;
        }
        let reg = solver.weigh(values, &mut scratch.add, &mut scratch.pull);
        match &solver.method {
            Method::Exact => exact::solve(simd, solver, fixed, cols, reg, scratch, x),
            Method::Cg(rotated) => cg::solve(simd, solver, rotated, cols, reg, scratch, x),
            Method::Subspace => subspace::solve(simd, solver, fixed, cols, reg, scratch, x),
            Method::Nonnegative => nonnegative::solve(simd, solver, fixed, cols, reg, scratch, x),
        }
    }
}

//! Solves one row with the other side's factors fixed, or all rows of a side. Prepares what all rows share, and
//! dispatches to the solver of the settings and to the instruction set of the processor.

use std::sync::Mutex;

use burnrec_data::Csr;
use rayon::prelude::*;

use super::cg::Rotated;
use super::config::{AlsConfig, Solver};
use super::gram::gram;
use super::normal::{Row, Scratch, Shared};
use super::{cg, exact, nonnegative, subspace};
use crate::simd::{Isa, Kernel, Simd};

/// Solves rows of one side (users, say) for the factors of the other, which are fixed. Solving is a pure function of
/// the row, in training as for new users.
pub struct RowSolver {
    shared: Shared,
    isa: Isa,
    method: Method,
}

/// The solver of the settings, with what it prepares for all rows.
enum Method {
    Exact,
    Cg(Rotated),
    Subspace,
    Nonnegative,
}

impl RowSolver {
    /// Makes the solver for the fixed factors, `[n_fixed, dim]`, by the method of the settings.
    pub fn new(config: &AlsConfig, fixed: &[f32]) -> Self {
        Self::with_isa(config, fixed, Isa::best())
    }

    /// Does the same as [`RowSolver::new`], but solves exactly whatever the method of the settings.
    pub fn exact(config: &AlsConfig, fixed: &[f32]) -> Self {
        Self::new(&AlsConfig { solver: Solver::Cholesky, ..config.clone() }, fixed)
    }

    /// Does the same as [`RowSolver::new`], dispatched to `isa`.
    pub fn with_isa(config: &AlsConfig, fixed: &[f32], isa: Isa) -> Self {
        let gram = gram(isa, fixed, config.dim);
        let mut shared = Shared::new(config, fixed.len() / config.dim, &gram);
        if config.nonnegative {
            shared.prepare_precise(fixed);
        }
        let method = match config.solver {
            _ if config.nonnegative => Method::Nonnegative,
            Solver::Cholesky => Method::Exact,
            Solver::Cg => Method::Cg(Rotated::new(isa, fixed, &gram, config.dim)),
            Solver::Subspace => Method::Subspace,
        };
        Self { shared, isa, method }
    }

    /// Solves one row: `x`, `[dim]`, becomes the row that fits `values` at `cols` of `fixed`, the factors that the
    /// solver was made for. A solver that improves a row, such as conjugate gradients, starts from what `x` held. A row
    /// without entries is 0.
    pub fn solve(&self, fixed: &[f32], cols: &[u32], values: &[f32], scratch: &mut Scratch, x: &mut [f32]) {
        self.isa.run(Solve { solver: self, fixed, cols, values, by: None, scratch, x });
    }

    /// Solves all rows of a matrix `[rows, n_fixed]` into `out`, `[rows, dim]`; the result does not depend on the
    /// number of threads. `done` is called with the number of entries of each task when it is finished.
    pub fn solve_all(&self, fixed: &[f32], rows: &Csr, out: &mut [f32], done: &(dyn Fn(u64) + Sync)) {
        self.solve_weighted(fixed, rows, None, out, done);
    }

    /// Does the same as [`RowSolver::solve_all`] with the weight `w_ui` of each entry multiplied by that of `by`, `[nnz]`.
    pub fn solve_weighted(
        &self,
        fixed: &[f32],
        rows: &Csr,
        by: Option<&[f32]>,
        out: &mut [f32],
        done: &(dyn Fn(u64) + Sync),
    ) {
        let dim = self.shared.dim;
        assert_eq!(out.len(), rows.n_rows() * dim, "one vector per row");
        let tasks = cut(rows, dim, out);
        // Each thread has one scratch for the whole sweep. A thread of the pool uses the one at its index; a thread
        // outside the pool works alone and uses the first.
        let scratch: Vec<Mutex<Scratch>> =
            (0..rayon::current_num_threads()).map(|_| Mutex::default()).collect();
        tasks.into_par_iter().for_each(|(first, out)| {
            let thread = rayon::current_thread_index().unwrap_or(0);
            let mut scratch = scratch[thread].lock().expect("no row panics");
            for (row, x) in out.chunks_exact_mut(dim).enumerate() {
                let (cols, values) = rows.row(first + row);
                let by = by.map(|by| &by[rows.offsets()[first + row]..rows.offsets()[first + row + 1]]);
                self.isa.run(Solve { solver: self, fixed, cols, values, by, scratch: &mut scratch, x });
            }
            let last = first + out.len() / dim;
            done((rows.offsets()[last] - rows.offsets()[first]) as u64);
        });
    }
}

/// Cuts the rows into tasks of about equal work: returns the first row of each and its slice of `out`.
fn cut<'a>(rows: &Csr, dim: usize, mut out: &'a mut [f32]) -> Vec<(usize, &'a mut [f32])> {
    // A row costs one unit for each entry, and a constant of about `dim` units.
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

/// The solution of one row, as a kernel to dispatch.
struct Solve<'a> {
    solver: &'a RowSolver,
    fixed: &'a [f32],
    cols: &'a [u32],
    values: &'a [f32],
    by: Option<&'a [f32]>,
    scratch: &'a mut Scratch,
    x: &'a mut [f32],
}

impl Kernel for Solve<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { solver, fixed, cols, values, by, scratch, x } = self;
        if cols.is_empty() {
            x.fill(0.0);
            return;
        }
        let shared = &solver.shared;
        let reg = shared.weigh(values, by, &mut scratch.add, &mut scratch.pull);
        let row = Row { cols, values, by, reg };
        match &solver.method {
            Method::Exact => exact::solve(simd, shared, fixed, row, scratch, x),
            Method::Cg(rotated) => {
                if !cg::solve(simd, shared, rotated, cols, reg, scratch, x) {
                    exact::solve(simd, shared, fixed, row, scratch, x);
                }
            }
            Method::Subspace => subspace::solve(simd, shared, fixed, row, scratch, x),
            Method::Nonnegative => nonnegative::solve(shared, fixed, row, scratch, x),
        }
    }
}

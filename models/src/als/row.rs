//! Solves one row with the other side's factors fixed, or all rows of a side. Prepares what all rows share, and
//! dispatches to the solver of the settings and to the instruction set of the processor.

use burnrec_data::Csr;

use super::cg::Rotated;
use super::config::{AlsConfig, Solver};
use super::normal::{Row, Scratch, Shared};
use super::{cg, exact, nonnegative, subspace};
use crate::least_squares::{Design, each_row, gram};
use crate::simd::{Isa, Kernel, Simd};

/// Solves rows of one side (users, say) for the factors of the other, which are fixed. Solving is a pure function of
/// the row, in training as for new users.
pub struct RowSolver {
    shared: Shared,
    isa: Isa,
    method: Method,
    /// The fixed side as the rows see it, where factors have biases.
    design: Option<Design>,
}

/// The solver of the settings, with what it prepares for all rows.
enum Method {
    Exact,
    Cg(Rotated),
    Subspace,
    Nonnegative,
}

impl RowSolver {
    /// Makes the solver for the fixed factors, `[n_fixed, width]` ([`AlsConfig::width`]), by the method of the settings.
    pub fn new(config: &AlsConfig, fixed: &[f32]) -> Self {
        Self::with_isa(config, fixed, Isa::best())
    }

    /// Does the same as [`RowSolver::new`], but solves exactly whatever the method of the settings.
    pub fn exact(config: &AlsConfig, fixed: &[f32]) -> Self {
        Self::new(&AlsConfig { solver: Solver::Cholesky, ..config.clone() }, fixed)
    }

    /// Has conjugate gradients end where a row's squared residual, which is about how far its part of the objective is above
    /// the minimum, is this share of that part at a row of zeros, in place of 0.05 of what it was before the first step. At 0 a
    /// row takes all of `cg_steps`, but where only rounding errors are left.
    pub fn ending_at(mut self, share: f32) -> Self {
        if let Method::Cg(rotated) = &mut self.method {
            (rotated.tolerance, rotated.least) = (0.0, share.max(cg::ROUNDING));
        }
        self
    }

    /// Does the same as [`RowSolver::new`], dispatched to `isa`.
    pub fn with_isa(config: &AlsConfig, fixed: &[f32], isa: Isa) -> Self {
        let design = config.biases.then(|| Design::new(fixed, config.width()));
        let fixed = design.as_ref().map_or(fixed, |design| &design.factors[..]);
        let config = &AlsConfig { dim: config.width(), ..config.clone() };
        let gram = gram(isa, fixed, config.dim);
        let mut shared = Shared::new(config, fixed.len() / config.dim, &gram);
        if config.nonnegative {
            shared.prepare_precise(fixed);
        }
        let method = Method::of(config, isa, fixed, &gram);
        Self { shared, isa, method, design }
    }

    /// Makes the solver for rows that need a part of the fixed side alone, `part`, `[_, dim]`. `gram`, `[dim, dim]`, is the Gram
    /// matrix of the whole side, in f64 throughout, and `n_fixed` the number of its rows.
    pub(super) fn of_part(config: &AlsConfig, part: &[f32], gram: &[f64], n_fixed: usize) -> Self {
        debug_assert!(!config.biases, "a Gram matrix of factors without ones");
        let isa = Isa::best();
        let shared = Shared::new(config, n_fixed, gram).with_precise_gram(gram.to_vec());
        Self { shared, isa, method: Method::of(config, isa, part, gram), design: None }
    }

    /// Solves one row: `x`, `[width]`, becomes the row that fits `values` at `cols` of `fixed`, the factors that the
    /// solver was made for. A solver that improves a row, such as conjugate gradients, starts from what `x` held. A row
    /// without entries is 0.
    pub fn solve(&self, fixed: &[f32], cols: &[u32], values: &[f32], scratch: &mut Scratch, x: &mut [f32]) {
        self.isa.run(Solve { solver: self, fixed, cols, values, by: None, scratch, x });
    }

    /// Solves all rows of a matrix `[rows, n_fixed]` into `out`, `[rows, width]`; the result does not depend on the
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
        let entries = Entries { offsets: rows.offsets(), cols: rows.cols(), values: rows.values(), by };
        self.solve_entries(fixed, entries, out, done);
    }

    /// Does the same for entries that need not be a matrix's: the columns of a row may repeat, and stand in any order.
    pub(super) fn solve_entries(
        &self,
        fixed: &[f32],
        entries: Entries<'_>,
        out: &mut [f32],
        done: &(dyn Fn(u64) + Sync),
    ) {
        let Entries { offsets, cols, values, by } = entries;
        each_row(offsets, self.shared.dim, [out], done, |scratch: &mut Scratch, row, [x]| {
            let at = offsets[row]..offsets[row + 1];
            let (cols, values, by) = (&cols[at.clone()], &values[at.clone()], by.map(|by| &by[at]));
            self.isa.run(Solve { solver: self, fixed, cols, values, by, scratch, x });
        });
    }
}

impl Method {
    /// Prepares the method of the settings for fixed factors, `[_, dim]`, of this Gram matrix.
    fn of(config: &AlsConfig, isa: Isa, fixed: &[f32], gram: &[f64]) -> Self {
        match config.solver {
            _ if config.nonnegative => Self::Nonnegative,
            Solver::Cholesky => Self::Exact,
            Solver::Cg => Self::Cg(Rotated::new(isa, fixed, gram, config.dim)),
            Solver::Subspace => Self::Subspace,
        }
    }
}

/// The entries of some rows.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    /// `[rows + 1]`: where each row starts and, last, the number of entries.
    pub offsets: &'a [usize],
    /// `[nnz]`: rows of the fixed side.
    pub cols: &'a [u32],
    /// `[nnz]`
    pub values: &'a [f32],
    /// `[nnz]`: what the weight of each is multiplied by; `None` is 1.
    pub by: Option<&'a [f32]>,
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
        let mut targets = std::mem::take(&mut scratch.values);
        let (fixed, values) = match &solver.design {
            None => (fixed, values),
            Some(design) => {
                design.targets(cols, values, &mut targets);
                (&design.factors[..], &targets[..])
            }
        };
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
        scratch.values = targets;
    }
}

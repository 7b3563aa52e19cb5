//! Solves a row almost exactly, by preconditioned conjugate gradients (Takács, Pilászy and Tikk 2011).
//!
//! All rows share the Gram matrix `G = V diag(l) V^T`. In the basis of its eigenvectors the shared part of a row's
//! matrix, `w0 G + reg_u I`, is diagonal whatever the row's regulariser: a step then costs two products with the row's
//! own entries and nothing of order `dim^2`, and dividing by that diagonal leaves a matrix that is close to the
//! identity, so that most rows converge in one or two steps; the others take more, up to `cg_steps`.

use rayon::prelude::*;

use super::cells::unobserved_is_all;
use super::config::{AlsConfig, Feedback};
use super::eigen::Decompose;
use super::normal::{Scratch, Shared};
use crate::least_squares::kernels::{Entries, Panels, combine, observe, product_row_block};
use crate::least_squares::lines::{Lines, padded};
use crate::simd::{Isa, Kernel, Simd};

/// The fixed factors, in the basis of the eigenvectors of their Gram matrix.
pub struct Rotated {
    /// `[n_fixed, ld]`
    rows: Lines,
    /// `[ld]`: eigenvalues of the Gram matrix; 0 in the padding.
    values: Lines,
    spectrum: Spectrum,
    /// `[dim, ld]`: each column is an eigenvector.
    to_eigen: Lines,
    /// `[dim, ld]`: each row is an eigenvector.
    from_eigen: Lines,
    /// The share of a row's first squared residual at which its steps end.
    pub tolerance: f32,
    /// The share of a row's objective at zero at which they end in any case, not below [`ROUNDING`].
    pub least: f32,
}

impl Rotated {
    /// Rotates factors `[n_fixed, dim]` into the basis of their Gram matrix `[dim, dim]`.
    pub fn new(isa: Isa, fixed: &[f32], gram: &[f64], dim: usize) -> Self {
        let ld = padded(dim);
        let eigen = isa.run(Decompose { a: gram, n: dim });
        let mut values = Lines::zeros(ld);
        values.iter_mut().zip(&eigen.values).for_each(|(to, &value)| *to = value.max(0.0) as f32);
        let spectrum = Spectrum::of(&values[..dim]);
        let (mut to_eigen, mut from_eigen) = (Lines::zeros(dim * ld), Lines::zeros(dim * ld));
        for i in 0..dim {
            for j in 0..dim {
                let value = eigen.vectors[i * dim + j] as f32;
                from_eigen[i * ld + j] = value;
                to_eigen[j * ld + i] = value;
            }
        }
        let mut basis = vec![0.0; ld * dim];
        basis.iter_mut().zip(&eigen.vectors).for_each(|(to, &value)| *to = value as f32);
        let panels = Panels::new(&basis, dim);
        let mut rows = Lines::zeros(fixed.len() / dim * ld);
        rows.par_chunks_mut(ROTATED * ld)
            .zip(fixed.par_chunks(ROTATED * dim))
            .for_each(|(out, rows)| isa.run(Rotate { rows, dim, panels: &panels, out }));
        Self { rows, values, spectrum, to_eigen, from_eigen, tolerance: RELATIVE_TOLERANCE, least: ROUNDING }
    }
}

/// The ends of the spectrum of a Gram matrix, neither below 0.
#[derive(Clone, Copy)]
pub(super) struct Spectrum {
    /// The least eigenvalue.
    pub least: f32,
    /// The largest.
    pub largest: f32,
}

impl Spectrum {
    /// Takes the ends of these eigenvalues.
    pub fn of(values: &[f32]) -> Self {
        let ends = values
            .iter()
            .fold((f32::INFINITY, 0.0f32), |(least, largest), &value| (least.min(value), largest.max(value)));
        Self { least: ends.0.max(0.0), largest: ends.1 }
    }

    /// Returns whether conjugate gradients solve a row in few steps: whether its matrix is at least [`LEAST_SHARE`] of the
    /// preconditioner in all directions.
    #[inline(always)]
    pub fn suits(self, config: &AlsConfig, RowWeights { reg, own, kept }: RowWeights) -> bool {
        let shared = shared_weight(config);
        let most = (shared + own) * self.largest + reg;
        // The share is least at one end of the spectrum.
        [self.least, self.largest].into_iter().all(|value| {
            let expected = ((shared + own) * value + reg).max(LEAST_EXPECTED * most);
            kept * shared * value + reg >= LEAST_SHARE * expected
        })
    }
}

/// What a row's weights say of its matrix beside the shared one.
#[derive(Clone, Copy)]
pub(super) struct RowWeights {
    /// The regulariser.
    pub reg: f32,
    /// The sum of its `add` by the number of fixed rows.
    pub own: f32,
    /// The least share of the shared matrix that its entries may leave, where their weights are below the unobserved one.
    kept: f32,
}

impl RowWeights {
    /// Sums up `add`, whose length is a multiple of eight.
    #[inline(always)]
    pub fn of(config: &AlsConfig, add: &[f32], reg: f32, n_fixed: usize) -> Self {
        let kept = if unobserved_is_all(config) || config.unobserved_weight <= 0.0 {
            1.0
        } else {
            1.0 + add.iter().fold(0.0, |least: f32, &add| if add < least { add } else { least })
                / config.unobserved_weight
        };
        Self { reg, own: sum(add).max(0.0) / n_fixed as f32, kept }
    }
}

/// Returns the weight of the shared Gram matrix in each row's matrix.
#[inline(always)]
fn shared_weight(config: &AlsConfig) -> f32 {
    match config.feedback {
        Feedback::Explicit => 0.0,
        Feedback::Implicit => config.unobserved_weight,
    }
}

/// The least share of the preconditioner that a row's matrix is, for a row to be solved by conjugate gradients: the residual
/// shows an error to within this factor.
const LEAST_SHARE: f32 = 5e-3;

/// The number of rows that one parallel task rotates.
const ROTATED: usize = 192;

/// The rotation of some rows, as a kernel to dispatch.
struct Rotate<'a> {
    rows: &'a [f32],
    dim: usize,
    panels: &'a Panels,
    out: &'a mut [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let ld = self.panels.rows();
        for (out, rows) in self.out.chunks_mut(12 * ld).zip(self.rows.chunks(12 * self.dim)) {
            let mut left = [&[][..]; 12];
            let n = rows.len() / self.dim;
            left.iter_mut().zip(rows.chunks_exact(self.dim)).for_each(|(to, row)| *to = row);
            product_row_block(simd, &left[..n], self.panels, out);
        }
    }
}

/// Improves `x`, which holds the row's current factors, for the entries whose weights are in `scratch`. Returns false, and
/// leaves `x` as it is, where that would take too many steps or is beyond f32.
#[inline(always)]
#[must_use]
pub fn solve<S: Simd>(
    simd: S,
    shared: &Shared,
    rotated: &Rotated,
    cols: &[u32],
    reg: f32,
    scratch: &mut Scratch,
    x: &mut [f32],
) -> bool {
    let (dim, ld, n) = (shared.dim, shared.ld, cols.len());
    let Scratch { add, pull, vectors, .. } = scratch;
    let whole = n.next_multiple_of(8);
    add.resize(whole, 0.0);
    pull.resize(whole, 0.0);
    let least = rotated.least * energy(&shared.config, pull);
    if !least.is_finite() {
        return false;
    }
    if least <= 0.0 {
        // All targets are 0, and so is the solution. Such a row may have no regulariser, and then its matrix can be
        // singular: steps towards 0 would be led by rounding errors.
        x.fill(0.0);
        return true;
    }
    let weights = RowWeights::of(&shared.config, add, reg, shared.n_fixed);
    if !rotated.spectrum.suits(&shared.config, weights) {
        return false;
    }
    let entries = Entries { from: &rotated.rows, ld, cols, add, pull };
    vectors.grow(7 * ld);
    let mut parts = vectors.chunks_exact_mut(ld);
    let mut vector = || parts.next().expect("there are seven vectors of `ld`");
    let (base, inverse, y, r) = (vector(), vector(), vector(), vector());
    let (z, p, ap) = (vector(), vector(), vector());
    diagonals(&shared.config, rotated, weights, base, inverse);

    y.fill(0.0);
    combine(simd, &rotated.to_eigen, ld, x, y);
    for k in 0..ld {
        r[k] = -base[k] * y[k];
    }
    observe::<S, true>(simd, entries, y, r);
    for k in 0..ld {
        z[k] = inverse[k] * r[k];
    }
    p.copy_from_slice(z);
    // The squared residual in the norm of the preconditioner, r M^-1 r: about how far the row's part of the objective
    // is above its minimum.
    let mut rz = dot(r, z);
    let tolerance = (rotated.tolerance * rz).max(least);
    for step in 0..shared.config.cg_steps {
        // Every row takes at least one step, even if it starts within the tolerance: otherwise the last epochs would
        // change nothing.
        if rz <= 0.0 || (step > 0 && rz <= tolerance) {
            break;
        }
        for k in 0..ld {
            ap[k] = base[k] * p[k];
        }
        observe::<S, false>(simd, entries, p, ap);
        let length = rz / dot(p, ap);
        if !length.is_finite() {
            break;
        }
        for k in 0..ld {
            y[k] += length * p[k];
            r[k] -= length * ap[k];
            z[k] = inverse[k] * r[k];
        }
        if step + 1 == shared.config.cg_steps {
            break;
        }
        let next = dot(r, z);
        let keep = next / rz;
        rz = next;
        for k in 0..ld {
            p[k] = z[k] + keep * p[k];
        }
    }
    r.fill(0.0);
    combine(simd, &rotated.from_eigen, ld, &y[..dim], r);
    x.copy_from_slice(&r[..dim]);
    true
}

/// The relative residual tolerance: conjugate gradients stop when the squared residual is this fraction of what it was
/// before the first step. Further steps are not worth their time, because the next sweep changes the row by more than
/// the remaining error. On ml-1m, sweeps that stop here lower the objective as far as exact ones do, or further, in
/// every convention.
pub(super) const RELATIVE_TOLERANCE: f32 = 0.05;

/// Squared residuals below this fraction of the row's objective at zero are rounding errors.
pub(super) const ROUNDING: f32 = 1e-6;

/// Elements of the expected diagonal below this fraction of the largest are rounding errors. Where a row has no regulariser
/// and the fixed factors span fewer directions than `dim`, dividing by them would let rounding errors lead the steps.
pub(super) const LEAST_EXPECTED: f32 = 1e-7;

/// Returns the row's part of the objective at a row of zeros: the weighted sum of the squared targets.
#[inline(always)]
pub(super) fn energy(config: &AlsConfig, pull: &[f32]) -> f32 {
    match config.feedback {
        Feedback::Explicit => dot(pull, pull),
        Feedback::Implicit => sum(pull),
    }
}

/// Writes `base`, the diagonal part of the row's matrix that does not come from its entries, and `inverse`, the
/// preconditioner: the inverse of the diagonal that the whole matrix has in expectation, if the row's entries are drawn
/// uniformly from all. Elements of that diagonal below [`LEAST_EXPECTED`] of the largest count as that.
#[inline(always)]
fn diagonals(
    config: &AlsConfig,
    rotated: &Rotated,
    RowWeights { reg, own, .. }: RowWeights,
    base: &mut [f32],
    inverse: &mut [f32],
) {
    let shared = shared_weight(config);
    let least = ((shared + own) * rotated.spectrum.largest + reg) * LEAST_EXPECTED;
    for ((base, inverse), &value) in base.iter_mut().zip(inverse).zip(&*rotated.values) {
        *base = shared * value + reg;
        let expected = (*base + own * value).max(least);
        *inverse = if expected > 0.0 { 1.0 / expected } else { 0.0 };
    }
}

/// Sums `x`, whose length is a multiple of eight, in eight separate sums, so that the compiler can use vector
/// instructions.
#[inline(always)]
fn sum(x: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for x in x.chunks_exact(8) {
        for k in 0..8 {
            sums[k] += x[k];
        }
    }
    sums.iter().sum()
}

/// Returns the dot product, summed in the same way as [`sum`].
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum()
}

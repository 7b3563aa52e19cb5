//! Layer norm (Ba et al. 2016): each row less its mean and divided by its standard deviation, then scaled and shifted.

use super::rows::sum;
#[cfg(feature = "train")]
use crate::simd::dot;
use crate::simd::{Isa, Kernel, Simd, vectorised};

/// Keeps the divisor above 0.
pub const EPSILON: f32 = 1e-8;

/// Rows with mean 0 and standard deviation 1.
pub struct Norm {
    /// `[rows, dim]`
    normalised: Vec<f32>,
    /// `[rows]`: what each row was multiplied by.
    factors: Vec<f32>,
    dim: usize,
}

impl Norm {
    /// Normalises rows `[rows, dim]`.
    pub fn of(x: &[f32], dim: usize) -> Self {
        let mut normalised = x.to_vec();
        let mut factors = vec![0.0; x.len() / dim];
        Isa::best().run(Forward { rows: &mut normalised, factors: &mut factors, dim });
        Self { normalised, factors, dim }
    }

    /// Returns the rows scaled and shifted, `[rows, dim]`.
    pub fn output(&self, scale: &[f32], shift: &[f32]) -> Vec<f32> {
        let mut out = self.normalised.clone();
        vectorised(|| {
            for row in out.chunks_exact_mut(self.dim) {
                row.iter_mut().zip(scale).zip(shift).for_each(|((x, scale), shift)| *x = *x * scale + shift);
            }
        });
        out
    }

    /// Adds the gradient by the norm's input to `by_input`, and those by its scale and shift, from `grad`, the gradient by
    /// its output.
    #[cfg(feature = "train")]
    pub fn backward(
        &self,
        grad: &mut [f32],
        scale: &[f32],
        by_scale: &mut [f32],
        by_shift: &mut [f32],
        by_input: &mut [f32],
    ) {
        Isa::best().run(Backward { norm: self, grad, scale, by_scale, by_shift, by_input });
    }
}

struct Forward<'a> {
    rows: &'a mut [f32],
    factors: &'a mut [f32],
    dim: usize,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let dim = self.dim;
        for (row, factor) in self.rows.chunks_exact_mut(dim).zip(self.factors) {
            let mean = sum(row, |x| x) / dim as f32;
            row.iter_mut().for_each(|x| *x -= mean);
            *factor = 1.0 / (sum(row, |x| x * x) / dim as f32 + EPSILON).sqrt();
            row.iter_mut().for_each(|x| *x *= *factor);
        }
    }
}

/// The arguments of [`Norm::backward`].
#[cfg(feature = "train")]
struct Backward<'a> {
    norm: &'a Norm,
    grad: &'a mut [f32],
    scale: &'a [f32],
    by_scale: &'a mut [f32],
    by_shift: &'a mut [f32],
    by_input: &'a mut [f32],
}

#[cfg(feature = "train")]
impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { norm, grad, scale, by_scale, by_shift, by_input } = self;
        let dim = norm.dim;
        let rows = grad.chunks_exact_mut(dim).zip(norm.normalised.chunks_exact(dim)).zip(&norm.factors);
        for (((grad, x), factor), by_input) in rows.zip(by_input.chunks_exact_mut(dim)) {
            let by = by_scale.iter_mut().zip(by_shift.iter_mut());
            for ((grad, x), (by_scale, by_shift)) in grad.iter().zip(x).zip(by) {
                *by_scale += grad * x;
                *by_shift += grad;
            }
            grad.iter_mut().zip(scale).for_each(|(grad, scale)| *grad *= scale);
            let mean = sum(grad, |grad| grad) / dim as f32;
            let along = dot(grad, x) / dim as f32;
            for ((by_input, grad), x) in by_input.iter_mut().zip(&*grad).zip(x) {
                *by_input += factor * (grad - mean - x * along);
            }
        }
    }
}

//! Layer norm (Ba et al. 2016): each row less its mean and divided by its standard deviation, then scaled and shifted.

use super::rows::sum;
use crate::simd::{dot, vectorised};

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
        vectorised(|| {
            for (row, factor) in normalised.chunks_exact_mut(dim).zip(&mut factors) {
                let mean = sum(row, |x| x) / dim as f32;
                row.iter_mut().for_each(|x| *x -= mean);
                *factor = 1.0 / (sum(row, |x| x * x) / dim as f32 + EPSILON).sqrt();
                row.iter_mut().for_each(|x| *x *= *factor);
            }
        });
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
        let dim = self.dim;
        vectorised(|| {
            let rows = grad.chunks_exact_mut(dim).zip(self.normalised.chunks_exact(dim)).zip(&self.factors);
            for (((grad, x), factor), by_input) in rows.zip(by_input.chunks_exact_mut(dim)) {
                for (((grad, x), by_scale), by_shift) in
                    grad.iter().zip(x).zip(by_scale.iter_mut()).zip(by_shift.iter_mut())
                {
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
        });
    }
}

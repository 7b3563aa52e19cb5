//! The Gram matrix of factors, which all rows of a sweep share.

use rayon::prelude::*;

use super::kernels::add_weighted;
use super::lines::{Lines, padded};
use crate::simd::{Isa, Kernel, Simd};

/// Rows that are summed in f32 before they are added to a sum in f64.
const BLOCK: usize = 512;

/// The most parts that are summed in parallel. Rows are cut into parts without regard to the number of threads.
const PARTS: usize = 64;

/// Returns `F^T F`, `[dim, dim]`, of factors `F`, `[rows, dim]`; the result does not depend on the number of threads.
pub fn gram(isa: Isa, factors: &[f32], dim: usize) -> Vec<f64> {
    let rows = factors.len() / dim;
    let part = rows.div_ceil(PARTS).next_multiple_of(BLOCK).max(BLOCK);
    let parts: Vec<Vec<f64>> =
        factors.par_chunks(part * dim).map(|rows| isa.run(GramPart { rows, dim })).collect();
    let mut sum = vec![0.0; dim * dim];
    for part in parts {
        sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
    }
    for i in 0..dim {
        for j in 0..i {
            sum[i * dim + j] = sum[j * dim + i];
        }
    }
    sum
}

/// The upper triangle of the Gram matrix of one part of the rows, as a kernel to dispatch.
struct GramPart<'a> {
    rows: &'a [f32],
    dim: usize,
}

impl Kernel for GramPart<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<f64> {
        let (dim, ld) = (self.dim, padded(self.dim));
        let mut sum = vec![0.0; dim * dim];
        let mut block_sum = Lines::zeros(ld * ld);
        for block in self.rows.chunks(BLOCK * dim) {
            block_sum.fill(0.0);
            let rows = Lines::from_rows(block, dim);
            add_weighted(simd, &rows, ld, &[1.0; BLOCK][..block.len() / dim], &mut block_sum);
            for i in 0..dim {
                let (to, from) = (&mut sum[i * dim..(i + 1) * dim], &block_sum[i * ld..i * ld + dim]);
                to.iter_mut().zip(from).for_each(|(to, &from)| *to += f64::from(from));
            }
        }
        sum
    }
}

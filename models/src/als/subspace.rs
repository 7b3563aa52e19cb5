//! Solves a row block by block (iALS++: Rendle, Krichene, Zhang and Koren 2021, algorithm 3).
//!
//! Each block of the row is solved exactly with the other blocks fixed, from the scores of the row's entries, which are
//! kept up to date. A row costs `dim * block_size` instead of `dim^2` for each entry. The paper updates one block of
//! all users before the next block. Here all blocks of one user are updated before the next user; the result is the
//! same, because users do not depend on each other. A row with a block that f32 does not hold is
//! solved exactly, in f64.

use super::normal::{Row, Scratch, Shared};
use super::precise;
use crate::least_squares::kernels::{add_weighted, combine, factorise, gather, scores, solve_factorised};
use crate::least_squares::lines::padded;
use crate::simd::Simd;

/// Improves `x`, which holds the row's current factors, for the entries whose weights are in `scratch`.
#[inline(always)]
pub fn solve<S: Simd>(
    simd: S,
    shared: &Shared,
    fixed: &[f32],
    row: Row<'_>,
    scratch: &mut Scratch,
    x: &mut [f32],
) {
    let Row { cols, reg, .. } = row;
    let (dim, n) = (shared.dim, cols.len());
    let size = shared.config.block_size.min(dim);
    let ld = padded(size);
    let len = n.next_multiple_of(8) * ld;
    let Scratch { rows, add, pull, matrix, vectors, predicted, factors, .. } = scratch;
    rows.grow(dim.div_ceil(size) * len);
    matrix.grow(ld * ld);
    vectors.grow(4 * ld);
    predicted.clear();
    predicted.resize(n, 0.0);
    factors.resize(n, 0.0);
    let (part, rest) = vectors.split_at_mut(ld);
    let (b, rest) = rest.split_at_mut(ld);
    let (inverses, half) = rest.split_at_mut(ld);

    for (start, rows) in (0..dim).step_by(size).zip(rows.chunks_exact_mut(len)) {
        let block = start..dim.min(start + size);
        gather(simd, fixed, dim, block.clone(), cols, ld, rows);
        part.fill(0.0);
        part[..block.len()].copy_from_slice(&x[block]);
        scores(simd, rows, ld, part, factors);
        predicted.iter_mut().zip(&*factors).for_each(|(sum, part)| *sum += part);
    }
    for (start, rows) in (0..dim).step_by(size).zip(rows.chunks_exact_mut(len)) {
        let block = start..dim.min(start + size);
        b.fill(0.0);
        inverses.fill(0.0);
        matrix[..ld * ld].fill(0.0);
        for k in 0..ld {
            matrix[k * ld + k] = 1.0;
        }
        for (k, at) in block.clone().enumerate() {
            let base = &shared.base[at * shared.ld..at * shared.ld + dim];
            b[k] = -reg * x[at] - base.iter().zip(&*x).map(|(a, x)| a * x).sum::<f32>();
            matrix[k * ld..k * ld + block.len()].copy_from_slice(&base[block.clone()]);
            matrix[k * ld + k] += reg;
            inverses[k] = base[at];
        }
        for k in 0..n {
            factors[k] = pull[k] - add[k] * predicted[k];
        }
        combine(simd, rows, ld, factors, b);
        add_weighted(simd, rows, ld, add, matrix);
        if !factorise(simd, matrix, ld, inverses) {
            precise::solve(shared, fixed, row, scratch, x);
            return;
        }
        solve_factorised(simd, matrix, ld, inverses, b, half);
        x[block].iter_mut().zip(&*b).for_each(|(x, step)| *x += step);
        scores(simd, rows, ld, b, factors);
        predicted.iter_mut().zip(&*factors).for_each(|(sum, part)| *sum += part);
    }
}

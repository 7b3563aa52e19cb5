//! The kernels as passes over the memory of tensors on the host. What each computes, and the shapes, are documented at
//! the function of the same name in [`super`].

use std::mem::MaybeUninit;

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use super::{Mask, ReluDropout};
use crate::nn::batch::{Batch, Lookup};
use crate::simd::{dot, vectorised};

/// About how many values a thread takes at a time: enough to be worth the call, few enough for its cache.
const PIECE: usize = 16 * 1024;

/// Returns how many rows of this width make a piece.
fn rows_per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Returns a vector of `n` values that `fill` writes, without setting them to 0 before.
///
/// # Safety
/// `fill` writes all of them.
unsafe fn filled(n: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut out = Vec::with_capacity(n);
    fill(&mut out.spare_capacity_mut()[..n]);
    // SAFETY: there is room for `n` values, and the caller says that all are written.
    unsafe { out.set_len(n) };
    out
}

/// A matrix stored by rows or by columns.
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    /// The number of columns.
    pub cols: usize,
    strides: [isize; 2],
}

impl<'a> Matrix<'a> {
    /// Makes the matrix of `values` `[rows, cols]` row-major, or its transpose.
    pub fn new(values: &'a [f32], [rows, cols]: [usize; 2], transposed: bool) -> Self {
        assert_eq!(values.len(), rows * cols, "as many values as cells");
        match transposed {
            false => Self { values, rows, cols, strides: [cols as isize, 1] },
            true => Self { values, rows: cols, cols: rows, strides: [1, cols as isize] },
        }
    }
}

/// A product of fewer multiplications than this is computed by one thread, because sharing it out costs more.
const SHARED: usize = 1 << 20;

/// Returns `a b`, row-major.
pub fn matmul(a: &Matrix<'_>, b: &Matrix<'_>) -> Vec<f32> {
    assert_eq!(a.cols, b.rows, "the matrices fit each other");
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let threads = match m * n * k < SHARED {
        true => Parallelism::None,
        false => Parallelism::Rayon(0),
    };
    let ([a_row, a_col], [b_row, b_col]) = (a.strides, b.strides);
    let (a, b) = (a.values.as_ptr(), b.values.as_ptr());
    let multiply = |out: &mut [MaybeUninit<f32>]| {
        let out: *mut f32 = out.as_mut_ptr().cast();
        // SAFETY: `Matrix::new` made sure that the strides stay within the values, `out` has `m * n` values, and they
        // are written without being read.
        unsafe {
            gemm(
                m, n, k, out, 1, n as isize, false, a, a_col, a_row, b, b_col, b_row, 0.0, 1.0, false, false,
                false, threads,
            );
        }
    };
    // SAFETY: a product writes all of its output.
    unsafe { filled(m * n, multiply) }
}

/// Calls `work` for each piece, with the index of its first row and its rows.
fn by_rows<T: Send>(out: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let rows = rows_per_piece(width);
    // One closure for both ways, so that `work` has one caller and is compiled into it.
    let piece = |(piece, out): (usize, &mut [T])| vectorised(|| work(piece * rows, out));
    match out.len() <= rows * width {
        true => piece((0, out)),
        false => out.par_chunks_mut(rows * width).enumerate().for_each(piece),
    }
}

/// Does the same as [`by_rows`], and returns the `n_sums` sums to which `work` adds; the sums of the pieces are added
/// in their order.
fn sums_by_rows<T: Send>(
    out: &mut [T],
    width: usize,
    n_sums: usize,
    work: impl Fn(usize, &mut [T], &mut [f32]) + Sync,
) -> Vec<f32> {
    let rows = rows_per_piece(width);
    let piece = |(piece, out): (usize, &mut [T])| {
        let mut sums = vec![0.0; n_sums];
        vectorised(|| work(piece * rows, out, &mut sums));
        sums
    };
    if out.len() <= rows * width {
        return piece((0, out));
    }
    let of_pieces: Vec<Vec<f32>> = out.par_chunks_mut(rows * width).enumerate().map(piece).collect();
    let mut sums = vec![0.0; n_sums];
    of_pieces.iter().for_each(|piece| add(&mut sums, piece));
    sums
}

#[inline(always)]
fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

#[inline(always)]
fn add_scaled(sum: &mut [f32], values: &[f32], scale: f32) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += scale * value);
}

#[inline(always)]
fn row(values: &[f32], row: usize, width: usize) -> &[f32] {
    &values[row * width..(row + 1) * width]
}

pub fn gather(table: &[f32], width: usize, rows: &[u32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * width);
    if rows.len() <= rows_per_piece(width) {
        rows.iter().for_each(|&at| out.extend_from_slice(row(table, at as usize, width)));
        return out;
    }
    let gather = |out: &mut [MaybeUninit<f32>]| {
        by_rows(out, width, |first, out| {
            for (out, &at) in out.chunks_exact_mut(width).zip(&rows[first..]) {
                out.write_copy_of_slice(row(table, at as usize, width));
            }
        });
    };
    // SAFETY: every row is written.
    unsafe { filled(rows.len() * width, gather) }
}

pub fn pair_relu(p: &[f32], q: &[f32], width: usize, batch: &Batch, activation: ReluDropout) -> Vec<f32> {
    let drop = activation.mask();
    let sum = |out: &mut [MaybeUninit<f32>]| {
        by_rows(out, width, |first, out| {
            for (sample, out) in (first..).zip(out.chunks_exact_mut(width)) {
                let p = row(p, batch.users.inverse[sample / batch.per_row] as usize, width);
                let q = row(q, batch.items.inverse[sample] as usize, width);
                write_relu(out, p, q, sample * width, drop);
            }
        });
    };
    // SAFETY: every row is written.
    unsafe { filled(batch.samples() * width, sum) }
}

pub fn catalog_relu(p: &[f32], q: &[f32], width: usize) -> Vec<f32> {
    let items = q.len() / width;
    let sum = |out: &mut [MaybeUninit<f32>]| {
        by_rows(out, width, |first, out| {
            for (pair, out) in (first..).zip(out.chunks_exact_mut(width)) {
                write_relu(out, row(p, pair / items, width), row(q, pair % items, width), 0, None);
            }
        });
    };
    // SAFETY: every row is written.
    unsafe { filled(p.len() / width * q.len(), sum) }
}

/// Writes `relu(p + q)` with dropout; `first` is the index of the first unit.
#[inline(always)]
fn write_relu(out: &mut [MaybeUninit<f32>], p: &[f32], q: &[f32], first: usize, drop: Option<Mask>) {
    let sums = out.iter_mut().zip(p).zip(q);
    match drop {
        None => sums.for_each(|((out, p), q)| _ = out.write((p + q).max(0.0))),
        Some(drop) => {
            for (number, ((out, p), q)) in (first as u32..).zip(sums) {
                out.write((p + q).max(0.0) * drop.factor(number));
            }
        }
    }
}

/// Turns the gradient by an activation's output into that by its input: 0 where the output is 0, whether by the ReLU or
/// by the dropout.
#[inline(always)]
fn relu_backward(grad: &mut [f32], output: &[f32], scale: f32) {
    for (grad, output) in grad.iter_mut().zip(output) {
        *grad = if *output > 0.0 { *grad * scale } else { 0.0 };
    }
}

pub fn segment_sums(values: &[f32], width: usize, batch: &Batch) -> [Vec<f32>; 2] {
    let per_user = batch.per_row * width;
    let mut by_user = vec![0.0; batch.users.n_unique() * width];
    by_rows(&mut by_user, width, |first, out| {
        for (user, out) in (first..).zip(out.chunks_exact_mut(width)) {
            for &entry in batch.users.segment(user) {
                row(values, entry as usize, per_user).chunks_exact(width).for_each(|value| add(out, value));
            }
        }
    });
    let mut by_item = vec![0.0; batch.items.n_unique() * width];
    by_rows(&mut by_item, width, |first, out| {
        for (item, out) in (first..).zip(out.chunks_exact_mut(width)) {
            for &sample in batch.items.segment(item) {
                add(out, row(values, sample as usize, width));
            }
        }
    });
    [by_user, by_item]
}

pub fn bias_relu(x: &mut [f32], bias: &[f32], activation: ReluDropout) {
    let (width, drop) = (bias.len(), activation.mask());
    by_rows(x, width, |first, x| {
        for x in x.chunks_exact_mut(width) {
            x.iter_mut().zip(bias).for_each(|(x, bias)| *x = (*x + bias).max(0.0));
        }
        if let Some(drop) = drop {
            let units = ((first * width) as u32..).zip(x);
            units.for_each(|(number, unit)| *unit *= drop.factor(number));
        }
    });
}

/// Turns `grad` into the gradient by the input, and returns that by the bias.
pub fn bias_relu_backward(
    grad: &mut [f32],
    output: &[f32],
    width: usize,
    activation: ReluDropout,
) -> Vec<f32> {
    sums_by_rows(grad, width, width, |first, grad, grad_bias| {
        relu_backward(grad, &output[first * width..], activation.scale());
        grad.chunks_exact(width).for_each(|grad| add(grad_bias, grad));
    })
}

pub fn output_backward(
    grad: &[f32],
    output: &[f32],
    weight: &[f32],
    activation: ReluDropout,
) -> [Vec<f32>; 3] {
    let (width, scale) = (weight.len(), activation.scale());
    let mut sums = Vec::new();
    let back = |grad_x: &mut [MaybeUninit<f32>]| {
        sums = sums_by_rows(grad_x, width, 2 * width, |first, grad_x, sums| {
            let (grad_bias, grad_weight) = sums.split_at_mut(width);
            let samples = grad_x.chunks_exact_mut(width).zip(output[first * width..].chunks_exact(width));
            for ((grad_x, output), grad) in samples.zip(&grad[first..]) {
                add_scaled(grad_weight, output, *grad);
                let units = grad_x.iter_mut().zip(grad_bias.iter_mut()).zip(output).zip(weight);
                for (((grad_x, grad_bias), output), weight) in units {
                    let back = if *output > 0.0 { grad * weight * scale } else { 0.0 };
                    grad_x.write(back);
                    *grad_bias += back;
                }
            }
        });
    };
    // SAFETY: every row is written.
    let grad_x = unsafe { filled(output.len(), back) };
    let grad_weight = sums.split_off(width);
    [grad_x, sums, grad_weight]
}

pub fn pair_dots(p: &[f32], q: &[f32], weight: Option<&[f32]>, batch: &Batch) -> Vec<f32> {
    let dim = p.len() / batch.users.n_unique().max(1);
    let weighted = weighted(p, weight, dim);
    let p = weighted.as_deref().unwrap_or(p);
    let mut out = vec![0.0; batch.samples()];
    // A sample reads two rows of `dim` values.
    let samples = rows_per_piece(2 * dim);
    out.par_chunks_mut(samples).enumerate().for_each(|(piece, out)| {
        vectorised(|| {
            for (sample, out) in (piece * samples..).zip(out) {
                let p = row(p, batch.users.inverse[sample / batch.per_row] as usize, dim);
                *out = dot(p, row(q, batch.items.inverse[sample] as usize, dim));
            }
        });
    });
    out
}

/// Multiplies each row by `weight`, element by element, where there is one.
fn weighted(rows: &[f32], weight: Option<&[f32]>, dim: usize) -> Option<Vec<f32>> {
    let weight = weight?;
    let mut out = rows.to_vec();
    by_rows(&mut out, dim, |_, out| {
        for out in out.chunks_exact_mut(dim) {
            out.iter_mut().zip(weight).for_each(|(out, weight)| *out *= weight);
        }
    });
    Some(out)
}

pub fn pair_dots_backward(
    grad: &[f32],
    p: &[f32],
    q: &[f32],
    weight: Option<&[f32]>,
    batch: &Batch,
) -> [Vec<f32>; 3] {
    let dim = p.len() / batch.users.n_unique().max(1);
    let mut grad_p = vec![0.0; p.len()];
    let grad_weight = sums_by_rows(&mut grad_p, dim, dim, |first, out, grad_weight| {
        for (user, out) in (first..).zip(out.chunks_exact_mut(dim)) {
            for &entry in batch.users.segment(user) {
                let samples = entry as usize * batch.per_row..(entry as usize + 1) * batch.per_row;
                for sample in samples {
                    add_scaled(out, row(q, batch.items.inverse[sample] as usize, dim), grad[sample]);
                }
            }
            let p = row(p, user, dim);
            grad_weight.iter_mut().zip(p).zip(&*out).for_each(|((sum, p), out)| *sum += p * out);
        }
    });
    let mut grad_q = vec![0.0; q.len()];
    by_rows(&mut grad_q, dim, |first, out| {
        for (item, out) in (first..).zip(out.chunks_exact_mut(dim)) {
            for &sample in batch.items.segment(item) {
                let user = batch.users.inverse[sample as usize / batch.per_row];
                add_scaled(out, row(p, user as usize, dim), grad[sample as usize]);
            }
        }
    });
    let grad_p = weighted(&grad_p, weight, dim).unwrap_or(grad_p);
    let grad_q = weighted(&grad_q, weight, dim).unwrap_or(grad_q);
    [grad_p, grad_q, grad_weight]
}

pub fn add_biases(scores: &mut [f32], user_bias: &[f32], item_bias: &[f32], constant: f32, batch: &Batch) {
    by_rows(scores, 1, |first, scores| {
        for (sample, score) in (first..).zip(scores) {
            let user = batch.users.inverse[sample / batch.per_row] as usize;
            *score += constant + user_bias[user] + item_bias[batch.items.inverse[sample] as usize];
        }
    });
}

/// Adds the penalty's gradient to `grad`, and returns the sum of the squared norms.
pub fn add_l2(
    grad: &mut [f32],
    rows: &[f32],
    width: usize,
    factor: f32,
    per_entry: usize,
    lookup: &Lookup,
) -> f32 {
    sums_by_rows(grad, width, 1, |first, grad, sum| {
        for (unique, grad) in (first..).zip(grad.chunks_exact_mut(width)) {
            let row = row(rows, unique, width);
            let count = (lookup.segment(unique).len() * per_entry) as f32;
            add_scaled(grad, row, factor * count);
            sum[0] += count * dot(row, row);
        }
    })[0]
}

//! The kernels as passes over the numbers of tensors in the memory of the host.

use std::mem::MaybeUninit;

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use super::Hidden;
use crate::nn::batch::{Batch, Side};
use crate::simd::{dot, vectorised};

/// About how many numbers a thread takes at a time: enough to be worth the call, few enough for its cache.
const PIECE: usize = 16 * 1024;

/// How many rows of this width make a piece.
fn rows_per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// `n` numbers that `fill` writes.
///
/// # Safety
/// It writes all of them.
unsafe fn filled(n: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut out = Vec::with_capacity(n);
    fill(&mut out.spare_capacity_mut()[..n]);
    // SAFETY: there is room for `n` numbers, and the caller says that all are written.
    unsafe { out.set_len(n) };
    out
}

/// A matrix of rows one behind the other, or of columns.
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    /// How many columns it has.
    pub cols: usize,
    strides: [isize; 2],
}

impl<'a> Matrix<'a> {
    /// Of `values` `[rows, cols]` row-major, `turned` over its diagonal or not.
    pub fn new(values: &'a [f32], [rows, cols]: [usize; 2], turned: bool) -> Self {
        assert_eq!(values.len(), rows * cols, "as many numbers as cells");
        match turned {
            false => Self { values, rows, cols, strides: [cols as isize, 1] },
            true => Self { values, rows: cols, cols: rows, strides: [1, cols as isize] },
        }
    }
}

/// The numbers of a product below which it is not worth to share it out among threads.
const SHARED: usize = 1 << 20;

/// `a b`, row-major.
pub fn product(a: &Matrix<'_>, b: &Matrix<'_>) -> Vec<f32> {
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
        // SAFETY: `Matrix::new` saw that the strides stay within the values, `out` has `m * n` numbers, and they are
        // written without being read.
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

/// Calls `work` with the number of the first row and the rows of each piece.
fn by_rows<T: Send>(out: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let rows = rows_per_piece(width);
    // One closure for both ways, so that `work` has one caller and is compiled into it.
    let piece = |(piece, out): (usize, &mut [T])| vectorised(|| work(piece * rows, out));
    match out.len() <= rows * width {
        true => piece((0, out)),
        false => out.par_chunks_mut(rows * width).enumerate().for_each(piece),
    }
}

/// As [`by_rows`], and sums up what the pieces give, in their order.
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
    let parts: Vec<Vec<f32>> = out.par_chunks_mut(rows * width).enumerate().map(piece).collect();
    let mut sums = vec![0.0; n_sums];
    parts.iter().for_each(|part| add(&mut sums, part));
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

pub fn pair_sums(p: &[f32], q: &[f32], width: usize, batch: &Batch, hidden: Hidden) -> Vec<f32> {
    let drop = Dropper::new(hidden);
    let sum = |out: &mut [MaybeUninit<f32>]| {
        by_rows(out, width, |first, out| {
            for (sample, out) in (first..).zip(out.chunks_exact_mut(width)) {
                let p = row(p, batch.users.places[sample / batch.per_row] as usize, width);
                let q = row(q, batch.items.places[sample] as usize, width);
                rectified_sum(out, p, q, sample * width, drop);
            }
        });
    };
    // SAFETY: every row is written.
    unsafe { filled(batch.samples() * width, sum) }
}

pub fn catalog_sums(p: &[f32], q: &[f32], width: usize) -> Vec<f32> {
    let items = q.len() / width;
    let sum = |out: &mut [MaybeUninit<f32>]| {
        by_rows(out, width, |first, out| {
            for (pair, out) in (first..).zip(out.chunks_exact_mut(width)) {
                rectified_sum(out, row(p, pair / items, width), row(q, pair % items, width), 0, None);
            }
        });
    };
    // SAFETY: every row is written.
    unsafe { filled(p.len() / width * q.len(), sum) }
}

/// Units of which the first has this number.
#[inline(always)]
fn rectified_sum(out: &mut [MaybeUninit<f32>], p: &[f32], q: &[f32], first: usize, drop: Option<Dropper>) {
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

/// Which units are dropped.
#[derive(Clone, Copy)]
struct Dropper {
    scale: f32,
    below: u32,
    seeds: [u32; 2],
}

impl Dropper {
    /// `None`: nothing is dropped.
    fn new(hidden: Hidden) -> Option<Self> {
        let below = (hidden.dropout * f64::from(u32::MAX)) as u32;
        let seeds = [hidden.seed as u32, (hidden.seed >> 32) as u32];
        (hidden.dropout > 0.0).then(|| Self { scale: hidden.scale(), below, seeds })
    }

    /// What the unit of this number is multiplied with.
    #[inline(always)]
    fn factor(self, number: u32) -> f32 {
        let drawn = mixed(mixed(number ^ self.seeds[0]).wrapping_add(self.seeds[1]));
        if drawn < self.below { 0.0 } else { self.scale }
    }
}

/// A well-mixed function of a number (Wellons 2018, "Prospecting for Hash Functions").
#[inline(always)]
fn mixed(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// A unit that is 0 was cut off or dropped: neither has a slope.
#[inline(always)]
fn mask(slopes: &mut [f32], output: &[f32], scale: f32) {
    for (slope, output) in slopes.iter_mut().zip(output) {
        *slope = if *output > 0.0 { *slope * scale } else { 0.0 };
    }
}

/// Sums rows `[samples, width]` by user and by item.
pub fn sums_by_side(values: &[f32], width: usize, batch: &Batch) -> [Vec<f32>; 2] {
    let per_user = batch.per_row * width;
    let mut by_user = vec![0.0; batch.users.distinct() * width];
    by_rows(&mut by_user, width, |first, out| {
        for (place, out) in (first..).zip(out.chunks_exact_mut(width)) {
            for &member in batch.users.members(place) {
                row(values, member as usize, per_user).chunks_exact(width).for_each(|value| add(out, value));
            }
        }
    });
    let mut by_item = vec![0.0; batch.items.distinct() * width];
    by_rows(&mut by_item, width, |first, out| {
        for (place, out) in (first..).zip(out.chunks_exact_mut(width)) {
            for &member in batch.items.members(place) {
                add(out, row(values, member as usize, width));
            }
        }
    });
    [by_user, by_item]
}

pub fn rectify(sums: &mut [f32], bias: &[f32], hidden: Hidden) {
    let (width, drop) = (bias.len(), Dropper::new(hidden));
    by_rows(sums, width, |first, sums| {
        for sums in sums.chunks_exact_mut(width) {
            sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum = (*sum + bias).max(0.0));
        }
        if let Some(drop) = drop {
            let units = ((first * width) as u32..).zip(sums);
            units.for_each(|(number, unit)| *unit *= drop.factor(number));
        }
    });
}

/// Masks the slopes, and gives the bias's.
pub fn rectify_back(slopes: &mut [f32], output: &[f32], width: usize, hidden: Hidden) -> Vec<f32> {
    sums_by_rows(slopes, width, width, |first, slopes, sums| {
        mask(slopes, &output[first * width..], hidden.scale());
        slopes.chunks_exact(width).for_each(|slopes| add(sums, slopes));
    })
}

pub fn last_back(slopes: &[f32], output: &[f32], weight: &[f32], hidden: Hidden) -> [Vec<f32>; 3] {
    let (width, scale) = (weight.len(), hidden.scale());
    let mut both = Vec::new();
    let back = |sums: &mut [MaybeUninit<f32>]| {
        both = sums_by_rows(sums, width, 2 * width, |first, sums, both| {
            let (of_bias, of_weight) = both.split_at_mut(width);
            let samples = sums.chunks_exact_mut(width).zip(output[first * width..].chunks_exact(width));
            for ((sums, output), slope) in samples.zip(&slopes[first..]) {
                add_scaled(of_weight, output, *slope);
                let units = sums.iter_mut().zip(of_bias.iter_mut()).zip(output).zip(weight);
                for (((sum, of_bias), output), weight) in units {
                    let back = if *output > 0.0 { slope * weight * scale } else { 0.0 };
                    sum.write(back);
                    *of_bias += back;
                }
            }
        });
    };
    // SAFETY: every row is written.
    let sums = unsafe { filled(output.len(), back) };
    let of_weight = both.split_off(width);
    [sums, both, of_weight]
}

pub fn dots(p: &[f32], q: &[f32], weight: Option<&[f32]>, batch: &Batch) -> Vec<f32> {
    let dim = p.len() / batch.users.distinct().max(1);
    let weighted = weighted(p, weight, dim);
    let p = weighted.as_deref().unwrap_or(p);
    let mut out = vec![0.0; batch.samples()];
    // A sample costs its two rows.
    let samples = rows_per_piece(2 * dim);
    out.par_chunks_mut(samples).enumerate().for_each(|(piece, out)| {
        vectorised(|| {
            for (sample, out) in (piece * samples..).zip(out) {
                let p = row(p, batch.users.places[sample / batch.per_row] as usize, dim);
                *out = dot(p, row(q, batch.items.places[sample] as usize, dim));
            }
        });
    });
    out
}

/// Rows times `weight`, where there is one.
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

pub fn dots_back(
    slopes: &[f32],
    p: &[f32],
    q: &[f32],
    weight: Option<&[f32]>,
    batch: &Batch,
) -> [Vec<f32>; 3] {
    let dim = p.len() / batch.users.distinct().max(1);
    let mut of_p = vec![0.0; p.len()];
    let of_weight = sums_by_rows(&mut of_p, dim, dim, |first, out, of_weight| {
        for (place, out) in (first..).zip(out.chunks_exact_mut(dim)) {
            for &member in batch.users.members(place) {
                let samples = member as usize * batch.per_row..(member as usize + 1) * batch.per_row;
                for sample in samples {
                    add_scaled(out, row(q, batch.items.places[sample] as usize, dim), slopes[sample]);
                }
            }
            let p = row(p, place, dim);
            of_weight.iter_mut().zip(p).zip(&*out).for_each(|((sum, p), out)| *sum += p * out);
        }
    });
    let mut of_q = vec![0.0; q.len()];
    by_rows(&mut of_q, dim, |first, out| {
        for (place, out) in (first..).zip(out.chunks_exact_mut(dim)) {
            for &sample in batch.items.members(place) {
                let user = batch.users.places[sample as usize / batch.per_row];
                add_scaled(out, row(p, user as usize, dim), slopes[sample as usize]);
            }
        }
    });
    let of_p = weighted(&of_p, weight, dim).unwrap_or(of_p);
    let of_q = weighted(&of_q, weight, dim).unwrap_or(of_q);
    [of_p, of_q, of_weight]
}

pub fn add_biases(scores: &mut [f32], of_user: &[f32], of_item: &[f32], constant: f32, batch: &Batch) {
    by_rows(scores, 1, |first, scores| {
        for (sample, score) in (first..).zip(scores) {
            let user = batch.users.places[sample / batch.per_row] as usize;
            *score += constant + of_user[user] + of_item[batch.items.places[sample] as usize];
        }
    });
}

/// Adds to the slopes, and gives the sum of the entries' squared norms.
pub fn decay(
    slopes: &mut [f32],
    rows: &[f32],
    width: usize,
    factor: f32,
    per_entry: usize,
    side: &Side,
) -> f32 {
    sums_by_rows(slopes, width, 1, |first, slopes, sum| {
        for (place, slopes) in (first..).zip(slopes.chunks_exact_mut(width)) {
            let row = row(rows, place, width);
            let count = (side.members(place).len() * per_entry) as f32;
            add_scaled(slopes, row, factor * count);
            sum[0] += count * dot(row, row);
        }
    })[0]
}

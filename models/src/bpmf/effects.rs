//! The effects of what was rated on the means of rows, drawn given the rows.
//!
//! In coordinates in which the prior of the rows has the identity as its precision, the elements of an effect are independent
//! of each other. So the elements are cut into blocks that are drawn in parallel, and in a block one effect after the other
//! given all others, from the residuals of the rows, which are kept up to date: two passes over the entries, in place of the
//! `width / 2` of the rows' normal equations.

use burnrec_data::Csr;
use rayon::prelude::*;

use super::dense;
use super::posterior::add_shift;
use super::prior::{Prior, gamma};
use super::source::Source;
use crate::least_squares::lines::{LINE, Lines, padded};
use crate::least_squares::{each_row, normal};
use crate::simd::{Isa, Kernel, Simd, vectorised};

/// The effects on one side's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Effects {
    /// `[n_cols, width]`
    pub values: Vec<f32>,
    /// By what their precision is times that of the rows' prior.
    pub strength: f32,
    /// `[n_rows, width]`: what they add to the mean of each row.
    pub shifts: Vec<f32>,
}

/// Elements of all rows or effects, in coordinates of their own.
type Block = Vec<[f32; LINE]>;

impl Effects {
    /// Starts from effects of 0.
    pub fn zeros(n_rows: usize, n_cols: usize, width: usize) -> Self {
        Self { values: vec![0.0; n_cols * width], strength: 1.0, shifts: vec![0.0; n_rows * width] }
    }

    /// Starts from these effects, `[n_cols, width]`, of the entries of `rows`, `[n_rows, n_cols]`.
    pub fn of(values: Vec<f32>, strength: f32, rows: &Csr, width: usize) -> Self {
        let mut effects = Self { values, strength, shifts: vec![0.0; rows.n_rows() * width] };
        effects.shift(rows, width);
        effects
    }

    /// Draws the effects and then their strength, given the `factors`, `[n_rows, width]`, of `rows`, `[n_rows, n_cols]`, and
    /// their prior; `cols` is the transpose of `rows`.
    pub fn draw(&mut self, [rows, cols]: [&Csr; 2], factors: &[f32], prior: &Prior, source: Source) {
        let width = prior.mean.len();
        let residuals: Vec<f32> = factors
            .chunks_exact(width)
            .zip(self.shifts.chunks_exact(width))
            .flat_map(|(x, s)| x.iter().zip(s).zip(&prior.mean).map(|((x, s), &m)| x - s - m as f32))
            .collect();
        let root: Vec<f32> = prior.root.iter().map(|&x| x as f32).collect();
        let scales: Vec<f32> =
            rows.offsets().windows(2).map(|ends| ((ends[1] - ends[0]) as f32).sqrt().recip()).collect();
        let strength = self.strength;
        let (blocks, squares): (Vec<Block>, Vec<f64>) = (0..width.div_ceil(LINE))
            .into_par_iter()
            .map(|block| {
                vectorised(|| {
                    let at = block * LINE..width.min((block + 1) * LINE);
                    let mut rows = rotated(&residuals, &root, width, at.clone());
                    let mut effects = rotated(&self.values, &root, width, at.clone());
                    let source = |col: usize| source.rng(col * width.div_ceil(LINE) + block);
                    let mut squares = 0.0;
                    for (col, effect) in effects.iter_mut().enumerate() {
                        let mut noise = [0.0; LINE];
                        normal(&mut source(col), 1.0, &mut noise[..at.len()]);
                        let entries = cols.row(col).0;
                        redraw(effect, &mut rows, entries, &scales, strength, &noise);
                        squares += effect.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
                    }
                    (effects, squares)
                })
            })
            .unzip();
        let (shape, rate) = (1.0 + self.values.len() as f64 / 2.0, 1.0 + squares.iter().sum::<f64>() / 2.0);
        let rng = &mut source.rng(cols.n_rows() * width.div_ceil(LINE));
        self.strength = (gamma(shape, rng) / rate) as f32;
        self.values.par_chunks_exact_mut(width).enumerate().for_each(|(col, to)| {
            let elements = blocks.iter().flat_map(|block| block[col]);
            let mut x: Vec<f64> = elements.take(width).map(f64::from).collect();
            dense::solve_upper(&prior.root, width, &mut x);
            to.iter_mut().zip(x).for_each(|(to, x)| *to = x as f32);
        });
        self.shift(rows, width);
    }

    /// Computes the shifts of the current effects.
    fn shift(&mut self, rows: &Csr, width: usize) {
        let effects = &self.values;
        let isa = Isa::best();
        each_row(
            rows.offsets(),
            width,
            [&mut self.shifts],
            &|_| {},
            |scratch: &mut (Lines, Vec<f32>), row, [out]| {
                let (lines, weights) = scratch;
                isa.run(Shift { effects, cols: rows.row(row).0, width, lines, weights, out });
            },
        );
    }
}

/// Returns elements `at` of `U v` for each row `v` of `values`, `[_, width]`, with `U`, `[width, width]`, upper triangular.
#[inline(always)]
fn rotated(values: &[f32], root: &[f32], width: usize, at: std::ops::Range<usize>) -> Block {
    let row = |v: &[f32]| {
        let mut out = [0.0; LINE];
        for (out, i) in out.iter_mut().zip(at.clone()) {
            *out = crate::simd::dot(&root[i * width + i..(i + 1) * width], &v[i..]);
        }
        out
    };
    values.chunks_exact(width).map(row).collect()
}

/// Draws one effect given all others, from the residuals of the rows that have it, and keeps these up to date.
#[inline(always)]
fn redraw(
    effect: &mut [f32; LINE],
    rows: &mut [[f32; LINE]],
    entries: &[u32],
    scales: &[f32],
    strength: f32,
    noise: &[f32; LINE],
) {
    let (mut sums, mut weight) = ([0.0f32; LINE], 0.0f32);
    for &row in entries {
        let scale = scales[row as usize];
        weight += scale * scale;
        sums.iter_mut().zip(&rows[row as usize]).for_each(|(sum, x)| *sum += scale * x);
    }
    let precision = weight + strength;
    let mut change = [0.0f32; LINE];
    for k in 0..LINE {
        let drawn = (sums[k] + weight * effect[k]) / precision + noise[k] / precision.sqrt();
        change[k] = drawn - effect[k];
        effect[k] = drawn;
    }
    for &row in entries {
        let scale = scales[row as usize];
        rows[row as usize].iter_mut().zip(&change).for_each(|(x, change)| *x -= scale * change);
    }
}

/// The shift of one row, as a kernel to dispatch.
struct Shift<'a> {
    effects: &'a [f32],
    cols: &'a [u32],
    width: usize,
    lines: &'a mut Lines,
    weights: &'a mut Vec<f32>,
    out: &'a mut [f32],
}

impl Kernel for Shift<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut sum = Lines::zeros(padded(self.width));
        add_shift(simd, self.effects, self.cols, self.width, self.lines, self.weights, &mut sum);
        self.out.copy_from_slice(&sum[..self.width]);
    }
}

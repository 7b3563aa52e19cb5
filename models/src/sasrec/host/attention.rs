//! Causal attention by scaled dot products (Vaswani et al. 2017), sequence by sequence: row `i` of a sequence reads rows up to
//! `i`, so that products are over blocks of rows and the keys before their end.

use std::ops::Range;

use super::ends;
use super::rows::powers;
use crate::sasrec::SasrecConfig;
use crate::sasrec::matrix::{View, ViewMut};
#[cfg(feature = "train")]
use crate::simd::{Isa, Kernel, Simd};
use crate::simd::{dot, vectorised};

/// How many rows of a sequence are computed together.
const BLOCK: usize = 64;

/// What the backward pass needs.
pub struct Attention {
    /// The probabilities of all blocks of all heads and sequences, one after the other, each `[rows, keys]`.
    probabilities: Vec<f32>,
}

/// A block of rows of a sequence, for one head.
struct Block {
    /// The rows of the piece.
    rows: Range<usize>,
    /// The rows of the piece whose keys and values they read, as far as their order allows.
    keys: Range<usize>,
    /// The head's columns of queries; those of keys and values are `dim` and `2 dim` after.
    cols: Range<usize>,
    /// Where the probabilities are.
    at: Range<usize>,
}

/// Returns all blocks.
fn blocks(lengths: &[usize], config: &SasrecConfig) -> Vec<Block> {
    let width = config.dim / config.heads;
    let (mut blocks, mut from) = (Vec::new(), 0);
    for (end, length) in ends(lengths).zip(lengths) {
        let start = end - length;
        for head in 0..config.heads {
            for first in (start..end).step_by(BLOCK) {
                let last = (first + BLOCK).min(end);
                let at = from..from + (last - first) * (last - start);
                from = at.end;
                let cols = head * width..(head + 1) * width;
                blocks.push(Block { rows: first..last, keys: start..last, cols, at });
            }
        }
    }
    blocks
}

/// The factor of dot products of queries and keys.
fn scale(config: &SasrecConfig) -> f32 {
    1.0 / ((config.dim / config.heads) as f32).sqrt()
}

impl Block {
    /// Returns the queries, keys and values of `qkv`, `[rows, 3 * dim]`.
    fn of<'a>(&self, qkv: &'a [f32], dim: usize) -> [View<'a>; 3] {
        let part = |rows: &Range<usize>, first: usize| {
            let cols = first + self.cols.start..first + self.cols.end;
            View::new(qkv, 3 * dim).part(rows.clone(), cols)
        };
        [part(&self.rows, 0), part(&self.keys, dim), part(&self.keys, 2 * dim)]
    }
}

impl Attention {
    /// Returns the probabilities, and the values that they weigh, `[rows, dim]`, of `qkv`, `[rows, 3 * dim]`.
    pub fn forward(qkv: &[f32], lengths: &[usize], config: &SasrecConfig) -> (Self, Vec<f32>) {
        let (dim, scale) = (config.dim, scale(config));
        let blocks = blocks(lengths, config);
        let mut probabilities = vec![0.0; blocks.last().map_or(0, |block| block.at.end)];
        let mut out = vec![0.0; qkv.len() / 3];
        for block in &blocks {
            let [queries, keys, values] = block.of(qkv, dim);
            let n_keys = block.keys.len();
            let chosen = &mut probabilities[block.at.clone()];
            ViewMut::new(chosen, n_keys).set(queries, keys.transposed(), scale);
            let first = block.rows.start - block.keys.start;
            for (row, scores) in (first..).zip(chosen.chunks_exact_mut(n_keys)) {
                let (scores, later) = scores.split_at_mut(row + 1);
                softmax(scores);
                later.fill(0.0);
            }
            let out = ViewMut::new(&mut out, dim).part(block.rows.clone(), block.cols.clone());
            out.set(View::new(chosen, n_keys), values, 1.0);
        }
        (Self { probabilities }, out)
    }

    /// Returns the gradient by `qkv` from that by the output.
    #[cfg(feature = "train")]
    pub fn backward(&self, grad: &[f32], qkv: &[f32], lengths: &[usize], config: &SasrecConfig) -> Vec<f32> {
        let (dim, scale) = (config.dim, scale(config));
        let mut by_qkv = vec![0.0; qkv.len()];
        let mut by_scores = Vec::new();
        for block in blocks(lengths, config) {
            let [queries, keys, values] = block.of(qkv, dim);
            let n_keys = block.keys.len();
            let probabilities = &self.probabilities[block.at.clone()];
            let grad = View::new(grad, dim).part(block.rows.clone(), block.cols.clone());
            by_scores.resize(probabilities.len(), 0.0);
            ViewMut::new(&mut by_scores, n_keys).set(grad, values.transposed(), 1.0);
            let rows = by_scores.chunks_exact_mut(n_keys).zip(probabilities.chunks_exact(n_keys));
            for (by_scores, probabilities) in rows {
                Isa::best().run(SoftmaxBackward { by_scores, probabilities });
            }
            let mut out = |rows: &Range<usize>, first: usize, a: View<'_>, b: View<'_>, scale: f32| {
                let cols = first + block.cols.start..first + block.cols.end;
                ViewMut::new(&mut by_qkv, 3 * dim).part(rows.clone(), cols).add(a, b, scale);
            };
            let by_scores = View::new(&by_scores, n_keys);
            out(&block.rows, 0, by_scores, keys, scale);
            out(&block.keys, dim, by_scores.transposed(), queries, scale);
            out(&block.keys, 2 * dim, View::new(probabilities, n_keys).transposed(), grad, 1.0);
        }
        by_qkv
    }
}

/// Adds the output of attention to `x` for the newest row of each sequence, all `[sequences, dim]`; `keys_values` is
/// `[rows, 2 * dim]`.
pub fn add_newest(
    x: &mut [f32],
    queries: &[f32],
    keys_values: &[f32],
    lengths: &[usize],
    config: &SasrecConfig,
) {
    let (dim, width, scale) = (config.dim, config.dim / config.heads, scale(config));
    let mut scores = Vec::new();
    let rows = x.chunks_exact_mut(dim).zip(queries.chunks_exact(dim)).zip(ends(lengths)).zip(lengths);
    for (((x, query), end), length) in rows {
        let read = &keys_values[(end - length) * 2 * dim..end * 2 * dim];
        let heads = x.chunks_exact_mut(width).zip(query.chunks_exact(width));
        for (head, (x, query)) in heads.enumerate() {
            let cols = |first: usize| first + head * width..first + (head + 1) * width;
            scores.resize(*length, 0.0);
            vectorised(|| {
                for (score, row) in scores.iter_mut().zip(read.chunks_exact(2 * dim)) {
                    *score = scale * dot(query, &row[cols(0)]);
                }
            });
            softmax(&mut scores);
            vectorised(|| {
                for (score, row) in scores.iter().zip(read.chunks_exact(2 * dim)) {
                    x.iter_mut().zip(&row[cols(dim)]).for_each(|(x, value)| *x += score * value);
                }
            });
        }
    }
}

/// Turns scores into probabilities.
fn softmax(scores: &mut [f32]) {
    let [_, sum] = powers(scores, f32::NEG_INFINITY);
    let factor = 1.0 / sum;
    vectorised(|| scores.iter_mut().for_each(|score| *score *= factor));
}

/// Turns the gradients by probabilities into those by the scores that they were made of.
#[cfg(feature = "train")]
struct SoftmaxBackward<'a> {
    by_scores: &'a mut [f32],
    probabilities: &'a [f32],
}

#[cfg(feature = "train")]
impl Kernel for SoftmaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mean = dot(self.by_scores, self.probabilities);
        for (by_score, probability) in self.by_scores.iter_mut().zip(self.probabilities) {
            *by_score = probability * (*by_score - mean);
        }
    }
}

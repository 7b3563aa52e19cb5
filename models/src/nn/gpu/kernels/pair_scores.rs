//! Scores of pairs without a gradient: the twin of [`super::score`] for what is not trained.
//!
//! Launches: [`all_pairs`] a unit a pair; [`pair_scores`] cubes of 256 units, eight units a pair, which read `h` and both
//! vectors of the dot product once.

use cubecl::prelude::*;

use super::score::{Parts, class_weight, four};
use super::shared::V4;

/// The pairs that a cube scores.
pub const PAIRS: usize = 32;

/// Writes the users and items of `n` pairs of the catalogue, from pair `first` of it on: all items of the first of `rows`,
/// then all of the next.
#[cube(launch_unchecked)]
pub fn all_pairs(rows: &[u32], users: &mut [u32], items: &mut [u32], first: u32, n: u32, n_items: u32) {
    let at = ABSOLUTE_POS as u32;
    if at < n {
        let pair = first + at;
        users[at as usize] = rows[(pair / n_items) as usize];
        items[at as usize] = pair % n_items;
    }
}

/// Writes the scores of `n` pairs to `scores` from `first` on. `h` is the output of the last hidden layer, `[n, 4 last4]`;
/// the offsets are those of [`score`](super::score::score).
#[cube(launch_unchecked)]
pub fn pair_scores(
    h: &[V4],
    weights: &[f32],
    weights4: &[V4],
    users: &[u32],
    items: &[u32],
    scores: &mut [f32],
    user_vectors: u32,
    item_vectors: u32,
    dim4: u32,
    dot_weight: u32,
    user_biases: u32,
    item_biases: u32,
    constant: f32,
    output_weight: u32,
    output_bias: u32,
    class_length: u32,
    last4: u32,
    first: u32,
    n: u32,
    #[comptime] parts: Parts,
) {
    let mut sh_parts = Shared::<[f32]>::new_slice(256usize);
    let t = UNIT_POS as usize;
    let c = t % 8;
    let cube = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize;
    let pair = cube * PAIRS + t / 8;
    let dim4 = dim4 as usize;
    let last4 = last4 as usize;
    let class_length = class_length as usize;
    let mut part = 0.0f32;
    if pair < n as usize {
        let user = users[pair] as usize;
        let item = items[pair] as usize;
        if comptime!(parts.dot) {
            let mut k = c;
            while k < dim4 {
                let mut product = weights4[user_vectors as usize + user * dim4 + k]
                    * weights4[item_vectors as usize + item * dim4 + k];
                if comptime!(parts.weighted) {
                    let at = dot_weight as usize / 4 + k;
                    product *= class_weight(weights4, at, class_length, parts.two_classes);
                }
                part += four(product);
                k += 8usize;
            }
        }
        if comptime!(parts.tower) {
            let mut k = c;
            while k < last4 {
                let at = output_weight as usize / 4 + k;
                let weight = class_weight(weights4, at, class_length, parts.two_classes);
                part += four(h[pair * last4 + k] * weight);
                k += 8usize;
            }
        }
        if c == 0 {
            part += constant;
            if comptime!(parts.biases) {
                part += weights[user_biases as usize + user] + weights[item_biases as usize + item];
            }
            if comptime!(parts.weighted || parts.tower) {
                part += weights[output_bias as usize];
                if comptime!(parts.two_classes) {
                    part -= weights[output_bias as usize - 4];
                }
            }
        }
    }
    sh_parts[t] = part;
    sync_cube();
    let pair = cube * PAIRS + t;
    if t < PAIRS && pair < n as usize {
        let mut score = 0.0f32;
        #[unroll]
        for e in 0..8usize {
            score += sh_parts[t * 8 + e];
        }
        scores[first as usize + pair] = score;
    }
}

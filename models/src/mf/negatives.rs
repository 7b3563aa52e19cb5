//! The items that stand for all unseen ones where users are folded in: all of a small catalogue, some of a large one.

use std::ops::Range;

use super::model::Side;
use crate::simd::vectorised;

/// The most items that are drawn, and the largest catalogue that is taken as a whole.
pub const MOST: usize = 4096;

/// The share of the drawn items that goes evenly to all; the others go by popularity.
const EVENLY: f64 = 0.3;

/// Rows have a multiple of this many values.
const LANES: usize = 16;

/// Items drawn once for a model: systematically along the items' biases, with a probability that grows with the square root
/// of the odds that the bias gives, and weighed by its inverse, so that weighted sums over them estimate sums over all items.
/// Nothing here is random.
pub struct Negatives {
    /// `[n]`: how many items each stands for.
    pub weights: Vec<f32>,
    /// `[n]`: mean and item bias.
    base: Vec<f32>,
    /// `[n, width]`: the vectors, padded with zeros.
    rows: Vec<f32>,
    width: usize,
    /// Items, ascending, with their places among the drawn ones.
    places: Vec<(u32, u32)>,
}

impl Negatives {
    /// Draws from the items of a model.
    pub fn new(items: &Side, mean: f32, dim: usize) -> Self {
        let n_items = items.biases.len();
        let drawn = if n_items <= MOST {
            (0..n_items as u32).map(|item| (item, 1.0)).collect()
        } else {
            drawn(&items.biases)
        };
        let n = drawn.len();
        let width = dim.next_multiple_of(LANES);
        let mut all = Self {
            weights: Vec::with_capacity(n),
            base: Vec::with_capacity(n),
            rows: vec![0.0; n * width],
            width,
            places: Vec::with_capacity(n),
        };
        // Steps of the golden section spread neighbours in bias, so that items in a row are of all kinds.
        let step = (0..n).map(|more| (n as f64 * 0.618) as usize + more).find(|&step| gcd(step, n) == 1);
        let step = step.unwrap_or(1);
        for place in 0..n {
            let (item, weight) = drawn[place * step % n];
            all.weights.push(weight);
            all.base.push(mean + items.biases[item as usize]);
            all.rows[place * width..place * width + dim].copy_from_slice(items.vector(item as usize, dim));
            all.places.push((item, place as u32));
        }
        all.places.sort_unstable();
        all
    }

    /// Returns the place of an item among the drawn ones.
    pub fn place(&self, item: u32) -> Option<usize> {
        let at = self.places.binary_search_by_key(&item, |(item, _)| *item).ok()?;
        Some(self.places[at].1 as usize)
    }

    /// Returns the places of `n` items from `start` on, around the end, or of all if there are fewer, and where the next
    /// ones start.
    pub fn runs(&self, start: usize, n: usize) -> ([Range<usize>; 2], usize) {
        let all = self.weights.len();
        if n >= all {
            return ([0..all, 0..0], start);
        }
        let end = start + n;
        ([start..end.min(all), 0..end.saturating_sub(all)], end % all)
    }

    /// Writes the scores of the user `x`, a vector and then a bias.
    pub fn score(&self, x: &[f64], out: &mut [f32]) {
        let (bias, vector) = x.split_last().expect("a bias");
        let mut user = vec![0.0; self.width];
        user.iter_mut().zip(vector).for_each(|(user, &x)| *user = x as f32);
        vectorised(|| {
            for ((out, base), row) in out.iter_mut().zip(&self.base).zip(self.rows.chunks_exact(self.width)) {
                *out = base + *bias as f32 + crate::simd::dot(&user, row);
            }
        });
    }

    /// Adds to the gradient of a user's vector and bias what follows from the derivatives by the scores.
    pub fn pull(&self, slopes: &[f32], gradient: &mut [f64]) {
        let mut sum = vec![0.0f32; self.width];
        vectorised(|| {
            for (slope, row) in slopes.iter().zip(self.rows.chunks_exact(self.width)) {
                sum.iter_mut().zip(row).for_each(|(sum, z)| *sum += slope * z);
            }
        });
        let (bias, vector) = gradient.split_last_mut().expect("a bias");
        vector.iter_mut().zip(&sum).for_each(|(gradient, &sum)| *gradient += f64::from(sum));
        *bias += slopes.iter().map(|&slope| f64::from(slope)).sum::<f64>();
    }
}

/// Draws about [`MOST`] items, in the order of their biases, with their weights.
fn drawn(biases: &[f32]) -> Vec<(u32, f32)> {
    let mut order: Vec<u32> = (0..biases.len() as u32).collect();
    order.sort_by(|&a, &b| biases[a as usize].total_cmp(&biases[b as usize]).then(a.cmp(&b)));
    let most = order.last().map_or(0.0, |&item| biases[item as usize]);
    let odds = |item: u32| (0.5 * f64::from(biases[item as usize] - most)).exp();
    let all: f64 = order.iter().map(|&item| odds(item)).sum();
    let (mut drawn, mut sum, mut next) = (Vec::with_capacity(MOST), 0.0, 0.5);
    for item in order {
        // How often the item is drawn, on average.
        let expected = MOST as f64 * (EVENLY / biases.len() as f64 + (1.0 - EVENLY) * odds(item) / all);
        sum += expected;
        let mut times = 0;
        while next < sum {
            (next, times) = (next + 1.0, times + 1);
        }
        if times > 0 {
            drawn.push((item, (f64::from(times) / expected) as f32));
        }
    }
    drawn
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

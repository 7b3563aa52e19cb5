//! The losses over the drawn unseen items, whose scores come in blocks; in f32.

use crate::mf::negatives::{BLOCK, Slopes};
use crate::simd::exp::{exp, ln_1p};

/// Returns `ln(1 + e^s)` and its derivative.
#[inline(always)]
fn softplus(s: f32) -> (f32, f32) {
    let e = exp(-s.abs());
    let sigmoid = if s > 0.0 { 1.0 } else { e } / (1.0 + e);
    (s.max(0.0) + ln_1p(e), sigmoid)
}

/// The weighted sum of `ln(1 + e^s)`.
#[derive(Default)]
pub struct Logistic {
    /// The sum.
    pub loss: f64,
}

impl Slopes for Logistic {
    #[inline(always)]
    fn block(&mut self, weights: &[f32; BLOCK], scores: &mut [f32; BLOCK]) -> f32 {
        let mut values = [0.0; BLOCK];
        for ((value, s), weight) in values.iter_mut().zip(scores).zip(weights) {
            let (loss, slope) = softplus(*s);
            (*value, *s) = (weight * loss, weight * slope);
        }
        self.loss += f64::from(sum(&values));
        1.0
    }
}

/// The weighted sum of `e^(s - most)`, where `most` rises with the scores.
pub struct Exponential {
    /// The largest score so far.
    pub most: f32,
    /// The sum.
    pub sum: f64,
}

impl Slopes for Exponential {
    #[inline(always)]
    fn block(&mut self, weights: &[f32; BLOCK], scores: &mut [f32; BLOCK]) -> f32 {
        let mut maxima = [self.most; 16];
        for scores in scores.as_chunks::<16>().0 {
            maxima.iter_mut().zip(scores).for_each(|(most, s)| *most = if s > most { *s } else { *most });
        }
        let most = maxima.iter().copied().fold(self.most, f32::max);
        let factor = exp(self.most - most);
        scores.iter_mut().zip(weights).for_each(|(s, weight)| *s = weight * exp(*s - most));
        self.most = most;
        self.sum = self.sum * f64::from(factor) + f64::from(sum(scores));
        factor
    }
}

/// At how many scores [`Pairs`] computes the loss.
const NODES: usize = 64;

/// Beyond this difference of scores `ln(1 + e^difference)` is 0 or the difference, to within 1e-5.
const FAR: f32 = 12.0;

/// Hermite's basis between two nodes, as the factors of 1, u, u^2 and u^3: what the value and the derivative at the first node
/// are multiplied with, and those at the second.
const BASIS: [[f32; 4]; 4] =
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [-3.0, -2.0, 3.0, -1.0], [2.0, 1.0, -2.0, 1.0]];

/// The weighted sum of `ln(1 + e^(s - s_h))` over the seen items h: a smooth function of s, which is computed at [`NODES`]
/// scores and interpolated by cubic polynomials between these.
pub struct Pairs<'a> {
    /// The scores of the seen items.
    seen: &'a [f32],
    /// The weights of their terms.
    by_age: &'a [f32],
    /// The least of the nodes, and the distance between two.
    start: f32,
    step: f32,
    /// The function at the nodes and `step` times its derivative there.
    nodes: [[f32; 2]; NODES],
    /// What each of these is multiplied with, in sum over the scores.
    shares: [[f32; 2]; NODES],
    /// The sum.
    pub loss: f64,
    /// The derivatives by the scores of the seen items.
    pub slopes: Vec<f32>,
}

impl<'a> Pairs<'a> {
    /// Takes the scores of the seen items, and the weights of their terms.
    pub fn new(seen: &'a [f32], by_age: &'a [f32]) -> Self {
        let least = seen.iter().copied().fold(f32::INFINITY, f32::min);
        let most = seen.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Self {
            seen,
            by_age,
            start: least - FAR,
            step: (most - least + 2.0 * FAR) / (NODES - 1) as f32,
            nodes: [[0.0; 2]; NODES],
            shares: [[0.0; 2]; NODES],
            loss: 0.0,
            slopes: vec![0.0; seen.len()],
        }
    }

    #[inline(always)]
    fn node(&self, k: usize) -> f32 {
        self.start + k as f32 * self.step
    }
}

impl Slopes for Pairs<'_> {
    #[inline(always)]
    fn begin(&mut self) {
        let at: [f32; NODES] = std::array::from_fn(|k| self.node(k));
        let (mut values, mut derivatives) = ([0.0; NODES], [0.0; NODES]);
        for (s, by) in self.seen.iter().zip(self.by_age) {
            for ((value, derivative), at) in values.iter_mut().zip(&mut derivatives).zip(&at) {
                let (loss, slope) = softplus(at - s);
                *value += by * loss;
                *derivative += by * slope;
            }
        }
        for (node, (value, derivative)) in self.nodes.iter_mut().zip(values.iter().zip(&derivatives)) {
            *node = [*value, self.step * derivative];
        }
    }

    #[inline(always)]
    fn block(&mut self, weights: &[f32; BLOCK], scores: &mut [f32; BLOCK]) -> f32 {
        let (inverse, last) = (1.0 / self.step, (NODES - 1) as f32);
        let (mut sums, mut above) = ([0.0; 4], 0.0);
        for (s, &weight) in scores.iter_mut().zip(weights) {
            let place = (*s - self.start) * inverse;
            let within = place.clamp(0.0, last);
            let k = (within as usize).min(NODES - 2);
            let u = within - k as f32;
            let nodes: &[f32; 4] = self.nodes[k..k + 2].as_flattened().try_into().expect("two pairs");
            let shares: &mut [f32; 4] =
                self.shares[k..k + 2].as_flattened_mut().try_into().expect("two pairs");
            let [one, first, second, third] = BASIS;
            let mut slopes = [0.0; 4];
            for m in 0..4 {
                let share = weight * (one[m] + u * (first[m] + u * (second[m] + u * third[m])));
                shares[m] += share;
                sums[m] += share * nodes[m];
                slopes[m] = nodes[m] * (first[m] + u * (2.0 * second[m] + u * 3.0 * third[m]));
            }
            // Above the last node the function is a line.
            above += weight * (place - last).max(0.0);
            *s = weight * inverse * slopes.iter().sum::<f32>();
        }
        let sum = sums.iter().sum::<f32>() + above * self.nodes[NODES - 1][1];
        self.loss += f64::from(sum);
        1.0
    }

    #[inline(always)]
    fn end(&mut self) {
        let at: [f32; NODES] = std::array::from_fn(|k| self.node(k));
        let (of_values, of_slopes) = (self.shares.map(|share| share[0]), self.shares.map(|share| share[1]));
        for ((slope, s), by) in self.slopes.iter_mut().zip(self.seen).zip(self.by_age) {
            let mut parts = [0.0; NODES];
            for (((part, at), of_value), of_slope) in
                parts.iter_mut().zip(&at).zip(&of_values).zip(&of_slopes)
            {
                let e = exp(-(at - s).abs());
                let sigmoid = if at > s { 1.0 } else { e } / (1.0 + e);
                *part = sigmoid * (of_value + of_slope * self.step * (1.0 - sigmoid));
            }
            *slope = -by * sum(&parts);
        }
    }
}

/// Returns the sum, in sixteen sums side by side, so that the compiler can use wide registers.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    for values in values.as_chunks::<16>().0 {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    sums.iter().sum()
}

//! Draws the number of rows of each user from a long-tailed distribution.

use rand::distr::Distribution;
use rand_distr::LogNormal;

use super::{SynthConfig, most_rows_of_a_user};
use crate::rng::stream;

/// The standard deviation of the logarithm of a user's number of rows beyond the minimum; it lies between that of
/// ml-1m and that of ml-20m.
const SPREAD: f64 = 1.2;

/// Returns the number of rows of each user, between the minimum and the maximum; they add up to exactly `n_rows`.
pub(super) fn rows_per_user(config: &SynthConfig) -> Vec<u32> {
    let spread = LogNormal::new(0.0, SPREAD).expect("a finite spread");
    let mut rng = stream(config.seed, "synth.activity", 0);
    let drawn: Vec<f64> = (0..config.n_users).map(|_| spread.sample(&mut rng)).collect();
    let (least, most) = (config.min_user_rows, most_rows_of_a_user(config.n_items));
    let rows = |scale: f64| drawn.iter().map(move |x| least + ((x * scale) as u32).min(most - least));
    let sum = |scale: f64| rows(scale).map(u64::from).sum::<u64>();
    // Bisects for the largest scale at which the rounded-down numbers of rows do not exceed the total.
    let total = u64::from(config.n_rows);
    let (mut low, mut high) = (0.0, 1.0);
    while sum(high) <= total && sum(high) < u64::from(config.n_users) * u64::from(most) {
        high *= 2.0;
    }
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if sum(middle) <= total { low = middle } else { high = middle }
    }
    let mut rows: Vec<u32> = rows(low).collect();
    let mut left = total - rows.iter().map(|&n| u64::from(n)).sum::<u64>();
    while left > 0 {
        // What rounding left over goes to the first users who have room, one row each.
        for n in rows.iter_mut().filter(|n| **n < most) {
            if left == 0 {
                break;
            }
            *n += 1;
            left -= 1;
        }
    }
    rows
}

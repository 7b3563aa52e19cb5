//! Confidence intervals by resampling users.
//!
//! The percentile bootstrap (Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13): draw as
//! many users as there are, with replacement, compute the metric, repeat, and take the middle 95 % of the values.
//! Users and not single ranks or ratings are drawn, since those of one user depend on each other. Each resample
//! is drawn once and gives the sums of every column, from which all metrics are computed, so that the values of
//! one resample belong together.

use burnrec_data::rng::stream;
use rand::RngExt;
use rayon::prelude::*;

/// The interval that holds the middle 95 % of resampled values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The 2.5th percentile.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
}

/// Draws users and sums up their rows, `resamples` times.
///
/// `table` is `[n_users, n_cols]`, row-major; the result is `[resamples, n_cols]`: of each resample, the sums of
/// the columns over the drawn users. It depends on `seed`, not on the number of threads.
///
/// # Panics
/// When the length of `table` is not a multiple of `n_cols`.
pub fn resampled_sums(table: &[f64], n_cols: usize, resamples: usize, seed: u64) -> Vec<f64> {
    if table.is_empty() || n_cols == 0 {
        return vec![0.0; resamples * n_cols];
    }
    assert_eq!(table.len() % n_cols, 0, "whole rows");
    let n_users = table.len() / n_cols;
    let mut sums = vec![0.0; resamples * n_cols];
    sums.par_chunks_exact_mut(n_cols).enumerate().for_each_init(
        || vec![0u32; n_users],
        |times, (resample, sums)| {
            // How often each user is drawn; going over users in their order then reads the table from front to back.
            let mut rng = stream(seed, "bootstrap", resample as u64);
            times.fill(0);
            for _ in 0..n_users {
                times[rng.random_range(0..n_users)] += 1;
            }
            for (row, &times) in table.chunks_exact(n_cols).zip(&*times).filter(|(_, times)| **times > 0) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += f64::from(times) * value;
                }
            }
        },
    );
    sums
}

/// Returns the interval that holds the middle 95 % of `values`, with linear interpolation between neighbours; `None` if
/// there are no values. Values that are not a number (a resample without any rated pair) are left out.
pub fn interval(mut values: Vec<f64>) -> Option<Interval> {
    values.retain(|value| !value.is_nan());
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| {
        let position = share * last as f64;
        let (below, above) = (values[position.floor() as usize], values[position.ceil() as usize]);
        below + (above - below) * position.fract()
    };
    Some(Interval { low: at(0.025), high: at(0.975) })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    fn means(table: &[f64], n_cols: usize, resamples: usize, seed: u64) -> Vec<f64> {
        let n_users = (table.len() / n_cols) as f64;
        resampled_sums(table, n_cols, resamples, seed).chunks(n_cols).map(|sums| sums[0] / n_users).collect()
    }

    #[test]
    fn percentiles_by_hand() {
        let values: Vec<f64> = (0..=40).rev().map(f64::from).collect();
        assert_eq!(interval(values), Some(Interval { low: 1.0, high: 39.0 }));
        assert_eq!(interval(vec![1.0, f64::NAN]), Some(Interval { low: 1.0, high: 1.0 }));
        assert_eq!(interval(vec![]), None);
    }

    #[test]
    fn every_resample_draws_as_many_users_as_there_are() {
        let table: Vec<f64> = (0..50).flat_map(|user| [1.0, f64::from(user)]).collect();
        let sums = resampled_sums(&table, 2, 20, 7);
        assert!(sums.chunks(2).all(|sums| sums[0] == 50.0));
        let seconds: Vec<f64> = sums.chunks(2).map(|sums| sums[1]).collect();
        assert!(seconds.windows(2).any(|pair| pair[0] != pair[1]), "resamples differ");
    }

    #[test]
    fn the_seed_decides() {
        let table: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(means(&table, 1, 10, 1), means(&table, 1, 10, 1));
        assert_ne!(means(&table, 1, 10, 1), means(&table, 1, 10, 2));
    }

    #[test]
    fn the_width_is_that_of_a_mean() {
        // Half zeros and half ones, 400 users: the standard error is .025, and 1.96 of it on either side.
        let table: Vec<f64> = (0..400).map(|user| f64::from(user % 2)).collect();
        let found = interval(means(&table, 1, 4000, 3)).unwrap();
        assert!((found.low - 0.451).abs() < 0.005 && (found.high - 0.549).abs() < 0.005, "{found:?}");
    }

    #[test]
    fn intervals_hold_the_truth_about_as_often_as_they_say() {
        let mut rng = Pcg64::seed_from_u64(11);
        let held = (0..300)
            .filter(|&trial| {
                let table: Vec<f64> = (0..100).map(|_| f64::from(rng.random_range(0..10u32) < 3)).collect();
                let found = interval(means(&table, 1, 400, trial)).unwrap();
                found.low <= 0.3 && 0.3 <= found.high
            })
            .count();
        assert!((270..=298).contains(&held), "{held} of 300, expected about 285");
    }
}

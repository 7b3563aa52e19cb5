//! The uncertainty of figures: bootstrap intervals, and a paired test between two models.
//!
//! A metric is computed from a sum and a weight to which each user contributes: NDCG is the sum of the users' values
//! divided by the number of users, RMSE the root of the sum of squared errors divided by the number of pairs. With
//! several seeds, the value is the mean of the seeds' values. Resamples draw users, and not single ranks or ratings, as
//! in [`crate::bootstrap`].
//!
//! A user is identified by the position among the judged users, and one draw of positions serves all seeds. Where the
//! seeds judge the same users, they are therefore not counted as independent evidence; where they judge different
//! users, a shared draw does no harm.

pub use crate::bootstrap::Interval;
use crate::bootstrap::{interval, resampled_sums};
use burnrec_data::rng::stream;
use rand::Rng;
use rayon::prelude::*;

/// Bootstrap resamples of an interval.
pub const RESAMPLES: usize = 1000;
/// Random swaps of the paired test.
pub const SWAPS: usize = 10_000;
/// The seed of intervals and tests.
pub const SEED: u64 = 42;

/// How a metric is computed from a sum and a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The sum divided by the weight.
    Mean,
    /// The square root of the mean.
    RootMean,
}

impl Statistic {
    /// Returns the value; NaN where the weight is 0.
    pub fn of(self, sum: f64, weight: f64) -> f64 {
        match self {
            Self::Mean => sum / weight,
            // A swap subtracts one user's squares from a sum of squares; rounding may leave the result just below zero.
            Self::RootMean => (sum / weight).max(0.0).sqrt(),
        }
    }
}

/// What each user contributes to a metric.
#[derive(Clone, Debug)]
pub struct Measure {
    /// How the metric is computed from these contributions.
    pub statistic: Statistic,
    /// `[seeds][users]`: each user's sum and weight.
    pub seeds: Vec<Vec<[f64; 2]>>,
}

impl Measure {
    /// Returns each seed's value.
    pub fn values(&self) -> Vec<f64> {
        let value = |users: &Vec<[f64; 2]>| {
            let [sum, weight] = totals(users);
            self.statistic.of(sum, weight)
        };
        self.seeds.iter().map(value).collect()
    }
}

/// A value with its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The mean over seeds.
    pub value: f64,
    /// The middle 95 % of its resamples.
    pub interval: Option<Interval>,
    /// Each seed's value.
    pub seeds: Vec<f64>,
}

/// Returns the values of several measures of the same users, with intervals by percentile bootstrap.
///
/// # Panics
/// When the measures differ in seeds or users.
pub fn estimates(measures: &[Measure]) -> Vec<Estimate> {
    let n_seeds = measures.first().map_or(0, |measure| measure.seeds.len());
    let resampled: Vec<Vec<f64>> = (0..n_seeds)
        .map(|seed| {
            let n_users = measures[0].seeds[seed].len();
            assert!(measures.iter().all(|measure| measure.seeds[seed].len() == n_users), "the same users");
            let table: Vec<f64> = (0..n_users)
                .flat_map(|user| measures.iter().flat_map(move |measure| measure.seeds[seed][user]))
                .collect();
            resampled_sums(&table, 2 * measures.len(), RESAMPLES, SEED)
        })
        .collect();
    let estimate = |(at, measure): (usize, &Measure)| {
        let seeds = measure.values();
        let drawn = |resample: usize| {
            let value = |sums: &Vec<f64>| {
                let sums = &sums[2 * (resample * measures.len() + at)..];
                measure.statistic.of(sums[0], sums[1])
            };
            mean(resampled.iter().map(value))
        };
        Estimate {
            value: mean(seeds.iter().copied()),
            interval: interval((0..RESAMPLES).map(drawn).collect()),
            seeds,
        }
    };
    measures.iter().enumerate().map(estimate).collect()
}

/// The difference of two models' values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The mean over seeds.
    pub value: f64,
    /// The middle 95 % of its resamples.
    pub interval: Option<Interval>,
    /// The two-sided p-value, never 0.
    pub p: f64,
}

/// Returns `ours` minus `theirs` on the same users, with a paired bootstrap interval and the p-value of Fisher's paired
/// randomisation test. Under the null hypothesis the two models are alike, so that a user's two results may be swapped:
/// each of [`SWAPS`] rounds tosses a coin for each user, which swaps the user's results in all seeds at once. `p` is
/// the share of rounds, the unswapped result counted as one more, whose difference is at least as large as the one
/// found. (Smucker et al. 2007, "A comparison of statistical significance tests for information retrieval evaluation",
/// section 3.3.)
///
/// # Panics
/// When the two measures are of different users, or a user's weight differs between them.
pub fn difference(ours: &Measure, theirs: &Measure) -> Difference {
    let statistic = ours.statistic;
    assert_eq!(ours.seeds.len(), theirs.seeds.len(), "the same seeds");
    let tables: Vec<Vec<f64>> = ours
        .seeds
        .iter()
        .zip(&theirs.seeds)
        .map(|(ours, theirs)| {
            assert_eq!(ours.len(), theirs.len(), "the same users");
            let row = |(ours, theirs): (&[f64; 2], &[f64; 2])| {
                assert_eq!(ours[1], theirs[1], "the same pairs");
                [ours[0], theirs[0], ours[1]]
            };
            ours.iter().zip(theirs).flat_map(row).collect()
        })
        .collect();
    let of = |sums: &[f64]| statistic.of(sums[0], sums[2]) - statistic.of(sums[1], sums[2]);
    let resampled: Vec<Vec<f64>> =
        tables.iter().map(|table| resampled_sums(table, 3, RESAMPLES, SEED)).collect();
    let drawn = |resample: usize| mean(resampled.iter().map(|sums| of(&sums[3 * resample..])));
    Difference {
        value: mean(ours.values().iter().zip(theirs.values()).map(|(ours, theirs)| ours - theirs)),
        interval: interval((0..RESAMPLES).map(drawn).collect()),
        p: swap_test(statistic, &tables),
    }
}

/// Returns the `p` of [`difference`]; `tables` are `[seeds]` of `[users, 3]`: our sum, their sum, weight.
fn swap_test(statistic: Statistic, tables: &[Vec<f64>]) -> f64 {
    let totals: Vec<[f64; 3]> = tables
        .iter()
        .map(|table| {
            table
                .chunks_exact(3)
                .fold([0.0; 3], |sum, row| [sum[0] + row[0], sum[1] + row[1], sum[2] + row[2]])
        })
        .collect();
    // A mean is linear in the sums, so that the seeds can be added up before the tosses.
    let linear = statistic == Statistic::Mean;
    let n_cols = if linear { 1 } else { tables.len() };
    let n_places = tables.iter().map(|table| table.len() / 3).max().unwrap_or(0);
    let mut moves = Vec::new(); // [users, cols]: what swapping a user adds to our sums and subtracts from theirs
    for place in 0..n_places {
        let mut row = vec![0.0; n_cols];
        for (seed, table) in tables.iter().enumerate() {
            let Some(user) = table.get(3 * place..3 * place + 3) else { continue };
            let scale = if linear { totals[seed][2] } else { 1.0 };
            row[if linear { 0 } else { seed }] += (user[1] - user[0]) / scale;
        }
        if row.iter().any(|&value| value != 0.0) {
            moves.extend(row);
        }
    }
    let swapped = |moved: &[f64]| {
        mean(totals.iter().enumerate().map(|(seed, &[ours, theirs, weight])| match linear {
            true => (ours - theirs) / weight + 2.0 * moved[0] / totals.len() as f64,
            false => statistic.of(ours + moved[seed], weight) - statistic.of(theirs - moved[seed], weight),
        }))
    };
    // The tolerance makes differences that only rounding tells apart count as equal.
    let found = swapped(&vec![0.0; n_cols]).abs() * (1.0 - 1e-9);
    let at_least = (0..SWAPS)
        .into_par_iter()
        .filter(|&swap| {
            let mut coins = stream(SEED, "report.swaps", swap as u64);
            let mut moved = vec![0.0; n_cols];
            for places in moves.chunks(64 * n_cols) {
                let mut tosses = coins.next_u64();
                for row in places.chunks_exact(n_cols) {
                    let swaps = (tosses & 1) as f64;
                    moved.iter_mut().zip(row).for_each(|(sum, value)| *sum += swaps * value);
                    tosses >>= 1;
                }
            }
            swapped(&moved).abs() >= found
        })
        .count();
    (1 + at_least) as f64 / (1 + SWAPS) as f64
}

/// Returns p-values corrected for the number of tests, in the order of `p`: the chance of any false positive is then at
/// most the significance level (Holm 1979, "A simple sequentially rejective multiple test procedure").
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut corrected, mut largest) = (vec![0.0; p.len()], 0.0f64);
    for (before, &at) in order.iter().enumerate() {
        largest = largest.max(((p.len() - before) as f64 * p[at]).min(1.0));
        corrected[at] = largest;
    }
    corrected
}

/// Returns the 95 % interval of the share `hits / n` (Wilson 1927); none where `n` is 0.
pub fn wilson(hits: f64, n: f64) -> Option<Interval> {
    const Z: f64 = 1.959_963_984_540_054;
    if n <= 0.0 {
        return None;
    }
    let share = hits / n;
    let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Interval { low: (middle - half).max(0.0), high: (middle + half).min(1.0) })
}

/// Returns the mean; NaN of no values.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, n) = values.into_iter().fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / n
}

fn totals(users: &[[f64; 2]]) -> [f64; 2] {
    users.iter().fold([0.0; 2], |sum, user| [sum[0] + user[0], sum[1] + user[1]])
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    fn means(seeds: &[&[f64]]) -> Measure {
        let users = |values: &&[f64]| values.iter().map(|&value| [value, 1.0]).collect();
        Measure { statistic: Statistic::Mean, seeds: seeds.iter().map(users).collect() }
    }

    #[test]
    fn values_by_hand() {
        let found = &estimates(&[means(&[&[0.0, 1.0], &[1.0, 1.0]])])[0];
        assert_eq!((found.value, &found.seeds), (0.75, &vec![0.5, 1.0]));
        // Two users drawn of two: the mean over both seeds is .5, .75 or 1.
        assert_eq!(found.interval, Some(Interval { low: 0.5, high: 1.0 }));
        let errors = Measure { statistic: Statistic::RootMean, seeds: vec![vec![[8.0, 1.0], [10.0, 1.0]]] };
        assert_eq!(errors.values(), [3.0]);
    }

    #[test]
    fn the_test_of_three_users_is_that_of_its_eight_swaps() {
        // All three differ the same way: of the eight ways to swap, two are as extreme.
        let found = difference(&means(&[&[1.0, 0.5, 0.9]]), &means(&[&[0.5, 0.0, 0.5]]));
        assert!((found.value - 1.4 / 3.0).abs() < 1e-12);
        assert!((found.p - 0.25).abs() < 0.02, "{}", found.p);
    }

    #[test]
    fn identical_models_have_p_one() {
        let measure = means(&[&[0.1, 0.7, 0.3]]);
        let found = difference(&measure, &measure);
        assert_eq!((found.value, found.p), (0.0, 1.0));
        let errors = Measure { statistic: Statistic::RootMean, ..measure };
        assert_eq!(difference(&errors, &errors).p, 1.0);
    }

    #[test]
    fn the_order_of_the_two_turns_the_sign_alone() {
        let mut rng = stream(5, "test", 0);
        for statistic in [Statistic::Mean, Statistic::RootMean] {
            let mut draw = |n: usize| -> Vec<[f64; 2]> { (0..n).map(|_| [rng.random(), 2.0]).collect() };
            let ours = Measure { statistic, seeds: vec![draw(40), draw(30)] };
            let theirs = Measure { statistic, seeds: vec![draw(40), draw(30)] };
            let (there, back) = (difference(&ours, &theirs), difference(&theirs, &ours));
            assert_eq!((there.value, there.p), (-back.value, back.p));
            let (low, high) = (there.interval.unwrap(), back.interval.unwrap());
            assert!((low.low + high.high).abs() < 1e-12 && (low.high + high.low).abs() < 1e-12);
        }
    }

    #[test]
    fn a_sum_of_equal_differences_counts_ties() {
        // Differences of one third cannot be added up exactly in every order.
        let third = [1.0 / 3.0; 9];
        let p = difference(&means(&[&third]), &means(&[&[0.0; 9]])).p;
        assert!((p - 2.0 / 512.0).abs() < 0.002, "{p}");
    }

    #[test]
    fn without_a_difference_small_p_are_as_rare_as_they_should_be() {
        let mut rng = stream(9, "test", 0);
        for statistic in [Statistic::Mean, Statistic::RootMean] {
            let ps: Vec<f64> = (0..200)
                .map(|_| {
                    let mut draw =
                        || (0..60).map(|_| [rng.random::<f64>() + rng.random::<f64>(), 1.0]).collect();
                    let ours = Measure { statistic, seeds: vec![draw()] };
                    difference(&ours, &Measure { statistic, seeds: vec![draw()] }).p
                })
                .collect();
            // Of 200, 10 are expected below .05 (4 to 17 hold 98 %), and 100 below a half.
            let below = |bound: f64| ps.iter().filter(|&&p| p < bound).count();
            assert!((3..=18).contains(&below(0.05)), "{} below .05", below(0.05));
            assert!((80..=120).contains(&below(0.5)), "{} below .5", below(0.5));
        }
    }

    #[test]
    fn users_that_seeds_share_are_not_counted_twice() {
        let mut rng = stream(3, "test", 0);
        let mut draw = || -> Vec<f64> { (0..50).map(|_| rng.random()).collect() };
        let (ours, theirs) = (draw(), draw());
        let once = difference(&means(&[&ours]), &means(&[&theirs]));
        let twice = difference(&means(&[&ours, &ours]), &means(&[&theirs, &theirs]));
        assert_eq!(once.p, twice.p);
        let (once, twice) = (once.interval.unwrap(), twice.interval.unwrap());
        assert!((once.low - twice.low).abs() < 1e-12 && (once.high - twice.high).abs() < 1e-12);
    }

    #[test]
    fn holm_by_hand() {
        // Ascending .005, .01, .03, .04 times 4, 3, 2, 1: .02, .03, .06, and .04 that may not be less than .06.
        let close = |found: Vec<f64>, expected: &[f64]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        };
        close(holm(&[0.01, 0.04, 0.03, 0.005]), &[0.03, 0.06, 0.06, 0.02]);
        close(holm(&[0.5, 0.9]), &[1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn wilson_by_hand() {
        let found = wilson(0.0, 10.0).unwrap();
        assert!(found.low == 0.0 && (found.high - 0.2775).abs() < 1e-4, "{found:?}");
        assert_eq!(wilson(0.0, 0.0), None);
    }
}

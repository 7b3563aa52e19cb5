//! Draws negatives: items that are not interactions of a user in training.

mod filter;

use filter::SeenFilter;
use rand::distr::Distribution;
use rand::{Rng, RngExt};
use rand_distr::weighted::WeightedAliasIndex;
use rand_pcg::Pcg64;

use crate::rng::stream;
use crate::{Csr, ItemIx, UserIx};

/// The number of rejected draws by popularity after which one of the unseen items is drawn from their exact weights.
const MAX_DRAWS: u32 = 32;

/// Draws items that a user has no training row with, independently and with replacement.
pub struct NegativeSampler {
    /// The training rows; the items a user has are the columns of the user's row.
    train: Csr,
    /// Rules out most unseen items without a search in the row.
    filter: SeenFilter,
    /// The items' weights and the alias table over them; none where draws are uniform.
    popularity: Option<(Vec<f32>, WeightedAliasIndex<f32>)>,
}

impl NegativeSampler {
    /// Builds a sampler over `train` `[users, items]` that draws an item with a probability proportional to (1 + its
    /// number of training rows)^`power`; 0 draws uniformly, .75 is word2vec's choice (Mikolov et al. 2013).
    ///
    /// # Panics
    /// When `power` is not finite, or so large that the sum of the weights overflows.
    pub fn new(train: Csr, power: f32) -> Self {
        assert!(power.is_finite(), "a finite power");
        let popularity = (power != 0.0 && train.n_cols() > 0).then(|| {
            let mut weights = vec![1.0f32; train.n_cols()];
            train.cols().iter().for_each(|&item| weights[item as usize] += 1.0);
            weights.iter_mut().for_each(|weight| *weight = weight.powf(power));
            let table = WeightedAliasIndex::new(weights.clone()).expect("weights are positive and finite");
            (weights, table)
        });
        Self { filter: SeenFilter::new(&train), train, popularity }
    }

    /// Appends `n` negatives of a user to `out`. A user who has a row with every item has no negatives:
    /// nothing is appended then (see [`NegativeSampler::has_negatives`]).
    ///
    /// # Panics
    /// When the user is not in the training matrix.
    pub fn sample(&self, user: UserIx, n: usize, rng: &mut impl Rng, out: &mut Vec<ItemIx>) {
        let seen = self.train.row(user.at()).0;
        let n_unseen = (self.train.n_cols() - seen.len()) as u32;
        if n_unseen == 0 {
            return;
        }
        match &self.popularity {
            // For a user who has seen most items: one draw and one search per negative.
            None if (n_unseen as usize) < seen.len() => {
                out.extend((0..n).map(|_| ItemIx(nth_absent(seen, rng.random_range(0..n_unseen)))));
            }
            // Else rejects seen items: at most two draws per negative on average, and hardly ever a search.
            None => out.extend((0..n).map(|_| ItemIx(self.draw_unseen(user.at(), seen, rng)))),
            Some((weights, table)) => {
                out.extend((0..n).map(|_| ItemIx(draw_weighted(seen, weights, table, rng))));
            }
        }
    }

    fn draw_unseen(&self, user: usize, seen: &[u32], rng: &mut impl Rng) -> u32 {
        loop {
            let item = rng.random_range(0..self.train.n_cols() as u32);
            if !self.filter.may_have(user, item) || seen.binary_search(&item).is_err() {
                return item;
            }
        }
    }

    /// Returns the training rows.
    pub fn train(&self) -> &Csr {
        &self.train
    }

    /// Whether there is an item that the user has no training row with.
    pub fn has_negatives(&self, user: UserIx) -> bool {
        self.train.row(user.at()).0.len() < self.train.n_cols()
    }
}

/// Returns the generator of the negatives of one batch.
pub fn rng(seed: u64, epoch: u64, batch: u64) -> Pcg64 {
    stream(stream(seed, "negatives.epoch", epoch).next_u64(), "negatives.batch", batch)
}

/// Returns the `n`-th, from 0, of the numbers that are not in `present`, which ascends and does not repeat.
pub(crate) fn nth_absent(present: &[u32], n: u32) -> u32 {
    // Below present[k] there are present[k] - k absent numbers, which never falls with k.
    let before = |k: usize| present[k] - k as u32 <= n;
    let (mut start, mut len) = (0, present.len());
    while len > 1 {
        let half = len / 2;
        // A conditional move instead of a branch, which would be mispredicted half the time.
        start = std::hint::select_unpredictable(before(start + half - 1), start + half, start);
        len -= half;
    }
    let last = usize::from(len == 1 && before(start));
    n + (start + last) as u32
}

fn draw_weighted(seen: &[u32], weights: &[f32], table: &WeightedAliasIndex<f32>, rng: &mut impl Rng) -> u32 {
    for _ in 0..MAX_DRAWS {
        let item = table.sample(rng) as u32;
        if seen.binary_search(&item).is_err() {
            return item;
        }
    }
    // The user has seen nearly all popular items. Draws are independent, so an exact draw here adds no bias.
    let n_unseen = (weights.len() - seen.len()) as u32;
    let weight = |place| f64::from(weights[nth_absent(seen, place) as usize]);
    let mut left = rng.random::<f64>() * (0..n_unseen).map(weight).sum::<f64>();
    for place in 0..n_unseen {
        left -= weight(place);
        if left < 0.0 {
            return nth_absent(seen, place);
        }
    }
    nth_absent(seen, n_unseen - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one user with some of the items, and one with all of them.
    fn train(n_items: u32, seen: &[u32]) -> Csr {
        let cols: Vec<u32> = seen.iter().copied().chain(0..n_items).collect();
        let values = vec![1.0; cols.len()];
        Csr::new(n_items as usize, vec![0, seen.len(), cols.len()], cols, values)
    }

    #[test]
    fn the_absent_numbers_are_counted_right() {
        let absent: Vec<u32> = (0..5).map(|n| nth_absent(&[0, 1, 4, 6], n)).collect();
        assert_eq!(absent, [2, 3, 5, 7, 8]);
        assert_eq!(nth_absent(&[], 3), 3);
        for len in 0..40 {
            let present: Vec<u32> = (0..len).map(|k| k * 2 + k / 3).collect();
            let absent: Vec<u32> = (0..200).filter(|number| !present.contains(number)).collect();
            assert!((0..100).all(|n| nth_absent(&present, n) == absent[n as usize]));
        }
    }

    /// Returns Pearson's statistic of draws for user 0 against the weights of the unseen items.
    fn chi_square(sampler: &NegativeSampler, seen: &[u32], weights: &[f64]) -> f64 {
        const N: usize = 200_000;
        let mut drawn = Vec::new();
        sampler.sample(UserIx(0), N, &mut rng(1, 2, 3), &mut drawn);
        assert_eq!(drawn.len(), N);
        let mut counts = vec![0.0; weights.len()];
        drawn.iter().for_each(|item| counts[item.at()] += 1.0);
        assert!(seen.iter().all(|&item| counts[item as usize] == 0.0), "a training item was drawn");
        let unseen = || (0..weights.len()).filter(|&item| !seen.contains(&(item as u32)));
        let total: f64 = unseen().map(|item| weights[item]).sum();
        unseen()
            .map(|item| {
                let expected = N as f64 * weights[item] / total;
                (counts[item] - expected).powi(2) / expected
            })
            .sum()
    }

    #[test]
    fn draws_are_uniform_over_the_items_without_a_row() {
        let seen: Vec<u32> = (0..100).filter(|item| item % 3 == 0).collect();
        let sampler = NegativeSampler::new(train(100, &seen), 0.0);
        let statistic = chi_square(&sampler, &seen, &[1.0; 100]);
        // 65 degrees of freedom: below 105.99 with probability .999.
        assert!(statistic < 105.99, "chi-square {statistic}");
    }

    #[test]
    fn draws_by_popularity_follow_the_power() {
        let seen: Vec<u32> = (0..50).filter(|item| item % 5 == 0).collect();
        let mut matrix = train(50, &seen);
        // More users, so that item i has more rows the larger i is.
        let (mut offsets, mut cols) = (matrix.offsets().to_vec(), matrix.cols().to_vec());
        for first in 0..50 {
            cols.extend(first..50);
            offsets.push(cols.len());
        }
        matrix = Csr::new(50, offsets, cols.clone(), vec![1.0; cols.len()]);
        let weights: Vec<f64> = (0..50)
            .map(|item| (1.0 + cols.iter().filter(|&&col| col == item).count() as f64).powf(0.75))
            .collect();
        let statistic = chi_square(&NegativeSampler::new(matrix, 0.75), &seen, &weights);
        // 39 degrees of freedom: below 72.05 with probability .999.
        assert!(statistic < 72.05, "chi-square {statistic}");
    }

    #[test]
    fn one_unseen_and_unpopular_item_is_found_at_once() {
        let seen: Vec<u32> = (0..10_000).filter(|&item| item != 7).collect();
        for power in [0.0, 1.0] {
            let mut drawn = Vec::new();
            NegativeSampler::new(train(10_000, &seen), power).sample(
                UserIx(0),
                3,
                &mut rng(0, 0, 0),
                &mut drawn,
            );
            assert_eq!(drawn, [ItemIx(7); 3]);
        }
    }

    #[test]
    fn who_has_seen_everything_has_no_negatives() {
        let sampler = NegativeSampler::new(train(20, &[3]), 0.0);
        let mut drawn = Vec::new();
        sampler.sample(UserIx(1), 5, &mut rng(0, 0, 0), &mut drawn);
        assert!(drawn.is_empty() && !sampler.has_negatives(UserIx(1)) && sampler.has_negatives(UserIx(0)));
    }

    #[test]
    fn batches_have_generators_of_their_own() {
        let first = |seed, epoch, batch| rng(seed, epoch, batch).next_u64();
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
        assert!(![first(1, 3, 2), first(2, 2, 3), first(1, 2, 4)].contains(&first(1, 2, 3)));
    }
}

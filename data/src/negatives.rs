//! Draws negatives: items that are not interactions of a user in training.

mod filter;

use filter::SeenFilter;

use crate::draws::{Key, philox, scaled};
use crate::{Csr, UserIx};

/// The number of rejected draws after which an unseen item is drawn by its rank among the unseen ones.
pub const MAX_DRAWS: u32 = 32;

/// Draws items that a user has no training row with, independently, uniformly and with replacement.
///
/// A negative is a pure function of a key, of the place of its training row in the epoch, and of its slot in the row.
/// The words `philox(key, [place, slot / 4, attempt, 0])[slot % 4]` for the attempts 0, 1, …, scaled to the catalogue,
/// are rejected until one is an unseen item. After [`MAX_DRAWS`] rejections, and at once for a user who has seen more
/// than half of the items, the word is scaled to the number of unseen items instead and is a rank among them.
pub struct NegativeSampler {
    /// The training rows; the items a user has are the columns of the user's row.
    train: Csr,
    /// Rules out most unseen items without a search in the row.
    filter: SeenFilter,
}

impl NegativeSampler {
    /// Builds a sampler over `train` `[users, items]`.
    pub fn new(train: Csr) -> Self {
        Self { filter: SeenFilter::new(&train), train }
    }

    /// Writes the negatives of the training row at a place of the epoch, one for each slot of `out`.
    ///
    /// # Panics
    /// When the user is not in the training matrix, or has a row with every item ([`NegativeSampler::has_negatives`]).
    pub fn fill(&self, user: UserIx, key: Key, place: u32, out: &mut [u32]) {
        let seen = self.train.row(user.at()).0;
        let n_items = self.train.n_cols() as u32;
        let n_unseen = n_items - seen.len() as u32;
        assert!(n_unseen > 0, "the user has negatives");
        let dense = (n_unseen as usize) < seen.len();
        for (block, out) in out.chunks_mut(4).enumerate() {
            let words = |attempt| philox(key, [place, block as u32, attempt, 0]);
            for (lane, (out, mut word)) in out.iter_mut().zip(words(0)).enumerate() {
                let mut attempt = 0;
                *out = loop {
                    if dense || attempt == MAX_DRAWS {
                        break nth_absent(seen, scaled(word, n_unseen));
                    }
                    let item = scaled(word, n_items);
                    if !self.filter.may_have(user.at(), item) || seen.binary_search(&item).is_err() {
                        break item;
                    }
                    attempt += 1;
                    word = words(attempt)[lane];
                };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::key;

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

    fn drawn(sampler: &NegativeSampler, n: usize) -> Vec<u32> {
        let mut drawn = vec![0; n];
        sampler.fill(UserIx(0), key(1, "negatives", 2), 3, &mut drawn);
        drawn
    }

    #[test]
    fn draws_are_uniform_over_the_items_without_a_row() {
        const N: usize = 200_000;
        // Few seen, more than half, and all but two: each way of drawing.
        for seen in [
            (0..100).filter(|item| item % 3 == 0).collect::<Vec<u32>>(),
            (0..100).filter(|item| item % 3 != 0).collect(),
            (0..100).filter(|&item| item != 7 && item != 50).collect(),
        ] {
            let sampler = NegativeSampler::new(train(100, &seen));
            let mut counts = vec![0.0; 100];
            drawn(&sampler, N).iter().for_each(|&item| counts[item as usize] += 1.0);
            assert!(seen.iter().all(|&item| counts[item as usize] == 0.0), "a training item was drawn");
            let n_unseen = 100 - seen.len();
            let expected = N as f64 / n_unseen as f64;
            let unseen = (0..100u32).filter(|item| !seen.contains(item));
            let statistic: f64 =
                unseen.map(|item| (counts[item as usize] - expected).powi(2) / expected).sum();
            // With n - 1 degrees of freedom: below this with probability .999 (Wilson and Hilferty 1931).
            let free = (n_unseen - 1) as f64;
            let bound = free * (1.0 - 2.0 / (9.0 * free) + 3.09 * (2.0 / (9.0 * free)).sqrt()).powi(3);
            assert!(statistic < bound, "{n_unseen} unseen: chi-square {statistic}, bound {bound}");
        }
    }

    #[test]
    fn one_unseen_item_is_found_at_once() {
        let seen: Vec<u32> = (0..10_000).filter(|&item| item != 7).collect();
        assert_eq!(drawn(&NegativeSampler::new(train(10_000, &seen)), 3), [7; 3]);
    }

    #[test]
    fn who_has_seen_everything_has_no_negatives() {
        let sampler = NegativeSampler::new(train(20, &[3]));
        assert!(!sampler.has_negatives(UserIx(1)) && sampler.has_negatives(UserIx(0)));
    }

    #[test]
    fn negatives_follow_from_key_place_and_slot_alone() {
        let sampler = NegativeSampler::new(train(1000, &[3, 7]));
        let fill = |key, place, n| {
            let mut out = vec![0; n];
            sampler.fill(UserIx(0), key, place, &mut out);
            out
        };
        let first = fill(key(1, "negatives", 2), 5, 10);
        assert_eq!(first[..3], fill(key(1, "negatives", 2), 5, 3));
        assert_ne!(first, fill(key(1, "negatives", 3), 5, 10));
        assert_ne!(first, fill(key(1, "negatives", 2), 6, 10));
    }
}

//! The best k of many scores.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use burnrec_data::{ItemIx, UserIx};
use rayon::prelude::*;

use crate::scorer::{Allowed, Scorer};

/// The bytes of the scores of one block of users, which should stay in a second-level cache until they are read again.
const BLOCK_BYTES: usize = 1 << 19;

/// The fewest users in a block, whatever the catalogue's size, so that they share the reading of the items' vectors.
const MIN_BLOCK: usize = 12;

/// Returns the `k` best items of each of `users` with their scores, best first, or all items if there are fewer. Of
/// equal scores the lower item row comes first; NaN comes last.
///
/// `exclude` gives the items (rows, ascending) that the user at a position of `users` must not get, such as the seen
/// ones; `allowed`, where given, is what anyone may get.
pub fn top_k<'a>(
    scorer: &dyn Scorer,
    users: &[UserIx],
    k: usize,
    exclude: impl Fn(usize) -> &'a [u32] + Sync,
    allowed: Option<&Allowed>,
) -> Vec<Vec<(ItemIx, f32)>> {
    if let Some(lists) = scorer.best_on_device(users, k, &exclude, allowed) {
        return lists;
    }
    let n_items = scorer.n_items();
    let block = (BLOCK_BYTES / (4 * n_items.max(1))).max(MIN_BLOCK);
    let blocks: Vec<Vec<Vec<(ItemIx, f32)>>> = users
        .par_chunks(block)
        .enumerate()
        .map_init(Vec::new, |scores, (at, users)| {
            scores.resize(users.len() * n_items, 0.0);
            scorer.score_catalog(users, scores);
            let rows = scores.chunks_exact_mut(n_items.max(1)).take(users.len()).enumerate();
            rows.map(|(row, scores)| best(scores, k, exclude(at * block + row), allowed)).collect()
        })
        .collect();
    let mut all: Vec<_> = blocks.into_iter().flatten().collect();
    all.resize(users.len(), Vec::new());
    all
}

/// Returns the `k` best of one user's scores, by the rules of [`top_k`].
pub fn select(scores: &[f32], k: usize, exclude: &[u32], allowed: Option<&Allowed>) -> Vec<(ItemIx, f32)> {
    best(&mut scores.to_vec(), k, exclude, allowed)
}

/// Does the work of [`select`], and may overwrite the scores.
fn best(scores: &mut [f32], k: usize, exclude: &[u32], allowed: Option<&Allowed>) -> Vec<(ItemIx, f32)> {
    if k == 0 {
        return Vec::new();
    }
    let kept: Vec<f32> = exclude.iter().map(|&item| scores[item as usize]).collect();
    exclude.iter().for_each(|&item| scores[item as usize] = f32::NEG_INFINITY);
    let mut heap = BinaryHeap::with_capacity(k.min(scores.len()) + 1);
    // The threshold that a score must be above; as items come in ascending order, an equal score is never better.
    let mut least = f32::NEG_INFINITY;
    for (chunk, values) in scores.chunks(CHUNK).enumerate() {
        if !values.iter().fold(false, |any, &score| any | (score > least)) {
            continue;
        }
        for (offset, &score) in values.iter().enumerate() {
            let item = ItemIx((chunk * CHUNK + offset) as u32);
            if score > least && allowed.is_none_or(|allowed| allowed.contains(item)) {
                if heap.len() == k {
                    heap.pop();
                }
                heap.push(Worst { item, score });
                if heap.len() == k {
                    least = heap.peek().map_or(least, |worst| worst.score);
                }
            }
        }
    }
    let mut best: Vec<(ItemIx, f32)> =
        heap.into_sorted_vec().into_iter().map(|worst| (worst.item, worst.score)).collect();
    if best.len() < k {
        exclude.iter().zip(kept).for_each(|(&item, score)| scores[item as usize] = score);
        fill(&mut best, scores, k, exclude, allowed);
    }
    best
}

/// How many scores are compared with the threshold at once; most chunks have none above it and are skipped.
const CHUNK: usize = 32;

/// Fills the list up with the items that are never above the threshold: those with a score of minus infinity, then
/// those with NaN.
#[cold]
fn fill(best: &mut Vec<(ItemIx, f32)>, scores: &[f32], k: usize, exclude: &[u32], allowed: Option<&Allowed>) {
    let rank: [fn(f32) -> bool; 2] = [|score| score == f32::NEG_INFINITY, f32::is_nan];
    for is in rank {
        let items = scores.iter().enumerate().filter(|&(item, &score)| {
            is(score)
                && exclude.binary_search(&(item as u32)).is_err()
                && allowed.is_none_or(|allowed| allowed.contains(ItemIx(item as u32)))
        });
        let room = k - best.len();
        best.extend(items.take(room).map(|(item, &score)| (ItemIx(item as u32), score)));
    }
}

/// An entry of the heap, of which the greatest is the worst.
struct Worst {
    item: ItemIx,
    score: f32,
}

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores in the heap are never NaN, because NaN is not above any threshold; 0 ties with -0.
        let by_score = other.score.partial_cmp(&self.score).unwrap_or(Ordering::Equal);
        by_score.then(self.item.cmp(&other.item))
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Worst {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Selects by sorting everything.
    fn by_sorting(scores: &[f32], k: usize, exclude: &[u32], allowed: Option<&Allowed>) -> Vec<u32> {
        let mut items: Vec<u32> = (0..scores.len() as u32).filter(|item| !exclude.contains(item)).collect();
        items.retain(|&item| allowed.is_none_or(|allowed| allowed.contains(ItemIx(item))));
        items.sort_by(|&a, &b| {
            let (a_score, b_score) = (scores[a as usize], scores[b as usize]);
            let by_score = b_score.partial_cmp(&a_score).unwrap_or(a_score.is_nan().cmp(&b_score.is_nan()));
            by_score.then(a.cmp(&b))
        });
        items.truncate(k);
        items
    }

    #[test]
    fn equals_sorting_with_ties_infinities_and_nan() {
        let special = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 0.0, -0.0];
        for n in [1usize, 2, 5, 31, 32, 33, 100, 257] {
            for spread in [2, 7, 1000] {
                let mut state = (n * spread) as u32;
                let mut draw = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as usize
                };
                let scores: Vec<f32> =
                    (0..n)
                        .map(|_| {
                            if draw() % 4 == 0 { special[draw() % 5] } else { (draw() % spread) as f32 - 1.0 }
                        })
                        .collect();
                let exclude: Vec<u32> = (0..n as u32).filter(|_| draw() % 3 == 0).collect();
                let some: Vec<ItemIx> = (0..n as u32).filter(|_| draw() % 2 == 0).map(ItemIx).collect();
                let only = Allowed::all(n).only(&some);
                let without = Allowed::all(n).without(&some);
                for allowed in [None, Some(&only), Some(&without)] {
                    for k in [0, 1, 3, 10, n, n + 5] {
                        let found = select(&scores, k, &exclude, allowed);
                        let items: Vec<u32> = found.iter().map(|(item, _)| item.0).collect();
                        assert_eq!(
                            items,
                            by_sorting(&scores, k, &exclude, allowed),
                            "n {n}, k {k}: {scores:?}"
                        );
                        for (item, score) in found {
                            assert_eq!(score.to_bits(), scores[item.at()].to_bits());
                        }
                    }
                }
            }
        }
    }

    /// Scores every pair by its rows.
    struct Rows;

    impl Scorer for Rows {
        fn n_users(&self) -> usize {
            1000
        }
        fn n_items(&self) -> usize {
            90
        }
        fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
            for ((out, user), item) in out.iter_mut().zip(users).zip(items) {
                *out = ((user.0 * 7 + item.0 * 13) % 31) as f32;
            }
        }
        fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
            for (&user, out) in users.iter().zip(out.chunks_exact_mut(90)) {
                for (item, out) in out.iter_mut().enumerate() {
                    self.score_pairs(&[user], &[ItemIx(item as u32)], std::slice::from_mut(out));
                }
            }
        }
    }

    #[test]
    fn users_keep_their_places_and_their_own_exclusions() {
        let users: Vec<UserIx> = (0..997).rev().map(UserIx).collect();
        let excluded: Vec<Vec<u32>> =
            users.iter().map(|user| (user.0 % 7..90).step_by(3).collect()).collect();
        let lists = top_k(&Rows, &users, 12, |at| &excluded[at], None);
        assert_eq!(lists.len(), users.len());
        let mut scores = vec![0.0; 90];
        for (at, &user) in users.iter().enumerate() {
            Rows.score_catalog(&[user], &mut scores);
            assert_eq!(lists[at], select(&scores, 12, &excluded[at], None));
        }
    }
}

//! Ranks held-out items among the candidates, the items that they are compared with.
//!
//! The *target* is the held-out item. A model gets no credit for a tie: a candidate with the target's score stands
//! ahead of it, so that a scorer that gives every item the same score finds nothing. NaN is treated likewise: a NaN
//! candidate stands ahead of every target, and a NaN target behind every candidate.

use std::cmp::Ordering;

use burnrec_data::ItemIx;
use burnrec_models::scorer::{Ranked, Standing};

/// Returns the 1-based rank of a target among candidates, with ties and NaN against it.
pub fn rank(target: f32, candidates: &[f32]) -> usize {
    let standing = standing(target, candidates);
    standing.ahead + standing.tied + 1
}

/// Counts where a target stands among candidates; the candidates need not be sorted.
pub fn standing(target: f32, candidates: &[f32]) -> Standing {
    // Both comparisons are false where NaN is on either side, which puts NaN against the model. Blocks count
    // in u32, so that the compiler can compare and add many candidates at once.
    let (mut below, mut not_ahead) = (0, 0);
    for block in candidates.chunks(1 << 20) {
        let (mut b, mut n) = (0u32, 0u32);
        for &score in block {
            b += u32::from(score < target);
            n += u32::from(score <= target);
        }
        below += b as usize;
        not_ahead += n as usize;
    }
    Standing { ahead: candidates.len() - not_ahead, tied: not_ahead - below }
}

/// Where all relevant items of one user stand: among the candidates, and in the one list that candidates and
/// relevant items make together.
///
/// That list is in descending order of scores; among equal scores candidates come first, then relevant items in
/// the order they were given. NaN candidates lead it and NaN relevant items end it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranks {
    /// 1-based positions of the relevant items in the joint list, ascending.
    pub joint: Vec<usize>,
    /// Which relevant item each of `joint` is, as an index into [`Ranked::relevant_scores`].
    pub order: Vec<usize>,
    /// Where each stands among the candidates alone, in the order of `joint`.
    pub standings: Vec<Standing>,
    /// How many candidates there are.
    pub n_candidates: usize,
}

impl Ranks {
    /// Makes the joint list of a user's relevant items and candidates.
    pub fn of(ranked: &Ranked) -> Self {
        let relevant = &ranked.relevant_scores;
        let mut order: Vec<usize> = (0..relevant.len()).collect();
        order.sort_by(|&a, &b| descending(relevant[a], relevant[b]));
        let standings: Vec<Standing> = order.iter().map(|&k| ranked.standings[k]).collect();
        let joint = standings.iter().enumerate().map(|(before, s)| s.ahead + s.tied + before + 1).collect();
        Self { joint, order, standings, n_candidates: ranked.n_candidates }
    }
}

/// Ranks one user's relevant items among candidates by their scores, and finds the `k` best candidates.
pub fn ranked(relevant_scores: &[f32], candidates: &[ItemIx], scores: &[f32], k: usize) -> Ranked {
    Ranked {
        relevant_scores: relevant_scores.to_vec(),
        standings: relevant_scores.iter().map(|&target| standing(target, scores)).collect(),
        n_candidates: candidates.len(),
        best: top(scores, k).into_iter().map(|at| candidates[at]).collect(),
    }
}

/// Returns the positions of the `k` highest scores, highest first, and equal ones by position. NaN is above every score.
fn top(scores: &[f32], k: usize) -> Vec<usize> {
    let above = |a: f32, b: f32| a > b || (a.is_nan() && !b.is_nan());
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(k.min(scores.len()) + 1);
    for (at, &score) in scores.iter().enumerate() {
        if best.len() >= k {
            if best.last().is_none_or(|&(lowest, _)| !above(score, lowest)) {
                continue;
            }
            best.pop();
        }
        best.insert(best.partition_point(|&(other, _)| !above(score, other)), (score, at));
    }
    best.into_iter().map(|(_, at)| at).collect()
}

/// Orders higher scores first and NaN last.
fn descending(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_is_against_the_target() {
        assert_eq!(rank(2.0, &[1.0, 3.0, 0.0]), 2);
        assert_eq!(rank(2.0, &[2.0, 3.0, 2.0]), 4);
        assert_eq!(standing(2.0, &[2.0, 3.0, 2.0, 1.0]), Standing { ahead: 1, tied: 2 });
        assert_eq!(rank(-0.0, &[0.0]), 2);
        assert_eq!(rank(5.0, &[]), 1);
    }

    #[test]
    fn nan_is_against_the_target() {
        assert_eq!(rank(f32::NAN, &[1.0, f32::NAN, f32::NEG_INFINITY]), 4);
        assert_eq!(standing(f32::NAN, &[f32::NAN]), Standing { ahead: 1, tied: 0 });
        assert_eq!(rank(f32::INFINITY, &[f32::NAN, 1.0]), 2);
        assert_eq!(rank(f32::NEG_INFINITY, &[f32::NEG_INFINITY, 0.0]), 3);
    }

    #[test]
    fn relevant_items_share_one_list_with_the_candidates() {
        // List: 9, 5 (candidate), 5 (relevant), 5 (relevant), 4, 1, NaN (relevant).
        let ranks =
            Ranks::of(&ranked(&[5.0, f32::NAN, 9.0, 5.0], &[0, 1, 2].map(ItemIx), &[1.0, 5.0, 4.0], 2));
        assert_eq!(ranks.joint, [1, 3, 4, 7]);
        assert_eq!(ranks.order, [2, 0, 3, 1]);
        assert_eq!(ranks.standings[1], Standing { ahead: 0, tied: 1 });
        assert_eq!(ranks.standings[3], Standing { ahead: 3, tied: 0 });
    }

    #[test]
    fn the_top_is_that_of_a_stable_sort_with_nan_first() {
        let scores = [1.0, 3.0, f32::INFINITY, f32::NAN, 3.0, f32::NEG_INFINITY, 2.0];
        assert_eq!(top(&scores, 5), [3, 2, 1, 4, 6]);
        assert_eq!(top(&scores, 10), [3, 2, 1, 4, 6, 0, 5]);
        assert!(top(&scores, 0).is_empty());
        assert!(top(&[], 3).is_empty());
    }
}

//! Metrics as pure functions: of the ranks of one user's relevant items, of recommended lists, of rating errors.
//!
//! `ranks` are the 1-based positions of the user's relevant items in one list with the candidates, ascending (see
//! [`Ranks`](crate::rank::Ranks)); `R` is their number, and `rel(i)` is 1 where position `i` holds a relevant item
//! and else 0. A metric of a model is the mean over users. With one relevant item of rank `r` a user, as in
//! leave-one-out, HR@k = recall@k = capped recall@k = \[r ≤ k\], NDCG@k = \[r ≤ k\] / log2(r + 1), and MAP@k = MRR@k = \[r ≤ k\] / r, as
//! in He et al. 2017 ("Neural collaborative filtering", section 4.1).

mod name;

pub use name::Metric;

use burnrec_models::scorer::Standing;

/// HR@k: 1 if any relevant item is among the first `k`, else 0.
pub fn hit_rate(ranks: &[usize], k: usize) -> f64 {
    f64::from(hits(ranks, k) > 0)
}

/// NDCG@k with gains of 0 and 1: DCG@k = Σ_{i ≤ k} rel(i) / log2(i + 1), divided by the DCG@k of a list that
/// starts with all relevant items (Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR
/// techniques", with the discount of Burges et al. 2005).
pub fn ndcg(ranks: &[usize], k: usize) -> f64 {
    let gain = |rank: usize| 1.0 / ((rank + 1) as f64).log2();
    let found: f64 = ranks[..hits(ranks, k)].iter().map(|&rank| gain(rank)).sum();
    ratio(found, (1..=ranks.len().min(k)).map(gain).sum())
}

/// Recall@k: the share of the relevant items that are among the first `k`.
pub fn recall(ranks: &[usize], k: usize) -> f64 {
    ratio(hits(ranks, k) as f64, ranks.len() as f64)
}

/// Capped recall@k: the hits among the first `k` by min(R, k), the most that there could be. Published tables of strong
/// generalisation call it Recall@k (Liang et al. 2018, "Variational autoencoders for collaborative filtering", section 4.2).
pub fn capped_recall(ranks: &[usize], k: usize) -> f64 {
    ratio(hits(ranks, k) as f64, ranks.len().min(k) as f64)
}

/// Precision@k: the share of the first `k` positions that hold a relevant item; it divides by `k` even where the list
/// is shorter.
pub fn precision(ranks: &[usize], k: usize) -> f64 {
    ratio(hits(ranks, k) as f64, k as f64)
}

/// AP@k, whose mean over users is MAP@k: Σ_{i ≤ k} rel(i) precision@i / min(R, k), as in Spark's
/// `RankingMetrics.meanAveragePrecisionAt` and implicit's `ranking_metrics_at_k`.
pub fn average_precision(ranks: &[usize], k: usize) -> f64 {
    let hits = &ranks[..hits(ranks, k)];
    let sum: f64 = hits.iter().enumerate().map(|(before, &rank)| (before + 1) as f64 / rank as f64).sum();
    ratio(sum, ranks.len().min(k) as f64)
}

/// MRR@k: one over the rank of the first relevant item if that is among the first `k`, else 0; without `k` all
/// positions count (Voorhees 1999, "The TREC-8 question answering track report").
pub fn reciprocal_rank(ranks: &[usize], k: Option<usize>) -> f64 {
    match ranks.first() {
        Some(&rank) if k.is_none_or(|k| rank <= k) => 1.0 / rank as f64,
        _ => 0.0,
    }
}

/// AUC: the share of pairs of a relevant item and a candidate that the scores put in the right order, where a tie
/// counts half (the Mann-Whitney statistic; Rendle et al. 2009, "BPR", section 4.2). Without candidates there are no
/// pairs, and it is a half.
pub fn auc(standings: &[Standing], n_candidates: usize) -> f64 {
    if standings.is_empty() || n_candidates == 0 {
        return 0.5;
    }
    let wins = |s: &Standing| (n_candidates - s.ahead - s.tied) as f64 + 0.5 * s.tied as f64;
    standings.iter().map(wins).sum::<f64>() / (standings.len() * n_candidates) as f64
}

/// How surprising each item is, in bits: -log2 of the share of users who have it in training (self-information,
/// Zhou et al. 2010, "Solving the apparent diversity-accuracy dilemma of recommender systems"). Novelty@k is its
/// mean over a user's first `k`, and the mean of that over users. An item nobody has counts as had by one user,
/// so that its surprise stays finite.
///
/// `item_counts` are the training users of each item, and `n_users` is the number of users who have any.
pub fn self_information(item_counts: &[u32], n_users: usize) -> Vec<f64> {
    item_counts.iter().map(|&count| (n_users.max(1) as f64 / f64::from(count.max(1))).log2()).collect()
}

/// Catalogue coverage@k: the share of all items that stand in the first `k` of at least one user's list (Ge et
/// al. 2010, "Beyond accuracy").
///
/// `first_at` has, for each item, the best 1-based position it has in any list.
pub fn coverage(first_at: &[usize], k: usize) -> f64 {
    let shown = first_at.iter().filter(|&&position| position <= k).count();
    ratio(shown as f64, first_at.len() as f64)
}

/// Sums over rated pairs of the errors: predicted rating minus given rating.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RatingErrors {
    /// Sum of squares, in squared rating units.
    pub squared: f64,
    /// Sum of magnitudes, in rating units.
    pub absolute: f64,
    /// How many pairs.
    pub pairs: f64,
}

impl RatingErrors {
    /// Adds one pair.
    pub fn add(&mut self, predicted: f32, rating: f32) {
        let error = f64::from(predicted) - f64::from(rating);
        self.squared += error * error;
        self.absolute += error.abs();
        self.pairs += 1.0;
    }

    /// Returns the root of the mean squared error, over pairs and not over users' means.
    pub fn rmse(&self) -> f64 {
        ratio(self.squared, self.pairs).sqrt()
    }

    /// Returns the mean absolute error, over pairs.
    pub fn mae(&self) -> f64 {
        ratio(self.absolute, self.pairs)
    }
}

/// Returns how many of the ascending `ranks` are at most `k`.
fn hits(ranks: &[usize], k: usize) -> usize {
    ranks.partition_point(|&rank| rank <= k)
}

/// Returns `a / b`, or 0 where `b` is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relevant items at positions 2, 3 and 7 of a list of ten.
    const RANKS: [usize; 3] = [2, 3, 7];

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "found {found}, expected {expected}");
    }

    #[test]
    fn worked_by_hand() {
        close(hit_rate(&RANKS, 1), 0.0);
        close(hit_rate(&RANKS, 2), 1.0);
        close(recall(&RANKS, 5), 2.0 / 3.0);
        close(capped_recall(&RANKS, 5), 2.0 / 3.0);
        close(capped_recall(&RANKS, 2), 1.0 / 2.0);
        close(precision(&RANKS, 5), 2.0 / 5.0);
        // 1 / log2(3) + 1 / log2(4) = 1.1309298, over 1 + 0.6309298 + 0.5 = 2.1309298.
        close(ndcg(&RANKS, 5), (1.0 / 3f64.log2() + 0.5) / (1.0 + 1.0 / 3f64.log2() + 0.5));
        close(ndcg(&RANKS, 2), (1.0 / 3f64.log2()) / (1.0 + 1.0 / 3f64.log2()));
        // (1/2 + 2/3) over 3, (1/2 + 2/3 + 3/7) over 3, and one hit over 2.
        close(average_precision(&RANKS, 5), 7.0 / 18.0);
        close(average_precision(&RANKS, 10), (0.5 + 2.0 / 3.0 + 3.0 / 7.0) / 3.0);
        close(average_precision(&RANKS, 2), 0.25);
        close(reciprocal_rank(&RANKS, None), 0.5);
        close(reciprocal_rank(&RANKS, Some(1)), 0.0);
    }

    #[test]
    fn one_relevant_item_gives_the_formulas_of_the_ncf_paper() {
        for rank in 1..15 {
            let within = f64::from(rank <= 10);
            close(hit_rate(&[rank], 10), within);
            close(recall(&[rank], 10), within);
            close(capped_recall(&[rank], 10), within);
            close(ndcg(&[rank], 10), within * 2f64.ln() / (rank as f64 + 1.0).ln());
            close(average_precision(&[rank], 10), within / rank as f64);
            close(reciprocal_rank(&[rank], Some(10)), within / rank as f64);
        }
    }

    #[test]
    fn a_list_that_starts_with_all_relevant_items_scores_one() {
        for k in [1, 2, 3, 10] {
            close(ndcg(&[1, 2, 3], k), 1.0);
            close(average_precision(&[1, 2, 3], k), 1.0);
            close(capped_recall(&[1, 2, 3], k), 1.0);
        }
        close(recall(&[1, 2, 3], 3), 1.0);
    }

    #[test]
    fn auc_counts_pairs_and_half_of_ties() {
        let standings = [Standing { ahead: 0, tied: 1 }, Standing { ahead: 3, tied: 0 }];
        close(auc(&standings, 4), (3.5 + 1.0) / 8.0);
        close(auc(&standings[..1], 0), 0.5);
    }

    #[test]
    fn lists_and_ratings_worked_by_hand() {
        assert_eq!(self_information(&[8, 4, 1, 0], 8), [0.0, 1.0, 3.0, 3.0]);
        close(coverage(&[1, 3, usize::MAX, 2], 2), 0.5);
        let mut errors = RatingErrors::default();
        errors.add(3.0, 4.0);
        errors.add(5.0, 2.0);
        close(errors.rmse(), 5f64.sqrt());
        close(errors.mae(), 2.0);
    }

    #[test]
    fn nothing_relevant_is_nothing_found() {
        let found = [hit_rate(&[], 3), ndcg(&[], 3), recall(&[], 3), capped_recall(&[], 3)];
        for value in found.into_iter().chain([average_precision(&[], 3)]) {
            close(value, 0.0);
        }
        close(RatingErrors::default().rmse(), 0.0);
    }
}

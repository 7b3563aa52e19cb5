//! Judges one user: computes the user's value of every metric, and the list that would be recommended, from the scores.

use burnrec_data::{Csr, Holdout, ItemIx};

use super::EvaluateOptions;
use crate::metrics::{self, Metric, RatingErrors};
use crate::rank::Ranks;

/// One user of a holdout with the model's scores.
pub struct Asked<'a> {
    /// The holdout row.
    pub row: usize,
    /// Scores of the row's relevant items, in their order.
    pub relevant_scores: &'a [f32],
    /// The items they are ranked against.
    pub candidates: &'a [ItemIx],
    /// Scores of the candidates.
    pub candidate_scores: &'a [f32],
}

/// The users judged so far.
#[derive(Default)]
pub struct Judged {
    /// `[users, columns]`: each user's value of each of [`UserEvaluator::columns`].
    pub values: Vec<f64>,
    /// `[users]`: the errors of each user's predicted ratings.
    pub errors: Vec<RatingErrors>,
    /// Held-out pairs left out of the rating metrics, because the user or the item has no training row.
    pub cold_pairs: usize,
}

impl Judged {
    /// Joins the users of all blocks, in the order of the blocks.
    pub fn concat(blocks: Vec<Self>) -> Self {
        let mut all = Self::default();
        for block in blocks {
            all.values.extend(block.values);
            all.errors.extend(block.errors);
            all.cold_pairs += block.cold_pairs;
        }
        all
    }
}

/// Judges users: holds all that it needs beside a user's scores.
pub struct UserEvaluator<'a> {
    holdout: &'a Holdout,
    train: &'a Csr,
    rating: bool,
    columns: Vec<Metric>,
    /// The length of a user's list: the largest cut.
    longest: usize,
    /// `[items]`: the self-information of each item, in bits.
    self_information: Vec<f64>,
    /// `[items]`: whether the item has a row in training.
    warm_items: Vec<bool>,
}

impl<'a> UserEvaluator<'a> {
    /// Makes the evaluator of one holdout.
    pub fn new(holdout: &'a Holdout, train: &'a Csr, options: &EvaluateOptions) -> Self {
        let mut item_counts = vec![0u32; train.n_cols()];
        train.cols().iter().for_each(|&item| item_counts[item as usize] += 1);
        let n_users = (0..train.n_rows()).filter(|&user| !train.row(user).0.is_empty()).count();
        let mut columns = vec![Metric::Mrr(None), Metric::Auc];
        for &k in &options.ks {
            columns.extend([Metric::Hr(k), Metric::Ndcg(k), Metric::Recall(k), Metric::Precision(k)]);
            columns.extend([Metric::Map(k), Metric::Mrr(Some(k)), Metric::Novelty(k)]);
        }
        columns.sort_unstable();
        columns.dedup();
        Self {
            holdout,
            train,
            rating: options.rating,
            columns,
            longest: options.ks.iter().copied().max().unwrap_or(0),
            self_information: metrics::self_information(&item_counts, n_users),
            warm_items: item_counts.iter().map(|&count| count > 0).collect(),
        }
    }

    /// Returns the metrics that are means over users, in the order of each user's values.
    pub fn columns(&self) -> &[Metric] {
        &self.columns
    }

    /// Judges one user, and calls `shown` with each item of the user's list and its 1-based position.
    pub fn user(&self, asked: &Asked<'_>, judged: &mut Judged, mut shown: impl FnMut(ItemIx, usize)) {
        let (relevant, ratings) = self.holdout.relevant.row(asked.row);
        let ranks = Ranks::of(asked.relevant_scores, asked.candidate_scores);
        let list = self.list(asked, relevant, &ranks);
        list.iter().enumerate().for_each(|(before, &item)| shown(item, before + 1));
        judged.values.extend(self.columns.iter().map(|&metric| self.value(metric, &ranks, &list)));

        let mut errors = RatingErrors::default();
        if self.rating {
            let warm_user = if self.holdout.fold_in {
                !self.holdout.history.row(asked.row).0.is_empty()
            } else {
                !self.train.row(self.holdout.users[asked.row].at()).0.is_empty()
            };
            for ((&item, &rating), &score) in relevant.iter().zip(ratings).zip(asked.relevant_scores) {
                if warm_user && self.warm_items[item as usize] {
                    errors.add(score, rating);
                } else {
                    judged.cold_pairs += 1;
                }
            }
        }
        judged.errors.push(errors);
    }

    /// Returns one user's value of a metric that is a mean over users.
    fn value(&self, metric: Metric, ranks: &Ranks, list: &[ItemIx]) -> f64 {
        match metric {
            Metric::Hr(k) => metrics::hit_rate(&ranks.joint, k),
            Metric::Ndcg(k) => metrics::ndcg(&ranks.joint, k),
            Metric::Recall(k) => metrics::recall(&ranks.joint, k),
            Metric::Precision(k) => metrics::precision(&ranks.joint, k),
            Metric::Map(k) => metrics::average_precision(&ranks.joint, k),
            Metric::Mrr(k) => metrics::reciprocal_rank(&ranks.joint, k),
            Metric::Auc => metrics::auc(&ranks.standings, ranks.n_candidates),
            Metric::Novelty(k) => {
                let list = &list[..k.min(list.len())];
                list.iter().map(|item| self.self_information[item.at()]).sum::<f64>() / list.len() as f64
            }
            Metric::Coverage(_) | Metric::Rmse | Metric::Mae => {
                unreachable!("no mean over users, so no column")
            }
        }
    }

    /// Returns the first items of the joint list of candidates and relevant items.
    fn list(&self, asked: &Asked<'_>, relevant: &[u32], ranks: &Ranks) -> Vec<ItemIx> {
        let top = top(asked.candidate_scores, self.longest);
        let mut candidates = top.into_iter().map(|at| asked.candidates[at]);
        let mut found = ranks.joint.iter().zip(&ranks.order).peekable();
        let next = |position| match found.next_if(|(rank, _)| **rank == position) {
            Some((_, &at)) => Some(ItemIx(relevant[at])),
            None => candidates.next(),
        };
        (1..=self.longest).map_while(next).collect()
    }
}

/// Returns the positions of the `k` highest scores, highest first, and equal ones by position. NaN counts as the
/// highest score, as in [`Ranks`].
fn top(scores: &[f32], k: usize) -> Vec<usize> {
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(k.min(scores.len()) + 1);
    for (at, &score) in scores.iter().enumerate() {
        let score = if score.is_nan() { f32::INFINITY } else { score };
        if best.len() >= k {
            if best.last().is_none_or(|&(lowest, _)| score <= lowest) {
                continue;
            }
            best.pop();
        }
        best.insert(best.partition_point(|&(other, _)| other >= score), (score, at));
    }
    best.into_iter().map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_that_of_a_stable_sort() {
        let scores = [1.0, 3.0, f32::NAN, 3.0, f32::NEG_INFINITY, 2.0];
        assert_eq!(top(&scores, 4), [2, 1, 3, 5]);
        assert_eq!(top(&scores, 10), [2, 1, 3, 5, 0, 4]);
        assert!(top(&scores, 0).is_empty());
        assert!(top(&[], 3).is_empty());
    }
}

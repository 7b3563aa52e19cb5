//! Judges one user: computes the user's value of every metric, and the list that would be recommended, from where the
//! user's relevant items stand among the candidates and from the best of these.

use burnrec_data::{Csr, Holdout, ItemIx, UserIx};
use burnrec_models::drift::Drift;
use burnrec_models::scorer::Ranked;
use burnrec_models::trained::clip;

use super::EvaluateOptions;
use crate::metrics::{self, Metric, RatingErrors};
use crate::rank::Ranks;

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
    /// What ratings differ at the times of held-out rows.
    drift: Option<&'a Drift>,
    /// The least and the greatest value of training, where ratings are clipped to them.
    scale: Option<(f32, f32)>,
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
    pub fn new(
        holdout: &'a Holdout,
        train: &'a Csr,
        options: &EvaluateOptions,
        drift: Option<&'a Drift>,
    ) -> Self {
        let mut item_counts = vec![0u32; train.n_cols()];
        train.cols().iter().for_each(|&item| item_counts[item as usize] += 1);
        let n_users = (0..train.n_rows()).filter(|&user| !train.row(user).0.is_empty()).count();
        let mut columns = vec![Metric::Mrr(None), Metric::Auc];
        for &k in &options.ks {
            columns.extend([Metric::Hr(k), Metric::Ndcg(k), Metric::Recall(k), Metric::CappedRecall(k)]);
            columns.extend([Metric::Precision(k), Metric::Map(k), Metric::Mrr(Some(k)), Metric::Novelty(k)]);
        }
        columns.sort_unstable();
        columns.dedup();
        Self {
            holdout,
            train,
            rating: options.rating,
            drift,
            scale: options.clip.then(|| train.value_range()).flatten(),
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

    /// How many of a user's best candidates are needed: the largest cut.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Judges the user of a holdout row, `user` to the scorer, and calls `shown` with each item of the user's list and its 1-based position.
    pub fn user(
        &self,
        row: usize,
        user: UserIx,
        ranked: &Ranked,
        judged: &mut Judged,
        mut shown: impl FnMut(ItemIx, usize),
    ) {
        let (relevant, ratings) = self.holdout.relevant.row(row);
        let ranks = Ranks::of(ranked);
        let list = self.list(ranked, relevant, &ranks);
        list.iter().enumerate().for_each(|(before, &item)| shown(item, before + 1));
        judged.values.extend(self.columns.iter().map(|&metric| self.value(metric, &ranks, &list)));

        let mut errors = RatingErrors::default();
        if self.rating {
            let warm_user = if self.holdout.fold_in {
                !self.holdout.history.row(row).0.is_empty()
            } else {
                !self.train.row(self.holdout.users[row].at()).0.is_empty()
            };
            let mut scores = ranked.relevant_scores.clone();
            if let (Some(drift), Some(times)) = (self.drift, self.holdout.relevant.times(row)) {
                drift.add(user, relevant, times, &mut scores);
            }
            for ((&item, &rating), &score) in relevant.iter().zip(ratings).zip(&scores) {
                if warm_user && self.warm_items[item as usize] {
                    errors.add(clip(score, self.scale), rating);
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
            Metric::CappedRecall(k) => metrics::capped_recall(&ranks.joint, k),
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
    fn list(&self, ranked: &Ranked, relevant: &[u32], ranks: &Ranks) -> Vec<ItemIx> {
        let mut candidates = ranked.best.iter().copied();
        let mut found = ranks.joint.iter().zip(&ranks.order).peekable();
        let next = |position| match found.next_if(|(rank, _)| **rank == position) {
            Some((_, &at)) => Some(ItemIx(relevant[at])),
            None => candidates.next(),
        };
        (1..=self.longest).map_while(next).collect()
    }
}

//! Judges any scorer on a holdout, the data that it was not trained on. All evaluation goes through [`evaluate`].
//!
//! The holdout says which items each user's relevant items are ranked against, so that all models are judged alike:
//! against every item that is not in the user's history (full ranking), or against candidates drawn once with the
//! split. The model scores blocks of users; a block's ranks and the metrics of its users follow from the scores alone,
//! and a model on a card ranks there. Blocks are cut by size and not by thread, so the result is the same for any number of threads.

mod check;
mod scores;
mod user;

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use burnrec_data::{Candidates, Csr, Holdout, ItemIx, UserIx};
use burnrec_models::scorer::Ranked;
use burnrec_models::{FoldIn, ModelConfig, Output, Progress, Scorer};
use rayon::prelude::*;

pub use check::protocol;
pub use scores::{ITEM_K, ItemCounts, Score, Scores};
use user::{Judged, UserEvaluator};

use crate::metrics::Metric;
use crate::rank::ranked;
use crate::{Error, Result};

/// What to compute, and how sure to be of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// The cuts k of the metrics over the first k items, such as `ndcg@k`, in any order.
    pub ks: Vec<usize>,
    /// Whether the scores are ratings, so that RMSE and MAE make sense.
    pub rating: bool,
    /// Whether predicted ratings are clipped to the values of training before they are judged.
    pub clip: bool,
    /// Seeds the bootstrap; nothing else is drawn here.
    pub seed: u64,
    /// The number of bootstrap resamples; 0 gives no intervals.
    pub resamples: usize,
}

impl EvaluateOptions {
    /// Returns the defaults for a model and a holdout. The cut of `select_by` is added to `ks`, and where users are folded in
    /// those of the published tables of strong generalisation, 50 and 100.
    pub fn of(model: &ModelConfig, holdout: &Holdout, seed: u64, select_by: Option<Metric>) -> Self {
        let (rating, clip) = (model.output() == Output::Rating, model.clips());
        let mut options = Self { rating, clip, seed, ..Self::default() };
        if holdout.fold_in {
            options.ks.extend([50, 100]);
        }
        options.ks.extend(select_by.and_then(Metric::k));
        options.ks.sort_unstable();
        options.ks.dedup();
        options
    }
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self { ks: vec![5, 10, 20], rating: false, clip: false, seed: 42, resamples: 1000 }
    }
}

/// The most scores of one block in full ranking (4 MiB); a block has at least one user.
const BLOCK: usize = 1 << 20;
/// The most pairs of one block with drawn candidates; a block has at least one user.
const PAIRS: usize = 1 << 16;

/// Judges `scorer` on `holdout`.
///
/// Each user's relevant items are ranked in one list with the user's candidates; items of the history are never
/// candidates. Users without a relevant item are left out. `train` is `[users, items]`, what the model learned
/// from: it gives the popularity behind novelty, and which users and items are warm. With `rating`, the model's
/// scores of the relevant items are compared with their values; pairs with a cold user or item (without any row
/// in `train`) are left out and counted, as Spark does with `coldStartStrategy = "drop"`. Where the model's ratings change
/// over time, they are those of the times of the held-out rows; ranks are always those of the newest time. A folded-in user is warm
/// if its history has a row. All relevant items are ranked, whatever their values. Lists, coverage and novelty are
/// those of the protocol: with drawn candidates they compare models, but say little of the catalogue.
///
/// The model scores several blocks at once, on rayon's threads.
///
/// # Errors
/// When scorer, holdout and training matrix do not fit each other, the users have to be folded in and the model cannot,
/// no user has a relevant item, a rating is predicted that is not finite, or `progress` says to stop.
pub fn evaluate(
    scorer: &dyn Scorer,
    holdout: &Holdout,
    train: &Csr,
    options: &EvaluateOptions,
    progress: &dyn Progress,
) -> Result<Scores> {
    check::fits(scorer, holdout, train, options)?;
    if !holdout.fold_in {
        return judge(scorer, &holdout.users, holdout, train, options, progress);
    }
    let folded = require_fold_in(scorer)?.fold_in(&holdout.history)?;
    let users: Vec<UserIx> = (0..holdout.len() as u32).map(UserIx).collect();
    judge(&*folded, &users, holdout, train, options, progress)
}

/// Returns the model as one that folds users in.
///
/// # Errors
/// When it cannot.
pub fn require_fold_in(scorer: &dyn Scorer) -> Result<&dyn FoldIn> {
    scorer.as_fold_in().ok_or_else(|| {
        Error::evaluate(
            "a model that cannot fold users in",
            "one that can, such as als: the users of this holdout have no row in training",
        )
    })
}

/// Judges a scorer in which `users[row]` is the user of each holdout row.
fn judge(
    scorer: &dyn Scorer,
    users: &[UserIx],
    holdout: &Holdout,
    train: &Csr,
    options: &EvaluateOptions,
    progress: &dyn Progress,
) -> Result<Scores> {
    let rows: Vec<usize> =
        (0..holdout.len()).filter(|&row| !holdout.relevant.row(row).0.is_empty()).collect();
    if rows.is_empty() {
        return Err(Error::evaluate("a holdout without held-out items", "at least one user with one"));
    }
    let drift = scorer.drift();
    let evaluator = UserEvaluator::new(holdout, train, options, drift.as_deref());
    let first_at: Vec<AtomicUsize> = (0..scorer.n_items()).map(|_| AtomicUsize::new(usize::MAX)).collect();
    let zeros = || (0..scorer.n_items()).map(|_| AtomicU32::new(0)).collect::<Vec<_>>();
    let (shown, hits) = (zeros(), zeros());
    progress.begin("users judged", rows.len() as u64);
    let blocks = cut(&rows, holdout, scorer)
        .into_par_iter()
        .map_init(Scratch::default, |scratch, block| {
            progress.check()?;
            let mut judged = Judged::default();
            let rows = &rows[block];
            scratch.rank(scorer, users, holdout, rows, evaluator.longest(), |row, ranked| {
                evaluator.user(row, users[row], &ranked, &mut judged, |item, position| {
                    first_at[item.at()].fetch_min(position, Ordering::Relaxed);
                    if position <= ITEM_K {
                        shown[item.at()].fetch_add(1, Ordering::Relaxed);
                        if holdout.relevant.contains(row, item.0) {
                            hits[item.at()].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            });
            progress.advance(rows.len() as u64);
            Ok(judged)
        })
        .collect::<Result<Vec<Judged>>>()?;
    progress.end();
    let judged = Judged::concat(blocks);
    let first_at: Vec<usize> = first_at.into_iter().map(AtomicUsize::into_inner).collect();
    let judged_users = rows.iter().map(|&row| holdout.users[row]).collect();
    let counted = |counts: Vec<AtomicU32>| counts.into_iter().map(AtomicU32::into_inner).collect();
    let items = ItemCounts { shown: counted(shown), hits: counted(hits) };
    let (protocol, columns) = (check::protocol(holdout), evaluator.columns());
    let scores = Scores::of(protocol, judged_users, columns, judged, &first_at, options)?;
    Ok(Scores { per_item: items, ..scores })
}

/// Cuts holdout rows into blocks of whole users.
fn cut(rows: &[usize], holdout: &Holdout, scorer: &dyn Scorer) -> Vec<Range<usize>> {
    let n_items = scorer.n_items();
    let most = if holdout.candidates == Candidates::Unseen { BLOCK } else { PAIRS };
    let most = most.max(scorer.pairs_at_once());
    let cost = |row: usize| match &holdout.candidates {
        Candidates::Unseen => n_items,
        Candidates::Drawn(lists) => holdout.relevant.row(row).0.len() + lists.row(row).len(),
    };
    let mut blocks = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, &row) in rows.iter().enumerate() {
        let cost = cost(row);
        if at > start && size + cost > most {
            blocks.push(start..at);
            (start, size) = (at, 0);
        }
        size += cost;
    }
    blocks.push(start..rows.len());
    blocks
}

/// Buffers that a thread uses again from block to block.
#[derive(Default)]
struct Scratch {
    users: Vec<UserIx>,
    items: Vec<ItemIx>,
    scores: Vec<f32>,
    kept_items: Vec<ItemIx>,
    kept_scores: Vec<f32>,
    relevant_scores: Vec<f32>,
}

impl Scratch {
    /// Ranks the relevant items of a block of users, on the model's device where it can, and calls `judge` with each row.
    fn rank(
        &mut self,
        scorer: &dyn Scorer,
        users: &[UserIx],
        holdout: &Holdout,
        rows: &[usize],
        k: usize,
        mut judge: impl FnMut(usize, Ranked),
    ) {
        self.users.clear();
        self.users.extend(rows.iter().map(|&row| users[row]));
        if let Some(ranked) = scorer.rank_on_device(&self.users, holdout, rows, k, &[]) {
            rows.iter().zip(ranked).for_each(|(&row, ranked)| judge(row, ranked));
            return;
        }
        match &holdout.candidates {
            Candidates::Unseen => {
                let n_items = scorer.n_items();
                self.scores.resize(rows.len() * n_items, 0.0);
                scorer.score_catalog(&self.users, &mut self.scores);
                let scores = std::mem::take(&mut self.scores);
                for (&row, scores) in rows.iter().zip(scores.chunks_exact(n_items)) {
                    judge(row, self.unseen(holdout, row, scores, k));
                }
                self.scores = scores;
            }
            Candidates::Drawn(lists) => {
                self.users.clear();
                self.items.clear();
                for &row in rows {
                    self.items.extend(holdout.relevant.row(row).0.iter().map(|&item| ItemIx(item)));
                    self.items.extend_from_slice(lists.row(row));
                    self.users.resize(self.items.len(), users[row]);
                }
                self.scores.resize(self.items.len(), 0.0);
                scorer.score_pairs(&self.users, &self.items, &mut self.scores);
                let mut start = 0;
                for &row in rows {
                    let middle = start + holdout.relevant.row(row).0.len();
                    let end = middle + lists.row(row).len();
                    let (relevant, candidates) = (&self.scores[start..middle], middle..end);
                    let scores = &self.scores[candidates.clone()];
                    judge(row, ranked(relevant, &self.items[candidates], scores, k));
                    start = end;
                }
            }
        }
    }

    /// Ranks one user's relevant items by the scores of the catalogue: candidates are all items but the history and the
    /// relevant items.
    fn unseen(&mut self, holdout: &Holdout, row: usize, scores: &[f32], k: usize) -> Ranked {
        let (relevant, history) = (holdout.relevant.row(row).0, holdout.history.row(row).0);
        self.relevant_scores.clear();
        self.relevant_scores.extend(relevant.iter().map(|&item| scores[item as usize]));
        self.kept_items.clear();
        self.kept_scores.clear();
        let (mut left, mut start) = ((relevant, history), 0);
        loop {
            // The next item to leave out is the smaller of the heads of two ascending lists.
            let end = match (left.0.first(), left.1.first()) {
                (Some(&a), Some(&b)) => a.min(b) as usize,
                (Some(&next), None) | (None, Some(&next)) => next as usize,
                (None, None) => scores.len(),
            };
            self.kept_items.extend((start as u32..end as u32).map(ItemIx));
            self.kept_scores.extend_from_slice(&scores[start..end]);
            if end == scores.len() {
                break;
            }
            let past = |list: &[u32]| usize::from(list.first() == Some(&(end as u32)));
            left = (&left.0[past(left.0)..], &left.1[past(left.1)..]);
            start = end + 1;
        }
        ranked(&self.relevant_scores, &self.kept_items, &self.kept_scores, k)
    }
}

//! The trait of everything that scores, and the traits and types of what only some scorers can do.

use std::sync::Arc;

use burnrec_data::{Csr, Holdout, ItemIx, UserIx};

pub use crate::allowed::Allowed;
use crate::drift::Drift;
use crate::similar::Likeness;
pub use crate::vectors::Vectors;
use crate::{Error, Result};

/// Scores pairs of rows in batches. Scores are logits: within one user, higher is better, and no sigmoid is applied,
/// which would make ties of near-certain ones.
pub trait Scorer: Send + Sync {
    /// Returns how many users have a row.
    fn n_users(&self) -> usize;

    /// Returns how many items have a row.
    fn n_items(&self) -> usize;

    /// Scores pairs: `out[k]` for `users[k]` and `items[k]`; all three of one length, all rows known.
    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]);

    /// Scores every item for each of `users`: `out` is `[users, n_items]`, row-major.
    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]);

    /// Returns the lists of [`top_k`](crate::topk::top_k), where the model finds them on its device, so that no scores are
    /// read back.
    fn best_on_device<'a>(
        &self,
        users: &[UserIx],
        k: usize,
        exclude: &(dyn Fn(usize) -> &'a [u32] + Sync),
        allowed: Option<&Allowed>,
    ) -> Option<Vec<Vec<(ItemIx, f32)>>> {
        let _ = (users, k, exclude, allowed);
        None
    }

    /// Returns where the relevant items of some rows of a holdout stand among their candidates, and the `k` best candidates
    /// of each, where the model finds these on its device, so that no scores are read back. `users` are the users of `rows`;
    /// the items of `last` have the score minus infinity, whatever the model gives them.
    fn rank_on_device(
        &self,
        users: &[UserIx],
        holdout: &Holdout,
        rows: &[usize],
        k: usize,
        last: &[ItemIx],
    ) -> Option<Vec<Ranked>> {
        let _ = (users, holdout, rows, k, last);
        None
    }

    /// Returns how many pairs a call should ask for at least, where there are so many, for a device to be busy.
    fn pairs_at_once(&self) -> usize {
        1
    }

    /// Returns the model as one that folds in users without a row, where it can.
    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        None
    }

    /// Returns one vector per item whose direction says what the item is like, where the model has such vectors.
    fn item_vectors(&self) -> Option<Vectors<'_>> {
        None
    }

    /// Returns what the model says of how alike items are, where it does: the directions of their vectors, if it has no
    /// other measure.
    fn likeness(&self) -> Option<Likeness<'_>> {
        self.item_vectors().map(Likeness::Cosines)
    }

    /// Returns one vector per user, where the model has such vectors.
    fn user_vectors(&self) -> Option<Vectors<'_>> {
        None
    }

    /// Returns vectors of users and items whose dot products rank the items of each user as the scores do, where the score
    /// has that form.
    fn factors(&self) -> Option<Factors> {
        None
    }

    /// Returns what scores differ at other times, where they change over time: all other methods are of the newest time that
    /// the model knows.
    fn drift(&self) -> Option<Arc<Drift>> {
        None
    }
}

/// What an evaluation needs of a user's scores. Ties and NaN count against the model: a candidate with NaN is ahead of every
/// target, and a target with NaN behind every candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// The scores of the user's relevant items, in their order.
    pub relevant_scores: Vec<f32>,
    /// Where each of these stands.
    pub standings: Vec<Standing>,
    /// How many candidates they are ranked against.
    pub n_candidates: usize,
    /// The best candidates, best first: NaN leads, and of equal scores the first in the list of candidates.
    pub best: Vec<ItemIx>,
}

/// Where a target, an item that is held out, stands among its candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Candidates with a higher score, or with NaN; all of them if the target's score is NaN.
    pub ahead: usize,
    /// Candidates with the target's score.
    pub tied: usize,
}

/// Fits users from their histories alone, with the items fixed.
pub trait FoldIn {
    /// Returns a scorer whose user `k` has row `k` of `histories`, `[new users, n_items]`, as its history.
    ///
    /// # Errors
    /// When `histories` has another number of items, values the model cannot take, or no order and the model reads it.
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>>;
}

/// Refuses histories over another number of items than a model has, for its [`FoldIn::fold_in`].
///
/// # Errors
/// When there are more columns, or fewer.
pub fn check_histories(histories: &Csr, n_items: usize) -> Result<()> {
    if histories.n_cols() == n_items {
        return Ok(());
    }
    let found = format!("histories over {} items", histories.n_cols());
    Err(Error::FoldIn { found, expected: format!("{n_items} items, as the model has") })
}

/// Refuses histories without an order, for the [`FoldIn::fold_in`] of a model that reads it.
///
/// # Errors
/// When there are entries and they have no order.
pub fn check_order(histories: &Csr) -> Result<()> {
    if histories.order().is_some() || histories.nnz() == 0 {
        return Ok(());
    }
    let expected = "rows in the order of their times; prepared data of before, or without times, has none: prepare it again";
    Err(Error::FoldIn { found: "histories without an order".to_owned(), expected: expected.to_owned() })
}

/// Vectors of users and items for programs that rank by dot products.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// `[n_users, dim]`, row-major.
    pub users: Vec<f32>,
    /// `[n_items, dim]`, row-major.
    pub items: Vec<f32>,
    /// The length of each.
    pub dim: usize,
    /// Whether the last element of an item's vector is its bias, and that of a user's is 1.
    pub bias: bool,
    /// `[n_users]`: what the scores of a user's items have in common and dot products leave out; empty where it is nothing.
    pub constants: Vec<f32>,
}

/// How many rows a model has for users and for items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Users with a row.
    pub n_users: usize,
    /// Items with a row.
    pub n_items: usize,
}

//! A split: the training interactions and two holdouts, with all that evaluating a model on them needs.
//!
//! The submodules draw splits, one per protocol. A protocol only marks each row with the part of the split it goes to;
//! one function builds every split from the marks, so that all of them keep the same promises.

mod assemble;
mod candidates;
mod config;
mod folds;
mod given;
mod leave_one_out;
mod random;
mod summary;
mod temporal;
mod user_holdout;

pub(crate) use assemble::histories;
pub use config::{SplitConfig, TimePoint};
pub use folds::{Fold, folds};
pub use given::{GivenSplit, split_given};
pub use summary::{HoldoutSummary, SplitSummary};

use crate::{Csr, Dataset, Interactions, ItemIx, Result, UserIx};

/// Lists of items of different lengths, one per row, stored one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    offsets: Vec<usize>,
    items: Vec<ItemIx>,
}

impl Lists {
    /// Creates an empty collection of lists.
    pub fn new() -> Self {
        Self { offsets: vec![0], items: Vec::new() }
    }

    /// Builds lists from offsets and items: list `r` is `items[offsets[r]..offsets[r + 1]]`.
    ///
    /// # Panics
    /// When the offsets do not start at 0, ascend and end at the number of items.
    pub fn from_parts(offsets: Vec<usize>, items: Vec<ItemIx>) -> Self {
        assert_eq!(offsets.first(), Some(&0), "offsets start at 0");
        assert_eq!(offsets.last(), Some(&items.len()), "offsets end at the number of items");
        assert!(offsets.is_sorted(), "offsets ascend");
        Self { offsets, items }
    }

    /// Appends one list.
    pub fn push(&mut self, items: &[ItemIx]) {
        self.items.extend_from_slice(items);
        self.offsets.push(self.items.len());
    }

    /// Returns the number of lists.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no list.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the offset of each list among the items, and the end: one more than there are lists.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Returns the items of all lists, one list after the other.
    pub fn items(&self) -> &[ItemIx] {
        &self.items
    }

    /// Returns the lists but one.
    pub fn without(&self, row: usize) -> Self {
        let mut kept = Self::new();
        (0..self.len()).filter(|other| *other != row).for_each(|other| kept.push(self.row(other)));
        kept
    }

    /// Returns one list.
    pub fn row(&self, row: usize) -> &[ItemIx] {
        &self.items[self.offsets[row]..self.offsets[row + 1]]
    }
}

impl Default for Lists {
    fn default() -> Self {
        Self::new()
    }
}

/// Which items a held-out item is ranked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// Items drawn with the split, one list per held-out user, without the user's relevant items.
    Drawn(Lists),
    /// Every item that is neither in the user's history nor relevant.
    Unseen,
}

/// Held-out users with the items that a model has to find and the history that it may use. All matrices and lists have
/// one row per entry of `users`, in the same order.
#[derive(Clone, Debug, PartialEq)]
pub struct Holdout {
    /// The users, ascending, each at most once.
    pub users: Vec<UserIx>,
    /// `[users, items]`: the held-out items of each user, with their ratings as values and their times, if the data has
    /// times and was prepared since they are kept.
    pub relevant: Csr,
    /// `[users, items]`: the known items of each user, which are never ranked; folded in where `fold_in` is set, in the
    /// order of their times if the data has times.
    pub history: Csr,
    /// The items to rank the relevant ones against.
    pub candidates: Candidates,
    /// Whether the users have no row in training (strong generalisation), so that a model has to fold their history in.
    pub fold_in: bool,
}

impl Holdout {
    /// Returns the number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether no user is held out.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// Interactions cut into what a model is trained on and what it is evaluated on.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The training rows while settings and epochs are chosen on `valid`.
    pub train: Interactions,
    /// The rows behind `valid`, which are added to `train` for the final fit before `test` is used.
    pub valid_rows: Interactions,
    /// The holdout on which settings and epochs are chosen.
    pub valid: Holdout,
    /// The holdout that is used once, at the end.
    pub test: Holdout,
}

/// The part of a split that a row goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SplitPart {
    /// Trained on.
    Train,
    /// Held out for `valid`.
    Valid,
    /// Held out for `test`.
    Test,
    /// History of a user who is in `valid` alone.
    ValidHistory,
    /// History of a user who is in `test` alone.
    TestHistory,
}

/// Splits a dataset whose rows do not repeat a pair of user and item (see [`crate::filter::apply`]). The same
/// dataset, setting and seed give the same split, whatever the number of threads.
///
/// # Errors
/// When the setting is out of range, when the data cannot satisfy it (too few items for the candidates, too few
/// users), when train, valid or test would be empty, or for [`SplitConfig::Given`], which [`split_given`] splits.
pub fn split(dataset: &Dataset, config: &SplitConfig, seed: u64) -> Result<(Split, SplitSummary)> {
    config.check()?;
    let rows = &dataset.interactions;
    let (n_users, n_items) = (dataset.users.len(), dataset.items.len());
    let mut summary = SplitSummary::default();
    let mut fold_in = None;
    let marks = match *config {
        SplitConfig::LeaveOneOut { .. } => leave_one_out::marks(rows, n_users, seed, &mut summary),
        SplitConfig::Random { valid, test } => random::ratio(rows.len(), valid, test, seed),
        SplitConfig::KFold { folds, fold } => random::k_fold(rows.len(), folds, fold, seed),
        SplitConfig::Temporal { valid_from, test_from } => {
            temporal::marks(rows, valid_from, test_from, &mut summary)?
        }
        SplitConfig::UserHoldout { valid_users, test_users, fold_in: share } => {
            fold_in = Some(share);
            user_holdout::marks(rows, n_users, valid_users, test_users, share, seed, &mut summary)?
        }
        SplitConfig::Given {} => return Err(config.needs_files()),
    };
    let mut split = assemble::assemble(rows, n_users, n_items, &marks, fold_in.is_some(), seed)?;
    if let SplitConfig::LeaveOneOut { candidates: Some(n) } = *config {
        let seen = rows.to_csr(n_users, n_items);
        for (holdout, purpose) in [(&mut split.valid, "valid"), (&mut split.test, "test")] {
            holdout.candidates = candidates::draw(&holdout.users, &seen, n, seed, purpose, &dataset.users)?;
        }
    }
    summary.count(&split, n_users, n_items);
    Ok((split, summary))
}

#[cfg(test)]
mod tests;

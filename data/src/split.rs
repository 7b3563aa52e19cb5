//! What a split is: the training interactions and two holdouts, with all that judging a model on them needs.
//!
//! How splits are drawn is in the submodules, one per protocol.

use crate::{Csr, Interactions, ItemIx, UserIx};

/// Lists of items of different lengths, one per row, stored one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    offsets: Vec<usize>,
    items: Vec<ItemIx>,
}

impl Lists {
    /// No list yet.
    pub fn new() -> Self {
        Self { offsets: vec![0], items: Vec::new() }
    }

    /// Appends one list.
    pub fn push(&mut self, items: &[ItemIx]) {
        self.items.extend_from_slice(items);
        self.offsets.push(self.items.len());
    }

    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no list.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One list.
    pub fn row(&self, row: usize) -> &[ItemIx] {
        &self.items[self.offsets[row]..self.offsets[row + 1]]
    }
}

/// Which items a held-out item is ranked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// Those drawn with the split, one list per holdout row, without the row's relevant items.
    Drawn(Lists),
    /// Every item that is neither in the row's history nor relevant.
    Unseen,
}

/// Users whose held-out items a model has to find, and what it may know of them. All parts have one row per
/// entry of `users`, in the same order.
#[derive(Clone, Debug, PartialEq)]
pub struct Holdout {
    /// The users, ascending, each at most once.
    pub users: Vec<UserIx>,
    /// `[users, items]`: the held-out items of each user, with their ratings as values.
    pub relevant: Csr,
    /// `[users, items]`: what is known of each user when the question is put; never ranked, and folded in where `fold_in` is set.
    pub history: Csr,
    /// The items to rank the relevant ones against.
    pub candidates: Candidates,
    /// Whether the users have no row in training (strong generalisation), so that a model has to fold their history in.
    pub fold_in: bool,
}

impl Holdout {
    /// How many users are held out.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether no user is held out.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// Interactions cut into what a model may learn from and what it is judged on.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What a model learns from while settings and epochs are chosen on `valid`.
    pub train: Interactions,
    /// What is added to `train` for the final fit before `test` is touched: the rows behind `valid`.
    pub valid_rows: Interactions,
    /// Judges settings and epochs.
    pub valid: Holdout,
    /// Touched once, at the end.
    pub test: Holdout,
}

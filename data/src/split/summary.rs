//! The sizes of the parts of a split.

use serde::{Deserialize, Serialize};

use super::{Holdout, Split};
use crate::Interactions;
use crate::calendar::date;

/// The numbers of rows and users of a split, and of those left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSummary {
    /// Training rows.
    pub train_rows: u64,
    /// The valid holdout; unseen are users and items without a train row.
    pub valid: HoldoutSummary,
    /// The test holdout; unseen are users and items without a train or valid row.
    pub test: HoldoutSummary,
    /// Users with too few rows to hold one out; their rows are in training.
    pub short_users: u64,
    /// Rows of a given base dropped because a later one has the same user and item.
    pub repeated_rows: u64,
    /// Rows of a given base dropped because they are in its test.
    pub leaked_rows: u64,
    /// Given candidates dropped because they are the held-out item.
    pub dropped_candidates: u64,
    /// Where valid starts, in Unix seconds, if the rows are split by time.
    pub valid_from: Option<i64>,
    /// Where test starts.
    pub test_from: Option<i64>,
}

/// The size of a holdout, and how much of it is of users and items unseen in training: such rows stay in, and the
/// evaluation handles them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldoutSummary {
    /// Users held out.
    pub users: u64,
    /// Held-out rows.
    pub rows: u64,
    /// Users without a row in training and without a history to fold in.
    pub unseen_users: u64,
    /// Different items without a row in training.
    pub unseen_items: u64,
    /// Rows of such users or items.
    pub unseen_rows: u64,
}

impl SplitSummary {
    /// Counts the rows and users of the split.
    pub(crate) fn count(&mut self, split: &Split, n_users: usize, n_items: usize) {
        self.train_rows = split.train.len() as u64;
        let mut known = Known { users: vec![false; n_users], items: vec![false; n_items] };
        known.add(&split.train);
        self.valid = known.count(&split.valid);
        known.add(&split.valid_rows);
        self.test = known.count(&split.test);
    }
}

struct Known {
    users: Vec<bool>,
    items: Vec<bool>,
}

impl Known {
    fn add(&mut self, rows: &Interactions) {
        rows.users.iter().for_each(|user| self.users[user.at()] = true);
        rows.items.iter().for_each(|item| self.items[item.at()] = true);
    }

    fn count(&self, holdout: &Holdout) -> HoldoutSummary {
        let mut summary = HoldoutSummary {
            users: holdout.len() as u64,
            rows: holdout.relevant.nnz() as u64,
            ..HoldoutSummary::default()
        };
        let mut unseen_items = vec![false; self.items.len()];
        for (place, user) in holdout.users.iter().enumerate() {
            let known = self.users[user.at()] || !holdout.history.row(place).0.is_empty();
            summary.unseen_users += u64::from(!known);
            for &item in holdout.relevant.row(place).0 {
                unseen_items[item as usize] = !self.items[item as usize];
                summary.unseen_rows += u64::from(!known || !self.items[item as usize]);
            }
        }
        summary.unseen_items = unseen_items.iter().filter(|unseen| **unseen).count() as u64;
        summary
    }
}

impl std::fmt::Display for SplitSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "train   {} rows", self.train_rows)?;
        let holdouts = [("valid", &self.valid, self.valid_from), ("test", &self.test, self.test_from)];
        for (name, holdout, from) in holdouts {
            write!(f, "{name:<7} {} rows of {} users", holdout.rows, holdout.users)?;
            if let Some(from) = from {
                write!(f, ", from {}", date(from))?;
            }
            if holdout.unseen_rows > 0 {
                let HoldoutSummary { unseen_users, unseen_items, unseen_rows, .. } = holdout;
                write!(
                    f,
                    " ({unseen_rows} rows of {unseen_users} users and {unseen_items} items unseen before)"
                )?;
            }
            writeln!(f)?;
        }
        let notes = [
            (self.short_users, "users with too few rows to hold one out stay in train"),
            (self.leaked_rows, "rows of the base dropped, as the test has them"),
            (self.dropped_candidates, "given candidates dropped, as they are the held-out item"),
        ];
        for (n, note) in notes.iter().filter(|(n, _)| *n > 0) {
            writeln!(f, "        {n} {note}")?;
        }
        Ok(())
    }
}

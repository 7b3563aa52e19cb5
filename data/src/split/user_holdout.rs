//! Strong generalisation: users without any row in training (Marlin 2004; Liang et al. 2018, section 4.2).

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::{SplitPart, SplitSummary};
use crate::csr::counting_sort;
use crate::rng::stream;
use crate::{Error, Interactions, Result};

/// The rows grouped by user.
pub(super) struct ByUser<'a> {
    rows: &'a Interactions,
    starts: Vec<usize>,
    order: Vec<u32>,
}

impl<'a> ByUser<'a> {
    pub(super) fn new(rows: &'a Interactions, n_users: usize) -> Self {
        let (starts, order) = counting_sort(n_users, rows.len(), |k| rows.users[k].at(), |k| k as u32);
        Self { rows, starts, order }
    }

    fn of_user(&self, user: u32) -> &[u32] {
        &self.order[self.starts[user as usize]..self.starts[user as usize + 1]]
    }

    /// Returns the users with at least 2 rows, one to fold in and one to hold out, in a drawn order.
    pub(super) fn drawn_users(&self, seed: u64) -> Vec<u32> {
        let all = 0..self.starts.len() as u32 - 1;
        let mut users: Vec<u32> = all.filter(|&user| self.of_user(user).len() >= 2).collect();
        users.shuffle(&mut stream(seed, "split.users", 0));
        users
    }

    /// Marks a drawn share of each user's rows as `known` and the others as `held_out`, at least one each. Each of
    /// `users` has at least 2 rows.
    pub(super) fn mark(
        &self,
        marks: &mut [SplitPart],
        users: &[u32],
        (known, held_out): (SplitPart, SplitPart),
        share: f64,
        seed: u64,
    ) {
        let drawn: Vec<Vec<u32>> = users
            .par_iter()
            .map(|&user| {
                let mut of_user = self.of_user(user).to_vec();
                of_user.sort_unstable_by_key(|&k| self.rows.items[k as usize]);
                of_user.shuffle(&mut stream(seed, "split.fold_in", u64::from(user)));
                of_user
            })
            .collect();
        for of_user in drawn {
            let n_known = ((of_user.len() as f64 * share).round() as usize).clamp(1, of_user.len() - 1);
            for (place, &row) in of_user.iter().enumerate() {
                marks[row as usize] = if place < n_known { known } else { held_out };
            }
        }
    }
}

/// Marks the rows of the users drawn for valid and test: the share `fold_in` of each user's rows as history and the
/// others as held out, at least one each. Users with one row stay in training.
pub(super) fn marks(
    rows: &Interactions,
    n_users: usize,
    valid_users: u32,
    test_users: u32,
    fold_in: f64,
    seed: u64,
    summary: &mut SplitSummary,
) -> Result<Vec<SplitPart>> {
    let by_user = ByUser::new(rows, n_users);
    let users = by_user.drawn_users(seed);
    summary.short_users = (n_users - users.len()) as u64;
    if u64::from(valid_users) + u64::from(test_users) >= users.len() as u64 {
        let found = format!("{valid_users} + {test_users}");
        let expected = format!("fewer than {}, the users with at least 2 rows", users.len());
        return Err(Error::setting("valid_users + test_users", found, expected));
    }
    let (test, others) = users.split_at(test_users as usize);
    let mut marks = vec![SplitPart::Train; rows.len()];
    by_user.mark(&mut marks, test, (SplitPart::TestHistory, SplitPart::Test), fold_in, seed);
    let valid = &others[..valid_users as usize];
    by_user.mark(&mut marks, valid, (SplitPart::ValidHistory, SplitPart::Valid), fold_in, seed);
    Ok(marks)
}

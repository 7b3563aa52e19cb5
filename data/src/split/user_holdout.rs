//! Strong generalisation: users without any row in training (Marlin 2004; Liang et al. 2018, section 4.2).

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::{Part, SplitSummary};
use crate::csr::counting_sort;
use crate::rng::stream;
use crate::{Error, Interactions, Result};

/// Marks the rows of the users drawn for valid and test: `fold_in` of each user's rows as known, at least one,
/// the others, at least one, as held out. Users with one row stay in training.
pub(super) fn marks(
    rows: &Interactions,
    n_users: usize,
    valid_users: u32,
    test_users: u32,
    fold_in: f64,
    seed: u64,
    summary: &mut SplitSummary,
) -> Result<Vec<Part>> {
    let (starts, order) = counting_sort(n_users, rows.len(), |k| rows.users[k].at(), |k| k as u32);
    let of_user = |user: u32| &order[starts[user as usize]..starts[user as usize + 1]];
    let mut users: Vec<u32> = (0..n_users as u32).filter(|&user| of_user(user).len() >= 2).collect();
    summary.short_users = (n_users - users.len()) as u64;
    if u64::from(valid_users) + u64::from(test_users) >= users.len() as u64 {
        let found = format!("{valid_users} + {test_users}");
        let expected = format!("fewer than {}, the users with at least 2 rows", users.len());
        return Err(Error::setting("valid_users + test_users", found, expected));
    }
    users.shuffle(&mut stream(seed, "split.users", 0));
    let (test, others) = users.split_at(test_users as usize);
    let parts = [
        (test, Part::TestHistory, Part::Test),
        (&others[..valid_users as usize], Part::ValidHistory, Part::Valid),
    ];
    let mut marks = vec![Part::Train; rows.len()];
    for (users, known, held_out) in parts {
        let drawn: Vec<Vec<u32>> = users
            .par_iter()
            .map(|&user| {
                let mut of_user = of_user(user).to_vec();
                of_user.sort_unstable_by_key(|&k| rows.items[k as usize]);
                of_user.shuffle(&mut stream(seed, "split.fold_in", u64::from(user)));
                of_user
            })
            .collect();
        for of_user in drawn {
            let n_known = ((of_user.len() as f64 * fold_in).round() as usize).clamp(1, of_user.len() - 1);
            for (place, &row) in of_user.iter().enumerate() {
                marks[row as usize] = if place < n_known { known } else { held_out };
            }
        }
    }
    Ok(marks)
}

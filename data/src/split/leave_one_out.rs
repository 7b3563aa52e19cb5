//! Leave-one-out: the last row of each user is test, the one before it valid (He et al. 2017, section 4.1).

use rayon::prelude::*;

use super::{SplitPart, SplitSummary};
use crate::csr::counting_sort;
use crate::{Interactions, UserIx};

/// Marks the last two rows of each user with at least 3.
pub(super) fn marks(
    rows: &Interactions,
    n_users: usize,
    seed: u64,
    summary: &mut SplitSummary,
) -> Vec<SplitPart> {
    let last = last_rows::<2>(rows, n_users, seed);
    let mut marks = vec![SplitPart::Train; rows.len()];
    for [before, last] in last.iter().flatten() {
        marks[*before as usize] = SplitPart::Valid;
        marks[*last as usize] = SplitPart::Test;
    }
    summary.short_users = last.iter().filter(|rows| rows.is_none()).count() as u64;
    marks
}

/// Returns the last `N` rows of each user by time, or none for a user who would have no row left. Equal times stand in a
/// drawn order ([`Interactions::to_histories`] has the same).
pub(super) fn last_rows<const N: usize>(
    rows: &Interactions,
    n_users: usize,
    seed: u64,
) -> Vec<Option<[u32; N]>> {
    let (starts, order) = counting_sort(n_users, rows.len(), |k| rows.users[k].at(), |k| k as u32);
    (0..n_users)
        .into_par_iter()
        .map(|user| {
            let mut of_user = order[starts[user]..starts[user + 1]].to_vec();
            rows.sort_by_time(&mut of_user, UserIx(user as u32), seed);
            let enough = of_user.len() > N;
            enough.then(|| *of_user.last_chunk::<N>().expect("there are more than N"))
        })
        .collect()
}

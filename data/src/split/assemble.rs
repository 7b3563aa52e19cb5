//! Builds a split from the mark of each row.

use super::{Candidates, Holdout, Split, SplitPart};
use crate::{Csr, Error, Interactions, Result, UserIx};

/// Builds the split that `marks`, one per row, describe; every unseen item is a candidate. With `fold_in` the histories
/// of the holdouts are their history rows, in the order of their times if there are times (with equal ones drawn by
/// `seed`), and all rows of the valid users join the final fit.
pub(super) fn assemble(
    rows: &Interactions,
    n_users: usize,
    n_items: usize,
    marks: &[SplitPart],
    fold_in: bool,
    seed: u64,
) -> Result<Split> {
    let marked = |parts: &[SplitPart]| rows_marked(rows, marks, parts);
    let order = rows.have_times().then_some(seed);
    let held_out = |name: &str, mark| {
        let rows = marked(&[mark]);
        check_not_empty(name, rows.len())?;
        Ok(held_out(&rows, n_users, n_items, fold_in, order.is_some()))
    };
    let train = marked(&[SplitPart::Train]);
    check_not_empty("train", train.len())?;
    let mut valid = held_out("valid", SplitPart::Valid)?;
    let mut test = held_out("test", SplitPart::Test)?;
    let valid_rows = marked(&[SplitPart::Valid, SplitPart::ValidHistory]);
    if fold_in {
        for (holdout, mark) in [(&mut valid, SplitPart::ValidHistory), (&mut test, SplitPart::TestHistory)] {
            let known = matrix(&marked(&[mark]), n_users, n_items, order);
            holdout.history = select(&known, &holdout.users);
        }
    } else {
        let users = (&valid.users[..], &test.users[..]);
        (valid.history, test.history) = histories(&train, &valid_rows, users, n_users, n_items);
    }
    Ok(Split { train, valid_rows, valid, test })
}

/// Returns the rows with one of the marks `parts`.
pub(super) fn rows_marked(rows: &Interactions, marks: &[SplitPart], parts: &[SplitPart]) -> Interactions {
    let chosen = (0..rows.len() as u32).filter(|&row| parts.contains(&marks[row as usize]));
    rows.select(&chosen.collect::<Vec<u32>>())
}

/// Returns rows as a matrix `[n_users, n_items]`, in the order of their times where `order` is the seed that draws the order
/// of equal ones.
pub(super) fn matrix(rows: &Interactions, n_users: usize, n_items: usize, order: Option<u64>) -> Csr {
    match order {
        Some(seed) => rows.to_histories(n_users, n_items, seed),
        None => rows.to_csr(n_users, n_items),
    }
}

/// Returns the users of `rows` with these as relevant, every unseen item a candidate, and no history yet. With `in_order`
/// they have their times; nothing reads the order of equal ones, so that a seed of its own draws it.
pub(super) fn held_out(
    rows: &Interactions,
    n_users: usize,
    n_items: usize,
    fold_in: bool,
    in_order: bool,
) -> Holdout {
    let users = distinct(rows, n_users);
    let relevant = select(&matrix(rows, n_users, n_items, in_order.then_some(0)), &users);
    Holdout { history: Csr::empty(0, n_items), users, relevant, candidates: Candidates::Unseen, fold_in }
}

/// Returns the histories of the users of valid and of test, where they have rows in training: those rows, and for test
/// the rows behind valid as well.
pub(crate) fn histories(
    train: &Interactions,
    valid_rows: &Interactions,
    (valid_users, test_users): (&[UserIx], &[UserIx]),
    n_users: usize,
    n_items: usize,
) -> (Csr, Csr) {
    let train = train.to_csr(n_users, n_items);
    let test_rows = test_users.iter().map(|user| user.at());
    let test = train.union(&valid_rows.to_csr(n_users, n_items), test_rows);
    // Most often all users are held out: taking the whole matrix then spares a copy of millions of rows.
    let all = valid_users.len() == n_users;
    (if all { train } else { select(&train, valid_users) }, test)
}

/// Returns the rows of these users.
pub(super) fn select(matrix: &Csr, users: &[UserIx]) -> Csr {
    matrix.select_rows(users.iter().map(|user| user.at()))
}

/// Returns the users that have a row, ascending.
fn distinct(rows: &Interactions, n_users: usize) -> Vec<UserIx> {
    let mut occurs = vec![false; n_users];
    rows.users.iter().for_each(|user| occurs[user.at()] = true);
    (0..n_users as u32).map(UserIx).filter(|user| occurs[user.at()]).collect()
}

fn check_not_empty(name: &str, n_rows: usize) -> Result<()> {
    let error = || Error::setting("split", format!("no row for {name}"), "at least one row in each part");
    (n_rows > 0).then_some(()).ok_or_else(error)
}

//! Splits whose files bring their own test.

use rayon::prelude::*;

use super::{Candidates, Lists, Split, SplitPart, SplitSummary, assemble, candidates, leave_one_out, random};
use crate::filter::{Duplicates, dedupe, retain};
use crate::{Dataset, Error, Interactions, Result};

/// The number of candidates drawn for valid beside the given ones of test, as the NCF paper has them.
const N_CANDIDATES: u32 = 99;

/// The test rows that came with the files. Their users and items are indices into the vocabularies of the dataset that
/// was read with them, whose rows are the base.
#[derive(Clone, Debug, PartialEq)]
pub enum GivenSplit {
    /// The NCF paper's files: one held-out row per user, and the items it is ranked against.
    Ncf {
        /// The held-out rows, at most one per user.
        test: Interactions,
        /// One list per row of `test`.
        candidates: Lists,
    },
    /// A fixed fold, such as `u1.base` and `u1.test` of ml-100k.
    Fold {
        /// The held-out rows.
        test: Interactions,
    },
    /// Three parts, such as the folders `split=train`, `split=valid` and `split=test`.
    Parts {
        /// The rows held out for valid.
        valid: Interactions,
        /// The rows held out for test.
        test: Interactions,
    },
}

/// Splits a dataset whose files brought their test, which is taken as it stands; valid is drawn from the base:
/// for NCF files the last row of each user with at least 2, with 99 drawn candidates, for a fold 10 % of the rows. Where the
/// files bring valid too, it is taken as well.
///
/// Dropped and counted: repeated rows of a part, rows of the base that are also held out and of valid that are also in test,
/// and candidates equal to the test item itself. The dataset must not have been filtered, as that would renumber its users and items.
///
/// # Errors
/// When a user has two test rows (NCF), a row points outside the vocabularies, lists do not match rows, a user
/// has fewer than 99 unseen items, or train, valid or test would be empty.
pub fn split_given(dataset: &Dataset, given: GivenSplit, seed: u64) -> Result<(Split, SplitSummary)> {
    let (n_users, n_items) = (dataset.users.len(), dataset.items.len());
    let mut summary = SplitSummary::default();
    let last = |rows| dedupe(rows, &dataset.users, &dataset.items, Duplicates::Last);
    let (valid, test, mut lists) = match given {
        GivenSplit::Ncf { test, candidates } => (None, test, Some(candidates)),
        GivenSplit::Fold { test } => (None, last(test)?.0, None),
        GivenSplit::Parts { valid, test } => (Some(last(valid)?.0), last(test)?.0, None),
    };
    check(&test, lists.as_ref(), n_users, n_items)?;
    let (mut rows, repeated) = last(dataset.interactions.clone())?;
    summary.repeated_rows = repeated;
    let without = |rows: &mut Interactions, held_out: &Interactions| {
        let held_out = held_out.to_csr(n_users, n_items);
        let keep: Vec<bool> = (0..rows.len())
            .into_par_iter()
            .map(|k| !held_out.contains(rows.users[k].at(), rows.items[k].0))
            .collect();
        retain(rows, &keep)
    };
    summary.leaked_rows = without(&mut rows, &test);

    let mut marks = match valid {
        Some(mut valid) => {
            check(&valid, None, n_users, n_items)?;
            summary.leaked_rows += without(&mut valid, &test) + without(&mut rows, &valid);
            let marks = vec![SplitPart::Train; rows.len()];
            append(&mut rows, &valid);
            [marks, vec![SplitPart::Valid; valid.len()]].concat()
        }
        None if lists.is_some() => {
            let last = leave_one_out::last_rows::<1>(&rows, n_users, seed);
            let mut marks = vec![SplitPart::Train; rows.len()];
            last.iter().flatten().for_each(|[row]| marks[*row as usize] = SplitPart::Valid);
            summary.short_users = last.iter().filter(|row| row.is_none()).count() as u64;
            marks
        }
        None => random::valid_of_base(rows.len(), seed),
    };
    marks.resize(rows.len() + test.len(), SplitPart::Test);
    append(&mut rows, &test);
    let mut split = assemble::assemble(&rows, n_users, n_items, &marks, false, seed)?;
    if let Some(lists) = lists.take() {
        let seen = rows.to_csr(n_users, n_items);
        let users = &split.valid.users;
        split.valid.candidates = candidates::draw(users, &seen, N_CANDIDATES, seed, "valid", &dataset.users)?;
        split.test.candidates = by_user(&test, &lists, &mut summary);
    }
    summary.count(&split, n_users, n_items);
    Ok((split, summary))
}

/// Returns the lists in the order of their users, without the held-out item itself.
fn by_user(test: &Interactions, lists: &Lists, summary: &mut SplitSummary) -> Candidates {
    let mut order: Vec<usize> = (0..test.len()).collect();
    order.sort_unstable_by_key(|&row| test.users[row]);
    let mut ordered = Lists::new();
    for row in order {
        let mut list = lists.row(row).to_vec();
        list.retain(|&item| item != test.items[row]);
        summary.dropped_candidates += (lists.row(row).len() - list.len()) as u64;
        ordered.push(&list);
    }
    Candidates::Drawn(ordered)
}

/// Appends rows to others.
fn append(rows: &mut Interactions, more: &Interactions) {
    for k in 0..more.len() {
        rows.push(more.users[k], more.items[k], more.values[k], more.times[k]);
    }
}

fn check(test: &Interactions, lists: Option<&Lists>, n_users: usize, n_items: usize) -> Result<()> {
    let error = |found: String, expected: &str| Err(Error::setting("given test", found, expected));
    if test.users.iter().any(|user| user.at() >= n_users)
        || test.items.iter().any(|item| item.at() >= n_items)
    {
        return error("a row outside the vocabularies".into(), "users and items of the dataset");
    }
    let Some(lists) = lists else { return Ok(()) };
    if lists.len() != test.len() {
        return error(
            format!("{} lists of candidates", lists.len()),
            &format!("{}, one per row", test.len()),
        );
    }
    if lists.items().iter().any(|item| item.at() >= n_items) {
        return error("a candidate outside the vocabulary".into(), "items of the dataset");
    }
    let mut users = test.users.clone();
    users.sort_unstable();
    match users.windows(2).position(|pair| pair[0] == pair[1]) {
        Some(_) => error("a user with two test rows".into(), "one test row per user"),
        None => Ok(()),
    }
}

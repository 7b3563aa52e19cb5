//! Checks that model, holdout and training matrix fit each other, before anything is scored.

use burnrec_data::{Candidates, Csr, Holdout};
use burnrec_models::Scorer;

use super::EvaluateOptions;
use crate::{Error, Result};

/// Refuses a scorer, a holdout and a training matrix that do not fit each other.
pub fn fits(scorer: &dyn Scorer, holdout: &Holdout, train: &Csr, options: &EvaluateOptions) -> Result<()> {
    if options.ks.contains(&0) {
        return Err(Error::evaluate("a cut of 0", "cuts of 1 or more, such as 10"));
    }
    let n_users = holdout.len();
    same("rows of held-out items", holdout.relevant.n_rows(), "users in the holdout", n_users)?;
    same("rows of histories", holdout.history.n_rows(), "users in the holdout", n_users)?;
    let n_items = scorer.n_items();
    same("items in the holdout", holdout.relevant.n_cols(), "items in the model", n_items)?;
    same("items in the histories", holdout.history.n_cols(), "items in the model", n_items)?;
    same("items in the training matrix", train.n_cols(), "items in the model", n_items)?;
    let has_times = holdout.relevant.order().is_some_and(|order| order.times.is_some());
    if options.rating && scorer.drift().is_some() && !has_times {
        return Err(Error::evaluate(
            "held-out ratings without times, and a model whose ratings change over time",
            "data with times, prepared since those of held-out rows are kept: prepare it again",
        ));
    }
    if !holdout.fold_in {
        let known = scorer.n_users().min(train.n_rows());
        if let Some(user) = holdout.users.iter().find(|user| user.at() >= known) {
            return Err(Error::evaluate(
                format!("user row {} in the holdout", user.at()),
                format!("rows below {known}, the users of the model and of the training matrix"),
            ));
        }
    }
    let Candidates::Drawn(lists) = &holdout.candidates else { return Ok(()) };
    same("lists of candidates", lists.len(), "users in the holdout", n_users)?;
    for row in 0..n_users {
        for item in lists.row(row) {
            if item.at() >= n_items {
                return Err(Error::evaluate(
                    format!("candidate item row {} of holdout row {row}", item.at()),
                    format!("rows below {n_items}, the items of the model"),
                ));
            }
            if holdout.relevant.contains(row, item.0) {
                return Err(Error::evaluate(
                    format!("item row {} both held out and a candidate of holdout row {row}", item.at()),
                    "candidates without the held-out items",
                ));
            }
        }
    }
    Ok(())
}

/// Returns what relevant items are ranked against, in words that go with every score: `full ranking`, or
/// `99 drawn candidates`.
pub fn protocol(holdout: &Holdout) -> String {
    let Candidates::Drawn(lists) = &holdout.candidates else { return "full ranking".to_owned() };
    let lengths = || (0..lists.len()).map(|row| lists.row(row).len());
    match (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0)) {
        (fewest, most) if fewest == most => format!("{most} drawn candidates"),
        (fewest, most) => format!("{fewest} to {most} drawn candidates"),
    }
}

fn same(what: &str, found: usize, other: &str, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::evaluate(format!("{found} {what}"), format!("{expected}, as many as {other}")))
}

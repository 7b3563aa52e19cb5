//! Cross-validation on the train and valid rows of a split, which are cut into folds; test is not used.

use super::assemble::{held_out, matrix, rows_marked, select};
use super::user_holdout::ByUser;
use super::{Holdout, Split, SplitPart, random};
use crate::{Csr, Error, Interactions, Result};

/// One fold of a cross-validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// `[n_users, n_items]`: the rows of the other folds, to train on.
    pub train: Csr,
    /// This fold's rows, to evaluate on.
    pub valid: Holdout,
}

/// Cuts the train and valid rows of a split, of `n_users` users in all, into `n` folds; each is held out once while the
/// others are trained on. The same split, `n` and seed give the same folds. All folds are in memory together, which
/// takes about `2 n` times the rows. With `in_order`, all matrices have the order of their times
/// ([`Interactions::to_histories`], with the same seed), if there are times.
///
/// - Rows are dealt out at random, whatever their times, as in [`SplitConfig::KFold`](super::SplitConfig::KFold): of a
///   user, the rows of this fold are relevant and those of the others history.
/// - If the users of valid are folded in, users are dealt out and not rows. The share of a user's rows to fold in is
///   that of valid; users with one row are always in training.
///
/// Every item that is neither relevant nor history is a candidate, also where valid has drawn ones: a user has many
/// relevant items in a fold, among which a few drawn candidates would rank well by chance.
///
/// # Errors
/// When `n` is below 2 or more than there are rows (users) to deal out.
pub fn folds(split: &Split, n_users: usize, n: u32, seed: u64, in_order: bool) -> Result<Vec<Fold>> {
    let n_items = split.valid.relevant.n_cols();
    let rows = pooled(split);
    let order = (in_order && rows.have_times()).then_some(seed);
    let dealer = Dealer::new(split, &rows, n_users, seed);
    let most = dealer.len();
    if n < 2 || n as usize > most {
        let what = if split.valid.fold_in { "users with at least 2 rows" } else { "rows of train and valid" };
        let expected = format!("at least 2 and at most {most}, the number of {what}");
        return Err(Error::setting("folds", n.to_string(), expected));
    }
    let fold = |fold: u32| {
        let marks = dealer.marks(n, fold, seed);
        let marked = |mark| rows_marked(&rows, &marks, &[mark]);
        let of = |mark| matrix(&marked(mark), n_users, n_items, order);
        let train = of(SplitPart::Train);
        let mut valid =
            held_out(&marked(SplitPart::Valid), n_users, n_items, split.valid.fold_in, order.is_some());
        valid.history = if split.valid.fold_in {
            select(&of(SplitPart::ValidHistory), &valid.users)
        } else {
            select(&train, &valid.users)
        };
        Fold { train, valid }
    };
    Ok((0..n).map(fold).collect())
}

/// Returns the rows of train, and after them those behind valid.
fn pooled(split: &Split) -> Interactions {
    let mut rows = split.train.clone();
    let more = &split.valid_rows;
    rows.users.extend_from_slice(&more.users);
    rows.items.extend_from_slice(&more.items);
    rows.values.extend_from_slice(&more.values);
    rows.times.extend_from_slice(&more.times);
    rows
}

/// The rows or users that are dealt out to the folds, in a drawn order.
enum Dealer<'a> {
    Rows(Vec<u32>),
    /// Users, and the share of each user's rows that is folded in.
    Users {
        users: Vec<u32>,
        by_user: ByUser<'a>,
        n_rows: usize,
        share: f64,
    },
}

impl<'a> Dealer<'a> {
    fn new(split: &Split, rows: &'a Interactions, n_users: usize, seed: u64) -> Self {
        if !split.valid.fold_in {
            return Self::Rows(random::order(rows.len(), seed));
        }
        let by_user = ByUser::new(rows, n_users);
        let (known, held_out) = (split.valid.history.nnz() as f64, split.valid.relevant.nnz() as f64);
        let share = known / (known + held_out);
        Self::Users { users: by_user.drawn_users(seed), by_user, n_rows: rows.len(), share }
    }

    fn len(&self) -> usize {
        match self {
            Self::Rows(order) => order.len(),
            Self::Users { users, .. } => users.len(),
        }
    }

    fn marks(&self, n: u32, fold: u32, seed: u64) -> Vec<SplitPart> {
        let places = random::fold_places(self.len(), n, fold);
        match self {
            Self::Rows(order) => {
                let mut marks = vec![SplitPart::Train; order.len()];
                random::mark(&mut marks, order[places].iter(), SplitPart::Valid);
                marks
            }
            Self::Users { users, by_user, n_rows, share } => {
                let mut marks = vec![SplitPart::Train; *n_rows];
                let parts = (SplitPart::ValidHistory, SplitPart::Valid);
                by_user.mark(&mut marks, &users[places], parts, *share, seed);
                marks
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::{Candidates, SplitConfig, split};
    use crate::synth::{SynthConfig, synth};

    const N_USERS: usize = 60;

    fn cut(config: SplitConfig) -> Split {
        let dataset = synth(&SynthConfig::new(N_USERS as u32, 150, 1_500, 3)).unwrap();
        split(&dataset, &config, 5).unwrap().0
    }

    fn pairs(rows: &Interactions) -> Vec<(u32, u32)> {
        let mut pairs: Vec<_> =
            rows.users.iter().zip(&rows.items).map(|(user, item)| (user.0, item.0)).collect();
        pairs.sort_unstable();
        pairs
    }

    fn held_out_pairs(holdout: &Holdout) -> Vec<(u32, u32)> {
        let of_row = |(row, user): (usize, &crate::UserIx)| {
            holdout.relevant.row(row).0.iter().map(|&item| (user.0, item)).collect::<Vec<_>>()
        };
        holdout.users.iter().enumerate().flat_map(of_row).collect()
    }

    #[test]
    fn each_row_of_train_and_valid_is_held_out_once_and_none_of_test() {
        let split = cut(SplitConfig::LeaveOneOut { candidates: Some(20) });
        let folds = folds(&split, N_USERS, 4, 1, false).unwrap();
        let mut all: Vec<_> = folds.iter().flat_map(|fold| held_out_pairs(&fold.valid)).collect();
        all.sort_unstable();
        assert_eq!(all, pairs(&pooled(&split)));
        for fold in &folds {
            assert_eq!(fold.train.nnz() + fold.valid.relevant.nnz(), all.len());
            assert!(fold.valid.relevant.nnz().abs_diff(all.len() / 4) <= 1);
            assert!(held_out_pairs(&fold.valid).iter().all(|&(u, i)| !fold.train.contains(u as usize, i)));
            for (row, user) in fold.valid.users.iter().enumerate() {
                assert_eq!(fold.valid.history.row(row), fold.train.row(user.at()));
            }
            assert_eq!(fold.valid.candidates, Candidates::Unseen);
        }
        assert_eq!(folds, super::folds(&split, N_USERS, 4, 1, false).unwrap());
        assert_ne!(folds, super::folds(&split, N_USERS, 4, 2, false).unwrap());
        let in_order = super::folds(&split, N_USERS, 4, 1, true).unwrap();
        for (with, without) in in_order.iter().zip(&folds) {
            for (with, without) in
                [(&with.train, &without.train), (&with.valid.relevant, &without.valid.relevant)]
            {
                assert_eq!((with.cols(), with.values()), (without.cols(), without.values()));
                assert!(with.times(0).is_some() && without.order().is_none());
            }
            let times: Vec<_> = with.train.history(0).iter().map(|entry| entry.time).collect();
            assert!(times.len() > 1 && times.is_sorted(), "{times:?}");
        }
    }

    #[test]
    fn users_to_fold_in_are_dealt_out_whole() {
        let split = cut(SplitConfig::UserHoldout { valid_users: 7, test_users: 9, fold_in: 0.8 });
        let folds = folds(&split, N_USERS, 3, 1, false).unwrap();
        assert_eq!(folds.iter().map(|fold| fold.valid.len()).sum::<usize>(), N_USERS - 9);
        for fold in &folds {
            assert!(fold.valid.fold_in);
            assert!(fold.valid.users.iter().all(|user| fold.train.row(user.at()).0.is_empty()));
            assert!(fold.valid.users.iter().all(|user| !split.test.users.contains(user)));
            let (known, found) = (fold.valid.history.nnz() as f64, fold.valid.relevant.nnz() as f64);
            assert!((known / (known + found) - 0.8).abs() < 0.03, "{known} known, {found} held out");
        }
    }

    #[test]
    fn impossible_numbers_of_folds_are_refused() {
        let split = cut(SplitConfig::Random { valid: 0.1, test: 0.3 });
        for n in [0, 1, 2_000] {
            let error = folds(&split, N_USERS, n, 1, false).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("folds: found {n}, expected at least 2 and at most")),
                "{error}"
            );
        }
    }
}

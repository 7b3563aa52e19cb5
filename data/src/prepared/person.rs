//! What prepared data holds of one user, and the data without it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Prepared;
use crate::held::HeldRow;
use crate::split::{Candidates, Holdout, Split};
use crate::{Error, Interactions, Result, UserIx, Vocab};

/// The rows of a user in prepared data.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UserRows {
    /// Those of train.
    pub train: Vec<HeldRow>,
    /// Those behind the valid holdout, which the final fit is trained on as well.
    pub valid_rows: Vec<HeldRow>,
    /// The held-out rows of valid.
    pub valid: Vec<HeldRow>,
    /// The held-out rows of test.
    pub test: Vec<HeldRow>,
    /// The history that is folded in, where the user is held out whole.
    pub history: Vec<HeldRow>,
}

impl Prepared {
    /// Returns whether a hash is that of this data, or one that it had before users were erased from it. A run with this hash has
    /// the same rows as the data where it has the same users too.
    pub fn had_hash(&self, hash: &str) -> bool {
        self.manifest.hash == hash || self.manifest.before.iter().any(|before| before == hash)
    }

    /// Returns what the data holds of a user of its vocabulary.
    pub fn rows_of(&self, user: UserIx) -> UserRows {
        let Split { train, valid_rows, valid, test } = &self.split;
        let holdouts = [valid, test];
        let history = holdouts.iter().filter(|holdout| holdout.fold_in);
        UserRows {
            train: of_rows(train, user, &self.items),
            valid_rows: of_rows(valid_rows, user, &self.items),
            valid: of_holdout(valid, user, &self.items),
            test: of_holdout(test, user, &self.items),
            history: history
                .filter_map(|holdout| Some((holdout, place(holdout, user)?)))
                .flat_map(|(holdout, place)| {
                    HeldRow::of_history(&holdout.history.history(place), &self.items)
                })
                .collect(),
        }
    }

    /// Returns the data without a user of its vocabulary: the id, all rows, and the place in the holdouts with its candidates. The
    /// rows of all others stay in their order; the indices of the users after the one that is gone are one lower. What the manifest
    /// says of the files that were read stays; its counts of users and rows, and its hash, are those of what is left.
    ///
    /// # Errors
    /// When it is the only user.
    pub fn without_user(mut self, user: UserIx) -> Result<Self> {
        if self.users.len() < 2 {
            let expected = "another user beside the one who is erased; remove the directory";
            return Err(Error::setting("user", "the only user of the data", expected));
        }
        let UserRows { train, valid_rows, valid, test, history } = self.rows_of(user);
        let all = [train, valid_rows, valid, test, history].concat();
        let items: BTreeSet<_> = all.iter().map(|row| &row.item).collect();
        let counts = &mut self.manifest.counts;
        counts.rows = counts.rows.saturating_sub(items.len() as u64);
        counts.users -= 1;
        self.users = self.users.without(user.0);
        let Split { train, valid_rows, valid, test } = &mut self.split;
        [train, valid_rows].into_iter().for_each(|rows| *rows = without(rows, user));
        [valid, test].into_iter().for_each(|holdout| leave(holdout, user));
        self.manifest.summary.count(&self.split, self.users.len(), self.items.len());
        let before = std::mem::take(&mut self.manifest.hash);
        self.manifest.before.push(before);
        self.set_hashes();
        Ok(self)
    }
}

fn of_rows(rows: &Interactions, user: UserIx, items: &Vocab) -> Vec<HeldRow> {
    let timed = rows.times.iter().any(|time| *time != 0);
    let of_user = (0..rows.len()).filter(|at| rows.users[*at] == user);
    let row = |at: usize| {
        HeldRow::new(items.id(rows.items[at].0), rows.values[at], timed.then_some(rows.times[at]))
    };
    of_user.map(row).collect()
}

fn of_holdout(holdout: &Holdout, user: UserIx, items: &Vocab) -> Vec<HeldRow> {
    let history = place(holdout, user).map(|place| holdout.relevant.history(place));
    HeldRow::of_history(&history.unwrap_or_default(), items)
}

/// Returns where a user stands in a holdout.
fn place(holdout: &Holdout, user: UserIx) -> Option<usize> {
    holdout.users.binary_search(&user).ok()
}

/// Returns the index of a user after another is gone.
fn moved(other: UserIx, gone: UserIx) -> UserIx {
    if other > gone { UserIx(other.0 - 1) } else { other }
}

fn without(rows: &Interactions, user: UserIx) -> Interactions {
    let kept: Vec<u32> = (0..rows.len() as u32).filter(|at| rows.users[*at as usize] != user).collect();
    let mut rows = rows.select(&kept);
    rows.users.iter_mut().for_each(|other| *other = moved(*other, user));
    rows
}

/// Takes a user out of a holdout.
fn leave(holdout: &mut Holdout, user: UserIx) {
    if let Some(place) = place(holdout, user) {
        holdout.users.remove(place);
        holdout.relevant = holdout.relevant.without_row(place);
        holdout.history = holdout.history.without_row(place);
        if let Candidates::Drawn(lists) = &mut holdout.candidates {
            *lists = lists.without(place);
        }
    }
    holdout.users.iter_mut().for_each(|other| *other = moved(*other, user));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;
    use crate::filter::Filters;
    use crate::split::SplitConfig;
    use crate::synth::{SynthConfig, synth};

    fn prepared(config: &SplitConfig) -> Prepared {
        let dataset = synth(&SynthConfig::new(30, 40, 600, 3)).unwrap();
        Prepared::build(dataset, None, None, &Filters::default(), config, 5).unwrap()
    }

    /// The rows of each user but one, by id.
    fn rows(data: &Prepared, but: &Id<'_>) -> Vec<(String, UserRows)> {
        let all = (0..data.users.len() as u32).filter(|user| data.users.id(*user) != *but);
        all.map(|user| (data.users.id(user).to_string(), data.rows_of(UserIx(user)))).collect()
    }

    #[test]
    fn nothing_is_left_of_a_user_and_all_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        for config in [
            SplitConfig::LeaveOneOut { candidates: None },
            SplitConfig::LeaveOneOut { candidates: Some(9) },
            SplitConfig::UserHoldout { valid_users: 8, test_users: 10, fold_in: 0.8 },
        ] {
            let data = prepared(&config);
            for user in [0, 7, data.users.len() as u32 - 1] {
                let id = data.users.id(user).to_string();
                let held = data.rows_of(UserIx(user));
                assert!(held.train.len() + held.history.len() > 2, "{held:?}");
                let left = data.clone().without_user(UserIx(user)).unwrap();
                assert_eq!(left.users.find(&id), None);
                assert_eq!(rows(&left, &Id::Str(&id)), rows(&data, &Id::Str(&id)), "{config:?}");
                assert_eq!(left.manifest.counts.users + 1, data.manifest.counts.users);
                assert!(left.manifest.counts.rows < data.manifest.counts.rows);
                assert!(left.had_hash(&data.manifest.hash) && !data.had_hash(&left.manifest.hash));
                // It is whole: opening checks its hash and how its parts fit.
                left.save(folder.path()).unwrap();
                assert_eq!(Prepared::open(folder.path()).unwrap(), left);
            }
        }
    }

    #[test]
    fn the_only_user_stays() {
        let mut data = prepared(&SplitConfig::LeaveOneOut { candidates: None });
        while data.users.len() > 1 {
            data = data.without_user(UserIx(0)).unwrap();
        }
        let error = data.without_user(UserIx(0)).unwrap_err().to_string();
        assert!(error.contains("the only user") && error.contains("remove the directory"), "{error}");
    }
}
